#!/usr/bin/perl

# Subrequests are not judged: one enters a gated location only if its main
# request was accepted or passed there, by the same policy.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $nginx = $ENV{ENTRA_MDM_NGINX} // 'nginx';
my $built = `PATH=\$PATH:/usr/sbin $nginx -V 2>&1`;
my $addition = $built =~ /http_addition_module/;
my $slice = $built =~ /http_slice_module/;

my $t = EntraMDM::Nginx->new(http => $Headers
    . fleet_policy('device_token pass;') . fleet_policy('', 'other') . <<'EOC'

    client_max_body_size 4m;
    client_body_buffer_size 4k;         # so that bodies lie in files
    underscores_in_headers on;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        entra_mdm fleet;
        root %%DIR%%;

        # the main request, and what it asks for

        location /accepted/copy   { mirror /copy; FLEET }
        location /accepted/free   { mirror /free; FLEET }
        location /accepted/other  { mirror /other; FLEET }
        location /accepted/hop    { mirror /hop; FLEET }
        location /accepted/ask    { auth_request /copy; FLEET }
        location /accepted/to     { FLEET }
        location /accepted/page   { ssi on; ssi_types *; }
        location /inside/ask      { internal; auth_request /copy; FLEET }

        location /off/copy        { entra_mdm off; mirror /copy; FLEET }
        location /off/free        { entra_mdm off; mirror /free; FLEET }
        location /off/hop         { entra_mdm off; mirror /hop; FLEET }
        location /off/accel       { entra_mdm off; mirror /accel; FLEET }
        location /off/ask         { entra_mdm off; auth_request /copy; FLEET }
        location /off/page        { entra_mdm off; ssi on; ssi_types *; }
        location /off/line        { entra_mdm off; ssi on; ssi_types *; }

        location /granted/copy    { satisfy any; allow all; mirror /copy;
                                    FLEET }

        location /dry/copy        { entra_mdm_dry_run on; mirror /copy; FLEET }
        location /dry/dry         { entra_mdm_dry_run on; mirror /dry-copy;
                                    FLEET }

        # where subrequests go

        location = /copy     { COPY }
        location = /free     { entra_mdm off; COPY }
        location = /other    { entra_mdm other; COPY }
        location = /hop      { entra_mdm off; try_files /nothing /copy; }
        location = /accel    { entra_mdm off; COPY }
        location = /dry-copy { entra_mdm_dry_run on; COPY }

        ADDITION
        SLICE
    }

    # the same nginx as a backend: it takes off identity headers, of course

    log_format parts "$http_range $http_x_who";

    server {
        listen 127.0.0.1:%%PORT_parts%%;
        root %%DIR%%;
        access_log %%DIR%%/parts.log parts;
    }

EOC
);

$t->{http} =~ s{FLEET}{proxy_pass http://127.0.0.1:%%PORT_fleet%%;}g;
$t->{http} =~ s{COPY}{proxy_pass http://127.0.0.1:%%PORT_copy%%;}g;
$t->{http} =~ s{ADDITION}{!$addition ? '' : <<'EOC'}e;
    location /accepted/before { add_before_body /copy; addition_types *; FLEET }
    location /off/before      { add_before_body /copy; addition_types *;
                                entra_mdm off; FLEET }
EOC
$t->{http} =~ s{SLICE}{!$slice ? '' : <<'EOC'}e;
    location /accepted/slice {
        slice 4;
        proxy_set_header Range $slice_range;
        proxy_set_header X-Who $entra_mdm_upn;
        proxy_pass http://127.0.0.1:%%PORT_parts%%;
    }
EOC
$t->{http} =~ s{FLEET}{proxy_pass http://127.0.0.1:%%PORT_fleet%%;}g;

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $copy = EntraMDM::Backend->new($t, 'copy');
my $key = new_key();

$fleet->answer('/accepted/to' => { headers =>
    [ 'X-Accel-Redirect' => '/inside/ask' ] });
$copy->answer('/accel' => { headers => [ 'X-Accel-Redirect' => '/copy' ] },
    '/copy' => { body => "a copy\n" });
$t->write_file('keys.json', jwks($key));
mkdir $t->dir . "/$_" for qw(accepted off);
$t->write_file("$_/page", qq(<!--#include virtual="/copy" --> end\n))
    for qw(accepted off);
$t->write_file('off/line',
    qq(<!--#include virtual="/accepted/\$arg_x" --> end\n));
$t->write_file('accepted/slice', '12345678');
$t->start;

my $fleets = 'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/'
    . 'Enrollment/DeviceEnrollmentUserToken';
my %token = (
    good => mint($key, claims_v2()),
    alien => mint($key, claims_v2(aud => 'https://elsewhere.example.com')),
);
my %message = (
    good => enroll_message($token{good}),
    alien => enroll_message($token{alien}),
    device => enroll_message('{"type":1}', value_type => $fleets),
);
my $gate = qr/subrequest "\/copy" refused by policy "fleet": /;

# [ promise, request and token, what becomes of it, copies, logged ]

for (
    [ 'mirror: accepted',              'POST /accepted/copy good',
        '200 ok accepted 1', 1 ],
    [ 'mirror: accepted, bearer',      'GET /accepted/copy good',
        '200 ok accepted 1', 1 ],
    [ 'mirror: device token passed',   'POST /accepted/copy device',
        '200 device_token passed 1', 1 ],
    [ 'mirror: refused',               'POST /accepted/copy alien',
        '500 audience_not_allowed refused 0', 0 ],
    [ 'mirror: refused, bearer',       'GET /accepted/copy',
        '401 no_token refused 0', 0 ],
    [ 'mirror to where no gate is',    'POST /accepted/free good',
        '200 ok accepted 1', 1 ],
    [ 'mirror to another policy',      'POST /accepted/other good',
        '200 ok accepted 1', 0,
        qr/subrequest "\/other" refused by policy "other": / ],
    [ 'mirror by a detour',            'POST /accepted/hop good',
        '200 ok accepted 1', 1 ],
    [ 'no gate, then a gate',          'POST /off/copy good', '200 - - 1', 0,
        $gate ],
    [ 'no gate, then a gate, bearer',  'GET /off/copy good', '200 - - 1', 0,
        $gate ],
    [ 'no gate, no gate',              'GET /off/free', '200 - - 1', 1 ],
    [ 'no gate, then a gate by a detour', 'GET /off/hop', '200 - - 1', 0,
        $gate ],
    [ 'no gate, then a gate by X-Accel-Redirect', 'GET /off/accel',
        '200 - - 1', 1, $gate ],
    [ 'granted by another rule, then a gate', 'GET /granted/copy good',
        '200 - - 1', 0, $gate ],
    [ 'auth_request to a gate',        'GET /off/ask good', '403 - - 0', 0,
        $gate ],
    [ 'auth_request before its own gate', 'GET /accepted/ask good',
        '403 - - 0', 0, $gate ],
    [ 'auth_request after acceptance', 'GET /accepted/to good',
        '200 ok accepted 2', 1 ],
    [ 'SSI: accepted',                 'GET /accepted/page good',
        '200 ok accepted 0', 1 ],
    [ 'SSI: no gate, then a gate',     'GET /off/page good', '200 - - 0', 0,
        $gate ],
    [ 'dry run to a strict gate',      'POST /dry/copy alien',
        '200 audience_not_allowed would_refuse 1', 0, $gate ],
    [ 'dry run to a strict gate, accepted', 'POST /dry/copy good',
        '200 ok accepted 1', 1 ],
    [ 'dry run to dry run',            'POST /dry/dry alien',
        '200 audience_not_allowed would_refuse 1', 1 ],
    !$addition ? () : (
    [ 'add_before_body: accepted',     'GET /accepted/before good',
        '200 ok accepted 1', 1 ],
    [ 'add_before_body: no gate, then a gate', 'GET /off/before',
        '200 - - 1', 0, $gate ] ),
) {
    my ($name, $what, $expected, $copies, $logged) = @$_;
    my ($method, $uri, $whose) = split / /, $what;
    my @o = (headers => [ 'X-Entra-UPN' => 'eve', 'X_Entra_UPN' => 'eve' ]);

    push @o, body => $message{$whose} if $method eq 'POST';
    push @o, bearer => $token{$whose} if $method eq 'GET' && $whose;

    $t->mark;
    my $r = http_request($method, $uri, @o);
    my $seen = verdict($name, $r, $fleet, $expected);

    # a mirror is not waited for, nor its line in the log

    my @copies;
    wait_for { push @copies, $copy->requests; @copies >= $copies };
    is(scalar @copies, $copies, "$name: copies");
    $logged ? like($t->wait_for_log(qr/subrequest.*refused/) // '', $logged,
                "$name: logged")
            : unlike($t->new_log, qr/subrequest/, "$name: nothing logged");

    my $accepted = $expected =~ / ok /;
    for ($seen // (), @copies) {
        like(identity($_), $accepted ? qr/^upn=bob\@example.com / : qr/^$/,
            "$name: identity in " . $_->uri);
        is($_->header('X_Entra_UPN'), undef, "$name: not forged");
    }
    if ($method eq 'POST') {
        is($_->body, $message{$whose}, "$name: body of the copy") for @copies;
        is($seen->body, $message{$whose}, "$name: body") if $seen;
    }
}

like(http_get('/accepted/page', bearer => $token{good})->body,
    qr/^a copy\n end$/, 'SSI: the part is there');
unlike(http_get('/off/page', bearer => $token{good})->body, qr/a copy/,
    'SSI: the part is not there');
$copy->requests;

# the line in the log is one line, whatever the URI of a subrequest holds

$t->mark;
http_get('/off/line?x=%0A2026/01/01%2000:00:00%20[error]%20forged');
my $line = $t->wait_for_log(qr/subrequest.*refused by policy/);
like($line, qr{subrequest "/accepted/\\x0A2026/01/01 }, 'SSI: a line feed is escaped');
unlike($t->new_log, qr/^2026\/01\/01 00:00:00 \[error\] forged" refused/m,
    'SSI: and makes no line of its own');

SKIP: {
    skip 'nginx has no slice module', 4 if !$slice;

    my $r = http_get('/accepted/slice', bearer => $token{good});
    is($r->status . ' ' . $r->body, '200 12345678', 'slice: accepted');
    $t->wait_for_log('4-7', 'parts.log');
    is($t->file('parts.log'), "bytes=0-3 bob\@example.com\n"
        . "bytes=4-7 bob\@example.com\n", 'slice: every part');

    is(http_get('/accepted/slice')->status, 401, 'slice: refused');
    is($t->file('parts.log') =~ tr/\n//, 2, 'slice: no part');
}

$t->done;
