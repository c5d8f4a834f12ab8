#!/usr/bin/perl
# once

# A hundred thousand IDs: the worker that loads them goes on serving, and a
# request costs what it costs with ten.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

use constant { IDS => 100_000, ROUNDS => 6, REQUESTS => 3000 };

my $redis_line = 'redis redis://127.0.0.1:%%PORT_redis%%';
my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    "$redis_line; zone 8m;",
    http => 'entra_mdm_policy small { server_url https://fleet.example.com;'
    . 'tenant_id ' . TENANT . "; jwks file=%%DIR%%/keys.json; $redis_line; }",
    server => 'location = /small { entra_mdm small token=bearer;'
    . ' try_files /tos =404; } location = /metrics { entra_mdm_metrics; }'));
my $redis = EntraMDM::Redis->new($t, 'redis');

let_in($redis, guid(1));
$redis->cmd(SADD => list('client_ids', 'small'), map { guid($_) } 1 .. 10);
live_start($t);
everywhere(token(guid(1)), 'ok', 'one ID');
my ($feed) = feed_workers($redis->port);
my %before = map { $_ => rss($_) } $t->workers;

for my $part (0 .. 9) {
    $redis->cmd('MULTI') if !$part;
    let_in($redis, map { guid($_) } $part * IDS / 10 + 1
        .. ($part + 1) * IDS / 10);
}
my $from = time;
$redis->cmd('EXEC');
everywhere(token(guid(IDS)), 'ok', IDS . ' IDs', 30);
note(sprintf 'enforced by every worker after %.0f ms', 1000 * (time - $from));
everywhere(token(guid(IDS / 2)), 'ok', 'one in the middle');

my %zone = http_get('/metrics')->body
    =~ /^entra_mdm_zone_bytes\{policy="fleet",kind="(\w+)"\} (\d+)/mg;
note("zone: $zone{snapshot_used} bytes of $zone{snapshot_room} used, twice");
cmp_ok($zone{snapshot_used}, '<=', 19 * IDS + 80 * 1024,
    'an ID takes 19 bytes of each of two copies');
everywhere(token(guid(IDS + 1)), 'audience_not_allowed', 'none beyond');

for my $pid (sort keys %before) {
    my $grown = rss($pid) - $before{$pid};
    note(sprintf 'worker %d%s: %.1f MB more', $pid,
        $pid == $feed ? ' (feed)' : '', $grown / 1024);
    cmp_ok($grown, '<', 48 * 1024, 'a worker is not much larger');
}

# Stalls: the longest wait for an answer of the feed's worker, with a load
# under way and without, in turns.  What else the machine does may delay any
# one round; a stall that the load makes is there in every one.

my (@idle, @loading, @took);
for my $round (1 .. ROUNDS) {
    push @idle, longest(sub { sleep 0.5 });
    push @loading, longest(sub {
        my $new = guid($round, 1);
        my $start = time;
        let_in($redis, $new);
        everywhere(token($new), 'ok', "loaded again, round $round", 30);
        push @took, time - $start;
        sleep 0.1;
    });
}

my $told = sprintf 'longest wait with a load %s ms, without %s ms',
    map { join '/', map { sprintf '%.1f', 1000 * $_ } sort { $a <=> $b } @$_ }
    \@loading, \@idle;
note($told);
note(sprintf 'a load took %.0f to %.0f ms', map { 1000 * $_ }
    (sort { $a <=> $b } @took)[0, -1]);
my ($least, $noise) = map { percentile(1, @$_) } \@loading, \@idle;
cmp_ok($least - $noise, '<', 0.02, 'no load stalls its worker for 20 ms');

# CPU time of a request, by a worker that does nothing else: were the list
# walked through it would be many times as much.  tools/bench is stricter.

my ($worker) = grep { $_ != $feed } $t->workers;
my $c = worker_connections()->{$worker};
my %cost;
for my $round (1 .. 5) {
    push @{ $cost{$_} }, cost($_) for qw(/tos /small);
}
my %least = map { $_ => percentile(1, @{ $cost{$_} }) } keys %cost;
note(sprintf 'an accepted request costs %.1f us among %d IDs, %.1f us among 10',
    $least{'/tos'}, IDS, $least{'/small'});
cmp_ok($least{'/tos'} / $least{'/small'}, '<', 2,
    'no request walks through the list');

# and out again

my $last = IDS;
$redis->cmd(SREM => list('client_ids'), guid($last));
everywhere(token(guid($last)), 'audience_not_allowed', 'one less', 30);
$redis->cmd(DEL => list('client_ids'));
everywhere(token(guid(1)), 'audience_not_allowed', 'none left', 30);

$t->done;


# A probe in a process of its own asks that worker all the time.

sub longest {
    my ($meanwhile) = @_;
    my $enough = $t->dir . '/probe-' . ++our $Probes;
    my $c = worker_connections()->{$feed};

    my $test = $$;
    my $pid = open(my $out, '-|') // die;
    if (!$pid) {
        my $longest = 0;
        while (!-e $enough && getppid == $test) {
            my $start = time;
            $c->request(GET => '/open')->status == 200 or $longest = 1000;
            my $took = time - $start;
            $longest = $took if $took > $longest;
            sleep 0.001;
        }
        syswrite STDOUT, "$longest\n";
        POSIX::_exit(0);
    }
    $meanwhile->();
    spew($enough, '');
    my $longest = <$out>;
    close $out;
    return $longest + 0;
}

# Microseconds on a CPU for each of many requests.

sub cost {
    my ($uri) = @_;
    my $token = token(guid(7));
    my $wrong = 0;
    my $start = on_cpu($worker);

    for (1 .. REQUESTS) {
        $wrong++ if $c->request(GET => $uri, bearer => $token)
            ->header('X-Result') ne 'ok';
    }
    my $cost = (on_cpu($worker) - $start) / REQUESTS;
    is($wrong, 0, "$uri: all accepted");
    return $cost;
}

sub on_cpu {
    my ($pid) = @_;
    my $precise = eval { slurp("/proc/$pid/schedstat") } // '';

    return $1 / 1000 if $precise =~ /^([1-9]\d*) /;
    my @ticks = (split / /, slurp("/proc/$pid/stat") =~ s/.*\) //sr)[ 11, 12 ];
    return ($ticks[0] + $ticks[1]) * 1e6 / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub rss {
    my ($pid) = @_;
    return (slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m)[0];
}
