#!/usr/bin/perl

# A change that somebody else gets in before is made again, out of what its
# client typed and the lists as they are by then.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::Between;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(workers => 2,
    http => fleet_policy('zone 4m;') . fleet_policy(
        'redis redis://127.0.0.1:%%PORT_between%% timeout=5s;', 'live')
    . api_conf('', 'location /live/ { entra_mdm_api live;'
        . ' entra_mdm_api_role $role; }'));
my $redis = EntraMDM::Redis->new($t, 'redis');
my $between = EntraMDM::Between->new($t, 'between', $redis);
my ($clients, $tenants) =
    map { "entra_mdm:{live}:$_" } qw(client_ids tenant_ids);

$t->write_file('keys.json', jwks(new_key()));
$t->start;

sub live { return patch(@_, location => '/live/') }
sub id   { return sprintf 'abcdef%02x-2222-3333-4444-555555555555', $_[0] }


# Redis: between what was read and EXEC, another client takes an ID off, and
# lists it again in its own spelling

$redis->cmd(SADD => $clients, id(1));

sub between {
    my ($name, $code) = @_;

    $between->before(EXEC => $code);
    ok((wait_for { $between->connections >= 2
        && (api(GET => 'status', location => '/live/'))[1]{redis}{connected} }),
        "$name: the feed is at work");
}

between('taken off', sub { $redis->cmd(SREM => $clients, id(1)) });
my ($status, $json) = live([ uc id(1), id(2) ], undef);
is($status, 200, 'a change');
is_lists('not listed any more: as it was typed', [ uc id(1), id(2) ], [],
    $json);
is_deeply([ sort @{ $redis->cmd(SMEMBERS => $clients) } ],
    [ sort uc id(1), id(2) ], 'and so it is in Redis');

between('spelled anew', sub {
    $redis->cmd(SREM => $clients, uc id(1));
    $redis->cmd(SADD => $clients, id(1));
});
($status, $json) = live([ uc id(1), id(3) ], undef);
is($status, 200, 'another one');
is_lists('listed in another spelling: that stays', [ id(1), id(3) ], [],
    $json);

is(scalar(grep { $_->{type} =~ /^added/
        && lc $_->{details}{client_id} eq id(3) }
    @{ (api(GET => 'activities', location => '/live/'))[1]{activities} }), 1,
    'one activity, whatever it took');


# data that Redis has lost, and that another node confirms as emptied: there
# is no list before and none after

$redis->cmd('FLUSHALL');
ok((wait_for { (api(GET => 'config', location => '/live/'))[1]{source}
    eq 'lost' }), 'lost');
my $tag = (api(GET => 'config', location => '/live/'))[2]->header('ETag');
between('emptied', sub { $redis->cmd(INCR => 'entra_mdm:{live}:generation') });
error_is('a change of what had been kept',
    [ live([ id(1), id(3), id(4) ], undef, match => $tag) ], 412,
    [ base => qr/the lists have changed since/ ]);
is_deeply($redis->cmd(SMEMBERS => $clients), [], 'nobody is let in again');


# the zone: two clients at once, each in its own spelling, among many IDs so
# that a change takes its time; their answers are the history of the lists

my $base = join ',', map { '"' . guid($_) . '"' } 1 .. 10_000;
my $n = 60;

sub change {
    my @ids = @_;
    my $r = http_request(PATCH => "${EntraMDM::ApiClient::Location}config",
        body => '{"mdm":{"windows_entra_client_ids":['
            . join(',', $base, map { "\"$_\"" } @ids) . ']}}',
        headers => [ 'X-Role' => 'admin',
            'Content-Type' => 'application/json' ]);

    die $r->status . "\n" if $r->status != 200;
    return ($r->body =~ /"generation":(\d+)/,
        join ',', $r->body =~ /"(abcdef.*?)"/gi);
}

sub client {
    my ($i, $out) = @_;

    for my $k (1 .. $n) {
        my @shared = map { $i == 1 ? uc id($_) : id($_) }
            grep { ($k + $_ * $i) % 3 } 1 .. 8;
        my ($generation, $is) = change(@shared, guid(100_000 * $i + $k));

        print {$out} join(' ', $generation, $i, join(',', @shared), $is), "\n";
    }
    close $out or die;
}

change();
my @pids = map {
    my $i = $_;
    my $pid = fork // die;
    if (!$pid) {
        open my $out, '>', $t->dir . "/client$i" or die;
        my $ok = eval { client($i, $out); 1 };
        diag($@) if !$ok;
        POSIX::_exit($ok ? 0 : 1);
    }
    $pid;
} 1, 2;
is(scalar(grep { waitpid $_, 0; $? } @pids), 0, 'all changes are made');

my @history = sort { $a->[0] <=> $b->[0] }
    map { [ split / /, $_, -1 ] } map { split /\n/, $t->file("client$_") } 1, 2;
my ($turns, @wrong, %was) = (0);

is_deeply([ map { $_->[0] } @history ], [ 2 .. 2 * $n + 1 ],
    'one generation each');
for my $i (0 .. $#history) {
    my ($generation, $client, $typed, $is) = @{ $history[$i] };
    my @expected = map { $was{ lc() } // $_ } split /,/, $typed;

    push @wrong, "$generation: $is, not @expected"
        if join(',', sort { lc $a cmp lc $b } @expected) ne $is;
    %was = map { lc() => $_ } split /,/, $is;
    $turns++ if $i && $client ne $history[ $i - 1 ][1];
}
is("@wrong", '', 'each out of the one before and what was typed');
cmp_ok($turns, '>', 0, 'they came in between each other');

$t->done;
