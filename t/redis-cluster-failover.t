#!/usr/bin/perl
# once

# A node of a cluster dies, and its replica takes its place.

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

# the first node has the replica: a policy whose slot it serves

my $t = EntraMDM::Nginx->new(workers => 2);
my $cluster = EntraMDM::Redis->cluster($t, qw(n1 n2 n3 n4));
my ($first, $second, $third, $replica) = $cluster->nodes;
my ($prefix) = grep { $cluster->owner("${_}client_ids") == $first }
    map { "{$_}:" } 1 .. 100;
my $key = "${prefix}client_ids";
my $addresses = join ',', map { '127.0.0.1:' . $_->port } $first, $second;

$t->change(http => live_http(
    "redis redis-cluster://$addresses 'prefix=$prefix' timeout=1s;"));
$cluster->cmd(SADD => $key, guid(1));
live_start($t);
everywhere(token(guid(1)), 'ok', 'followed', 20);
ok((wait_for { $replica->cmd(qw(INFO replication)) =~ /link_status:up/ }),
    'the replica follows too');

$first->kill9;
everywhere(token(guid(1)), 'ok', 'killed: the last list stays');
ok((wait_for { $replica->cmd('ROLE')->[0] eq 'master' } 40),
    'the replica is promoted');
ok($cluster->whole, 'the cluster is up again');
$replica->cmd(SADD => $key, guid(2));
everywhere(token(guid(2)), 'ok', 'a change on the new node', 30);
$replica->cmd(SREM => $key, guid(1));
everywhere(token(guid(1)), 'audience_not_allowed', 'a removal');

# the old one returns as a replica, to which the feed is not to go back

$first->start;
ok((wait_for { $first->cmd('ROLE')->[0] eq 'slave' } 40),
    'the old one is a replica now');
ok($t->reload, 'reload: a feed that starts at the replica');
$replica->cmd(SADD => $key, guid(3));
everywhere(token(guid(3)), 'ok', 'finds the master', 20);

$t->done;
