#!/usr/bin/perl

# Changes at the same time, with the zone as the list and with Redis: with
# If-Match none is lost, without it every one takes hold; and a long list holds
# up nobody.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(max min);
use POSIX ();
use Test::More;
use Time::HiRes qw(clock_gettime sleep time);

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(workers => 2, events => 'accept_mutex off;',
    http => fleet_policy('zone 4m;', 'zone')
    . fleet_policy('zone 4m; redis redis://127.0.0.1:%%PORT_redis%% timeout=10s;',
        'redis')
    . api_map() . <<'EOC');

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        client_max_body_size 8m;
        entra_mdm_api_role $role;
        location /zone/  { entra_mdm_api zone; }
        location /redis/ { entra_mdm_api redis; }
    }

    server {
        listen 127.0.0.1:%%PORT_ping%% reuseport;
        keepalive_requests 10000000;
        location / { add_header X-Worker $pid; return 204; }
    }
EOC

$t->write_file('keys.json', jwks(new_key()));
my $redis = EntraMDM::Redis->new($t, 'redis');
$t->start;
ok((wait_for { $redis->subscribers }), 'the feed is at work');


# Runs this in so many processes; true if each of them was content.

sub at_once {
    my ($n, $code) = @_;
    my @pids = map {
        my $i = $_;
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            my $ok = eval { $code->($i) };
            diag($@) if $@;
            POSIX::_exit($ok ? 0 : 1);
        }
        $pid;
    } 1 .. $n;

    return !grep { waitpid($_, 0); $? } @pids;
}


# with If-Match: read, add one's own, try again if somebody was faster; among
# many others, so that a change takes its time

my ($clients, $each) = (10, 20);

sub with_match {
    my (@base) = @_;
    my $uri = "${EntraMDM::ApiClient::Location}config";
    my $before = patched(\@base, undef);

    ok(at_once($clients, sub {
        my ($n) = @_;

        for my $i (1 .. $each) {
            my $mine = guid($n * 1000 + $i);
            my $status = 412;

            while ($status == 412) {
                my $r = http_get($uri, headers => [ 'X-Role' => 'admin' ]);
                my ($ids) = $r->body
                    =~ /"windows_entra_client_ids":\[(.*?)\]/;
                $status = http_request(PATCH => $uri, body => '{"mdm":'
                    . "{\"windows_entra_client_ids\":[$ids,\"$mine\"]}}",
                    headers => [ 'X-Role' => 'admin',
                        'If-Match' => $r->header('ETag'),
                        'Content-Type' => 'application/json' ])->status;
            }
            return 0 if $status != 200;
        }
        return 1;
    }), 'all changes are made');

    my $json = (api(GET => 'config'))[1];
    my @ours = map { my $n = $_; map { guid($n * 1000 + $_) } 1 .. $each }
        1 .. $clients;
    is_lists('and none is lost', [ sort(@ours), @base ], [], $json);
    is($json->{generation}, $before + @ours, 'each made one generation');

    (undef, $json) = api(GET => 'activities?per_page=' . @ours);
    my @added = map { $_->{details}{client_id} } @{ $json->{activities} };
    is_deeply([ sort @added ], [ sort @ours ], 'and one activity');
    my @ids = map { $_->{id} } @{ $json->{activities} };
    return \@ids;
}


sub counted {
    patched([ guid(0x10000) ], undef);
    ok(at_once(6, sub { count_up(10); return 1 }), 'six count');
    is_lists('to sixty', [ guid(0x10000 + 60) ], []);
}


# without: two lists, each changed by others, and no error

sub without {
    ok(at_once(8, sub {
        my ($n) = @_;
        for my $i (1 .. 25) {
            my @ids = map { guid($n * 1000 + $i * 10 + $_) } 1 .. 5;
            my ($status) = patch($n % 2 ? \@ids : undef,
                $n % 2 ? undef : \@ids);
            return 0 if $status != 200;
        }
        return 1;
    }), 'all changes are made');

    my $json = (api(GET => 'config'))[1];
    is(scalar @{ $json->{mdm}{"windows_entra_${_}_ids"} }, 5,
        "the last one of $_ ids stands, whole") for qw(client tenant);
}

sub patched {
    my ($status, $json) = patch(@_);
    is($status, 200, 'PATCH');
    return $json->{generation};
}

subtest 'zone' => sub {
    local $EntraMDM::ApiClient::Location = '/zone/';
    my $ids = with_match(map { guid($_) } 100_001 .. 103_000);
    is_deeply($ids, [ reverse $ids->[-1] .. $ids->[-1] + $#$ids ],
        'numbered in their order');
    counted();
    without();
};
subtest 'redis' => sub {
    local $EntraMDM::ApiClient::Location = '/redis/';
    ok((wait_for { (api(GET => 'config'))[1]{source} eq 'redis' }), 'Redis');
    with_match(my @base = map { guid($_) } 100_001 .. 100_300);
    my $all = [ sort @{ $redis->cmd(SMEMBERS => 'entra_mdm:{redis}:client_ids')
        } ];
    is_deeply((api(GET => 'config'))[1]{mdm}{windows_entra_client_ids}, $all,
        'what Redis has is what the node shows');
    is(scalar @$all, @base + $clients * $each, 'all of it');
    counted();
    without();
};


# 10,000 IDs, in the zone and in Redis, while another asks both workers all the
# time.  Between his question and its answer, a worker has done no more than
# what was under way, the answer, and what came in between: the most that this
# took of the processor is the longest that anybody is held up.  How long it
# took by the clock is a matter of what else the machine does.

my @many = map { guid($_) =~ s/(.)(.)/$2$1/r } 1 .. 10_000;
my ($limit, $second) = map { $_ * ($ENV{ENTRA_MDM_SANITIZED} ? 20 : 1) } 20, 1;

sub used {
    my ($pid) = @_;
    return clock_gettime(-8 * ($pid + 1) + 2);  # the clock of that process
}

sub pings {
    my ($name) = @_;
    my %worker = map { $_->request(GET => '/')->header('X-Worker') => $_ }
        map { http_connect(port => $t->port('ping')) } 1 .. 20;
    my ($longest, $n) = (0, 0);

    $t->write_file("$name-begun", '');
    until (-e $t->dir . "/$name-enough") {
        for my $pid (keys %worker) {
            my $from = used($pid);
            $worker{$pid}->request(GET => '/');
            my $took = used($pid) - $from;
            $longest = $took if $took > $longest;
            $n++;
        }
        sleep 0.0005;
    }
    $t->write_file("$name-pings", sprintf '%.1f %d %d', 1000 * $longest, $n,
        scalar keys %worker);
}

for my $name (qw(zone redis)) {
    my $location = "/$name/";
    my $pinger = fork // die;
    my (@took, @used);

    if (!$pinger) {
        eval { pings($name) };
        POSIX::_exit(0);
    }
    wait_for(sub { -e $t->dir . "/$name-begun" });

    for my $ids (\@many, [], \@many, [ @many[ 1 .. 9_999 ] ], \@many) {
        my ($from, @from) = (time, map { used($_) } $t->workers);
        my ($status) = patch($ids, undef, location => $location);

        push @took, time - $from;
        push @used, map { used($_) - shift @from } $t->workers;
        is($status, 200, "$name: " . @$ids . ' IDs');
    }
    my $log = 'added_microsoft_entra_client_id ' . $many[-1];
    ok($t->wait_for_log(qr/$log/), "$name: they are in the log");
    $t->write_file("$name-enough", '');
    waitpid $pinger, 0;

    my ($longest, $n, $workers) = split / /, $t->file("$name-pings");
    diag(sprintf '%s: PATCH of 10,000 IDs took %.0f to %.0f ms, of a worker '
        . '%.0f at most, and at one go %.1f', $name,
        (map { 1000 * $_ } min(@took), max(@took), max(@used)), $longest);
    is($workers, 2, "$name: both workers were asked");
    cmp_ok($n, '>', 100, "$name: again and again");
    cmp_ok(min(@took), '<', $second, "$name: answered in under a second");
    cmp_ok(max(@used), '<', $second, "$name: by no more work than that");
    cmp_ok($longest, '<', $limit, "$name: no worker was held up for 20 ms");
}

$t->done;
