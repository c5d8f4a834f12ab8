#!/usr/bin/perl

# Three nodes, one Redis, and everybody at once: clients change the lists by
# the API of every node, and somebody with redis-cli, while two of the nodes
# are reloaded; no change is lost, all nodes come to agree, and each change is
# one activity.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $key = new_key();

# each follows the Redis of the first one

sub node {
    my ($of) = @_;
    my $t = EntraMDM::Nginx->new(workers => 2, level => 'notice',
        http => fleet_policy('redis redis://127.0.0.1:%%PORT_redis%% poll=1s;')
        . $Headers . api_conf('', <<'EOC'));
        location /gate { entra_mdm fleet token=bearer; empty_gif; }
EOC
    $t->{ports}{redis} = $of->{ports}{redis} if $of;
    $t->write_file('keys.json', jwks($key));
    return $t;
}

my @nodes = node();
my $redis = EntraMDM::Redis->new($nodes[0], 'redis');
push @nodes, map { node($nodes[0]) } 1 .. 2;
my $clients = 'entra_mdm:{fleet}:client_ids';
my $stream = 'entra_mdm:{fleet}:activities';

$_->start for @nodes;
my @ports = map { $_->port(8080) } @nodes;
ok((wait_for { (api(GET => 'config', port => $_))[1]{source} eq 'redis' }),
    'a node follows Redis') for @ports;
ok((wait_for { @{ $redis->cmd(SMEMBERS => "entra_mdm:{fleet}:accounted_$_") }
    }), "$_: accounted for") for qw(client_ids tenant_ids);


# six clients, two at each node, and one without any

my ($writers, $each, $others) = (6, 20, 30);

sub child {
    my ($code) = @_;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        my $ok = eval { $code->(); 1 };
        diag($@) if !$ok;
        POSIX::_exit($ok ? 0 : 1);
    }
    return $pid;
}

# Adds its own, and takes the one before away again, each on the condition
# that nobody else was faster.

sub writer {
    my ($n) = @_;
    my @to = (port => $ports[ $n % @ports ]);

    for my $i (1 .. $each) {
        my ($add, $drop) = (guid($n * 100 + $i), guid($n * 100 + $i - 1));
        my $status = 412;

        while ($status == 412) {
            my (undef, $json, $r) = api(GET => 'config', @to);
            my @ids = @{ $json->{mdm}{windows_entra_client_ids} };
            ($status) = patch([ $add, $i % 2 ? @ids
                : grep { $_ ne $drop } @ids ], undef, @to,
                user => "writer$n", match => $r->header('ETag'));
        }
        die "status $status\n" if $status != 200;
    }
}

my @pids = ((map { my $n = $_; child(sub { writer($n) }) } 1 .. $writers),
    child(sub {
        for my $i (1 .. $others) {
            $redis->cmd(SADD => $clients, guid(9000 + $i));
            sleep 0.05;
            $redis->cmd(SREM => $clients, guid(9000 + $i)) if $i % 3 == 0;
            sleep 0.05;
        }
    }));
ok($_->reload, 'a reload meanwhile') for @nodes[ 0, 1, 0 ];
is(scalar(grep { waitpid($_, 0); $? } @pids), 0, 'all changes are made');

# of those of a writer, every odd one has been dropped by the next

my @expected = sort((map { my $n = $_;
    map { guid($n * 100 + $_) } grep { $_ % 2 == 0 } 1 .. $each }
    1 .. $writers), map { guid(9000 + $_) } grep { $_ % 3 } 1 .. $others);

is_deeply([ sort @{ $redis->cmd(SMEMBERS => $clients) } ], \@expected,
    'none is lost');
ok((wait_for { join(' ', @{ (api(GET => 'config', port => $_))[1]{mdm}
    {windows_entra_client_ids} }) eq "@expected" }), 'a node agrees')
    for @ports;
is(scalar keys %{ { map { (api(GET => 'config', port => $_))[2]
    ->header('ETag') => 1 } @ports } }, 1, 'with one tag');


# Who did it.  What redis-cli adds and takes away again within a moment may be
# gone before anybody looks.

sub told {
    my %n;
    my ($port) = @_;
    for my $page (0 .. 9) {
        my $json = (api(GET => "activities?per_page=200&page=$page",
            port => $port))[1];
        for (@{ $json->{activities} }) {
            my ($what) = $_->{type} =~ /^(added|deleted)/;
            $n{"$what $_->{details}{client_id} $_->{actor}"}++;
        }
        last if !$json->{meta}{has_next_results};
    }
    return \%n;
}

my %by_api = map { my $n = $_; map { ("added ${\guid($n * 100 + $_)} writer$n"
    => 1, $_ % 2 ? ("deleted ${\guid($n * 100 + $_)} writer$n" => 1) : ()) }
    1 .. $each } 1 .. $writers;
my @stay = map { guid(9000 + $_) } grep { $_ % 3 } 1 .. $others;

ok((wait_for { my $told = told($ports[0]);
    !grep { !$told->{"added $_ redis"} } @stay }), 'all are told');

# what is too much would come with a poll: each node reads two lists
my $polls = reads();
ok((wait_for { reads() >= $polls + 3 * 2 * 2 }), 'all have polled once more');

sub reads {
    my ($calls) = $redis->cmd(qw(INFO commandstats))
        =~ /^cmdstat_sscan:calls=(\d+)/m;
    return $calls // 0;
}

my $told = told($ports[0]);
my %of_redis = map { $_ => delete $told->{$_} }
    grep { / redis$/ } keys %$told;

is_deeply($told, \%by_api, 'those of the API, once each, by whom');
is_deeply([ sort map { /^added (\S+)/ } grep { /^added/ } keys %of_redis ],
    [ sort @stay, grep { $of_redis{"added $_ redis"} }
        map { guid(9000 + 3 * $_) } 1 .. $others / 3 ],
    'those from elsewhere, and no others');
is(join(' ', grep { $of_redis{$_} != 1 } sort keys %of_redis), '',
    'once each as well');
is(join(' ', grep { /^deleted (\S+)/ && !$of_redis{"added $1 redis"} }
    sort keys %of_redis), '', 'none goes that has not come');
is_deeply(told($ports[$_]), { %$told, %of_redis }, "the same at node $_")
    for 1, 2;

# and one notice each, of all the logs together

my %notice;
$notice{$_}++ for map { my $log = $_->error_log;
    map { join ' ', @$_ } map { [ /(added|deleted)_microsoft_entra_client_id
        \ (\S+),\ actor:\ "(\w+)"/x ] } grep { /_microsoft_entra_client_id/ }
    split /\n/, $log } @nodes;
is_deeply(\%notice, { %$told, %of_redis }, 'a notice each');

# one ID that all of them count up, which is right only if each change is of
# the lists that were read

patch([ guid(0x10000) ], undef, port => $ports[0]);
@pids = map { my $n = $_;
    child(sub { count_up(10, port => $ports[ $n % @ports ]) }) } 1 .. 6;
is(scalar(grep { waitpid($_, 0); $? } @pids), 0, 'they count');
is_deeply($redis->cmd(SMEMBERS => $clients), [ guid(0x10000 + 60) ],
    'to sixty');
patch(\@expected, undef, port => $ports[0]);
for my $port (@ports) {
    wait_for { @{ (api(GET => 'config', port => $port))[1]{mdm}
        {windows_entra_client_ids} } == @expected };
}

# what is in force is so everywhere

for my $n (0 .. $#nodes) {
    is(http_get('/gate', port => $ports[$n], bearer => mint($key,
        claims_v2(aud => $_->[0])))->header('X-Result'), $_->[1],
        "node $n: $_->[1]")
        for [ $expected[0], 'ok' ], [ $expected[-1], 'ok' ],
            [ guid(101), 'audience_not_allowed' ];
}

$_->settle for @nodes[ 1, 2 ];
$nodes[0]->done;
