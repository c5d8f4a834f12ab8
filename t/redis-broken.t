#!/usr/bin/perl

# The connection to Redis breaks at any command of the feed: nothing in force
# changes, and it is made again.

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

my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    'redis redis://127.0.0.1:%%PORT_between%% timeout=300ms poll=500ms;'));
my $redis = EntraMDM::Redis->new($t, 'redis');
my $between = EntraMDM::Between->new($t, 'between', $redis);

live_start($t);
let_in($redis, guid(1));
$redis->cmd(SADD => list('tenant_ids'), guid(1));
everywhere(token(guid(1), guid(1)), 'ok', 'whole');

my @ways = ([ 'closes', undef ], [ 'falls silent', '' ],
    [ 'sends bytes', join '', map { chr } reverse 0 .. 255 ],
    [ 'has an error', "-ERR no\r\n" ]);

for (@ways) {
    my ($how, $bytes) = @$_;
    my $n = 0;

    # as many commands as a feed needs until it has seen a change
    while (++$n < 40) {
        $between->says($bytes, $n);
        my $new = guid($n, ++our $News);
        let_in($redis, $new);
        wait_for { $between->answered || said(token($new)) eq 'ok' };
        last if said(token($new)) eq 'ok';      # what follows is accounting

        everywhere(token(guid(1), guid(1)), 'ok',
            "$how at command $n: the last lists stay");
        $between->honest;
        everywhere(token($new), 'ok', "$how at command $n: and go on");
    }
    cmp_ok($n, '>', 3, "$how: at every command up to " . ($n - 1));
    cmp_ok($n, '<', 40, "$how: to the last");
}

$between->says(undef, 2);
ok((wait_for { $between->answered > 2 } 20), 'the feed goes on trying');
$between->honest;
let_in($redis, guid(2));
everywhere(token(guid(2)), 'ok', 'until nothing breaks', 20);

# messages get lost on the way, and nobody notices: the poll does

$between->mutes;
for my $round (1 .. 3) {
    let_in($redis, guid($round, 100));
    everywhere(token(guid($round, 100)), 'ok', "no messages: change $round");
    shut_out($redis, guid($round, 100));
    everywhere(token(guid($round, 100)), 'audience_not_allowed',
        "no messages: and back");
}

$t->done;
