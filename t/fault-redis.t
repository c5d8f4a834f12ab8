#!/usr/bin/perl

# once: waits more than it works

# A Redis that asks for a password, has a database of ours and the keys as
# well, and breaks off within its answers: at each command of the feed, from
# AUTH on, and while the API makes a change.  More ways to break: see
# redis-broken.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use EntraMDM::ApiClient qw(api_map api_location patch);
use EntraMDM::Between;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2);
my $redis = EntraMDM::Redis->new($t, 'redis',
    password => secret('open-sesame'));
my $between = EntraMDM::Between->new($t, 'between', $redis);

$redis->cmd(SELECT => 3);
$redis->cmd(SET => list('jwks'), jwks(key()));
$t->change(http => live_http('redis redis://:open-sesame@127.0.0.1:'
    . '%%PORT_between%%/3 timeout=300ms poll=500ms;', jwks => 'redis',
    http => api_map(), server => api_location()));
live_start($t);
let_in($redis, guid(1));
everywhere(token(guid(1)), 'ok', 'whole');


# the feed

my @ways = ([ 'breaks off in a list' =>
        "*2\r\n\$1\r\n0\r\n*1\r\n\$36\r\n0000" ],
    [ 'says that it is a replica' =>
        "-READONLY You can't write against a read only replica.\r\n" ]);

for (@ways) {
    my ($how, $bytes) = @$_;
    my $n = 0;

    # as many commands as a feed needs until it has seen a change
    while (++$n < 40) {
        my $new = guid($n, ++our $News);

        $between->says($bytes, $n);
        let_in($redis, $new);
        wait_for { $between->answered || said(token($new)) eq 'ok' };
        last if said(token($new)) eq 'ok';
        everywhere(token(guid(1)), 'ok', "$how at command $n: all stays", 0);
        $between->honest;                # or it is tried less and less often
    }
    cmp_ok($n, '>', 8, "$how: at every command up to " . ($n - 1));
    cmp_ok($n, '<', 40, "$how: to the last");
    $between->honest;
    let_in($redis, guid(++our $After, 77));
    everywhere(token(guid($After, 77)), 'ok', "$how: and goes on");
}


# a change: the line breaks, or hangs, before a command goes on

my $clients = list('client_ids');

for my $word (qw(SELECT SMEMBERS MULTI)) {
    for my $how (qw(breaks hangs)) {
        my $name = "$how before $word";
        my $id = guid(++our $Changes, 88);
        my $before = join ' ', sort @{ $redis->cmd(SMEMBERS => $clients) };

        # the feed has read all, then the word is of the change

        $between->mutes(SSCAN => sub { }, $word => $how eq 'breaks'
            ? sub { POSIX::_exit(0) } : sub { sleep 1.5 });
        ok((wait_for { $between->connections >= 2 }), "$name: followed");
        sleep 0.2;
        my ($status, undef, $r) = patch([ guid(1), $id ], undef);
        $between->honest;
        sleep 0.1;                      # for Redis to do what it was sent

        my $now = join ' ', sort @{ $redis->cmd(SMEMBERS => $clients) };
        my $made = $now eq join ' ', sort { $a cmp $b } guid(1), $id;

        like($r->body, qr/nothing was changed|outcome unknown/, "$name: said")
            if $status != 200;
        like($status, qr/^(?:200|503)$/, "$name: $status");
        ok($made, "$name: made, as told") if $status == 200;
        is($now, $before, "$name: nothing was changed, as told")
            if $r->body =~ /nothing was changed/;
        ok($made || $now eq $before, "$name: all or nothing");
        everywhere(token($id), $made ? 'ok' : 'audience_not_allowed',
            "$name: what Redis has is enforced");
        everywhere(token(guid(1)), 'ok', "$name: and what stays");
    }
}

$t->done;
