#!/usr/bin/perl

# Workers come and go, clients go away: no request is lost, none is judged by
# another's verdict, nothing half-read reaches the backend.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $http = $Headers . fleet_policy() . <<'EOC';

    client_max_body_size 4m;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        entra_mdm fleet;
        location / { proxy_pass http://127.0.0.1:%%PORT_fleet%%; }
    }

EOC

my $t = EntraMDM::Nginx->new(workers => 2, http => $http);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();
my $next = new_key();
my $good = enroll_message(mint($key, claims_v2()));
my $other = enroll_message(mint($next, claims_v2()));
my $late = enroll_message(mint($key, claims_v2(exp => time - 300)));

$t->write_file('keys.json', jwks($key));
$t->start;

# The beginning of a message, so that a worker has it and waits for more; its
# rest is to come. 100-continue tells that the gate is reading.

sub begin {
    my $c = http_connect();
    $c->send([ "POST /enroll HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        . "Expect: 100-continue\r\nContent-Length: " . length($good)
        . "\r\n\r\n" ]);
    is($c->message->status, 100, 'a body is being read');
    $c->send([ substr $good, 0, 700 ]);
    return $c;
}

sub end {
    my ($c) = @_;
    $c->send([ substr $good, 700 ]);
    my $r = $c->response;
    $c->close;
    return $r;
}

# Clients in processes of their own, until the file is there that ends them,
# or the test is no more; each says what it was answered, and how often.

sub clients {
    my ($n) = @_;
    my @pipes;
    my $test = $$;

    for my $client (1 .. $n) {
        pipe my $read, my $write or die;
        my $pid = fork // die;
        if ($pid) {
            push @pipes, [ $read, $pid ];
            next;
        }
        my %told;
        while (!-e $t->dir . '/enough' && getppid == $test) {
            my $r = eval { http_post('/', $client % 2 ? $good : $late) };
            $told{ $r ? $r->status . ' ' . ($r->header('X-Result') // '-')
                      : 'no connection' }++;
            select undef, undef, undef, 0.005;      # a steady load
        }
        syswrite $write, join ', ', map { "$_: $told{$_}" } sort keys %told;
        POSIX::_exit(0);
    }

    return sub {
        $t->write_file('enough', '');
        my @said;
        for (@pipes) {
            my ($read, $pid) = @$_;
            push @said, scalar(<$read>) // '';
            waitpid $pid, 0;
        }
        return @said;
    };
}

sub more_requests {
    my ($n) = @_;
    my $seen = $t->access_log =~ tr/\n//;
    wait_for { $t->access_log =~ tr/\n// >= $seen + $n };
}

# reload under load

my $over = clients(4);
for my $n (1 .. 3) {
    more_requests(20);
    ok($t->reload, "reload $n under load");
}
more_requests(20);
my @said = $over->();
for my $client (1 .. 4) {
    my $expected = $client % 2 ? '200 ok' : '500 token_expired';
    like($said[$client - 1], qr/^$expected: \d+$/,
        "client $client: none lost, each by its own token");
}
$fleet->requests;

# reload with another key set, while a body is being read by an old worker

my $c = begin();
$t->write_file('keys.json', jwks($next));
ok($t->reload, 'reload with another key set');
verdict('new worker, new keys', http_post('/', $other), $fleet,
    '200 ok accepted 1');
verdict('new worker, old keys', http_post('/', $good), $fleet,
    '500 key_unknown refused 0');
verdict('old worker: a key that is gone stops working at once', end($c),
    $fleet, '500 key_unknown refused 0');

# a configuration that is refused changes nothing, nor do keys that are none

$t->expect_log(qr/is not a key set|missing\.json/);
$t->write_file('keys.json', 'garbage');
ok(!$t->reload, 'reload with broken keys is refused');
verdict('the last keys stay', http_post('/', $other), $fleet,
    '200 ok accepted 1');
$t->write_file('keys.json', jwks($key));
ok(!$t->reload(http => $http =~ s/keys\.json/missing.json/r),
    'reload with missing keys is refused');
verdict('still the last keys', http_post('/', $other), $fleet,
    '200 ok accepted 1');
ok($t->reload(http => $http), 'reload with good keys');
verdict('new keys', http_post('/', $good), $fleet, '200 ok accepted 1');

# policies come and go, zones change their size

ok($t->reload(http => $http =~ s/jwks/zone 3m; jwks/r), 'a larger zone');
verdict('a larger zone', http_post('/', $good), $fleet, '200 ok accepted 1');
ok($t->reload(http => fleet_policy('', 'second') . $http), 'one policy more');
verdict('one policy more', http_post('/', $late), $fleet,
    '500 token_expired refused 0');
ok($t->reload(http => $http =~ s/entra_mdm_policy.*?\n\}\n//sr
    =~ s/entra_mdm fleet/entra_mdm off/r), 'no policy at all');
verdict('no policy at all', http_post('/', $late), $fleet, '200 - - 1');
ok($t->reload(http => $http), 'a policy again');
verdict('a policy again', http_post('/', $late), $fleet,
    '500 token_expired refused 0');

# a worker dies, and another takes its place

my ($worker) = $t->workers;
$t->expect_log(qr/worker process \d+ exited on signal 9/);
kill KILL => $worker;
wait_for { my @now = $t->workers; @now == 2 && !grep { $_ == $worker } @now };
verdict('after the death of a worker', http_post('/', $good), $fleet,
    '200 ok accepted 1');

# clients that go away: [ where they stop, what they sent ]

for (
    [ 'in the request line', 'POST /enr' ],
    [ 'in the header', "POST / HTTP/1.1\r\nHost: a\r\nContent-Le" ],
    [ 'before the body', "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "
        . length($good) . "\r\n\r\n" ],
    [ 'in the body', "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "
        . length($good) . "\r\n\r\n" . substr $good, 0, -1 ],
    [ 'in a chunk', "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
        . "chunked\r\n\r\n" . sprintf("%x\r\n", length $good) . $good ],
    [ 'before the last chunk', "POST / HTTP/1.1\r\nHost: a\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n"
        . sprintf("%x\r\n%s\r\n", length $good, $good) ],
) {
    my ($name, $sent) = @$_;
    my $c = http_connect();

    $t->mark;
    $c->send([$sent]);
    shutdown $c->{socket}, 1;
    is($c->response->status, 0, "gone $name: no answer");
    ok($t->wait_for_log('prematurely closed'), "gone $name: nginx has noticed");
    is($fleet->requests, 0, "gone $name: nothing has reached the backend");
}

# streams reset by their client, while nginx waits for their bodies

my $file = $t->write_file('message', $good);
system 'curl', '-s', '-m', '0.2', '--http2-prior-knowledge', '-o', '/dev/null',
    '-H', 'Content-Length: 99999', '--data-binary', "\@$file",
    'http://127.0.0.1:' . $t->port('h2') . '/';
is($fleet->requests, 0, 'a stream that stops: nothing reached the backend');
verdict('all goes on', http_post('/', $good), $fleet, '200 ok accepted 1');

# a graceful end waits for a body

$c = begin();
$t->mark;
kill QUIT => $t->{pid};
ok($t->wait_for_log('gracefully shutting down'), 'nginx is to quit');
verdict('a body in flight is read to its end', end($c), $fleet,
    '200 ok accepted 1');
$t->settle;

# one process, no master

my $single = EntraMDM::Nginx->new(main => 'master_process off;',
    http => $http =~ s/%%PORT_fleet%%/$fleet->port/er);
$single->write_file('keys.json', jwks($key));
$single->start;
verdict('no master: accepted', http_post('/', $good), $fleet,
    '200 ok accepted 1');
verdict('no master: refused', http_post('/', $late), $fleet,
    '500 token_expired refused 0');

$single->done;
