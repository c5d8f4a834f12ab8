#!/usr/bin/perl

# A body over max_body in HTTP/2: what still comes on its stream is skipped,
# however long the answer waits to be taken, and the connection stays well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::Body;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP2;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(http => $Policies . <<'EOC' . $Locations . <<'EOC'
    limit_req_zone $binary_remote_addr zone=slow:1m rate=10r/s;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
EOC

        location /delayed   { entra_mdm small; client_body_buffer_size 4k;
                              limit_req zone=slow burst=99;
                              proxy_pass http://fleet; }
        location /page      { error_page 413 /slow; }
        location /slow      { entra_mdm off; proxy_pass http://fleet; }
    }
EOC
);

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

my $message = enroll_message(mint($key, claims_v2()));
my $over = padded($message, MAX + 1);
my $part = 16384;

# of almost 5 MB; AddressSanitizer gives back late what was freed
my $most = $ENV{ENTRA_MDM_SANITIZED} ? 16 << 20 : 4 << 20;

for my $uri (qw(/ /small /small-file /in-file)) {
    for my $end (0, 1) {
        my $name = "$uri, the answer is not taken, "
            . ($end ? 'the body ends' : 'the body does not end');
        my $named = named($t);
        my ($kept, $memory) = (stored($t), memory($t));
        my $c = h2_connect($t->port('h2'), 0);
        my $path = $uri =~ s{/?$}{/end-$end}r;

        $c->send([ h2_post(1, $path) ]);
        ok(h2_until($c, H2_WINDOW, 1), "$name: may send");
        $c->send([ h2_frame(H2_DATA, 0, 1, substr $over, 0, $part),
            h2_frame(H2_DATA, 0, 1, ' ' x $part) ]);
        ok(h2_until($c, H2_HEADERS, 1), "$name: answered");
        $c->send([ (h2_frame(H2_DATA, 0, 1, ' ' x $part)) x 300 ]);
        $c->send([ h2_frame(H2_DATA, 1, 1, ' ' x $part) ]) if $end;
        $c->send([ h2_frame(H2_PING, 0, 0, 'pingpong') ]);
        ok(h2_until($c, H2_PING, 0), "$name: all of it has been seen");
        cmp_ok(stored($t) - $kept, '<=', MAX, "$name: what is kept");
        cmp_ok(memory($t) - $memory, '<', $most, "$name: memory");

        $c->send([ h2_frame(H2_WINDOW, 0, 1, pack 'N', 1 << 20) ]);
        my $data = h2_until($c, H2_DATA, 1);
        like($data && $data->[3], qr/Envelope>$/, "$name: now it is taken");
        is(scalar(grep { $_->[0] == H2_HEADERS } h2_frames($c)), 1,
            "$name: one answer");
        like($t->wait_for_log(qr/^\Q$path\E /, 'what.log'),
            qr/ 413 body_too_large /, "$name: logged");
        is($fleet->requests, 0, "$name: nothing has passed");
        is(scalar(named($t)), $named, "$name: no file is left");

        # the connection is well
        $c->send([ h2_post(3, '/after'), h2_frame(H2_DATA, 1, 3, $message) ]);
        ok(h2_until($c, H2_HEADERS, 3), "$name: the next stream is answered");
        is(join(' ', map { $_->uri } $fleet->requests), '/after',
            "$name: the next has passed");
        $c->close;
    }
}

# while an error page waits for its backend, all that still comes is skipped

$fleet->answer('/slow' => { body => 'sorry', delay => 0.3 });

for my $end (0, 1) {
    my $name = "/page, the body " . ($end ? 'ends' : 'does not end');
    my $kept = stored($t);
    my $c = h2_connect($t->port('h2'), 65535);
    my @seen;

    $c->send([ h2_post(1, '/page') ]);
    ok(h2_until($c, H2_WINDOW, 1), "$name: may send");
    $c->send([ h2_frame(H2_DATA, 0, 1, substr $over, 0, $part),
        h2_frame(H2_DATA, 0, 1, ' ' x $part) ]);
    wait_for { @seen = $fleet->requests };
    is(join(' ', map { $_->uri . '=' . $_->body } @seen), '/slow=',
        "$name: the backend is asked, without a body");
    $c->send([ (h2_frame(H2_DATA, 0, 1, ' ' x $part)) x 20 ]);
    $c->send([ h2_frame(H2_DATA, 1, 1, ' ' x $part) ]) if $end;
    $c->send([ h2_frame(H2_PING, 0, 0, 'pingpong') ]);
    ok(h2_until($c, H2_PING, 0), "$name: all of it has been seen");
    cmp_ok(stored($t) - $kept, '<=', MAX, "$name: what is kept");
    my $data = h2_until($c, H2_DATA, 1);
    is($data && $data->[3], 'sorry', "$name: answered");
    is(scalar(grep { $_->[0] == H2_HEADERS } h2_frames($c)), 1,
        "$name: one answer");
    is($fleet->requests, 0, "$name: asked once");
    $c->close;
}

# the body is there before the gate asks for it

for my $burst (1 .. 4) {
    my $name = "before the gate asks, $burst";
    my $c = h2_connect($t->port('h2'), 65535);

    $c->send([ h2_post(1, "/delayed/$burst")
        . h2_frame(H2_DATA, 0, 1, substr $over, 0, $part)
        . h2_frame(H2_DATA, $burst % 2, 1, substr $over, $part - 9) ]);
    my $data = h2_until($c, H2_DATA, 1);
    like($data && $data->[3], qr/Envelope>$/, "$name: a fault");
    is($fleet->requests, 0, "$name: nothing has passed");
    $c->close;
}

# reset or gone, while it comes and once it has been refused

for my $size (1000, $part) {
    for my $how ('reset', 'gone', 'both') {
        my $c = h2_connect($t->port('h2'), 0);
        my $uri = "/small/$how-$size";

        $c->send([ h2_post(1, $uri) . h2_frame(H2_DATA, 0, 1, ' ' x $size)
            . ($how eq 'gone' ? ''
                : h2_frame(H2_RST, 0, 1, pack 'N', 8)) ]);
        $c->close if $how ne 'reset';
        ok($t->wait_for_log(qr/^\Q$uri\E /, 'what.log'),
            "$how after $size: the request ends");
        is($fleet->requests, 0, "$how after $size: not passed");
    }
}

$t->done;
