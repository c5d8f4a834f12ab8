#!/usr/bin/perl

# Workers are killed at random, under load, while lists and keys change: no
# answer is ever wrong, no change that was answered is lost, and whatever a
# dead worker held is taken over.  Some seconds; a minute for each kind of
# lists with ENTRA_MDM_LONG=1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::ApiClient qw(api api_map api_location patch);
use EntraMDM::Backend;
use EntraMDM::File qw(slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant { SECONDS => $ENV{ENTRA_MDM_LONG} ? 60 : 4, MANY => 1000 };

my $t = EntraMDM::Nginx->new(workers => 2, level => 'notice');
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $idp = EntraMDM::Backend->new($t, 'idp');

$idp->answer('*' => { body => jwks(key()), delay => 0.1 });
$t->expect_log(qr/exited on signal 9/);
$t->expect_log(qr/zone "\S+" was locked by/);

sub http {
    return live_http($_[0], jwks => 'request=/keys refresh=1s min_interval=1s',
        http => api_map(), server => api_location() . <<'EOC');
        location = /keys {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%;
        }
        location = /fleet {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
EOC
}


# What a client is told: a reason, or "none" if nobody answered, as when its
# worker was killed.

sub result {
    my ($request) = @_;
    my $r = eval { $request->() };

    return $r && $r->status ? $r->header('X-Result') // 'none' : 'none';
}

sub expect {
    my ($wrong, $name, $expected, $request) = @_;
    my $result = result($request);

    $wrong->{"$name: $result"}++ if $result ne $expected && $result ne 'none';
    return $result eq $expected;
}

# Each of these runs in a process of its own until time is up, and has its
# say: lines of text.

sub together {
    my ($seconds, @jobs) = @_;
    my $until = time + $seconds;
    my @running = map {
        my $job = $_;
        pipe my $read, my $write or die "pipe: $!";
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            close $read;
            srand($$);
            my @said = eval { $job->($until) };
            print {$write} map { "$_\n" } $@ ? "died: $@" : @said;
            close $write;
            POSIX::_exit(0);
        }
        [ $read, $pid ];
    } @jobs;

    return map {
        my ($read, $pid) = @$_;
        my @lines = <$read>;
        chomp @lines;
        waitpid $pid, 0;
        \@lines;
    } @running;
}


# Devices.  guid(1) is in the list throughout, guid(2) never.

my ($in, $out) = (token(guid(1)), token(guid(2)));
my $stranger = token(CLIENT_V2, guid(2));
my @cases = (
    [ 'listed', 'ok', sub { http_get('/tos', bearer => $in) } ],
    [ 'configured', 'ok', sub { http_get('/fleet', bearer => token(CLIENT_V2),
        headers => [ 'X-Entra-UPN' => 'evil@example.com' ]) } ],
    [ 'enrolls', 'ok', sub { http_post('/fleet', enroll_message($in)) } ],
    [ 'never listed', 'audience_not_allowed',
        sub { http_get('/fleet', bearer => $out) } ],
    [ 'another tenant', 'tenant_not_allowed',
        sub { http_get('/fleet', bearer => $stranger) } ],
    [ 'another tenant enrolls', 'tenant_not_allowed',
        sub { http_post('/fleet', enroll_message($stranger)) } ],
    [ 'unknown key', 'key_unknown', sub { http_get('/fleet', bearer =>
        mint(key(), claims_v2(), header => { kid => 'unknown' })) } ],
);

# Until time is up, and each of these has been answered.

sub devices {
    my ($until) = @_;
    my (%wrong, %answered, $answers);

    for (my $n = rand @cases; time < $until || keys %answered < @cases; $n++) {
        my $case = $cases[ $n % @cases ];
        return (0, 'no answer but to ' . join ', ', sort keys %answered)
            if time > $until + 20;
        next if !expect(\%wrong, @$case);
        $answers++;
        $answered{ $case->[0] } = 1;
        sleep 0.002;
    }
    return ($answers, map { "$_, $wrong{$_} times" } sort keys %wrong);
}

sub killer {
    my ($until) = @_;
    my $kills = 0;

    while (time < $until - 0.5) {
        my @workers = split / /,
            slurp("/proc/$t->{pid}/task/$t->{pid}/children");
        $kills += kill KILL => $workers[ rand @workers ] if @workers;
        sleep 0.05 + rand 0.15;
    }
    return $kills;
}

# One ID after the other, each tried until it is answered 200; from then on
# it counts, and the one before does not.

my @rest = map { guid($_, 5) } 1 .. MANY;

sub changer {
    my ($until) = @_;
    my ($n, $done, %wrong, %status) = (0, 0);

    while (time < $until) {
        my $before = token(guid($n, 3));
        my $now = guid(++$n, 3);
        my $list = [ guid(1), $now, @rest ];
        my $status = 0;

        for (my $try = 0; $status != 200; $try++) {
            sleep 0.02 if $try;
            ($status) = eval { patch($list, undef) };
            $status{ $status //= 0 }++;
            return ("no answer to PATCH: " . join ' ', %status)
                if time > $until + 20;
        }
        $done++;
        expect(\%wrong, 'a change that was answered', 'ok',
            sub { http_get('/tos', bearer => token($now)) });
        expect(\%wrong, 'what it took out', 'audience_not_allowed',
            sub { http_get('/tos', bearer => $before) });
    }
    return ($n, (map { "$_, $wrong{$_} times" } sort keys %wrong),
        map { "PATCH: $_" } grep { !/^(?:0|200|503)$/ } keys %status);
}

sub random_kills {
    my ($name) = @_;

    ok((patch([ guid(1), @rest ], []))[0] == 200, "$name: the list");
    everywhere($in, 'ok', "$name: in force");
    $fleet->requests;

    my ($kills, $last, @devices) = together(SECONDS, \&killer, \&changer,
        (\&devices) x 3);
    my ($n, @wrong) = @$last;
    my $answers = 0;

    $answers += shift @$_ for @devices;
    cmp_ok($kills->[0], '>', 2, "$name: $kills->[0] kills");
    cmp_ok($n, '>', 1, "$name: $n changes");
    cmp_ok($answers, '>', @cases, "$name: $answers answers");
    is(join("\n", @wrong), '', "$name: what was answered is in force");
    is(join("\n", map { @$_ } @devices), '', "$name: no answer is wrong");

    my %seen;
    $seen{ identity($_) }++ for $fleet->requests;
    is_deeply([ sort keys %seen ], [ map { 'upn=bob@example.com'
        . " audience=$_ token-version=2.0" } guid(1), CLIENT_V2 ],
        "$name: the backend sees who was accepted, and nobody else");
    return $n;
}

# As the last change has left it, in all workers.

sub as_left {
    my ($name, $n) = @_;

    everywhere(token(guid($n, 3)), 'ok', "$name: the last change");
    everywhere(token(guid($n - 1, 3)), 'audience_not_allowed',
        "$name: and none before it");
    everywhere($in, 'ok', "$name: and the rest");
    everywhere($out, 'audience_not_allowed', "$name: and nobody else");
}

sub takes_over {
    my ($name) = @_;

    $idp->requests;
    ok((wait_for { scalar $idp->requests }), "$name: keys are fetched again");
    my ($status) = patch([ guid(1), guid(4) ], undef);
    is($status, 200, "$name: the lists can be changed");
    everywhere(token(guid(4)), 'ok', "$name: and are");
}


# lists in the zone, and their state

$t->change(http => http('state state/fleet.json;'));
live_start($t);
my $n = random_kills('zone');
as_left('zone', $n);
ok(state_with($t, sub { grep { $_ eq guid($n, 3) } @{ $_[0]{client_ids} // [] } }),
    'zone: saved');
my @activities = @{ (api(GET => 'activities?per_page=1000'))[1]{activities} };
is(join(' ', map { $_->{id} } @activities), join(' ', reverse
    $activities[-1]{id} .. $activities[0]{id}), 'zone: activities in a row');
$t->crash;
$t->start;
as_left('zone: after all were killed', $n);
takes_over('zone');
$t->settle;


# lists in Redis

my $redis = EntraMDM::Redis->new($t, 'redis');
$t->change(http => http('redis redis://127.0.0.1:%%PORT_redis%% '
    . 'timeout=500ms poll=500ms;'));
live_start($t);
$n = random_kills('Redis');
as_left('Redis', $n);
ok((wait_for { feed_workers($redis->port) == 1 }), 'Redis: one feed');
ok((wait_for { $redis->clients == 2 }), 'Redis: of two connections');
takes_over('Redis');
ok($t->stop, 'Redis: nginx quits');
$t->start;
everywhere(token(guid(4)), 'ok', 'Redis: after a restart');
$t->done;
