#!/usr/bin/perl
# once

# The harness for Redis: servers of every kind start, obey and end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;

use EntraMDM::Certificates;
use EntraMDM::File qw(wait_for);
use EntraMDM::Nginx;
use EntraMDM::Redis;

my $t = EntraMDM::Nginx->new(module => 0);

# commands and answers

my $redis = EntraMDM::Redis->new($t, 'redis', socket => 1);
is($redis->cmd('PING'), 'PONG', 'a status');
is($redis->cmd(SADD => 'a set', "one\r\n\0", 'two'), 2, 'an integer');
is_deeply([ sort @{ $redis->cmd(SMEMBERS => 'a set') } ],
    [ "one\r\n\0", 'two' ], 'a list of bytes');
is($redis->cmd(GET => 'missing'), undef, 'nil');
like($redis->cmd(GET => 'a set'), qr/^-WRONGTYPE /, 'an error is a value');
is($redis->cmd(SET => 'big', 'x' x 3_000_000), 'OK', 'a large value');
is(length $redis->cmd(GET => 'big'), 3_000_000, 'and back');
is_deeply($redis->cmd('ROLE'), [ 'master', 0, [] ], 'lists in a list');
ok(-S $redis->socket, 'a socket');

# who is connected

is($redis->clients, 0, 'nobody but the harness');
my $client = $redis->connect;
$client->call(SUBSCRIBE => 'x');
my $second = $redis->connect;
is($second->call('PING'), 'PONG', 'another connection');
is($redis->clients, 2, 'both are seen');
is($redis->subscribers, 1, 'one subscribes');
undef $second;
ok(wait_for { $redis->clients == 1 }, 'one has gone');

# stopped, killed, started, paused

$redis->stop;
is($redis->try('PING'), undef, 'stopped');
ok(!eval { $redis->cmd('PING') }, 'which a command does not hide');
$redis->start;
is($redis->cmd(EXISTS => 'big'), 0, 'without its data');

my $saved = EntraMDM::Redis->new($t, 'saved', save => 1);
$saved->cmd(SET => a => 1);
$saved->kill9;
$saved->start;
is($saved->cmd(GET => 'a'), 1, 'with its data, after kill -9');
$saved->kill9;
$saved->start(empty => 1);
is($saved->cmd(GET => 'a'), undef, 'or without');

$saved->pause;
ok(wait_for { state($saved->pid) eq 'T' }, 'paused');
$saved->resume;
is($saved->cmd('PING'), 'PONG', 'resumed');

# who may

my $shut = EntraMDM::Redis->new($t, 'shut', acl => "user default off\n"
    . 'user feed on >secret ~a* &x -@all +get');
is($shut->cmd(SET => a => 1), 'OK', 'the harness may, with an ACL file');
$client = $shut->connect;
like($client->call(GET => 'a'), qr/^-NOAUTH/, 'others must say who they are');
is($client->call(qw(AUTH feed secret)), 'OK', 'and do');
is($client->call(GET => 'a'), 1, 'what they may');
like($client->call(GET => 'b'), qr/^-NOPERM/, 'and may not');
is(EntraMDM::Redis->new($t, 'word', password => 'x')->cmd('PING'), 'PONG',
    'a password');

# TLS

my $ca = EntraMDM::Certificates->new($t->dir . '/ca');
my $tls = EntraMDM::Redis->new($t, 'tls', tls => {
    $ca->certificate('server', 'DNS:redis.test,IP:127.0.0.1') });
is($tls->cmd(SET => big => 'x' x 300_000), 'OK', 'TLS');
is(length $tls->cmd(GET => 'big'), 300_000, 'TLS: and back');
my %old = $ca->certificate('old', 'DNS:redis.test', expired => 1);
my $said = `openssl verify -CAfile $old{ca} $old{cert} 2>&1`;
like($said, qr/expired/, 'an expired certificate');
$said = `openssl x509 -in $tls->{tls}{cert} -noout -checkhost redis.test`;
like($said, qr/does match/, 'a certificate for a name');

# replica and sentinel

my $replica = $saved->replica('replica');
$saved->cmd(SET => b => 2);
ok(wait_for { ($replica->cmd(GET => 'b') // 0) == 2 }, 'a replica follows');
my $sentinel = EntraMDM::Redis->sentinel($t, 'sentinel', fleet => $saved);
is($sentinel->master('fleet'), $saved->port, 'the sentinel names the master');
is($sentinel->master('other'), 0, 'and no other');
$sentinel->knows_replica('fleet');
$saved->kill9;
ok((wait_for { $sentinel->master('fleet') == $replica->port } 20),
    'fail-over');
ok(wait_for { $replica->cmd('ROLE')->[0] eq 'master' }, 'the new master');

# cluster

my $cluster = EntraMDM::Redis->cluster($t, qw(n1 n2 n3 n4));
my $key = 'entra_mdm:{fleet}:client_ids';
my $owner = $cluster->owner($key);
my @others = $cluster->others($key);
is(@others, 2, 'two others do not serve the key');
like($others[0]->cmd(GET => $key), qr/^-MOVED /, 'and say so');
is($cluster->cmd(SADD => $key, 'x'), 1, 'the owner does');
$cluster->cmd(SADD => 'entra_mdm:{fleet}:tenant_ids', 'y');
my $half = 0;
$cluster->move($key => $others[1], sub {
    $half = $owner->cmd(EXISTS => $key)
        . $owner->cmd(EXISTS => 'entra_mdm:{fleet}:tenant_ids') });
like($half, qr/-ASK/, 'a slot half moved');
is($cluster->owner($key), $others[1], 'moved');
is_deeply($cluster->cmd(SMEMBERS => $key), [ 'x' ], 'with its keys');

# the end, whatever way

my @pids = do {
    my $pid = open(my $out, '-|') // die;
    if (!$pid) {
        my $other = EntraMDM::Redis->new(
            EntraMDM::Nginx->new(module => 0), 'redis');
        syswrite STDOUT, $other->pid . "\n";
        kill KILL => $$;
    }
    my ($server) = <$out> =~ /(\d+)/;
    close $out;
    $server;
};
ok(wait_for { state($pids[0]) =~ /^Z?$/ },
    'a server ends with a test that is killed');

is(join(' ', grep { !$_->pid } $redis, $shut, $tls), '', 'the others run');
done_testing();


sub state {
    my ($pid) = @_;
    my $stat = eval { EntraMDM::File::slurp("/proc/$pid/stat") } // '';
    return $stat =~ /\) (\S)/ ? $1 : '';
}
