#!/usr/bin/perl

# The token in the Authorization header: where it may stand, which requests
# are asked for it there, and what a client hears that is refused.

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

my $t = EntraMDM::Nginx->new(http => <<'EOC');

    large_client_header_buffers 4 32k;
    lingering_timeout 100ms;

    add_header X-Result $entra_mdm_result always;
    add_header X-Action $entra_mdm_action always;

    entra_mdm_policy fleet {
        server_url https://fleet.example.com;
        tenant_id  6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id  1b1b1111-2222-3333-4444-5555555555c1;
        jwks       file=%%DIR%%/keys.json;
    }

    entra_mdm_policy short {
        server_url https://fleet.example.com;
        tenant_id  6d8769e6-0f8b-418d-b385-1a53968781c9;
        jwks       file=%%DIR%%/keys.json;
        max_token  2000;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;

        client_max_body_size 4m;
        proxy_http_version 1.1;

        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /bearer {
            entra_mdm fleet token=bearer;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /short {
            entra_mdm short;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();
my $token = mint($key, claims_v1());

$t->write_file('keys.json', jwks($key));
$t->start;

# the header

my @headers = (
    [ 'as Windows writes it',      "Bearer $token",           'ok' ],
    [ 'scheme in lower case',      "bearer $token",           'ok' ],
    [ 'scheme in upper case',      "BEARER $token",           'ok' ],
    [ 'scheme in mixed case',      "bEaReR $token",           'ok' ],
    [ 'two blanks',                "Bearer  $token",          'ok' ],
    [ 'many blanks',               'Bearer' . ' ' x 100 . $token, 'ok' ],
    [ 'blanks at the end, which are no part of a header value',
                                   "Bearer $token   ",        'ok' ],
    [ 'no header',                 undef,                     'no_token' ],
    [ 'an empty header',           '',                        'no_token' ],
    [ 'another scheme',            'Basic YW5uOnNlY3JldA==',  'no_token' ],
    [ 'another scheme before a token', "Negotiate $token",    'no_token' ],
    [ 'a scheme that begins like ours', "Bearers $token",     'no_token' ],
    [ 'a scheme that ours begins like', "Bear $token",        'no_token' ],
    [ 'the scheme alone',          'Bearer',                  'no_token' ],
    [ 'the scheme and blanks',     'Bearer   ',               'no_token' ],
    [ 'a token alone',             $token,                    'no_token' ],
    [ 'no blank between',          "Bearer$token",            'no_token' ],
    [ 'a tab between',             "Bearer\t$token",          'no_token' ],
    [ 'a colon between',           "Bearer: $token",          'no_token' ],
    [ 'a blank and a tab',         "Bearer \t$token",  'token_malformed' ],
    [ 'text after the token',      "Bearer $token x",  'token_malformed' ],
    [ 'a tab after the token',     "Bearer $token\t",  'token_malformed' ],
    [ 'a comma after the token',   "Bearer $token,",   'token_malformed' ],
    [ 'a parameter after the token', "Bearer $token, realm=x",
                                                       'token_malformed' ],
    [ 'the token twice',           "Bearer $token $token",
                                                       'token_malformed' ],
    [ 'the token twice, separated by a comma', "Bearer $token,$token",
                                                       'token_malformed' ],
    [ 'the scheme twice',          "Bearer Bearer $token",
                                                       'token_malformed' ],
    [ 'the token in quotes',       "Bearer \"$token\"", 'token_malformed' ],
    [ 'a blank inside the token',  'Bearer ' . $token =~ s/\./. /r,
                                                       'token_malformed' ],
    [ 'the scheme of a token68 parameter', "Bearer token=$token",
                                                       'token_malformed' ],
    [ 'wrapped once more, as it stands in a message',
          'Bearer ' . b64url($token),                  'token_malformed' ],
);

for (@headers) {
    my ($name, $value, $result) = @$_;
    my @header = defined $value ? (Authorization => $value) : ();
    decided(http_get('/tos', headers => \@header), $result, $name);
}

# nginx logs both values at info level itself: no real token here
is(http_get('/tos', headers => [ Authorization => 'Bearer a',
    Authorization => 'Bearer b' ])->status, 400, 'two headers: not even read');
is($backend->requests, 0, 'two headers: nothing has reached the backend');

# what goes on

http_get('/tos?mode=azureadjoin', bearer => $token,
    headers => [ 'CXH-HOST' => 'FRX' ]);
my $seen = $backend->last;
is($seen->uri, '/tos?mode=azureadjoin', 'forwarded: uri');
is($seen->header('Authorization'), "Bearer $token", 'forwarded: token');
is($seen->header('CXH-HOST'), 'FRX', 'forwarded: other headers');
is($seen->header('X-Entra-UPN'), 'ann@example.com', 'forwarded: identity');

# methods: all but POST carry the token in the header, and no body

for my $method (qw(GET HEAD PUT DELETE OPTIONS PATCH PROPFIND QUERY POSTS
    X-POST))
{
    decided(http_request($method => '/tos', bearer => $token), 'ok', $method);
    decided(http_request($method => '/tos'), 'no_token',
        "$method without a token");
    decided(http_request($method => '/tos', bearer => $token, body => ''),
        'ok', "$method with a length of 0");
    decided(http_request($method => '/tos', bearer => $token, body => 'x'),
        'message_malformed', "$method with a body");
    decided(http_request($method => '/tos', bearer => $token, body => 'x',
        chunked => 1), 'message_malformed', "$method with a chunked body");
}

decided(http_request(GET => '/tos', bearer => $token, body => '',
    chunked => 1), 'message_malformed', 'a chunked body without a byte');
decided(http_request(PUT => '/enroll', bearer => $token,
    body => enroll_message($token), headers => [ 'Content-Type' =>
    'application/soap+xml' ]), 'message_malformed',
    'a message by another method than POST');
decided(http_request(PUT => '/tos', bearer => $token, body => 'x',
    expect => 1), 'message_malformed', 'a body that is announced and waits');
decided(http_post('/enroll', 'x', bearer => $token), 'message_malformed',
    'POST is a message, whatever its header says');
is(http_request(post => '/tos', bearer => $token)->status, 400,
    'a method in lower case is none');
is($backend->requests, 0, 'which has not reached the backend');

# with token=bearer a body is the backend's business

my $message = enroll_message($token);

for ([ GET => '' ], [ POST => $message ], [ PUT => "\0\xff\r\n" ],
     [ POST => $message, chunked => 100 ], [ POST => $message, expect => 1 ],
     [ POST => "x" x 100_000, pieces => 9000 ])
{
    my ($method, $body, @how) = @$_;
    my $name = join ' ', 'token=bearer:', $method, @how;
    my $r = http_request($method => '/bearer', bearer => $token,
        body => $body, @how);
    is($r->header('X-Result'), 'ok', $name);
    is($backend->last->body, $body, "$name: the body as it was sent");
}

decided(http_post('/bearer', $message), 'no_token',
    'token=bearer: a token in the message is none');
decided(http_post('/bearer', $message, bearer => 'x'), 'token_malformed',
    'token=bearer: nor does it stand in for a bad one');

# the challenge (RFC 6750 3)

my $late = mint($key, claims_v1(exp => time - 3600));
my $scope = mint($key, claims_v1(scp => 'User.Read'));

my @challenges = (
    [ 'nothing presented', 401, 'no_token', undef, {} ],
    [ 'no token at all', 401, 'token_malformed', 'invalid_token',
      { bearer => 'x' } ],
    [ 'a token that verifies no more', 401, 'token_expired', 'invalid_token',
      { bearer => $late } ],
    [ 'a token for something else', 403, 'scope_not_allowed',
      'insufficient_scope', { bearer => $scope } ],
    [ 'a body', 400, 'message_malformed', 'invalid_request',
      { bearer => $token, body => 'x' } ],
);

for (@challenges) {
    my ($name, $status, $result, $error, $how) = @$_;
    my $r = http_request(GET => '/tos', %$how);

    is($r->status, $status, "challenge: $name: status");
    decided($r, $result, "challenge: $name");
    like($r->header('WWW-Authenticate'), defined $error
        ? qr/^Bearer error="$error", error_description="[^"\\]+"$/
        : qr/^Bearer$/, "challenge: $name: as RFC 6750 writes it");
    is(scalar @{ $r->headers->{'www-authenticate'} }, 1,
        "challenge: $name: one");
    is($r->header('Content-Length'), length $r->body,
        "challenge: $name: a body of known length");
    cmp_ok(length $r->body, '<', 500, "challenge: $name: a short body");
    unlike($r->raw, qr/eyJ|Ann|ann\@/, "challenge: $name: nothing of a token");
}

is(http_request(HEAD => '/tos')->body, '', 'HEAD: refused without a body');
unlike(http_get('/tos', bearer => $token)->raw, qr/WWW-Authenticate/i,
    'accepted: no challenge');
$backend->requests;

# one connection

my $c = http_connect();
decided($c->request(GET => '/tos'), 'no_token', 'connection: refused');
decided($c->request(GET => '/tos', bearer => $scope), 'scope_not_allowed',
    'connection: refused with a token');
decided($c->request(GET => '/tos', bearer => $token), 'ok',
    'connection: then accepted');
decided($c->request(GET => '/tos'), 'no_token',
    'connection: what was accepted is not remembered');
decided($c->request(POST => '/bearer', body => 'x' x 5000), 'no_token',
    'connection: refused with a body');
decided($c->request(GET => '/tos', bearer => $token), 'ok',
    'connection: goes on behind the body');
decided($c->request(GET => '/tos', body => "GET /tos HTTP/1.1\r\n"
    . "Host: a\r\nAuthorization: Bearer $token\r\n\r\n"), 'message_malformed',
    'connection: a request in a body');
ok($c->closed, 'connection: is not read as one');
is($backend->requests, 0, 'connection: and does not reach the backend');

# length

for ([ '/short', 2000 ], [ '/tos', 16 * 1024 ]) {
    my ($uri, $max) = @$_;
    decided(http_get($uri, bearer => token_of($max)), 'ok',
        "a token of $max bytes: as long as max_token allows");
    decided(http_get($uri, bearer => token_of($max + 1)), 'token_malformed',
        'one byte longer');
}

decided(http_get('/tos', bearer => token_of(12_000), pieces => 700), 'ok',
    'a token that arrives in pieces');
decided(http_get('/tos', bearer => 'x' x 30_000), 'token_malformed',
    'as long as nginx takes a header');
is(http_get('/tos', bearer => 'x' x 40_000)->status, 400,
    'longer than nginx takes a header');
is($backend->requests, 0, 'which has not reached the backend');

# HTTP/2

my @h2 = (port => $t->port('h2'));

decided(http2(GET => '/tos', @h2, bearer => $token), 'ok', 'HTTP/2');
is(http2(GET => '/tos', @h2)->status, 401, 'HTTP/2: refused: status');
is(http2(GET => '/tos', @h2)->header('WWW-Authenticate'), 'Bearer',
    'HTTP/2: refused: challenge');
decided(http2(HEAD => '/tos', @h2, bearer => $token), 'ok', 'HTTP/2: HEAD');
decided(http2(GET => '/tos', @h2, bearer => token_of(12_000)), 'ok',
    'HTTP/2: a long token');
refused_early('HTTP/2: a body');
refused_early('HTTP/2: a body of unknown length',
    headers => [ 'Content-Length' => '' ]);
decided(http2(POST => '/tos', @h2, bearer => $token, body => 'x'),
    'message_malformed', 'HTTP/2: POST is a message');
is(http2(PUT => '/bearer', @h2, bearer => $token, body => $message)->status,
    200, 'HTTP/2: token=bearer');
is($backend->last->body, $message, 'HTTP/2: the body as it was sent');

$t->done;


# nginx answers before curl has sent the body, which curl may take for a broken
# stream: the log tells what it was answered.

sub refused_early {
    my ($name, @how) = @_;

    $t->mark;
    open my $stderr, '>&', \*STDERR or die;
    open STDERR, '>', '/dev/null' or die;
    http2(GET => '/tos', @h2, bearer => $token, body => 'x', @how);
    open STDERR, '>&', $stderr or die;
    ok($t->wait_for_log(qr{message_malformed: .*"GET /tos HTTP/2\.0"}), $name);
    is($backend->requests, 0, "$name: nothing has reached the backend");
}


# The reason, the action that goes with it, and what the backend saw.

sub decided {
    my ($r, $result, $name) = @_;
    my $action = $result eq 'ok' ? 'accepted' : 'refused';

    is(($r->header('X-Result') // 'none') . ', '
        . ($r->header('X-Action') // 'none') . ', '
        . $backend->requests . ' forwarded',
        "$result, $action, " . ($result eq 'ok' ? 1 : 0) . ' forwarded',
        $name);
}

# A good token of exactly that length.

sub token_of {
    my ($length) = @_;

    for my $typ ('JWT', 'JWTS', 'at+jwt', 'JOSE+JSON') {
        my $pad = '';
        for (1 .. 8) {
            my $long = mint($key, claims_v1(pad => $pad),
                header => { typ => $typ });
            my $missing = $length - length $long;
            return $long if $missing == 0;
            $pad = 'x' x (length($pad) + int($missing * 3 / 4) || 1);
        }
    }
    die "no token of $length bytes";
}
