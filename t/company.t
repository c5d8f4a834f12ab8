#!/usr/bin/perl

# The gate beside the rest of nginx: limits, caches, protocols, connections
# that carry many requests, and URIs that mean the same location.

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

my $t = EntraMDM::Nginx->new(http => $Headers . fleet_policy() . <<'EOC');

    client_max_body_size 4m;
    limit_req_zone $binary_remote_addr zone=requests:1m rate=1r/m;
    limit_conn_zone $binary_remote_addr zone=connections:1m;
    proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;

    upstream fleet { server 127.0.0.1:%%PORT_fleet%%; keepalive 4; }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        entra_mdm fleet;

        proxy_http_version 1.1;
        proxy_set_header Connection "";

        location /plain   { PROXY }
        location /request { limit_req zone=requests; PROXY }
        location /refused { limit_req zone=requests; PROXY }
        location /connect { limit_conn connections 1; PROXY }
        location /read    { limit_except GET { deny all; } PROXY }
        location /write   { limit_except POST { deny all; } PROXY }
        location /return  { return 200 "returned\n"; }
        location /stream  { proxy_request_buffering off; PROXY }
        location /file    { client_body_in_file_only on; PROXY }
        location /single  { client_body_in_single_buffer on;
                            client_body_buffer_size 1k; PROXY }
        location /zip     { gzip on; gzip_types *; gzip_min_length 1; PROXY }
        location /cached  {
            proxy_cache cache;
            proxy_cache_valid 200 1h;
            proxy_cache_methods GET POST;
            add_header X-Cache $upstream_cache_status always;
            add_header X-Result $entra_mdm_result always;
            add_header X-Action $entra_mdm_action always;
            PROXY
        }
    }

    server {
        listen 127.0.0.1:%%PORT_paths%%;

        location ^~ /api/mdm/microsoft/          { entra_mdm fleet; PROXY }
        location =  /api/mdm/microsoft/discovery { PROXY }
        location    /                            { PROXY }
    }

EOC

$t->{http} =~ s{PROXY}{proxy_pass http://fleet;}g;

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

my $v1 = mint($key, claims_v1());
my $v2 = mint($key, claims_v2());
my $late = mint($key, claims_v2(exp => time - 300));
my ($ann, $bob) = (enroll_message($v1), enroll_message($v2));

# limits come before the gate, for the good and the bad

verdict('limit_req: the first', http_get('/request', bearer => $v2), $fleet,
    '200 ok accepted 1');
verdict('limit_req: the second', http_get('/request', bearer => $v2), $fleet,
    '503 - - 0');
verdict('limit_req: no judging any more', http_post('/refused', 'x'), $fleet,
    '503 - - 0');

my $slow = http_connect();
$slow->send([ "POST /connect HTTP/1.1\r\nHost: a\r\nContent-Length: "
    . length($bob) . "\r\n\r\n" . substr $bob, 0, 99 ]);
my $r;
for (1 .. 100) {
    $r = http_get('/connect', bearer => $v2);
    last if $r->status == 503;
}
is($r->status . ' ' . ($r->header('X-Result') // '-'), '503 -',
    'limit_conn: while a body is being read');
$fleet->requests;
$slow->send([ substr $bob, 99 ]);
verdict('limit_conn: the first', $slow->response, $fleet,
    '200 ok accepted 1');

# [ promise, request, what becomes of it ]

for (
    [ 'limit_except GET: GET', [ GET => '/read', bearer => $v2 ],
        '200 ok accepted 1' ],
    [ 'limit_except GET: HEAD', [ HEAD => '/read', bearer => $v2 ],
        '200 ok accepted 1' ],
    [ 'limit_except GET: GET, refused', [ GET => '/read' ],
        '401 no_token refused 0' ],
    [ 'limit_except GET: POST', [ POST => '/read', body => $bob ],
        '403 - - 0' ],
    [ 'limit_except POST: POST', [ POST => '/write', body => $bob ],
        '200 ok accepted 1' ],
    [ 'limit_except POST: GET', [ GET => '/write', bearer => $v2 ],
        '403 - - 0' ],
    [ 'return comes before every access rule', [ GET => '/return' ],
        '200 - - 0' ],
    [ 'no request buffering', [ POST => '/stream', body => $bob,
        chunked => 99 ], '200 ok accepted 1' ],
    [ 'no request buffering, refused', [ POST => '/stream',
        body => enroll_message($late), chunked => 99 ],
        '500 token_expired refused 0' ],
    [ 'body always in a file', [ POST => '/file', body => $bob ],
        '200 ok accepted 1' ],
    [ 'body in a single buffer', [ POST => '/single', body => $bob,
        pieces => 700 ], '200 ok accepted 1' ],
    [ 'gzip: a fault is never compressed', [ POST => '/zip', body => 'x',
        headers => [ 'Accept-Encoding' => 'gzip' ] ],
        '400 message_malformed refused 0' ],
) {
    my ($name, $request, $expected) = @$_;
    my $r = http_request(@$request);
    my $seen = verdict($name, $r, $fleet, $expected);

    is($seen->body, $bob, "$name: body") if $seen && $seen->method eq 'POST';
    isnt(fault($r)->{subcode}, undef, "$name: a fault")
        if $request->[0] eq 'POST' && $expected =~ /refused/;
}

# what is cached is for the accepted

$fleet->answer('/cached' => { body => "for bob\n" });
$r = http_get('/cached', bearer => $v2);
verdict('cache: filled', $r, $fleet, '200 ok accepted 1');
for ([ 'no token', '401 no_token refused 0' ],
     [ 'an expired one', '401 token_expired refused 0', bearer => $late ])
{
    my ($name, $expected, @o) = @$_;
    $r = http_get('/cached', @o);
    verdict("cache: $name", $r, $fleet, $expected);
    unlike($r->raw, qr/for bob|HIT/, "cache: $name, nothing of it");
}
$r = http_get('/cached', bearer => $v1);
verdict('cache: served', $r, $fleet, '200 ok accepted 0');
is($r->header('X-Cache') . ' ' . $r->body, "HIT for bob\n", 'cache: a hit');

# HTTP/1.0, pipelines, absolute URIs

my $post = "Content-Length: " . length($bob) . "\r\n\r\n$bob";

verdict('HTTP/1.0, bearer', http_raw("GET /plain HTTP/1.0\r\n"
    . "Authorization: Bearer $v2\r\n\r\n"), $fleet, '200 ok accepted 1');
verdict('HTTP/1.0, SOAP', http_raw("POST /plain HTTP/1.0\r\n$post"), $fleet,
    '200 ok accepted 1');
verdict('HTTP/1.0, no length', http_raw("POST /plain HTTP/1.0\r\n\r\n$bob"),
    $fleet, '400 message_malformed refused 0');
verdict('absolute URI, SOAP', http_raw(
    "POST http://fleet.example.com/plain HTTP/1.1\r\nHost: a\r\n$post"),
    $fleet, '200 ok accepted 1');
verdict('absolute URI, refused', http_raw(
    "GET http://elsewhere/plain HTTP/1.1\r\nHost: a\r\n\r\n"),
    $fleet, '401 no_token refused 0');

my $c = http_connect();
$c->send([ "GET /plain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer $v2\r\n\r\n"
    . "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"
    . "POST /plain HTTP/1.1\r\nHost: a\r\n$post"
    . "POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    . "POST /plain HTTP/1.1\r\nHost: a\r\n$post" ]);
is(join(' ', map { $_->header('X-Result') } map { $c->response } 1 .. 5),
    'ok no_token ok message_malformed ok', 'five in one write');
is(join('|', map { identity($_) =~ /^(\w+=\w+)/ } $fleet->requests),
    'upn=bob|upn=bob|upn=bob', 'five in one write: identities');

# one connection here, few to the backend: nobody is taken for another

my @expected;
for my $n (1 .. 12) {
    my ($who, @request) = @{ ([ ann => POST => '/plain', body => $ann ],
        [ '', GET => '/plain' ], [ bob => GET => '/plain', bearer => $v2 ],
        [ '', POST => '/plain', body => enroll_message($late) ],
        [ bob => POST => '/plain', body => $bob, chunked => 500 ])[$n % 5] };

    $r = $c->request(@request);
    is($r->header('X-Action'), $who ? 'accepted' : 'refused',
        "keepalive, $n");
    push @expected, $who if $who;
}
is(join(' ', map { identity($_) =~ /^upn=(\w+)/ } $fleet->requests),
    "@expected", 'keepalive: identities');

# HTTP/2: many streams of one connection

$r = http2(POST => '/plain', body => $bob, port => $t->port('h2'));
verdict('HTTP/2, SOAP', $r, $fleet, '200 ok accepted 1');
$r = http2(POST => '/plain', body => 'x', port => $t->port('h2'));
verdict('HTTP/2, refused', $r, $fleet, '400 message_malformed refused 0');
is(fault($r)->{subcode}, 's:MessageFormat', 'HTTP/2, a fault');
$r = http2(GET => '/plain', bearer => $v2, port => $t->port('h2'));
verdict('HTTP/2, bearer', $r, $fleet, '200 ok accepted 1');
$r = http2(HEAD => '/plain', bearer => $late, port => $t->port('h2'));
verdict('HTTP/2, bearer refused', $r, $fleet, '401 token_expired refused 0');

for ([ 'accepted', $bob, '40 2xx, 0 3xx, 0 4xx, 0 5xx', 40 ],
     [ 'refused', enroll_message($late), '0 2xx, 0 3xx, 0 4xx, 40 5xx', 0 ])
{
    my ($name, $message, $codes, $reached) = @$_;
    my $file = $t->write_file('message', $message);
    my $said = `h2load -n 40 -c 2 -m 10 -d $file http://127.0.0.1:${\
        $t->port('h2')}/plain 2>&1`;

    like($said, qr/status codes: $codes/, "HTTP/2, 40 streams $name");
    my @seen = $fleet->requests;
    is(scalar @seen, $reached, "HTTP/2, 40 streams $name: reached");
    is(scalar(grep { $_->body ne $message } @seen), 0,
        "HTTP/2, 40 streams $name: bodies");
}

# every way to write the path leads into the gated location, or to nothing

for my $uri (split ' ', <<'END') {
    /api/mdm/microsoft/enroll
    //api/mdm/microsoft/enroll
    /api//mdm///microsoft//enroll
    /api/./mdm/microsoft/./enroll
    /api/x/../mdm/microsoft/enroll
    /api/mdm/microsoft/x/../enroll
    /../api/mdm/microsoft/enroll
    /api/mdm/microsoft/%2e/enroll
    /api/%2e%2e/api/mdm/microsoft/enroll
    /%61pi/mdm/micr%6fsoft/enroll
    /api%2Fmdm%2fmicrosoft%2Fenroll
    /api/mdm/microsoft/enroll/
    /api/mdm/microsoft/enroll?x=/discovery
    /api/mdm/microsoft/enroll#discovery
    /api/mdm/microsoft/enroll;x
    /api/mdm/microsoft/discovery/../enroll
    /api/mdm/microsoft/discovery/
    /api/mdm/microsoft/Discovery
    /api/mdm/microsoft/discovery%20
    /api/mdm/microsoft/discovery%2f
    /api/mdm/microsoft/
    http://elsewhere/api/mdm/microsoft/enroll
END
    $r = http_raw("GET $uri HTTP/1.1\r\nHost: a\r\n\r\n",
        port => $t->port('paths'));
    if ($uri =~ m{^/\.\./}) {
        verdict("GET $uri", $r, $fleet, '400 - - 0');
        next;
    }
    verdict("GET $uri", $r, $fleet, '401 no_token refused 0');
    $r = http_raw("POST $uri HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        port => $t->port('paths'));
    verdict("POST $uri", $r, $fleet, '400 message_malformed refused 0');
}
$r = http_get('/api/mdm/microsoft/x/../discovery', port => $t->port('paths'));
verdict('discovery by another path', $r, $fleet, '200 - - 1');

$t->done;
