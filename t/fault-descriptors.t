#!/usr/bin/perl

# No descriptor is free, or no connection of nginx: nobody comes in for that,
# keys, lists and state go on as soon as there is one, and the log says what
# was missing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new;
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $idp = EntraMDM::Backend->new($t, 'idp');
my $redis = EntraMDM::Redis->new($t, 'redis');
my @keys = (key());

$t->change(http => live_http('redis redis://127.0.0.1:%%PORT_redis%% '
    . 'timeout=500ms poll=500ms; state state/fleet.json;',
    jwks => 'request=/keys refresh=1s min_interval=1s max_stale=1h',
    server => <<'EOC'));
        client_header_timeout 60s;
        client_body_buffer_size 1k;
        location = /keys {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%;
        }
        location = /fleet {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
EOC
$t->expect_log(qr/Too many open files|worker_connections are not enough/);

my $good = token(CLIENT_V2);
my $stranger = token(CLIENT_V2, guid(2));

# Clients whose request has begun, so that nginx keeps them.

sub client {
    my ($method) = @_;
    my $c = http_connect(timeout => 5);
    $c->send([ ($method // 'GET') . " /fleet HTTP/1.1\r\nHost: a\r\n"
        . "Connection: close\r\n" ]);
    return $c;
}

sub bearer {
    my ($c, $token) = @_;
    $c->send(["Authorization: Bearer $token\r\n\r\n"]);
    return $c->response;
}

sub soap {
    my ($c, $token) = @_;
    my $message = enroll_message($token);
    $c->send([ 'Content-Length: ' . length($message) . "\r\n\r\n$message" ]);
    return $c->response;
}

# Nobody is admitted who should not be, and whom the backend sees is right,
# whatever the status.

sub judged {
    my ($name, $r, $expected) = @_;
    my $result = $r->header('X-Result') // 'none';
    my @seen = map { identity($_) } $fleet->requests;
    my $who = $expected eq 'ok' ? 'upn=bob@example.com audience=' . CLIENT_V2
        . ' token-version=2.0' : 'nobody';

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    like($result, qr/^(?:$expected|internal|none)$/, "$name: $result, "
        . $r->status);
    is(join(', ', grep { $_ ne $who } @seen), '', "$name: the backend")
        or diag $r->raw;
}

for ([ 'no descriptor', 'worker_rlimit_nofile 56;',
       'worker_connections 512;', qr/Too many open files/,
       qr/Too many open files/ ],
     [ 'no connection', '', 'worker_connections 40;',
       qr/worker_connections are not enough/, qr/no connection is free/ ]) {
    my ($name, $main, $events, $missing, $no_redis) = @$_;
    my $next = new_key();

    $idp->answer('*' => { body => jwks(@keys) });
    $t->change(main => $main, events => $events);
    live_start($t);
    everywhere($good, 'ok', "$name: before");
    ok((wait_for { $redis->clients == 2 }), "$name: Redis is followed");
    ok(state_with($t, sub { $_[0]{jwks} }), "$name: a state");

    my %c = map { $_ => client(/soap/ ? 'POST' : 'GET') }
        qw(good stranger none soap stranger-soap);
    my @crowd;
    $t->mark;
    ok((wait_for {
        push @crowd, client() if @crowd < 100;
        $t->new_log =~ $missing;
    }), "$name: none is free");
    push @crowd, map { client() } 1 .. 20;

    ok($t->wait_for_log(qr/were not fetched: no|no key set but status 50\d/),
        "$name: keys cannot be fetched, says the log");
    ok((wait_for {
        $redis->cmd(qw(CLIENT KILL TYPE), $_, qw(SKIPME yes))
            for qw(normal pubsub);
        push @crowd, map { client() } 1 .. 4;   # they take its place
        sleep 0.1;
        $t->new_log =~ /redis "\S+" of policy "fleet" .*$no_redis/;
    }), "$name: Redis cannot be reached, says the log");

    judged("$name: a good token", bearer($c{good}, $good), 'ok');
    judged("$name: another tenant", bearer($c{stranger}, $stranger),
        'tenant_not_allowed');
    judged("$name: no token", bearer($c{none}, ''),
        'no_token|token_malformed');
    judged("$name: an enrollment", soap($c{soap}, $good), 'ok');
    judged("$name: of another tenant", soap($c{'stranger-soap'}, $stranger),
        'tenant_not_allowed');

    # what is missed meanwhile comes when there is room

    push @keys, $next;
    $idp->answer('*' => { body => jwks(@keys) });
    let_in($redis, guid(3));
    $_->close for @crowd;
    everywhere(token(guid(3)), 'ok', "$name: over: the lists");
    everywhere(mint($next, claims_v2()), 'ok', "$name: over: the keys");
    everywhere($stranger, 'tenant_not_allowed', "$name: over: nobody else");
    ok(state_with($t, sub { kids($_[0]) =~ $next->kid
        && grep { $_ eq guid(3) } @{ $_[0]{client_ids} } }),
        "$name: over: the state");
    judged("$name: over: an enrollment", soap(client('POST'), $good), 'ok');
    shut_out($redis, guid(3));
    everywhere(token(guid(3)), 'audience_not_allowed', "$name: over: changes");
    $t->settle;
}

done_testing();
