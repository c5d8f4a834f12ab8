#!/usr/bin/perl

# Where a body that is too large ends, or does not: the answer comes while it
# is still sent, what is kept of it is bounded, and nothing in it or behind it
# is ever taken for a request.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::Body;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(http => $Policies . <<'EOC' . $Locations . <<'EOC'
    server {
        listen 127.0.0.1:%%PORT_8080%%;
EOC

        location /hasty     { client_body_timeout 1s;
                              proxy_pass http://fleet; }
    }
EOC
);

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

my $message = enroll_message(mint($key, claims_v2()));
my ($full, $over, $much) = map { padded($message, $_) }
                           MAX, MAX + 1, 9 * MAX;

sub accepted {
    my ($name, $r, $sent) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $seen = verdict($name, $r, $fleet, '200 ok accepted 1') // return;
    ok($seen->body eq $sent, "$name: the same bytes");
}

sub refused {
    my ($name, $r) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    verdict($name, $r, $fleet, '413 body_too_large refused 0');
    is(fault($r)->{subcode}, 's:MessageFormat', "$name: a fault");
}


# Nothing behind it is a request: the connection ends with the answer.

my $next = chunked_head('/smuggled', 'Connection: close')
    . chunked($message, 999);

for (
    [ 'behind the body',      chunked($over, 1 << 20), $next ],
    [ 'behind small chunks',  chunked($over, 100), $next ],
    [ 'behind much more',     chunked($much, 1 << 20), $next ],
    [ 'in the last chunk',    chunked("$over$next", 1 << 20), '' ],
    [ 'inside the rest',      sprintf("%x\r\n%s", 1 << 20, $over), $next ],
    [ 'behind a broken end',  chunked($over, 1 << 20) =~ s/0\r\n\r\n$//r,
        "nonsense\r\n\r\n$next" ],
    [ 'behind trailers',      chunked($over, 1 << 20) =~ s/\r\n$//r,
        "Host: b\r\n\r\n$next" ],
) {
    my ($name, $body, $rest) = @$_;

    for my $writes ([ chunked_head('/first') . "$body$rest" ],
        [ chunked_head('/first') . $body, $rest ],
        [ chunked_head('/first'), $body, $rest ],
        [ chunked_head('/first'), $body . $rest ])
    {
        my $how = "$name, " . join '+', map { length } @$writes;
        my $c = http_connect();

        $c->send($writes, 0.02);
        my $r = $c->response;

        # where its broken end came in the same packet, nginx saw that first
        my $by_nginx = $name =~ /broken/ && $r->status == 400;
        is(join(' ', $r->status, $r->header('X-Result') // '-'),
            $by_nginx ? '400 -' : '413 body_too_large', "$how: refused");
        ok($c->closed, "$how: closed");
        is(join(' ', map { $_->uri } $fleet->requests), '',
            "$how: nothing has passed");
    }
}

# under the limit there is a next request

my $c = http_connect();
for my $n (1 .. 3) {
    accepted("keepalive, $n", $c->request(POST => "/keep/$n", body => $full,
        chunked => 4000), $full);
}
$c->send([ chunked_head('/one') . chunked($full, 5000) . chunked_head('/two')
    . chunked($message, 1 << 20) ]);
is(join(' ', map { $_->header('X-Result') } $c->response, $c->response),
    'ok ok', 'pipelined');
is(join(' ', map { $_->uri . '=' . length $_->body } $fleet->requests),
    "/one=${\MAX} /two=" . length $message, 'pipelined: bodies');
refused('keepalive, then too large', $c->request(POST => '/three',
    body => $much, chunked => 4000));
ok($c->closed, 'keepalive, then too large: closed');

# what nginx was told in advance it refuses in advance, and closes as well

for my $expect ([], [ 'Expect: 100-continue' ]) {
    $c = http_connect();
    $c->send([ join "\r\n", 'POST / HTTP/1.1', 'Host: a',
        'Content-Length: ' . (MAX + 1), @$expect, '', '' ]);
    my $r = $c->response;
    refused("Content-Length, @$expect", $r);
    ok(!$r->continued, "Content-Length, @$expect: nobody asks for it");
}


# A body without an end: however much is sent, no more than max_body of it is
# kept, in memory or in files.

my $plenty = 32 << 20;

for my $uri (qw(/ /small /small-file /in-file /wide)) {
    my $limit = $uri =~ /small/ ? SMALL : MAX;
    my $blank = ' ' x 65536;

    for (
        [ 'chunks', '', sprintf("%x\r\n%s\r\n", length $blank, $blank) ],
        [ 'one chunk', "ffffffff\r\n$message", $blank ],
    ) {
        my ($what, $first, $more) = @$_;
        my $name = "$uri, $what without end";
        my ($kept, $memory) = (stored($t), memory($t));
        my $c = http_connect();
        my $sent = 0;

        $c->send([ chunked_head($uri) . $first ]);
        while ($sent < $plenty && $c->{in} !~ /Envelope>$/) {
            $c->send([ $more ]);
            $sent += length $more;
        }
        cmp_ok($sent, '<', $plenty, "$name: answered while it is sent");
        refused($name, $c->response);
        $c->send([ ($more) x 64 ]);
        cmp_ok(stored($t) - $kept, '<=', $limit, "$name: what is kept");
        cmp_ok(memory($t) - $memory, '<', 4 << 20, "$name: memory");
        $c->close;
    }
}

# it need not even go on: nobody waits for the rest

for my $uri (qw(/ /to-file /in-file /hasty)) {
    my $c = http_connect();
    $c->send([ chunked_head($uri), sprintf("%x\r\n", 1 << 20), $over ]);
    refused("$uri, the rest never comes", $c->response);
    ok($c->closed, "$uri, the rest never comes: closed");
}

# under the limit it is nginx that gives up

$c = http_connect();
$c->send([ chunked_head('/hasty'), sprintf("%x\r\n", 1 << 20), $message ]);
like($t->wait_for_log(qr{^/hasty 408 }, 'what.log'), qr{^/hasty 408 - },
    'nothing more comes: timed out, not judged');
ok($c->closed, 'nothing more comes: closed');
is($fleet->requests, 0, 'nothing more comes: not passed');


# A client that goes away: under the limit, at it, over it.

for my $size (1000, MAX, MAX + 1, 4 * MAX) {
    my $uri = "/gone/$size";
    my $c = http_connect();

    $c->send([ chunked_head($uri), sprintf("%x\r\n", 1 << 20),
        substr $much, 0, $size ]);
    $c->close;
    like($t->wait_for_log(qr/^\Q$uri\E /, 'what.log'),
        $size > MAX ? qr/ 413 body_too_large / : qr/ 400 /,
        "gone after $size: logged");
    is($fleet->requests, 0, "gone after $size: not passed");
    accepted("gone after $size: and nginx is well",
        http_post('/', $full, chunked => 999), $full);
}

$t->done;
