#!/usr/bin/perl

# State beside Redis: the last known good, as old as it is, until Redis
# answers; and no more than that.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(spew wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::State;
use EntraMDM::Token;

sub http {
    my ($options, %o) = @_;
    return live_http('redis redis://127.0.0.1:%%PORT_redis%% poll=1s '
        . "$options; state state/fleet.json;", %o);
}

my $t = EntraMDM::Nginx->new(workers => 2, http => http(''));
my $redis = EntraMDM::Redis->new($t, 'redis', save => 1);
my $path = $t->dir . '/state/fleet.json';
my @in = (token(guid(1)), token(CLIENT_V2, guid(2)));

sub has {
    my ($state, $id) = @_;
    return scalar grep { $_ eq $id } map { @{ $state->{$_} // [] } }
        qw(client_ids tenant_ids);
}

sub kill_all {
    kill KILL => -$t->{pid};
    wait_for { $t->reaped };
}

# saved when the lists change

let_in($redis, guid(1));
$redis->cmd(SADD => list('tenant_ids'), guid(2));
live_start($t);
everywhere($_, 'ok', 'of Redis') for @in;
let_in($redis, guid(3));
my $state = state_with($t, sub { has($_[0], guid(3)) }, 3);
ok($state, 'a change is saved');
ok(has($state, guid(1)) && has($state, guid(2)), 'both lists are');
is($state->{lists_source}, 'redis', 'whose they are');
cmp_ok(abs(time - $state->{lists_updated}), '<', 5, 'and how old');

# Redis away: the last known good after every kind of end

$redis->stop;
for (
    [ 'quit',           sub { $t->stop('QUIT') } ],
    [ 'fast shutdown',  sub { $t->stop('TERM') } ],
    [ 'kill -9 of all', \&kill_all ],
) {
    my ($name, $how) = @$_;
    $how->();
    $t->start;
    everywhere($in[0], 'ok', "$name: a client ID");
    everywhere($in[1], 'ok', "$name: a tenant ID");
    everywhere(token(guid(9)), 'audience_not_allowed', "$name: no other");
}

# Redis back: what has been removed meanwhile is out, on disk as well

$redis->start;
shut_out($redis, guid(1));
everywhere($in[0], 'audience_not_allowed', 'removed', 20);
ok(state_with($t, sub { !has($_[0], guid(1)) }), 'from the state, too');

# an age that a restart does not change

$redis->stop;
$t->stop;
$t->change(http => http('max_stale=1h'));
for ([ 1800, 'ok' ], [ 7200, 'lists_unavailable' ],
     [ -7200, 'lists_unavailable' ])
{
    my ($age, $result) = @$_;
    write_state($t, client_ids => [ guid(4) ], tenant_ids => [],
        lists_updated => time - $age);
    $t->start;
    everywhere(token(guid(4)), $result, "lists that are $age seconds old");
    $t->stop;
}

# damaged: Redis has the lists

$t->change(http => http(''));
$redis->start;
spew($path, '{"version":1,"client_ids":["');
my ($code, $said) = $t->nginx_t;
is($code, 0, 'a damaged state: nginx -t');
like($said, qr/\[error\].*fleet\.json" .*is damaged: .*line 1.*it is ignored/,
    'a damaged state: says so');
$t->start;
everywhere(token(guid(3)), 'ok', 'a damaged state: of Redis', 20);
ok(state_with($t, sub { has($_[0], guid(3)) }), 'and is written anew');

# Redis loses its data while nginx is down: the state knows that there was some

ok(state_with($t, sub { $_[0]{redis_generation} }), 'there was a generation');
$t->stop;
$redis->kill9;
$redis->start(empty => 1);
$t->start;
ok($t->wait_for_log('\[error\].*lost'), 'lost: the log says so');
everywhere(token(guid(3)), 'ok', 'lost: the lists stay');
ok(state_with($t, sub { $_[0]{lists_source} eq 'lost' && has($_[0], guid(3)) }),
    'lost: so says the state');
$t->stop;
is(read_state($t)->{lists_source}, 'lost', 'lost: at the end, too');
$t->start;
everywhere(token(guid(3)), 'ok', 'lost: after another restart');
$redis->cmd(SET => list('generation'), 1);
let_in($redis, guid(5));
everywhere(token(guid(5)), 'ok', 'found again', 20);
everywhere(token(guid(3)), 'audience_not_allowed', 'and only what is there');

# keys of Redis

$t->stop;
$redis->cmd(SET => list('jwks'), jwks(key()));
$t->change(http => http('', jwks => 'redis'));
$t->start;
everywhere(token(guid(5)), 'ok', 'keys of Redis', 20);
ok(state_with($t, sub { $_[0]{jwks_source} eq 'redis'
    && kids($_[0]) eq key()->kid }), 'are saved');
$redis->stop;
kill_all();
$t->start;
everywhere(token(guid(5)), 'ok', 'and there without Redis');

$t->done;
