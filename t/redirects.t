#!/usr/bin/perl

# One verdict a request: it stands wherever nginx leads the request inside,
# until another policy or kind of token is asked, or the gate is off.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $school_id = '2c2c2222-3333-4444-5555-6666666666c2';

# "school" trusts another audience, "both" trusts fleet's and the school's.

my $t = EntraMDM::Nginx->new(http => $Headers . fleet_policy()
    . fleet_policy("client_id $school_id; header_prefix X-Both-;", 'both')
    . fleet_policy("header_prefix X-School-;", 'school')
        =~ s/client_id .*/client_id $school_id;/r . <<'EOC');

    client_max_body_size 4m;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        root %%DIR%%;
        entra_mdm fleet;
        error_page 500 /inherited-page;
        proxy_set_header Authorization "";

        location / { PROXY }

        # error pages of refusals

        location /page/uri     { error_page 401 403 500 = /again; PROXY }
        location /page/named   { error_page 401 403 500 = @again; PROXY }
        location /page/off     { error_page 401 403 500 = @off; PROXY }
        location /page/status  { error_page 401 403 500 =202 @off; PROXY }
        location /page/html    { error_page 401 403 500 /html; PROXY }
        location /page/html2   { error_page 401 403 /gated.html; PROXY }
        location /page/school  { error_page 401 403 500 = @school; PROXY }
        location /page/bearer  { entra_mdm fleet token=soap;
                                 error_page 400 500 = @bearer; PROXY }
        location /page/soap    { entra_mdm fleet token=bearer;
                                 error_page 401 403 = @soap; PROXY }
        location /page/dry     { error_page 401 403 500 = @dry; PROXY }
        location /page/loop    { error_page 401 403 500 = /page/loop;
                                 recursive_error_pages on; PROXY }

        location /again        { PROXY }
        location @again        { PROXY }
        location @off          { entra_mdm off; PROXY }
        location @school       { entra_mdm school; PROXY }
        location @bearer       { entra_mdm fleet token=bearer; PROXY }
        location @soap         { entra_mdm fleet token=soap; PROXY }
        location @dry          { entra_mdm_dry_run on; PROXY }
        location /html         { entra_mdm off; default_type text/html; }

        # what the backend redirects, or leaves to an error page

        location /inside/again  { PROXY }
        location /inside/off    { entra_mdm off; PROXY }
        location /inside/both   { entra_mdm both; PROXY }
        location /inside/school { entra_mdm school; PROXY }
        location /inside/soap   { entra_mdm fleet token=soap; PROXY }
        location /inside/bearer { entra_mdm fleet token=bearer; PROXY }

        location /to/ { PROXY
            location /to/ungated/ { entra_mdm off; PROXY }
            location /to/dry/     { entra_mdm_dry_run on; PROXY }
            location /to/kind/    { entra_mdm fleet token=bearer; PROXY }
        }

        location /missing { PROXY
            proxy_intercept_errors on;
            error_page 404 = @again;

            location /missing/off { PROXY
                proxy_intercept_errors on; error_page 404 = @off; }
            location /missing/school { PROXY
                proxy_intercept_errors on; error_page 404 = @school; }
            location /missing/dry { PROXY
                entra_mdm_dry_run on;
                proxy_intercept_errors on; error_page 404 = @again; }
        }

        # nginx's own ways

        location /try           { try_files /nothing /again; }
        location /try/off       { entra_mdm off; try_files /nothing /again; }
        location /index/        { index none index.html; }
        location /rewrite/last  { rewrite ^ /again last; }
        location /rewrite/off   { entra_mdm off; rewrite ^ /again last; }
        location /rewrite/break { rewrite ^ /again break; PROXY }
    }

EOC

$t->{http} =~ s{PROXY}{proxy_pass http://127.0.0.1:%%PORT_fleet%%;}g;

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();

for my $to (qw(again off both school soap bearer)) {
    $fleet->answer("/to$_/$to" => { headers =>
        [ 'X-Accel-Redirect' => "/inside/$to" ] })
        for '', '/ungated', '/dry', '/kind';
}
$fleet->answer("/missing$_" => { status => 404 })
    for '', '/off', '/school', '/dry';
$t->write_file('keys.json', jwks($key));
$t->write_file('html', "<p>Sign in again.</p>\n");
$t->write_file('inherited-page', "an inherited page\n");
$t->write_file('gated.html', "a gated page\n");
mkdir $t->dir . '/index';
$t->write_file('index/index.html', "the index\n");
$t->start;

my %token = (
    fleet => mint($key, claims_v2()),
    school => mint($key, claims_v2(aud => $school_id)),
);

# [ promise, request and whose token, what becomes of it, as whom ]

my $refused = 'audience_not_allowed refused';

for (
    [ 'page: accepted is not touched',  'GET /page/uri fleet',
        '200 ok accepted 1', 'X-Entra-' ],
    [ 'page: refused again',            'GET /page/uri',
        '401 no_token refused 0' ],
    [ 'page: refused again, 403',       'GET /page/uri school',
        "403 $refused 0" ],
    [ 'page: refused again, SOAP',      'POST /page/uri school',
        "500 $refused 0" ],
    [ 'named page: refused again',      'GET /page/named school',
        "403 $refused 0" ],
    [ 'named page: refused again, SOAP', 'POST /page/named school',
        "500 $refused 0" ],
    [ 'page without a gate: as told, without identity',
        'GET /page/off school', "200 $refused 1", '' ],
    [ 'page without a gate, SOAP',      'POST /page/off school',
        "200 $refused 1", '' ],
    [ 'page without a gate: its status', 'GET /page/status',
        '202 no_token refused 1', '' ],
    [ 'page of HTML',                   'GET /page/html',
        '401 no_token refused 0' ],
    [ 'page of HTML in a gated place',  'GET /page/html2',
        '401 no_token refused 0' ],
    [ 'page of HTML for SOAP, written there', 'POST /page/html school',
        "500 $refused 0" ],
    [ 'page: another policy decides',   'GET /page/school school',
        '200 ok accepted 1', 'X-School-' ],
    [ 'page: another policy decides, SOAP', 'POST /page/school school',
        '200 ok accepted 1', 'X-School-' ],
    [ 'page: another policy refuses',   'GET /page/school',
        '401 no_token refused 0' ],
    [ 'page: another kind decides',     'GET /page/bearer fleet',
        '200 ok accepted 1', 'X-Entra-' ],
    [ 'page: another kind refuses',     'GET /page/bearer school',
        "403 $refused 0" ],
    [ 'page: another kind decides, SOAP', 'POST /page/soap fleet',
        '200 ok accepted 1', 'X-Entra-' ],
    [ 'page: another kind refuses, SOAP', 'POST /page/soap school',
        "500 $refused 0" ],
    [ 'page: a dry run does not revive the refused', 'GET /page/dry school',
        "403 $refused 0" ],
    [ 'page: round and round',          'GET /page/loop',
        '500 no_token refused 0' ],

    [ 'inside: accepted stays',         'GET /to/again fleet',
        '200 ok accepted 2', 'X-Entra-' ],
    [ 'inside: accepted stays, SOAP',   'POST /to/again fleet',
        '200 ok accepted 2', 'X-Entra-' ],
    [ 'inside: accepted, then off',     'GET /to/off fleet',
        '200 ok accepted 2', 'X-Entra-' ],
    [ 'inside: another policy accepts', 'GET /to/both fleet',
        '200 ok accepted 2', 'X-Both-' ],
    [ 'inside: another policy accepts, SOAP', 'POST /to/both fleet',
        '200 ok accepted 2', 'X-Both-' ],
    [ 'inside: another policy refuses', 'GET /to/school fleet',
        "403 $refused 1" ],
    [ 'inside: another policy refuses, SOAP', 'POST /to/school fleet',
        "500 $refused 1" ],
    [ 'inside: bearer counts not as SOAP', 'GET /to/kind/soap fleet',
        '400 message_malformed refused 1' ],
    [ 'inside: SOAP counts not as bearer', 'POST /to/bearer fleet',
        '401 no_token refused 1' ],
    [ 'inside: ungated before',         'GET /to/ungated/again',
        '401 no_token refused 1' ],
    [ 'inside: ungated before, token',  'GET /to/ungated/again fleet',
        '200 ok accepted 2', 'X-Entra-' ],
    [ 'inside: the client\'s method counts', 'POST /to/ungated/again fleet',
        '200 ok accepted 2', 'X-Entra-' ],
    [ 'inside: the client\'s method, refused', 'POST /to/ungated/again school',
        "500 $refused 1" ],
    [ 'inside: from dry run to strict', 'GET /to/dry/again school',
        "403 $refused 1" ],
    [ 'inside: from dry run to strict, SOAP', 'POST /to/dry/again school',
        "500 $refused 1" ],
    [ 'inside: from dry run, accepted', 'POST /to/dry/again fleet',
        '200 ok accepted 2', 'X-Entra-' ],

    [ 'missing: accepted stays',        'POST /missing fleet',
        '404 ok accepted 2', 'X-Entra-' ],
    [ 'missing: accepted, then off',    'GET /missing/off fleet',
        '404 ok accepted 2', 'X-Entra-' ],
    [ 'missing: another policy refuses', 'POST /missing/school fleet',
        "500 $refused 1" ],
    [ 'missing: from dry run to strict', 'POST /missing/dry school',
        "500 $refused 1" ],

    [ 'try_files: accepted',            'GET /try fleet',
        '200 ok accepted 1', 'X-Entra-' ],
    [ 'try_files: accepted, SOAP',      'POST /try fleet',
        '200 ok accepted 1', 'X-Entra-' ],
    [ 'try_files: refused',             'GET /try', '401 no_token refused 0' ],
    [ 'try_files: gate where it leads', 'POST /try/off school',
        "500 $refused 0" ],
    [ 'index: accepted',                'GET /index/ fleet',
        '200 ok accepted 0' ],
    [ 'index: refused',                 'GET /index/ school',
        "403 $refused 0" ],
    [ 'rewrite: refused',               'GET /rewrite/last',
        '401 no_token refused 0' ],
    [ 'rewrite: accepted',              'POST /rewrite/last fleet',
        '200 ok accepted 1', 'X-Entra-' ],
    [ 'rewrite: gate where it leads',   'GET /rewrite/off',
        '401 no_token refused 0' ],
    [ 'rewrite break: refused',         'POST /rewrite/break school',
        "500 $refused 0" ],
) {
    my ($name, $what, $expected, $as) = @$_;
    my ($method, $uri, $whose) = split / /, $what;
    my $token = $whose && $token{$whose};
    my $message = enroll_message($token);
    my @o = (headers => [ 'X-Entra-UPN' => 'eve', 'X-Both-UPN' => 'eve' ]);

    $t->mark;
    push @o, $method eq 'POST' ? (body => $message)
           : $token ? (bearer => $token) : ();

    my $r = http_request($method, $uri, @o);
    my $seen = verdict($name, $r, $fleet, $expected);
    my @challenges = @{ $r->headers->{'www-authenticate'} // [] };
    my @lines = grep { /entra_mdm: .* refused, / } split /\n/, $t->new_log;

    cmp_ok(scalar @challenges, '<=', 1, "$name: one challenge");
    is(scalar @challenges, 1, "$name: a challenge")
        if $method eq 'GET' && $expected =~ /^40[13]/;
    is("@challenges", '', "$name: no challenge")
        if $expected =~ /accepted/ || $method eq 'POST' && $expected =~ /^500/;
    if ($expected =~ /refused 0/ && $name !~ /another/) {
        is(scalar @lines, 1, "$name: decided and logged once");
    }
    if ($method eq 'POST' && $expected =~ /^500/) {
        $name =~ /HTML/ ? like($r->body, qr/Sign in/, "$name: the page")
            : isnt(fault($r)->{subcode}, undef, "$name: a fault");
    }
    next if !defined $as;
    is($seen->body, $method eq 'POST' ? $message : '', "$name: body");
    for my $prefix (qw(X-Entra- X-Both- X-School-)) {
        is(identity($seen, $prefix) ne '', $as eq $prefix, "$name: $prefix");
        unlike(identity($seen, $prefix), qr/eve/, "$name: no forged $prefix");
    }
}

is(http_get('/page/html')->body, "<p>Sign in again.</p>\n",
    'the page of a refused bearer');
like(http_get('/index/', bearer => $token{fleet})->body, qr/the index/,
    'the index');

$t->done;
