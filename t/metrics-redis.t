#!/usr/bin/perl

# The metrics of a policy that follows Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(wait_for);
use EntraMDM::Live;
use EntraMDM::Metrics;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my @of = (policy => 'fleet');
my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    'redis redis://127.0.0.1:%%PORT_redis%% poll=1s; zone 512k;',
    server => 'location = /metrics { entra_mdm_metrics; }'));
my $redis = EntraMDM::Redis->new($t, 'redis');
my ($clients, $tenants) = map { list($_) } qw(client_ids tenant_ids);

sub becomes {
    my ($name, $value, $metric, @labels) = @_;
    my $now;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok((wait_for { ($now = value($metric, @of, @labels)) == $value }), $name)
        or diag "$metric is $now";
}

live_start($t);
becomes('connected', 1, 'redis_connected');
becomes('tracking', 1, 'redis_tracking');
is(value(redis_lost_data => @of), 0, 'nothing lost');
is(value(redis_reconnects_total => @of), 0, 'no reconnect');
is(value(redis_refused_lists_total => @of), 0, 'no list refused');
is(value(key_fetches_total => @of, outcome => 'failed'), undef,
    'keys of a file are not fetched');

let_in($redis, guid($_)) for 1 .. 3;
becomes('IDs in Redis beside the configured one', 4, 'list_size',
    list => 'client_ids');
$redis->cmd(SADD => $clients, CLIENT_V2);
ok(wait_for { value(list_generation => @of) >= 2 }, 'each is a generation');
is(value(list_size => @of, list => 'client_ids'), 4, 'an ID counts once');
cmp_ok(value(redis_last_update_seconds => @of), '<', 60, 'known to be right');

$redis->cmd(SADD => $clients, 'no GUID', 'nor this');
$redis->cmd(SADD => $tenants, 'nor that');
becomes('members that were skipped', 3, 'redis_skipped_members');
$redis->cmd(SREM => $clients, 'no GUID', 'nor this');
$redis->cmd(SREM => $tenants, 'nor that');
becomes('none any more', 0, 'redis_skipped_members');

$redis->cmd(SADD => $clients, map { guid($_) } 10 .. 20_000);
ok(wait_for { value(redis_refused_lists_total => @of) }, 'a list too long');
is(value(list_size => @of, list => 'client_ids'), 4, 'is not taken');
$redis->cmd(SREM => $clients, map { guid($_) } 10 .. 20_000);

$redis->stop;
becomes('Redis is away', 0, 'redis_connected');
is(value(list_size => @of, list => 'client_ids'), 4, 'the lists stay');
$redis->start;
becomes('it is back, without its data', 1, 'redis_connected');
becomes('which is told', 1, 'redis_lost_data');
cmp_ok(value(redis_reconnects_total => @of), '>=', 1, 'a reconnect');

let_in($redis, guid(1));
$redis->cmd(SADD => $tenants, guid(1));
$redis->cmd(INCR => list('generation'));
becomes('the keys are there again', 0, 'redis_lost_data');

$t->done;
