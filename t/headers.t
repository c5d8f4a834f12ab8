#!/usr/bin/perl

# Who the backend is told a request comes from: the identity headers are ours
# alone.  What a client sends under their names is taken off on every way
# through nginx, and nothing else of a request changes.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

# The same proxy without the module: what a request looks like that nobody
# has touched.

my $plain = EntraMDM::Nginx->new(module => 0);
my $backend = EntraMDM::Backend->new($plain);
my $proxy = 'proxy_pass http://127.0.0.1:' . $backend->port . ';'
    . 'proxy_set_header Host $http_host;';

$plain->change(http => <<"EOC");
    underscores_in_headers on;
    ignore_invalid_headers off;
    server { listen 127.0.0.1:%%PORT_8080%%; location / { $proxy } }
EOC
$plain->start;

my $t = EntraMDM::Nginx->new(http => <<"EOC");

    entra_mdm_policy fleet {
        server_url   https://fleet.example.com;
        tenant_id    6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id    1b1b1111-2222-3333-4444-5555555555c1;
        jwks         file=%%DIR%%/keys.json;
        device_token pass;
    }
    entra_mdm_policy other {
        tenant_id    6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id    1b1b1111-2222-3333-4444-5555555555c1;
        jwks         file=%%DIR%%/keys.json;
        header_prefix X-Other-;
    }

    map \$http_x_entra_upn \$mapped { "" none; default \$http_x_entra_upn; }

    underscores_in_headers on;
    ignore_invalid_headers off;
    client_max_body_size 2m;

    # without any gate; the default server
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        add_header X-Seen "\$http_x_entra_upn" always;
        location / { $proxy }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        server_name fleet.example.com;

        set \$early "\$http_x_entra_upn/\$http_x_other_upn";
        add_header X-Result \$entra_mdm_result always;
        add_header X-Action \$entra_mdm_action always;
        entra_mdm fleet;

        location /           { $proxy }
        location /off        { entra_mdm off; $proxy }
        location /dry        { entra_mdm_dry_run on; $proxy }
        location /other      { entra_mdm other; $proxy }
        location /to-other   { error_page 418 = /other;
                               proxy_intercept_errors on; $proxy }
        location /to-off     { error_page 418 = /off;
                               proxy_intercept_errors on; $proxy }
        location /accel      { entra_mdm off; $proxy }
        location /try        { entra_mdm off; try_files /none \@named; }
        location /try-uri    { entra_mdm off; try_files /none /off; }
        location \@named     { entra_mdm off; $proxy }
        location /set {
            set \$late "\$http_x_entra_upn\$http_x_other_upn";
            if (\$http_x_entra_tenant_id) { return 409; }
            $proxy
            proxy_set_header Set "[\$early][\$late][\$mapped]";
        }
        location /auth       { entra_mdm off; auth_request /sub;
                               $proxy }
        location /auth-gated { auth_request /sub; $proxy }
        location = /sub      { internal; entra_mdm off; $proxy
                               proxy_pass_request_body off;
                               proxy_set_header Content-Length ""; }
        location /mirror     { mirror /mirrored; $proxy }
        location = /mirrored { internal; $proxy }
        location /empty      { $proxy proxy_set_header X-Entra-UPN ""; }
        location /own-value  { $proxy proxy_set_header X-Entra-UPN
                                    "nobody"; }
    }

    # requests that nginx itself refuses, and that go on to a backend
    server {
        listen 127.0.0.1:%%PORT_early%%;
        error_page 400 494 = /page;
        location /     { return 500; }
        location /page { $proxy }
    }
    server {
        listen 127.0.0.1:%%PORT_named%%;
        error_page 400 494 = \@page;
        location /      { return 500; }
        location \@page { set \$seen "[\$http_x_entra_upn]";
                          $proxy
                          proxy_set_header Set \$seen; }
    }
    server {
        listen 127.0.0.1:%%PORT_gated%%;
        error_page 400 494 = /page;
        location /     { return 500; }
        location /page { entra_mdm fleet token=bearer; $proxy
                         proxy_set_header X-User \$http_x_entra_upn; }
    }

EOC

my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

my @claims = (oid => undef, deviceid => undef, ver => undef,
    preferred_username => undef, upn => 'ann@example.com');
my $token = mint($key, claims_v2(@claims));
my $device = enroll_message('{"type":1}', value_type => 'http://schemas.'
    . 'microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/'
    . 'DeviceEnrollmentUserToken');

my @ann = ('X-Entra-UPN: ann@example.com', 'X-Entra-Tenant-ID: ' . TENANT,
    'X-Entra-Audience: ' . CLIENT_V2);
my @ann_as_other = map { s/Entra/Other/r } @ann;

# Whatever a name may be that some backend reads as one of the six.

my @six = qw(UPN Tenant-ID Object-ID Device-ID Audience Token-Version);
my @names = map({ ("X-Entra-$_", "x-entra-\L$_", "X-ENTRA-\U$_") } @six),
    my @odd = (qw(X_Entra_UPN x_entra-upn X-Entra_Tenant_ID X.Entra.UPN
        X~Entra|UPN X!Entra*UPN x-entra.object_id X'Entra`UPN X+Entra^UPN
        X_Other_UPN x-other-audience X.Other-Token_Version),
        "X\x80Entra\xffUPN");
push @names, @odd, map { "X-Other-$_" } @six;
my @forged = map { ($_ => 'eve@example.com') } @names;

sub is_identity {
    my ($name) = @_;
    return lc($name) =~ s/[^a-z0-9]/-/gr =~ /^x-(?:entra|other)-
        (?:upn|tenant-id|object-id|device-id|audience|token-version)$/x;
}

sub identity {
    my ($seen) = @_;
    return [ map { "$_->[0]: $_->[1]" }
             grep { is_identity($_->[0]) } @{ $seen->{list} } ];
}

# Each request that reaches the backend bears this identity.  A mirrored one
# may reach it after the answer to the first.

sub seen_as {
    my ($expected, $count, $name) = @_;
    my @seen;
    wait_for { push @seen, $backend->requests; @seen >= $count };
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is(@seen, $count, "$name: requests at the backend");
    is_deeply(identity($_), $expected, "$name: identity") for @seen;
    return @seen;
}


# which headers there are

for (
    [ 'v1', mint($key, claims_v1()), 'X-Entra-UPN: ann@example.com',
      'X-Entra-Tenant-ID: ' . TENANT,
      'X-Entra-Object-ID: 8c1b7e6a-5d4c-4b3a-9281-706f5e4d3c2b',
      'X-Entra-Device-ID: 11ea4b2e-0c39-4a7a-9a09-1a2b3c4d5e6f',
      'X-Entra-Audience: https://fleet.example.com',
      'X-Entra-Token-Version: 1.0' ],
    [ 'v2', mint($key, claims_v2()), 'X-Entra-UPN: bob@example.com',
      'X-Entra-Tenant-ID: ' . TENANT,
      'X-Entra-Object-ID: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9',
      'X-Entra-Audience: ' . CLIENT_V2, 'X-Entra-Token-Version: 2.0' ],
    [ 'few claims', $token, @ann ],
    [ 'claims of another type', mint($key, claims_v2(@claims, oid => 1,
        deviceid => [], ver => 2.0, upn => {},
        preferred_username => 'ann@example.com')), @ann ],
    [ 'the audience that matched', mint($key, claims_v2(@claims,
        aud => [ 'urn:one', 'https://fleet.example.com/x', CLIENT_V2 ])),
      @ann[ 0, 1 ], 'X-Entra-Audience: https://fleet.example.com/x' ],
    [ 'an audience with blanks', mint($key, claims_v2(@claims,
        aud => "  \U@{[ CLIENT_V2 ]} ")), @ann[ 0, 1 ],
      "X-Entra-Audience: %20%20\U@{[ CLIENT_V2 ]}%20" ],
    [ 'no user', mint($key, claims_v2(@claims, upn => undef)), @ann[ 1, 2 ] ],
) {
    my ($name, $jwt, @expected) = @$_;
    is(http_get('/', bearer => $jwt)->header('X-Action'), 'accepted', $name);
    seen_as(\@expected, 1, $name);
    http_post('/', enroll_message($jwt));
    seen_as(\@expected, 1, "$name, SOAP");
}

# their bytes

for (
    [ 'a percent sign',  'a%41b',             'a%2541b' ],
    [ 'a blank',         ' ann lee ',         '%20ann%20lee%20' ],
    [ 'UTF-8',           "j\x{fc}r\x{1f600}", 'j%C3%BCr%F0%9F%98%80' ],
    [ 'quotes, commas',  q{o'b"r,i;e\\n},     q{o'b"r,i;e\\n} ],
    [ 'looks encoded',   '%0d%0aX: y',        '%250d%250aX:%20y' ],
    [ 'long',            "\x{20ac}" x 900,    '%E2%82%AC' x 900 ],
    [ 'a line separator', "a\x{2028}b",       'a%E2%80%A8b' ],
) {
    my ($name, $upn, $expected) = @$_;
    my $jwt = mint($key, claims_v2(@claims, upn => $upn));
    http_post('/', enroll_message($jwt));
    seen_as([ "X-Entra-UPN: $expected", @ann[ 1, 2 ] ], 1, "value: $name");
}
for my $upn ("ann\r\nX-Entra-UPN: eve", "ann\n", "a\x01b", "a\x7f", "a\x{85}b") {
    my $r = http_get('/', bearer => mint($key, claims_v2(upn => $upn)));
    is($r->header('X-Result'), 'upn_invalid', 'control characters: refused');
}
is($backend->requests, 0, 'control characters: nothing reaches the backend');

# Every way through nginx.  How many requests reach the backend, and the
# identity they bear.

$backend->answer('/to-other' => { status => 418 },
    '/to-off' => { status => 418 }, '/accel' => { headers =>
        [ 'X-Accel-Redirect' => '/off' ] });

my @ways = (
    # name, uri, how many, expected, options
    [ 'accepted',                '/',          1, \@ann, bearer => $token ],
    [ 'entra_mdm off',           '/off',       1, [],    bearer => $token ],
    [ 'dry run, no token',       '/dry',       1, [] ],
    [ 'dry run, refused token',  '/dry',       1, [], bearer => 'a.b.c' ],
    [ 'dry run, accepted',       '/dry',       1, \@ann, bearer => $token ],
    [ 'another prefix',          '/other',     1, \@ann_as_other,
        bearer => $token ],
    [ 'the default server',      '/',          1, [], bearer => $token,
        headers => [ Host => 'other.example' ] ],
    [ 'device token',            '/',          1, [], body => $device ],
    [ 'a bearer and a device token', '/',      1, [], body => $device,
        bearer => $token ],
    [ 'X-Accel-Redirect',        '/accel',     2, [], bearer => $token ],
    [ 'named location',          '/try',       1, [], bearer => $token ],
    [ 'try_files',               '/try-uri',   1, [], bearer => $token ],
    [ 'auth_request',            '/auth',      2, [], bearer => $token ],
    [ 'mirror',                  '/mirror',    2, \@ann, bearer => $token ],
    [ 'proxy_set_header ""',     '/empty',     1, [ @ann[ 1, 2 ] ],
        bearer => $token ],
    [ 'proxy_set_header',        '/own-value', 1,
        [ 'X-Entra-UPN: nobody', @ann[ 1, 2 ] ], bearer => $token ],
);
for my $way (@ways) {
    my ($name, $uri, $count, $expected, %o) = @$way;
    my @headers = (@{ delete $o{headers} // [] }, @forged);
    my $method = $o{body} ? 'POST' : 'GET';

    http_request($method, $uri, %o, headers => \@headers);
    seen_as($expected, $count, $name);
    http2($method, $uri, %o, headers => \@headers, port => $t->port('h2'))
        if $uri =~ m{^/(?:off|dry)?$};
    seen_as($expected, $count, "$name, HTTP/2") if $uri =~ m{^/(?:off|dry)?$};
}

# where a request changes on its way

http_get('/auth-gated', bearer => $token, headers => \@forged);
my @seen = $backend->requests;
is_deeply([ map { identity($_) } @seen ], [ [], \@ann ],
    'auth_request runs before the gate, and is told nothing');

http_get('/to-other', bearer => $token, headers => \@forged);
is_deeply([ map { identity($_) } $backend->requests ],
    [ \@ann, \@ann_as_other ], 'another policy replaces the headers');
http_get('/to-off', bearer => $token, headers => \@forged);
is_deeply([ map { identity($_) } $backend->requests ], [ \@ann, \@ann ],
    'an accepted request stays so where there is no gate');

# what variables see

is(http_get('/set', bearer => $token, headers => \@forged)->status, 200,
    '$http_x_entra_... is empty in "if"');
is($backend->last->header('Set'), '[/][][ann@example.com]',
    '... and in set; a map asked behind the gate has ours');
http_get('/page', bearer => $token, headers => \@forged,
    port => $t->port('gated'));
is($backend->last->header('X-User'), 'ann@example.com',
    '... and behind the gate it is ours');
is(http_get('/', headers => [ Host => 'other.example', @forged ])
    ->header('X-Seen'), undef, '... and in answers');
is($backend->requests, 1, '... one request');

# requests that nginx refuses, whose error page is proxied

my $forged = join '', map { "$_: eve\r\n" } @names;
my %early = (
    'no Host'            => "GET / HTTP/1.1\r\n$forged\r\n",
    'two Hosts'          => "GET / HTTP/1.1\r\nHost: a\r\n${forged}Host: b"
                          . "\r\n\r\n",
    'bad Content-Length' => "GET / HTTP/1.1\r\nHost: a\r\n$forged"
                          . "Content-Length: x\r\n\r\n",
    'two Authorizations' => "GET / HTTP/1.1\r\nHost: a\r\n${forged}Authorization"
                          . ": Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    'length and chunks'  => "GET / HTTP/1.1\r\nHost: a\r\n${forged}Content-"
                          . "Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    'too large a header' => "GET / HTTP/1.1\r\nHost: a\r\n${forged}X: "
                          . 'x' x 40000 . "\r\n\r\n",
);
for my $name (sort keys %early) {
    http_raw($early{$name}, port => $t->port('early'));
    seen_as([], 1, "early error, $name");
    http_raw($early{$name}, port => $t->port('named'));
    my ($seen) = seen_as([], 1, "early error, $name, named location");
    is($seen && $seen->header('Set'), '[]',
        "early error, $name, named location: a variable");
    is(http_raw($early{$name}, port => $t->port('gated'))->status,
        $name eq 'two Authorizations' ? 400 : 401,
        "early error, $name, gated: refused");
    seen_as([], 0, "early error, $name, gated");
}
is(http_raw($early{'no Host'}, port => $t->port('8080'))->header('X-Seen'),
    undef, "nginx's own 400 has no forged variable either");

# nothing else of a request changes

my @untouched = (
    [ 'cookies, lists, twins', 'Cookie' => 'a=1; b=2', 'Cookie' => 'c=3',
      'X-Forwarded-For' => '10.0.0.1', 'X-Forwarded-For' => '10.0.0.2, ::1',
      'X-Entra-Other' => 'kept', 'X-Entra' => 'kept', 'X-Entra-UPN2' => 'kept',
      'X-EntraUPN' => 'kept', 'X--Entra-UPN' => 'kept', 'XX-Entra-UPN' => 'kept',
      'Accept' => 'a/b', 'accept' => 'c/d', 'Empty' => '', 'X_Under' => 'score',
      'X.Dot' => 'kept', 'Cookie' => 'd=4', 'Via' => '1.1 a' ],
    [ 'hundreds', map { ("X-Header-$_" => "value $_") } 1 .. 300 ],
    [ 'hundreds of twins', map { ("X-Header" => "value $_") } 1 .. 100 ],
    [ 'none' ],
);
for (@untouched) {
    my ($name, @headers) = @$_;

    http_get('/', headers => \@headers, port => $plain->port(8080));
    my $as_sent = $backend->last->{list};

    for my $every (0, 1, 2, 7, 20) {
        my @mixed = @headers;
        for (my $at = 0; $every && $at <= @mixed; $at += 2 * $every + 2) {
            splice @mixed, $at, 0, $names[ $at % @names ] => 'eve';
        }
        push @mixed, @forged if $every == 2;
        http_get('/off', headers => \@mixed);
        is_deeply($backend->last->{list}, $as_sent,
            "$name: as sent, a forged one in $every");
    }

    http_get('/', headers => [ @headers, @forged ], bearer => $token);
    my $seen = $backend->last;
    is_deeply([ grep { !is_identity($_->[0]) && $_->[0] ne 'Authorization' }
        @{ $seen->{list} } ], $as_sent, "$name: as sent, behind the gate");
    is($seen->header('Authorization'), "Bearer $token", "$name: with the token");
    is_deeply(identity($seen), \@ann, "$name: identity");
}

$plain->settle;
$t->done;
