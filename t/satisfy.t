#!/usr/bin/perl

# The gate beside nginx's own access rules.  It comes last: with "satisfy any"
# it does not run where another rule has granted, and is final where none has.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(http => $Headers . fleet_policy() . <<'EOC');

    client_max_body_size 4m;
    underscores_in_headers on;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        entra_mdm fleet;
        auth_basic_user_file %%DIR%%/users;
        proxy_set_header Authorization "";

        location /all/allow   { allow all; PROXY }
        location /all/deny    { deny all; PROXY }
        location /all/basic   { auth_basic fleet; PROXY }
        location /all/asked   { auth_request /ask; PROXY }

        location /any/allow   { satisfy any; allow all; PROXY }
        location /any/deny    { satisfy any; deny all; PROXY }
        location /any/basic   { satisfy any; auth_basic fleet; PROXY }
        location /any/asked   { satisfy any; auth_request /ask; PROXY }
        location /any/alone   { satisfy any; PROXY }
        location /any/three   { satisfy any; deny all; auth_basic fleet;
                                auth_request /ask; PROXY }
        location /any/delay   { satisfy any; deny all; auth_delay 50ms; PROXY }
        location /any/static  { satisfy any; allow all; root %%DIR%%; }

        location /dry/deny    { satisfy any; deny all; entra_mdm_dry_run on;
                                PROXY }
        location /dry/basic   { satisfy any; auth_basic fleet;
                                entra_mdm_dry_run on; PROXY }
        location /dry/allow   { satisfy any; allow all; entra_mdm_dry_run on;
                                PROXY }
        location /dry/alone   { satisfy any; entra_mdm_dry_run on; PROXY }

        location = /ask {
            internal;
            entra_mdm off;
            proxy_pass http://127.0.0.1:%%PORT_rules%%/$http_x_answer;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }
    }

EOC

$t->{http} =~ s{PROXY}{proxy_pass http://127.0.0.1:%%PORT_fleet%%;}g;

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $rules = EntraMDM::Backend->new($t, 'rules');
my $key = new_key();

$rules->answer('/yes' => {}, '/forbidden' => { status => 403 },
    '/broken' => { status => 500 }, '/unknown' => { status => 401,
        headers => [ 'WWW-Authenticate' => 'Basic realm="asked"' ] });
$t->write_file('keys.json', jwks($key));
$t->write_file('users', "ann:{PLAIN}right\n");
mkdir $t->dir . "/$_" for qw(any any/static);
$t->write_file('any/static/file', "static\n");
$t->start;

my %headers = (
    right => [ Authorization => 'Basic ' . encode_base64('ann:right', '') ],
    wrong => [ Authorization => 'Basic ' . encode_base64('ann:wrong', '') ],
    (map { $_ => [ 'X-Answer' => $_ ] } qw(yes forbidden unknown broken)),
);
my %token = (
    good => mint($key, claims_v2()),
    alien => mint($key, claims_v2(aud => 'https://elsewhere.example.com')),
    late => mint($key, claims_v2(exp => time - 4000)),
);
my @forged = ('X-Entra-UPN' => 'eve@example.com', 'x_entra_upn' => 'eve');

# [ promise, request, what becomes of it, the challenges ]: the words after
# the path are credentials

my $alien = 'Bearer error="insufficient_scope"';
my $late = 'Bearer error="invalid_token"';

for (
    [ 'all: allowed, and the gate accepts', 'GET /all/allow good',
        '200 ok accepted 1' ],
    [ 'all: allowed, and the gate refuses', 'GET /all/allow',
        '401 no_token refused 0', 'Bearer' ],
    [ 'all: denied, whatever the token',    'GET /all/deny good',
        '403 - - 0' ],
    [ 'all: denied, SOAP',                  'POST /all/deny good',
        '403 - - 0' ],
    [ 'all: password, then the message',    'POST /all/basic right good',
        '200 ok accepted 1' ],
    [ 'all: password, but no token',        'GET /all/basic right',
        '401 no_token refused 0', 'Bearer' ],
    [ 'all: password, but a bad message',   'POST /all/basic right alien',
        '500 audience_not_allowed refused 0' ],
    [ 'all: no password, gate never asked', 'POST /all/basic wrong good',
        '401 - - 0', 'Basic' ],
    [ 'all: bearer is no password',         'GET /all/basic good',
        '401 - - 0', 'Basic' ],
    [ 'all: asked, yes',                    'GET /all/asked yes good',
        '200 ok accepted 1' ],
    [ 'all: asked, yes, SOAP',              'POST /all/asked yes good',
        '200 ok accepted 1' ],
    [ 'all: asked, yes, but no token',      'GET /all/asked yes',
        '401 no_token refused 0', 'Bearer' ],
    [ 'all: asked, no',                     'GET /all/asked forbidden good',
        '403 - - 0' ],
    [ 'all: asked, unknown',                'POST /all/asked unknown good',
        '401 - - 0', 'Basic' ],
    [ 'all: asked, broken',                 'POST /all/asked broken good',
        '500 - - 0' ],

    [ 'any: allowed, no token',             'GET /any/allow',
        '200 - - 1' ],
    [ 'any: allowed, a token that is not looked at', 'GET /any/allow alien',
        '200 - - 1' ],
    [ 'any: allowed, good token, no identity', 'GET /any/allow good',
        '200 - - 1' ],
    [ 'any: allowed, SOAP',                 'POST /any/allow good',
        '200 - - 1' ],
    [ 'any: denied, the gate accepts',      'GET /any/deny good',
        '200 ok accepted 1' ],
    [ 'any: denied, the gate accepts SOAP', 'POST /any/deny good',
        '200 ok accepted 1' ],
    [ 'any: denied, no token',              'GET /any/deny',
        '401 no_token refused 0', 'Bearer' ],
    [ 'any: denied, refused with 403',      'GET /any/deny alien',
        '403 audience_not_allowed refused 0', $alien ],
    [ 'any: denied, refused with a fault',  'POST /any/deny alien',
        '500 audience_not_allowed refused 0' ],
    [ 'any: password',                      'GET /any/basic right',
        '200 - - 1' ],
    [ 'any: password, SOAP',                'POST /any/basic right alien',
        '200 - - 1' ],
    [ 'any: wrong password, good token',    'POST /any/basic wrong good',
        '200 ok accepted 1', '' ],
    [ 'any: no password, good token',       'GET /any/basic good',
        '200 ok accepted 1', '' ],
    [ 'any: no password, token refused: the gate\'s status',
        'GET /any/basic alien', '403 audience_not_allowed refused 0' ],
    [ 'any: no password, no token: both challenges', 'GET /any/basic',
        '401 no_token refused 0', 'Basic|Bearer' ],
    [ 'any: no password, expired token: both challenges',
        'GET /any/basic late', '401 token_expired refused 0', "Basic|$late" ],
    [ 'any: wrong password, refused with a fault', 'POST /any/basic wrong late',
        '500 token_expired refused 0' ],
    [ 'any: asked, yes',                    'GET /any/asked yes',
        '200 - - 1' ],
    [ 'any: asked, no, good token',         'GET /any/asked forbidden good',
        '200 ok accepted 1', '' ],
    [ 'any: asked, unknown, good message',  'POST /any/asked unknown good',
        '200 ok accepted 1', '' ],
    [ 'any: asked, no, refused',            'POST /any/asked forbidden alien',
        '500 audience_not_allowed refused 0' ],
    [ 'any: asked, broken: final before the gate', 'GET /any/asked broken good',
        '500 - - 0' ],
    [ 'any: nothing but the gate, accepted', 'GET /any/alone good',
        '200 ok accepted 1' ],
    [ 'any: nothing but the gate, refused', 'GET /any/alone',
        '401 no_token refused 0', 'Bearer' ],
    [ 'any: the last of three grants',      'POST /any/three wrong yes alien',
        '200 - - 1', '' ],
    [ 'any: after three the gate accepts',
        'POST /any/three wrong unknown good', '200 ok accepted 1' ],
    [ 'any: after three the gate refuses',
        'GET /any/three unknown late', '401 token_expired refused 0' ],
    [ 'any: auth_delay, refused all the same', 'GET /any/delay late',
        '401 token_expired refused 0', $late ],
    [ 'any: auth_delay, accepted at once',  'GET /any/delay good',
        '200 ok accepted 1' ],

    [ 'dry run opens nothing that is denied', 'GET /dry/deny',
        '403 no_token would_refuse 0' ],
    [ 'dry run opens nothing, SOAP',        'POST /dry/deny alien',
        '403 audience_not_allowed would_refuse 0' ],
    [ 'dry run opens no password',          'POST /dry/basic wrong late',
        '401 token_expired would_refuse 0', 'Basic' ],
    [ 'dry run: password',                  'GET /dry/basic right',
        '200 - - 1' ],
    [ 'dry run: accepted opens',            'GET /dry/deny good',
        '200 ok accepted 1' ],
    [ 'dry run: allowed, gate not run',     'GET /dry/allow late',
        '200 - - 1' ],
    [ 'dry run alone refuses nobody',       'GET /dry/alone late',
        '200 token_expired would_refuse 1' ],
) {
    my ($name, $what, $expected, $challenges) = @$_;
    my ($method, $uri, @credentials) = split / /, $what;
    my ($token) = grep { defined } map { $token{$_} } @credentials;
    my @o = (headers => [ @forged,
        map { @{ $headers{$_} // [] } } @credentials ]);

    push @o, $method eq 'POST' ? (body => enroll_message($token))
           : $token ? (bearer => $token) : ();

    my $r = http_request($method, $uri, @o);
    my $seen = verdict($name, $r, $fleet, $expected);

    if (defined $challenges) {
        my @got = @{ $r->headers->{'www-authenticate'} // [] };
        s/ realm=.*|, error_description=.*// for @got;
        is(join('|', sort @got), $challenges, "$name: challenges");
    }
    if ($method eq 'POST' && $expected =~ /refused/) {
        isnt(fault($r)->{subcode}, undef, "$name: a fault");
    }
    if ($seen) {
        is(identity($seen), $expected !~ / ok / ? '' : 'upn=bob@example.com '
            . 'audience=' . CLIENT_V2 . ' token-version=2.0',
            "$name: identity");
        unlike($seen->header('x_entra_upn') // '', qr/./, "$name: forged");
        is($seen->body, $method eq 'POST' ? enroll_message($token) : '',
            "$name: body");
    }
}

$rules->requests;
like($t->error_log, qr/delaying unauthorized request/, 'auth_delay delays');

# a request whose body never comes is answered: nobody waits for the body

for (
    [ 'any: allowed', '/any/static/file', '405 - - 0' ],
    [ 'all: denied',  '/all/deny',        '403 - - 0' ],
    [ 'all: no password', '/all/basic',   '401 - - 0' ],
) {
    my ($name, $uri, $expected) = @$_;
    my $r = http_raw("POST $uri HTTP/1.1\r\nHost: a\r\n"
        . "Content-Length: 9000\r\n\r\n");
    verdict("$name before the body is read", $r, $fleet, $expected);
}

$t->done;
