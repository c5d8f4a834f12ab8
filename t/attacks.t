#!/usr/bin/perl

# A client with a raw connection, and the less used ways through nginx: no
# request reaches a gated backend without a verdict, and no identity but ours
# reaches any.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::HTTP2;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(level => 'notice', http => $Headers
    . fleet_policy() . <<'EOC');

    underscores_in_headers on;
    ignore_invalid_headers off;
    client_max_body_size 2m;
    proxy_cache_path %%DIR%%/cache keys_zone=cached:1m;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;

        # where nginx takes what it refuses itself
        error_page 400 405 413 414 494 505 = /refused;
        location /refused  { OPEN }

        location /gated/   { entra_mdm fleet; GATED }
        location = /gated/open { OPEN }
        location /         { OPEN }

        # a second request, made of the first when that is over
        location /then     { post_action /gated/then; OPEN }
        location /named    { post_action @then; OPEN }
        location @then     { entra_mdm fleet; GATED }

        # one that a cache makes in the background
        location /cached   {
            entra_mdm fleet;
            proxy_cache cached;
            proxy_cache_key $uri;
            proxy_cache_valid 200 1s;
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            GATED
        }
    }
EOC

$t->{http} =~ s{(OPEN|GATED)}{"proxy_pass http://127.0.0.1:%%PORT_" . lc($1)
    . '%%;'}ge;

my %backend = map { $_ => EntraMDM::Backend->new($t, $_) } qw(open gated);
my $key = new_key();
my $token = mint($key, claims_v2());

$t->write_file('keys.json', jwks($key));
$t->start;

# What of it the backends have seen: "open /uri" and so on, with the identity.

sub seen {
    return join ', ', map {
        my $name = $_;
        map { join ' ', $name, $_->uri, identity($_) || () }
            $backend{$name}->requests
    } qw(open gated);
}

sub sent {
    my ($name, $text, $expected) = @_;

    $text =~ s/\n/\r\n/g;
    http_raw([ $text ]);
    is(seen(), $expected, $name);
}

my $forged = "Host: a\nConnection: close\nX-Entra-UPN: evil\n";


# the path

for my $path ('/gated%2fx', '/gated/%78', '//gated//x', '/./gated/x',
              '/y/../gated/x', '/y/%2e%2e/gated/x', '/gated/open/../x',
              'http://a/gated/x', '/gated/x#/../open', '/gated/x?/../open')
{
    sent("gated by the path: $path", "GET $path HTTP/1.1\n$forged\n", '');
}
sent('HTTP/0.9', "GET /gated/x\n", '');


# headers that end, begin or go on where they should not

for my $case (
    [ 'a name and a blank', "X-Entra-UPN : evil\n", 'open /refused' ],
    [ 'a line that goes on', "A: b\n X-Entra-UPN: evil\n", 'open /refused' ],
    [ 'a tab before it', "A: b\n\tX-Entra-UPN: evil\n", 'open /refused' ],
    [ 'a CR within a value', "A: b\rX-Entra-UPN: evil\n", 'open /refused' ],
    [ 'a NUL in the name', "X-Entra-UPN\0: evil\n", 'open /refused' ],
    [ 'names that read like ours', "X_Entra.UPN: evil\nx~entra!upn: evil\n"
        . "X-ENTRA-UPN: evil\n", 'open /x' ],
    [ 'one name many times', "X-Entra-UPN: evil\n" x 50, 'open /x' ],
)
{
    my ($name, $lines, $expected) = @$case;
    sent($name, "GET /x HTTP/1.1\nHost: a\nConnection: close\n$lines\n",
        $expected);
}

my $c = http_connect();
$c->send([ "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    . "A: b\nX-Entra-UPN: evil\n\r\n" ]);
$c->response;
is(seen(), 'open /x', 'a line feed alone ends a line, and it is taken off');


# what nginx refuses, with a forged header before it

for my $case (
    [ 'TRACE', "TRACE /gated/x HTTP/1.1\n$forged\n" ],
    [ 'CONNECT', "CONNECT /gated/x HTTP/1.1\n$forged\n" ],
    [ 'a Host that is none', "GET /gated/x HTTP/1.1\nX-Entra-UPN: evil\n"
        . "Host: a/b\n\n" ],
    [ 'two Hosts', "GET /gated/x HTTP/1.1\nX-Entra-UPN: evil\nHost: a\n"
        . "Host: b\n\n" ],
    [ 'two lengths', "POST /gated/x HTTP/1.1\n${forged}Content-Length: 0\n"
        . "Content-Length: 5\n\nhello" ],
    [ 'a length and chunks', "POST /gated/x HTTP/1.1\n${forged}"
        . "Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n" ],
    [ 'a length with a sign', "GET /gated/x HTTP/1.1\n${forged}"
        . "Content-Length: +5\n\nhello" ],
) {
    sent("$case->[0]: its error page is told of nobody", $case->[1],
        'open /refused');
}


# HTTP/2: names and values that would be several lines of HTTP/1

for my $case (
    [ 'a value', 'a' => "b\r\nX-Entra-UPN: evil" ],
    [ 'a name', "a: b\r\nx-entra-upn" => 'evil' ],
    [ 'a name with a colon', 'x-entra-upn:' => 'evil' ],
    [ 'a name in capitals', 'X-Entra-UPN' => 'evil' ],
) {
    my ($name, @field) = @$case;
    my $stream = h2_connect($t->port('h2'), 65535);
    my $head = h2_head(1, 'GET', '/x', @field);

    substr $head, 4, 1, "\x05";         # the end of the stream
    $stream->send([ $head ]);
    wait_for { $stream->fill(0.01); grep { $_->[2] == 1 } h2_frames($stream) };
    unlike(seen(), qr/evil|upn/i, "HTTP/2: $name");
}


# what belongs to one connection is no business of the next

my $bob = 'upn=bob@example.com audience=' . CLIENT_V2 . ' token-version=2.0';

sent('a token, so that the others could have passed',
    "GET /gated/x HTTP/1.1\n${forged}Authorization: Bearer $token\n\n",
    "gated /gated/x $bob");
sent('Connection names an identity header',
    "GET /gated/x HTTP/1.1\nHost: a\nAuthorization: Bearer $token\n"
    . "Connection: close, X-Entra-UPN, X-Entra-Tenant-ID\n\n",
    "gated /gated/x $bob");
sent('a trailer', "POST /x HTTP/1.1\nHost: a\nConnection: close\n"
    . "Transfer-Encoding: chunked\n\n1\nx\n0\nX-Entra-UPN: evil\n\n", 'open /x');


# A token where none belongs.  Nothing of that is logged: see the end.

my $message = sub { enroll_message('', @_) };

for my $case (
    [ 'a scheme that is none', 'no_token',
        sub { http_get('/gated/x', headers => [ Authorization => $token ]) } ],
    [ 'another scheme', 'no_token', sub { http_get('/gated/x',
        headers => [ Authorization => "Basic $token" ]) } ],
    [ 'more behind it', 'token_malformed', sub { http_get('/gated/x',
        bearer => "$token $token") } ],
    [ 'four parts', 'token_malformed', sub { http_get('/gated/x',
        bearer => "$token.x") } ],
    [ 'as its own kid', 'key_unknown', sub { http_get('/gated/x',
        bearer => mint($key, claims_v2(), header => { kid => $token })) } ],
    [ 'as a ValueType', 'security_malformed', sub { http_post('/gated/x',
        enroll_message($token, value_type => $token)) } ],
    [ 'not in base64', 'token_malformed', sub { http_post('/gated/x',
        enroll_message('', text => $token)) } ],
    [ 'as a MessageID, and nowhere else', 'no_token', sub { http_post('/gated/x',
        $message->(message_id => $token, security => '')) } ],
    [ 'as a password', 'username_token', sub { http_post('/gated/x',
        $message->(security => '<wsse:Security><wsse:UsernameToken>'
        . "<wsse:Password>$token</wsse:Password></wsse:UsernameToken>"
        . '</wsse:Security>')) } ],
    [ 'as an element', 'message_malformed', sub { http_post('/gated/x',
        "<$token>") } ],
) {
    my ($name, $reason, $request) = @$case;
    my $r = $request->();

    is($r->header('X-Result'), $reason, "a token, $name: refused");
    unlike($r->raw, qr/\Q$token\E/, "a token, $name: not echoed")
        if $name !~ /MessageID/;
    is(seen(), '', "a token, $name: goes no further");
}


# requests that nginx makes of others

for my $path ('/then', '/named') {
    $t->mark;
    http_get($path, headers => [ 'X-Entra-UPN' => 'evil' ]);
    ok($t->wait_for_log(qr/refused, no_token/), "post_action $path: refused");
    is(seen(), "open $path", 'and goes no further');
}

my @then;

http_get('/then', bearer => $token, headers => [ 'X-Entra-UPN' => 'evil' ]);
wait_for { push @then, $backend{gated}->requests; @then };
is(identity($then[0]), $bob, 'post_action with a token: its identity');
is(seen(), 'open /then', 'which only the gated location is told');

is(http_get('/cached', bearer => $token)->status, 200, 'a cache is filled');
is(seen(), "gated /cached $bob", 'by a request with an identity');
is(http_get('/cached')->status, 401, 'nobody gets it without a token');

# until what is kept is stale, and the cache asks by itself
my @asked;

wait_for {
    http_get('/cached', headers => [ 'X-Entra-UPN' => 'evil' ]);
    http_get('/cached', bearer => $token,
        headers => [ 'X-Entra-UPN' => 'evil' ]);
    push @asked, $backend{gated}->requests;
    @asked;
};
is_deeply([ map { identity($_) } @asked ], [ ($bob) x @asked ],
    'in the background it asks for whom was accepted');

$t->done;
