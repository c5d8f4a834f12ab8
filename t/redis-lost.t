#!/usr/bin/perl

# A Redis that lost its data is not an administrator who removed everything:
# the last lists stay in force until the keys are back.  Nobody but redis-cli
# has written to this Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2,
    http => live_http('redis redis://127.0.0.1:%%PORT_redis%% poll=1s;'));
my $redis = EntraMDM::Redis->new($t, 'redis', save => 1);
my ($clients, $tenants) = map { list($_) } qw(client_ids tenant_ids);

live_start($t);

# an empty one has lost nothing

everywhere(token(guid(1)), 'audience_not_allowed', 'empty from the start');
$redis->cmd('FLUSHALL');
ok(wait_for { $t->error_log =~ /client_ids|redis/i }, 'the feed is at work');
is(scalar lines(qr/\[error\]/), 0, 'nothing to lose');

# ways to lose it

my %loss = (
    'FLUSHALL' => sub { $redis->cmd('FLUSHALL') },
    'FLUSHDB ASYNC' => sub { $redis->cmd(qw(FLUSHDB ASYNC)) },
    'a restart without data' => sub {
        $redis->kill9;
        $redis->start(empty => 1);
    },
    'an empty data set that is loaded' => sub { $redis->cmd('DEL',
        @{ $redis->cmd(KEYS => '*') }) },
);

my $n = 1;
for my $name (sort keys %loss) {
    my ($in, $next) = (guid(++$n), guid(++$n));

    let_in($redis, $in);
    $redis->cmd(SADD => $tenants, $in);
    everywhere(token($in, $in), 'ok', "$name: before");
    ok((wait_for { $redis->cmd(EXISTS => list('generation')) }),
        "$name: a generation is there");

    $t->mark;
    $loss{$name}->();
    like($t->wait_for_log(qr/\[error\].*lost/), qr/fleet/, "$name: logged");
    everywhere(token($in, $in), 'ok', "$name: the last lists stay");
    everywhere(token($next), 'audience_not_allowed', "$name: and nothing else");

    ok($t->reload, "$name: reload");
    everywhere(token($in, $in), 'ok', "$name: after it as well");
    sleep 2;                            # two polls
    everywhere(token($in, $in), 'ok', "$name: two polls later");
    cmp_ok(scalar lines(qr/\[error\].*lost/), '<=', 3,
        "$name: said, but not at every look");

    $redis->cmd('MULTI');
    let_in($redis, $next);
    $redis->cmd(SADD => $tenants, $next);
    $redis->cmd('EXEC');
    everywhere(token($next, $next), 'ok', "$name: the keys are back");
    everywhere(token($in), 'audience_not_allowed', "$name: and they count");
    everywhere(token(CLIENT_V2, $in), 'tenant_not_allowed',
        "$name: both of them");
    $redis->cmd(DEL => $clients, $tenants);
    everywhere(token($next), 'audience_not_allowed',
        "$name: then DEL empties again");
}

# one of the sets comes back

let_in($redis, guid(90), guid(91));
everywhere(token(guid(91)), 'ok', 'one set: before');
wait_for { $redis->cmd(EXISTS => list('generation')) };
$redis->cmd('FLUSHALL');
ok($t->wait_for_log(qr/\[error\].*lost/), 'one set: lost');
let_in($redis, guid(91));
everywhere(token(guid(90)), 'audience_not_allowed',
    'one set: as it is now');
everywhere(token(guid(91)), 'ok', 'one set: with what it holds');

# what is removed on purpose is

$redis->cmd(DEL => list('generation'));
shut_out($redis, guid(91));
let_in($redis, guid(92));
everywhere(token(guid(92)), 'ok', 'without a generation: additions');
everywhere(token(guid(91)), 'audience_not_allowed',
    'without a generation: removals');

$t->done;
