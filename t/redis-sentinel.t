#!/usr/bin/perl

# A master that sentinels name: the feed finds it, and follows it when another
# takes its place.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Between;
use EntraMDM::File qw(wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $url = 'redis redis-sentinel://127.0.0.1:%%PORT_nobody%%,'
    . '127.0.0.1:%%PORT_sentinel%%/service timeout=1s;';
my $t = EntraMDM::Nginx->new(workers => 2, http => live_http($url));
my $first = EntraMDM::Redis->new($t, 'first', save => 1);
my $second = $first->replica('second', save => 1);
my $sentinel = EntraMDM::Redis->sentinel($t, 'sentinel', service => $first,
    down => 1);

let_in($first, guid(1));
live_start($t);

# no sentinel yet

is(said(token(guid(1))), 'lists_unavailable', 'no sentinel: no list');
is(said(token(CLIENT_V2)), 'ok', 'no sentinel: the configuration counts');
$sentinel->start;
everywhere(token(guid(1)), 'ok', 'a sentinel, the second in the list', 20);
let_in($first, guid(2));
everywhere(token(guid(2)), 'ok', 'the master is followed');
is(scalar $first->subscribers, 1, 'by tracking');
is(scalar $second->clients, 0, 'and not its replica');

# a fail-over on demand

ok((wait_for { $second->cmd(SISMEMBER => list('client_ids'), guid(2)) }),
    'the replica has the data');
ok($sentinel->knows_replica('service'), 'the sentinel knows the replica');
ok((wait_for { $second->cmd(SCARD => list('client_ids')) == 2 }),
    'which has what the master has');
is($sentinel->cmd(qw(SENTINEL FAILOVER service)), 'OK', 'SENTINEL FAILOVER');
master_is($second, 'on demand');
let_in($second, guid(3));
everywhere(token(guid(3)), 'ok', 'on demand: a change on the new master', 20);
shut_out($second, guid(2));
everywhere(token(guid(2)), 'audience_not_allowed', 'on demand: a removal');
everywhere(token(guid(1)), 'ok', 'on demand: the list is there');
ok((wait_for { $first->clients == 0 }), 'on demand: the old one is left');

# a fail-over since the master died

ok((wait_for { $first->cmd(qw(INFO replication)) =~ /link_status:up/ } 20),
    'the old master replicates');
ok((wait_for { $first->cmd(SISMEMBER => list('client_ids'), guid(3)) }),
    'and has the data');
ok($sentinel->knows_replica('service'), 'which the sentinel knows');
$second->kill9;
everywhere(token(guid(3)), 'ok', 'killed: the last list stays');
master_is($first, 'killed');
let_in($first, guid(4));
everywhere(token(guid(4)), 'ok', 'killed: a change on the new master', 20);
shut_out($first, guid(3));
everywhere(token(guid(3)), 'audience_not_allowed', 'killed: a removal');

# the sentinel is needed only to find the master

$sentinel->kill9;
let_in($first, guid(5));
everywhere(token(guid(5)), 'ok', 'without the sentinel: still followed');
$sentinel->start;

# a name that no sentinel knows

$t->mark;
ok($t->reload(http => live_http($url =~ s/service/nonsuch/r)), 'another name');
like($t->wait_for_log(qr/\[error\].*nonsuch/), qr/fleet/,
    'another name: logged');
everywhere(token(guid(5)), 'ok', 'another name: the last list stays');
ok($t->reload(http => live_http($url)), 'the right name');
let_in($first, guid(6));
everywhere(token(guid(6)), 'ok', 'the right name: followed', 20);

# a sentinel that knows less than it thinks: a replica is not to be followed

my $liar = EntraMDM::Between->new($t, 'liar', $first);
my $named = sub { my ($port) = $_[0]->port;
    $liar->says("*2\r\n\$9\r\n127.0.0.1\r\n\$" . length($port)
        . "\r\n$port\r\n") };

$second->start;
$second->cmd(REPLICAOF => '127.0.0.1', $first->port);
ok((wait_for { $second->cmd(qw(INFO replication)) =~ /link_status:up/ } 20),
    'a replica');
ok((wait_for { $second->cmd(SISMEMBER => list('client_ids'), guid(6)) }),
    'with the same data');
$named->($second);
$t->mark;
my $to_liar = $url =~ s{//.*PORT_sentinel}{//127.0.0.1:%%PORT_liar}r;
ok($t->reload(http => live_http($to_liar)), 'a sentinel that names it');
like($t->wait_for_log(qr/\[error\].*(?:role|master)/i), qr/fleet/,
    'a replica: logged');
my $replica = '127.0.0.1:' . $second->port;
is(join("\n", lines(qr/\[notice\].*"$replica".*connected/)), '',
    'a replica: not followed');
everywhere(token(guid(6)), 'ok', 'a replica: the last list stays');
$named->($first);
let_in($first, guid(7));
everywhere(token(guid(7)), 'ok', 'then it names the master', 20);

# what nginx -t says

for ([ 'redis-sentinel://127.0.0.1:26379', 'no name of a master' ],
     [ 'redis-sentinel:///service', 'no sentinel' ],
     [ 'redis-sentinel://127.0.0.1:26379,/service', 'an empty sentinel' ])
{
    my ($wrong, $name) = @$_;
    my ($code, $said) = $t->nginx_t(http => live_http("redis $wrong;"));
    isnt($code, 0, "$name: nginx -t fails");
    like($said, qr/\[emerg\].*\Q$wrong\E.* in \S+:\d+/, "$name: with the value");
}

$t->done;


sub master_is {
    my ($server, $name) = @_;
    ok((wait_for { $sentinel->master('service') == $server->port } 30),
        "$name: the sentinel names the new master");
    ok((wait_for { $server->cmd('ROLE')->[0] eq 'master' }),
        "$name: which knows it");
}
