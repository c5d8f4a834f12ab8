#!/usr/bin/perl

# Changes at the same time: with If-Match none is lost, without it every one
# takes hold; and a long list holds up nobody.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(workers => 2, events => 'accept_mutex off;',
    http => fleet_policy('zone 4m;') . api_conf() . <<'EOC');

    server {
        listen 127.0.0.1:%%PORT_ping%% reuseport;
        location / { add_header X-Worker $pid; return 204; }
    }
EOC

$t->write_file('keys.json', jwks(new_key()));
$t->start;


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
my @base = map { guid($_) } 100_001 .. 103_000;
my $uri = "${EntraMDM::ApiClient::Location}config";

patch(\@base, undef);

ok(at_once($clients, sub {
    my ($n) = @_;

    for my $i (1 .. $each) {
        my $mine = guid($n * 1000 + $i);
        my $status = 412;

        while ($status == 412) {
            my $r = http_get($uri, headers => [ 'X-Role' => 'admin' ]);
            my ($ids) = $r->body =~ /"windows_entra_client_ids":\[(.*?)\]/;
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

my $expected = $clients * $each;
my $json = (api(GET => 'config'))[1];
is_lists('and none is lost', [ (sort map { my $n = $_;
    map { guid($n * 1000 + $_) } 1 .. $each } 1 .. $clients), @base ], [],
    $json);
is($json->{generation}, $expected + 1, 'each made one generation');

(undef, $json) = api(GET => "activities?per_page=$expected");
my @ids = map { $_->{id} } @{ $json->{activities} };
is_deeply(\@ids, [ reverse @base + 1 .. @base + $expected ],
    'and one activity, numbered in their order');


# without: two lists, each changed by others, and no error

ok(at_once(8, sub {
    my ($n) = @_;
    for my $i (1 .. 25) {
        my @ids = map { guid($n * 1000 + $i * 10 + $_) } 1 .. 5;
        my ($status) = patch($n % 2 ? \@ids : undef, $n % 2 ? undef : \@ids);
        return 0 if $status != 200;
    }
    return 1;
}), 'all changes are made');

(undef, $json) = api(GET => 'config');
is(scalar @{ $json->{mdm}{"windows_entra_${_}_ids"} }, 5,
    "the last one of $_ ids stands, whole") for qw(client tenant);


# 10,000 IDs while another asks both workers all the time

my @many = map { guid($_) } 1 .. 10_000;

sub pings {
    my ($file) = @_;
    my @c = map { http_connect(port => $t->port('ping')) } 1 .. 8;
    my ($slowest, %worker) = (0);

    $t->write_file($file, '');
    until (-e $t->dir . '/enough') {
        for my $c (@c) {
            my $from = time;
            my $r = $c->request(GET => '/');
            $slowest = time - $from if time - $from > $slowest;
            $worker{ $r->header('X-Worker') } = 1;
        }
        sleep 0.0005;
    }
    $t->write_file($file, sprintf "%.1f %d", 1000 * $slowest,
        scalar keys %worker);
}

my $pinger = fork // die;
if (!$pinger) {
    eval { pings('pings') };
    POSIX::_exit(0);
}
wait_for(sub { -e $t->dir . '/pings' });

my @took;
for my $ids (\@many, [], \@many, [ @many[ 1 .. 9_999 ] ], \@many) {
    my $from = time;
    my ($status) = patch($ids, undef);
    push @took, time - $from;
    is($status, 200, scalar @$ids . ' IDs');
}
my $log = 'added_microsoft_entra_client_id ' . guid(1);
ok($t->wait_for_log(qr/$log/), 'they are in the log');
$t->write_file('enough', '');
waitpid $pinger, 0;

my ($slowest, $workers) = split / /, $t->file('pings');
diag(sprintf 'PATCH of 10,000 IDs took %.0f ms at most, '
    . 'the slowest other answer %s ms', 1000 * (sort { $b <=> $a } @took)[0],
    $slowest);
is($workers, 2, 'both workers were asked');

# 20 ms are the aim; on a machine that is busy with other tests a process may
# not run for a while

my $factor = $ENV{ENTRA_MDM_SANITIZED} ? 20 : 1;
ok(!(grep { $_ > $factor } @took), 'each answered in under a second');
cmp_ok($slowest, '<', 100 * $factor, 'no worker was held up for long');

$t->done;
