#!/usr/bin/perl

# Redis dies, hangs, comes back with other data, while devices enroll: every
# single answer is as it must be, and as fast.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $url = 'redis redis://127.0.0.1:%%PORT_redis%% timeout=500ms';
my $t = EntraMDM::Nginx->new(workers => 2, http => live_http("$url poll=1s;",
    http => 'entra_mdm_policy stale { server_url https://fleet.example.com;'
    . 'tenant_id ' . TENANT . '; client_id ' . CLIENT_V2 . ';'
    . "jwks file=%%DIR%%/keys.json; $url poll=500ms max_stale=3s; }",
    server => 'location = /stale { entra_mdm stale token=bearer;'
    . ' try_files /tos =404; }'));
my $redis = EntraMDM::Redis->new($t, 'redis', save => 1);
my $other = EntraMDM::Redis->new($t, 'other', save => 1);
my ($coming, $leaving) = (guid(10), guid(11));

# guid(1) is in force throughout, guid(2) never

my @always = ([ token(guid(1)), 'ok' ], [ token(CLIENT_V2), 'ok' ],
    [ token(guid(1), guid(1)), 'ok' ],
    [ token(guid(2)), 'audience_not_allowed' ],
    [ token(guid(1), guid(2)), 'tenant_not_allowed' ]);

for ([ $redis, $leaving ], [ $other, $coming ]) {
    my ($server, $more) = @$_;
    let_in($server, guid(1), $more);
    $server->cmd(SADD => list('tenant_ids'), guid(1));
}
$redis->cmd(SADD => list('client_ids', 'stale'), guid(1));
$other->stop;

live_start($t);
everywhere(token(guid(1), guid(1)), 'ok', 'loaded');
everywhere(token($leaving), 'ok', 'loaded, all of it');
ok((wait_for { $redis->subscribers == 2 }), 'both policies follow');
ok((wait_for { $redis->cmd(EXISTS => list('generation')) }), 'a generation');

my %phase;
my $end = load(4, @always);
phase('up', sub { sleep 2 });

# stopped, so that connections stay open and nobody answers

$redis->pause;
phase('hangs', sub { sleep 2.5 });
$redis->resume;
let_in($redis, guid(20));
everywhere(token(guid(20)), 'ok', 'it hung: a change afterwards');
shut_out($redis, guid(20));
everywhere(token(guid(20)), 'audience_not_allowed', 'it hung: and another');

# killed, and back as it was

$redis->kill9;
phase('is away', sub {
    everywhere(token($leaving), 'ok', 'killed: the last lists stay');
    sleep 2;
});
$redis->start;
let_in($redis, guid(21));
everywhere(token(guid(21)), 'ok', 'killed: a change afterwards');

# back with other data

$redis->kill9;
system 'rm', '-r', "$redis->{dir}/appendonlydir";
system 'cp', '-r', map { "$_->{dir}/appendonlydir" } $other, $redis;
$redis->start;
everywhere(token($coming), 'ok', 'other data: what is new counts');
everywhere(token($leaving), 'audience_not_allowed',
    'other data: what is gone is gone');
ok((wait_for { $redis->cmd(EXISTS => list('generation')) }),
    'other data: a generation');

# back without data

$t->mark;
$redis->kill9;
$redis->start(empty => 1);
ok($t->wait_for_log(qr/\[error\].*lost/), 'no data: logged');
everywhere(token($coming), 'ok', 'no data: the last lists stay');
$redis->cmd('MULTI');
let_in($redis, guid(1), guid(22));
$redis->cmd(SADD => list('tenant_ids'), guid(1));
$redis->cmd('EXEC');
everywhere(token(guid(22)), 'ok', 'no data: until they are back');
everywhere(token($coming), 'audience_not_allowed', 'no data: then they count');

# connections that break

for my $type (qw(normal pubsub)) {
    for my $round (1, 2) {
        my $new = guid(30 + $round, $type eq 'normal' ? 1 : 2);
        cmp_ok($redis->cmd(qw(CLIENT KILL TYPE), $type, qw(SKIPME yes)), '>=',
            1, "CLIENT KILL of $type connections");
        let_in($redis, $new);
        everywhere(token($new), 'ok', "CLIENT KILL $type: a change");
    }
}

# tracking that dies in silence is found by looking

wait_for { $redis->subscribers == 2 };
ok((wait_for { ! grep { $_->{age} == 0 } $redis->clients }), 'settled');
$redis->cmd(qw(CLIENT NO-EVICT on));
for my $round (1 .. 3) {
    my $new = guid(40 + $round);
    let_in($redis, $new);
    everywhere(token($new), 'ok', "change $round");
}

my $all = $end->();

# what the clients have seen

cmp_ok($all->{requests}, '>', 1000, "$all->{requests} answers");
is_deeply($all->{wrong}, {}, 'every one as it must be');

my %p99 = map { my $name = $_; $name => percentile(99,
    map { $_->[1] } grep { within($_->[0], $phase{$name}) }
    @{ $all->{times} }) } keys %phase;
for my $name (sort keys %phase) {
    note(sprintf 'Redis %s: p99 %.2f ms', $name, 1000 * $p99{$name});
    cmp_ok($p99{$name}, '<', 3 * $p99{up} + 0.02,
        "Redis $name: no request waits for it") if $name ne 'up';
}

# nor is it asked all the time

$redis->kill9;
my $from = length $t->error_log;
sleep 3;
my @lines = grep { /redis/i } split /\n/, substr $t->error_log, $from;
cmp_ok(scalar(@lines), '<', 40, 'attempts become rare, and their lines');

# lists that are too old

$redis->start(empty => 1);
let_in($redis, guid(1));
$redis->cmd(SADD => list('client_ids', 'stale'), guid(1));
ok((wait_for { said(token(guid(1)), '/stale') eq 'ok' }), 'max_stale: fresh');
$from = time;
my @said;
while (time - $from < 5) {
    push @said, said(token(guid(1)), '/stale');
    sleep 0.05;
}
is(scalar(grep { $_ ne 'ok' } @said), 0,
    'max_stale: looking at them keeps them fresh');

$redis->pause;
$from = time;
ok((wait_for { said(token(guid(1)), '/stale') eq 'lists_unavailable' }),
    'max_stale: too old');
cmp_ok(time - $from, '<', 6, 'max_stale: in time');
cmp_ok(time - $from, '>', 1.5, 'max_stale: not before');
is(http_get('/stale', bearer => token(guid(1)))->status, 503,
    'max_stale: status');
is(said(token(guid(2)), '/stale'), 'lists_unavailable',
    'max_stale: whatever was in them');
is(said(token(CLIENT_V2), '/stale'), 'ok',
    'max_stale: the configuration suffices');
everywhere(token(guid(1)), 'ok', 'max_stale: off by default');
$redis->resume;
ok((wait_for { said(token(guid(1)), '/stale') eq 'ok' }),
    'max_stale: fresh again');

$t->done;


sub phase {
    my ($name, $what) = @_;
    my $start = time;
    $what->();
    $phase{$name} = [ $start, time ];
}

sub within { my ($when, $range) = @_;
             return $when > $range->[0] && $when < $range->[1] }
