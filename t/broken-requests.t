#!/usr/bin/perl

# What nginx itself refuses, while it reads a header or a body, and an error
# page then leads into a gated location: the request does not pass, does not
# hang, and carries nothing forged.

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

# At level info nginx itself would log the headers it refuses, tokens included.

my $t = EntraMDM::Nginx->new(level => 'notice', http => $Headers
    . fleet_policy() . fleet_policy('', 'other')
    . fleet_policy('max_body 4k;', 'small') . <<'EOC');

    client_max_body_size 16k;
    underscores_in_headers on;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        entra_mdm fleet;

        location /plain  { PROXY }
        location /uri    { error_page 400 408 413 /again; PROXY }
        location /named  { error_page 400 408 413 @again; PROXY }
        location /status { error_page 400 408 413 = @again; PROXY }
        location /other  { error_page 400 408 413 @other; PROXY }
        location /bearer { error_page 400 408 413 @bearer; PROXY }
        location /small  { entra_mdm small; PROXY }
        location /twice  { error_page 400 408 413 @again2;
                           recursive_error_pages on; PROXY }
        location /html   { error_page 400 408 413 /page; PROXY }
        location /slow   { error_page 400 408 413 @again;
                           client_body_timeout 50ms; PROXY }

        location /again  { PROXY }
        location @again  { PROXY }
        location @again2 { error_page 400 413 @other;
                           recursive_error_pages on; PROXY }
        location @other  { entra_mdm other; PROXY }
        location @bearer { entra_mdm fleet token=bearer; PROXY }
        location /page   { entra_mdm off; root %%DIR%%; }
    }

    # requests that never get as far as a location of their own

    server {
        listen 127.0.0.1:%%PORT_gated%%;
        error_page 400 414 494 = /gated;
        location /gated { entra_mdm fleet; PROXY }
    }

    server {
        listen 127.0.0.1:%%PORT_uri%%;
        error_page 400 414 494 = /open;
        location /open {
            set $copy "$http_x_entra_upn";
            proxy_set_header X-Copy "$copy";
            PROXY
        }
    }

    server {
        listen 127.0.0.1:%%PORT_named%%;
        error_page 400 414 494 = @open;
        location @open {
            set $copy "$http_x_entra_upn";
            proxy_set_header X-Copy "$copy";
            PROXY
        }
    }

EOC

$t->{http} =~ s{PROXY}{proxy_pass http://127.0.0.1:%%PORT_fleet%%;}g;

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->write_file('page', "<p>Too much.</p>\n");
$t->start;

my $token = mint($key, claims_v2());
my $message = enroll_message($token);

# Bodies that begin with a whole, good message.

my $chunk = sprintf "%x\r\n%s\r\n", length $message, $message;
my %body = (
    good     => "${chunk}0\r\n\r\n",
    endless  => $chunk . "4000\r\n" . ' ' x 16384,
    nonsense => "${chunk}nonsense\r\n\r\n",
    garbage  => "nonsense\r\n\r\n",
    part     => substr($chunk, 0, 900),
);

my $bad = 'message_malformed refused 0';

sub split_at { return grep { length } $_[0] =~ /^(\Q$chunk\E|)(.*)/s }

# [ promise, path, body, what becomes of it ]

for (
    [ 'a good body',                   '/plain', 'good', '200 ok accepted 1' ],
    [ 'no error page: too large',      '/plain', 'endless', '413 - - 0' ],
    [ 'no error page: broken',         '/plain', 'nonsense', '400 - - 0' ],
    [ 'to a gated page: too large',    '/uri', 'endless', $bad ],
    [ 'to a gated page: broken',       '/uri', 'nonsense', $bad ],
    [ 'to a gated page: broken at once', '/uri', 'garbage', $bad ],
    [ 'to a named page: too large',    '/named', 'endless', $bad ],
    [ 'to a named page: broken',       '/named', 'nonsense', $bad ],
    [ 'to another policy: too large',  '/other', 'endless', $bad ],
    [ 'to another policy: broken',     '/other', 'nonsense', $bad ],
    [ 'to a page with "=": too large', '/status', 'endless', $bad ],
    [ 'to a page with "=": broken',    '/status', 'nonsense', $bad ],
    [ 'to two policies: too large',    '/twice', 'endless', $bad ],
    [ 'to two policies: broken',       '/twice', 'nonsense', $bad ],
    [ 'to bearer, no token: too large', '/bearer', 'endless',
        '401 no_token refused 0' ],
    [ 'to a page of HTML: too large',  '/html', 'endless', '413 - - 0' ],
    [ 'to a page of HTML: broken',     '/html', 'nonsense', '400 - - 0' ],
    [ 'a body that stops',             '/slow', 'part', '0 - - 0' ],
    [ 'over max_body',                 '/small', 'good',
        '413 body_too_large refused 0' ],
) {
    my ($name, $uri, $body, $expected) = @$_;

    for my $how ('at once', 'one by one') {
        my @writes = ("POST $uri HTTP/1.1\r\nHost: a\r\n"
            . "Transfer-Encoding: chunked\r\n\r\n",
            split_at($body{$body}));
        my $r = $how eq 'at once' ? http_raw(join '', @writes)
              : http_raw(\@writes, pause => 0.02);

        verdict("$name, $how", $r, $fleet, $expected);
        next if $expected !~ /message_malformed|body_too_large/;
        is(fault($r)->{subcode}, 's:MessageFormat', "$name, $how: a fault");
    }
}

for my $page (qw(uri named status other twice)) {
    my $r = http_post("/$page", $message . ' ' x 16384);
    like($r->status, qr/^4/, "too large by its length, /$page");
    is($fleet->requests, 0, "too large by its length, /$page: not passed");
    isnt(fault($r)->{subcode}, undef, "too large by its length: a fault");
}

my $r = http2(POST => '/uri', port => $t->port('h2'),
    body => $message . ' ' x 20_000, headers => [ 'Content-Length' => '' ]);
like($r->status, qr/^4/, 'too large in HTTP/2');
is($fleet->requests, 0, 'too large in HTTP/2: nothing has passed');

# [ what is wrong, the request ]: its other headers are forged

my $forged = "X-Entra-UPN: eve\r\nx_entra_upn: eve\r\n";

for (
    [ 'two Hosts', "GET / HTTP/1.1\r\nHost: a\r\n${forged}Host: b\r\n\r\n" ],
    [ 'no Host', "GET / HTTP/1.1\r\n$forged\r\n" ],
    [ 'two lengths', "POST / HTTP/1.1\r\nHost: a\r\n${forged}Content-Length: 1"
        . "\r\nContent-Length: 1\r\n\r\nx" ],
    [ 'a bad length', "POST / HTTP/1.1\r\nHost: a\r\n${forged}"
        . "Content-Length: x\r\n\r\n" ],
    [ 'a huge header', "GET / HTTP/1.1\r\nHost: a\r\n$forged"
        . 'X: ' . ('x' x 40_000) . "\r\n\r\n" ],
    [ 'a huge line', 'GET /' . ('x' x 40_000) . " HTTP/1.1\r\n\r\n" ],
    [ 'no request line', "nonsense\r\n\r\n" ],
) {
    my ($name, $request) = @$_;

    my $r = http_raw($request, port => $t->port('gated'));
    verdict("$name, gated", $r, $fleet, $request =~ /^POST/
        ? '400 message_malformed refused 0' : '401 no_token refused 0');

    # nginx has no way to a named location before it knows the URI

    for my $where ('uri', $request =~ m{ / } ? 'named' : ()) {
        $r = http_raw($request, port => $t->port($where));
        my $seen = verdict("$name, open $where", $r, $fleet, '200 - - 1')
            // next;
        is(identity($seen) . ($seen->header('x_entra_upn') // ''), '',
            "$name, open $where: no forged header");
        is($seen->header('X-Copy') // '', '',
            "$name, open $where: no forged variable");
    }
}

# The gate would judge the first, a backend may read the second.

$r = http_raw("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer $token\r\n"
    . "Authorization: Bearer other\r\n\r\n", port => $t->port('gated'));
is($fleet->requests, 0, 'two tokens do not pass, one of them good');
like($r->status, qr/^4/, 'two tokens, status');

$t->done;
