#!/usr/bin/perl
# once

# Redis tells of a change all the time: what is not a list is not read for it,
# a list that never rests is in force nevertheless, and requests are answered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(time);

use EntraMDM::File qw(wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    'redis redis://127.0.0.1:%%PORT_redis%%;'));
my $redis = EntraMDM::Redis->new($t, 'redis');
my ($clients, $activities) = map { list($_) } qw(client_ids activities);

live_start($t);
let_in($redis, guid(1), map { guid($_, 5) } 1 .. 2000);
everywhere(token(guid(1)), 'ok', 'followed');
ok((wait_for { $redis->cmd(EXISTS => list('generation')) }), 'settled');

my $n = 0;
my %flood = (
    'the stream beside the lists' => [ 0,
        [ XADD => $activities, 'MAXLEN', 100, '*', 'type', 'x' ] ],
    'the generation' => [ 1, [ INCR => list('generation') ] ],
    'a key that begins as a list' => [ 0, [ SET => "${clients}2", 1 ] ],
    'a list itself' => [ 1, [ SADD => $clients, guid(1, 6) ],
        [ SREM => $clients, guid(1, 6) ] ],
    'what is no invalidation' => [ 1,
        [ PUBLISH => '__redis__:invalidate', $clients ] ],
);

for my $name (sort keys %flood) {
    my ($read, @commands) = @{ $flood{$name} };
    my $end = flood(@commands);
    my $load = load(2, [ token(guid(1)), 'ok' ],
        [ token(guid(2)), 'audience_not_allowed' ]);
    my ($from, $scans) = (time, scans());

    if (!$read) {
        ok((wait_for { $end->{written}->() > 2000 } 60), "$name: many times");
        is(scans() - $scans, 0, "$name: no list is read for it");
    }
    for my $new (map { guid(++$n, 7) } 1 .. 3) {
        let_in($redis, $new);
        everywhere(token($new), 'ok', "$name: an addition", 5);
        shut_out($redis, $new);
        everywhere(token($new), 'audience_not_allowed', "$name: a removal", 5);
    }
    cmp_ok((scans() - $scans) / (time - $from), '<', 1000,
        "$name: not read for each");
    my $all = $load->();
    is_deeply($all->{wrong}, {}, "$name: $all->{requests} right answers");
    cmp_ok(percentile(50, map { $_->[1] } @{ $all->{times} }), '<', 0.1,
        "$name: in time");
    $end->{stop}->();
    is(scalar feed_workers($redis->port), 1, "$name: one feed");
}

is(scalar lines(qr/\[error\]/), 0, 'nothing went wrong');

$t->done;


# SSCAN commands so far

sub scans {
    my ($calls) = $redis->cmd(qw(INFO commandstats))
        =~ /cmdstat_sscan:calls=(\d+)/;
    return $calls // 0;
}

# Another process sends the commands in turn, a hundred at a time.

sub flood {
    my @commands = @_;
    my $test = $$;
    my $before = written();
    my $pid = fork // die "fork: $!";

    if (!$pid) {
        my $c = $redis->connect;
        $redis->greet($c);
        while (getppid == $test) {
            $c->send(@$_) for (@commands) x (100 / @commands);
            $c->reply for 1 .. 100;
        }
        POSIX::_exit(0);
    }
    return { written => sub { written() - $before },
             stop => sub { kill KILL => $pid; waitpid $pid, 0 } };
}

sub written {
    return ($redis->cmd(qw(INFO stats))
        =~ /total_commands_processed:(\d+)/)[0];
}
