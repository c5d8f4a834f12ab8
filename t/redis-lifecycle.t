#!/usr/bin/perl

# One feed a node, whatever becomes of its workers: it moves to the next one,
# nothing is lost meanwhile, and none is left behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::File qw(wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $lines = 'redis redis://127.0.0.1:%%PORT_redis%%;';
my $http = live_http($lines);
my $t = EntraMDM::Nginx->new(workers => 2, http => $http);
my $redis = EntraMDM::Redis->new($t, 'redis');
my $other = EntraMDM::Redis->new($t, 'other');
my $n = 0;

live_start($t);
let_in($redis, guid(1));
everywhere(token(guid(1)), 'ok', 'followed');
ok((wait_for { $redis->clients == 2 }), 'two connections');
is(scalar feed_workers($redis->port), 1, 'of one worker');

# its worker dies

$t->expect_log(qr/exited on signal 9/);
for my $round (1 .. 3) {
    my ($feed) = feed_workers($redis->port);
    my $new = guid($round, 1);

    kill KILL => $feed;
    my $from = time;
    let_in($redis, $new);
    everywhere(token($new), 'ok', "killed: a change, round $round");
    cmp_ok(time - $from, '<', 5, "killed: in time, round $round");
    everywhere(token(guid(1)), 'ok', "killed: the list is there");
    ok((wait_for { $redis->clients == 2 }), 'killed: two connections again');
    is(scalar feed_workers($redis->port), 1, 'killed: of one worker');
}

# the other one dies

my ($feed) = feed_workers($redis->port);
my ($idle) = grep { $_ != $feed } $t->workers;
kill KILL => $idle;
ok((wait_for { 2 == grep { $_ != $idle } $t->workers }), 'the other one dies');
let_in($redis, guid(2));
everywhere(token(guid(2)), 'ok', 'its successor enforces changes');
everywhere(token(guid(1)), 'ok', 'and what was there before');
is(scalar $redis->clients, 2, 'and has no feed');

# reloads, with changes in their midst

my $end = load(3, [ token(guid(1)), 'ok' ], [ token(CLIENT_V2), 'ok' ],
    [ token(guid(3)), 'audience_not_allowed' ]);
for my $round (1 .. 20) {
    $redis->cmd('MULTI');
    let_in($redis, guid($round, 2));
    shut_out($redis, guid($round, 3));
    let_in($redis, guid($round + 1, 3));
    $redis->cmd('EXEC');
    $t->reload or fail("reload $round");
}
everywhere(token(guid($_, 2)), 'ok', "reloads: change $_") for 1 .. 20;
everywhere(token(guid($_, 3)), 'audience_not_allowed', "reloads: removal $_")
    for 1 .. 20;
my $all = $end->();
is_deeply($all->{wrong}, {}, "reloads: $all->{requests} answers, all right");
ok((wait_for { $redis->clients == 2 }), 'reloads: no feed is left behind');
is(scalar feed_workers($redis->port), 1, 'reloads: one worker has it');

# a burst of reloads, none of which is waited for

for (1 .. 10) {
    kill HUP => $t->{pid};
    sleep 0.05;
}
let_in($redis, guid(4));
$t->reload;
everywhere(token(guid(4)), 'ok', 'a burst of reloads');
ok((wait_for { $redis->clients == 2 }), 'a burst of reloads: one feed');

# to something else

$other->cmd(SADD => 'other:client_ids', guid(10));
let_in($other, guid(11));
$redis->cmd(SADD => 'other:client_ids', guid(12));

ok($t->reload(http => live_http($lines =~ s/;/ prefix=other:;/r)),
    'another prefix');
everywhere(token(guid(12)), 'ok', 'another prefix: its list counts');
everywhere(token(guid(1)), 'audience_not_allowed',
    'another prefix: the former does not');
$redis->cmd(SREM => 'other:client_ids', guid(12));
everywhere(token(guid(12)), 'audience_not_allowed',
    'another prefix: is followed');

ok($t->reload(http => live_http($lines =~ s/redis%%/other%%/r)),
    'another server');
everywhere(token(guid(11)), 'ok', 'another server: its list counts');
ok((wait_for { $redis->clients == 0 }), 'another server: the former is left');
is(scalar $other->clients, 2, 'another server: is followed');

ok($t->reload(http => live_http('')), 'no server');
everywhere(token(CLIENT_V2), 'ok', 'no server: the configuration counts');
everywhere(token(guid(11)), 'audience_not_allowed',
    'no server: the list does not');
ok((wait_for { $other->clients == 0 }), 'no server: nobody is connected');

ok($t->reload(http => $http), 'the first one again');
let_in($redis, guid(5));
everywhere(token(guid(5)), 'ok', 'the first one again: its list counts');

$t->expect_log(qr/nonsense/);
ok(!$t->reload(http => 'nonsense;'), 'a broken configuration');
let_in($redis, guid(6));
everywhere(token(guid(6)), 'ok', 'a broken configuration: the feed goes on');
$t->change(http => $http);

# more workers, fewer

ok($t->reload(workers => 3), 'three workers');
let_in($redis, guid(7));
everywhere(token(guid(7)), 'ok', 'three workers: all of them');
ok($t->reload(workers => 1), 'one worker');
shut_out($redis, guid(7));
everywhere(token(guid(7)), 'audience_not_allowed', 'one worker');
ok((wait_for { $redis->clients == 2 }), 'one worker: one feed');

# the end

ends('while Redis is there');
ok((wait_for { $redis->clients == 0 }), 'nobody is connected any more');
again();
$redis->pause;
sleep 0.2;
ends('while Redis hangs');
$redis->resume;
again();
$redis->pause;
$t->reload;
ends('when Redis has never answered');
$redis->resume;
again();
$redis->kill9;
$t->reload;
ends('while Redis is away');
$redis->start;
again('TERM');

# one process for all

$t->change(main => 'master_process off;');
let_in($redis, guid(8));
$t->start;
ok((wait_for { said(token(guid(8))) eq 'ok' }), 'without a master: followed');
shut_out($redis, guid(8));
ok((wait_for { said(token(guid(8))) eq 'audience_not_allowed' }),
    'without a master: a change');
is(scalar $redis->clients, 2, 'without a master: one feed');

$t->done;


sub ends {
    my ($when, $signal) = @_;
    my $from = time;

    ok($t->stop($signal // 'QUIT'), "ends $when");
    cmp_ok(time - $from, '<', 5, "ends $when: in time");
}

sub again {
    my ($signal) = @_;
    my $new = guid(++$n, 9);

    $t->start;
    let_in($redis, $new);
    everywhere(token($new), 'ok', 'started again');
    ends('at once', $signal) if $signal;
}
