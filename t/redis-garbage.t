#!/usr/bin/perl

# What answers is no Redis: the feed goes on trying, not too often, believes
# nothing of it, and follows the real one once it is there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);

use EntraMDM::Between;
use EntraMDM::File qw(wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    'redis redis://127.0.0.1:%%PORT_between%% timeout=500ms poll=500ms;'));
my $redis = EntraMDM::Redis->new($t, 'redis');
my $between = EntraMDM::Between->new($t, 'between', $redis);

# Answers to whatever is sent, from the first command on.

my %nonsense = (
    'closes' => undef,
    'never answers' => '',
    'is loading' => "-LOADING Redis is loading the dataset in memory\r\n",
    'asks for a password' => "-NOAUTH Authentication required.\r\n",
    'refuses with a long text' => '-ERR ' . 'x' x 100_000 . "\r\n",
    'refuses with a forged line' =>
        "-ERR x\e[31m\n2026/01/01 00:00:00 [alert] 1#1: forged\r\n",
    'says OK to everything' => "+OK\r\n",
    'says 1 to everything' => ":1\r\n",
    'says nil to everything' => "\$-1\r\n",
    'says no list to everything' => "*-1\r\n",
    'says an empty list to everything' => "*0\r\n",
    'says a string to everything' => "\$5\r\nhello\r\n",
    'says a list of nil' => "*2\r\n\$-1\r\n*-1\r\n",
    'says a list of lists' => "*2\r\n*1\r\n:1\r\n*1\r\n*0\r\n",
    'announces a huge string' => "\$536870911\r\nabc",
    'announces a string beyond all limits' => "\$99999999999999999999\r\n",
    'announces a huge list' => "*1000000\r\n:1\r\n",
    'announces a list beyond all limits' => "*9223372036854775807\r\n",
    'nests lists' => "*1\r\n" x 100,
    'is a web server' => "HTTP/1.1 400 Bad Request\r\n\r\n",
    'sends bytes' => join('', map { chr } reverse 0 .. 255),
    'never ends a line' => '+' . 'x' x 100_000,
    'pushes' => ">3\r\n\$7\r\nmessage\r\n\$1\r\na\r\n\$1\r\nb\r\n",
    'sends a message nobody subscribed to' => "*3\r\n\$7\r\nmessage\r\n"
        . "\$20\r\n__redis__:invalidate\r\n*1\r\n\$1\r\na\r\n",
    'answers twice' => "+OK\r\n+OK\r\n:1\r\n",
    'says a scan that never ends' => "*2\r\n\$1\r\n7\r\n*0\r\n",
);

live_start($t);
everywhere(token(guid(1)), 'audience_not_allowed', 'the real one');
let_in($redis, guid(1));
everywhere(token(guid(1)), 'ok', 'which is followed');

my $workers = join ' ', sort $t->workers;

for my $name (sort keys %nonsense) {
    my $new = guid(++our $New, 7);

    $between->says($nonsense{$name});
    ok((wait_for { $between->answered }), "$name: the feed has heard it");
    everywhere(token(guid(1)), 'ok', "$name: the last list stays");
    everywhere(token(guid(2)), 'audience_not_allowed', "$name: whole");
    is(join(' ', sort $t->workers), $workers, "$name: no worker has died");

    let_in($redis, $new);
    $between->honest;
    everywhere(token($new), 'ok', "$name: then the real one is followed");
}

is($t->alerts, 0, 'none forges a line of the log');

# nor do they bring about a storm

for my $name ('closes', 'says OK to everything') {
    $between->says($nonsense{$name});
    sleep 2;
    cmp_ok($between->connections, '<', 30, "$name: it is not stormed");
    ok((wait_for { $between->connections > 2 } 20),
        "$name: the feed goes on trying");
}

$t->done;
