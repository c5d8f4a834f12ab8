#!/usr/bin/perl

# A cluster: the feed finds the node that has the policy's slot, and follows
# the slot to another node.

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

my $t = EntraMDM::Nginx->new(workers => 2);
my $cluster = EntraMDM::Redis->cluster($t, qw(n1 n2 n3));
my $key = list('client_ids');
my $owner = $cluster->owner($key);
my @others = $cluster->others($key);
my $addresses = join ',', '127.0.0.1:' . $t->port('nobody'),
    map { '127.0.0.1:' . $_->port } $others[0];

$t->change(http => live_http("redis redis-cluster://$addresses timeout=1s;"));

# a node that does not have the slot names the one that has

let_in($cluster, guid(1));
live_start($t);
everywhere(token(guid(1)), 'ok', 'started at another node', 20);
ok((wait_for { $owner->subscribers == 1 }), 'the right one is followed');
let_in($cluster, guid(2));
everywhere(token(guid(2)), 'ok', 'a change');
$cluster->cmd(SADD => list('tenant_ids'), guid(1));
everywhere(token(guid(2), guid(1)), 'ok', 'in the other list');

# the slot moves, and nothing is lost on the way

my $end = load(2, [ token(guid(1)), 'ok' ], [ token(guid(2), guid(1)), 'ok' ],
    [ token(guid(3)), 'audience_not_allowed' ]);

for my $round (1 .. 2) {
    my $to = ($cluster->others($key))[0];
    my $new = guid($round, 1);

    $cluster->move($key => $to);
    is($cluster->owner($key), $to, "move $round: the slot is elsewhere");
    let_in($cluster, $new);
    everywhere(token($new), 'ok', "move $round: a change there", 20);
    shut_out($cluster, $new);
    everywhere(token($new), 'audience_not_allowed',
        "move $round: and its removal");
    ok((wait_for { $to->subscribers == 1 }), "move $round: by tracking");
}

my $all = $end->();
is_deeply($all->{wrong}, {},
    "moves: $all->{requests} answers, every one as it must be");

# the node dies; while it is away the cluster is down

$owner = $cluster->owner($key);
$owner->kill9;
everywhere(token(guid(1)), 'ok', 'killed: the last list stays');
everywhere(token(guid(3)), 'audience_not_allowed', 'killed: whole');
$owner->start;
ok($cluster->whole, 'killed: it is back');
let_in($cluster, guid(4));
everywhere(token(guid(4)), 'ok', 'killed: a change afterwards', 30);

# lists that have lost nothing are emptied as asked

$cluster->cmd(DEL => $key, list('tenant_ids'));
everywhere(token(guid(4)), 'audience_not_allowed', 'DEL');

# nodes that name each other for a while are asked again

my $between = EntraMDM::Between->new($t, 'between',
    ($cluster->others($key))[0]);
$between->says('-MOVED 1 127.0.0.1:' . $t->port('between') . "\r\n");
ok($t->reload(http => live_http(
    'redis redis-cluster://127.0.0.1:%%PORT_between%% timeout=1s;')),
    'a node that names itself');
ok((wait_for { $between->connections > 20 } 30), 'it is asked again and again');
$between->honest;
let_in($cluster, guid(5));
everywhere(token(guid(5)), 'ok', 'then it names the right one', 20);

# what nginx -t says

for ([ 'redis-cluster://', 'no node' ],
     [ 'redis-cluster://127.0.0.1:7000,', 'an empty node' ],
     [ 'redis-cluster://127.0.0.1:7000/3', 'a database' ])
{
    my ($wrong, $name) = @$_;
    my ($code, $said) = $t->nginx_t(http => live_http("redis $wrong;"));
    isnt($code, 0, "$name: nginx -t fails");
    like($said, qr/\[emerg\].*\Q$wrong\E.* in \S+:\d+/, "$name: with the value");
}

$t->done;
