#!/usr/bin/perl

# What answers is no Redis: the feed goes on trying, not too often, believes
# nothing of it, and follows the real one once it is there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::Between;
use EntraMDM::File qw(wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    'redis redis://127.0.0.1:%%PORT_between%% timeout=2s poll=500ms;'));
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

# what is too much is not waited for, and delays nobody when it is given back

my %much = (
    'announces a list of all it can' => "*2147483647\r\n:1\r\n",
    'nests lists of many' => "*200000\r\n" x 5,
    'sends a string of megabytes' => "\$100000000\r\n" . 'x' x 40_000_000,
);

for my $name (sort keys %much) {
    $t->mark;
    $between->says($much{$name});
    ok($t->reload, "$name: a feed that has told nothing yet");
    ok($t->wait_for_log(qr/\[error\].*an answer of too many/),
        "$name: is told so");
    cmp_ok(slowest(), '<', 1.5, "$name: which delays no request");
    everywhere(token(guid(1)), 'ok', "$name: the last list stays");
    $between->honest;
    let_in($redis, guid(++our $New, 9));
    everywhere(token(guid($New, 9)), 'ok',
        "$name: then the real one is followed");
}

# a list without end is refused before it fills the memory

my $n = 0;
my %answer = (
    CLIENT => sub { $_[1] eq 'ID' ? ":1\r\n" : "+OK\r\n" },
    SUBSCRIBE => sub { "*3\r\n\$9\r\nsubscribe\r\n\$1\r\na\r\n:1\r\n" },
    PING => sub { "+PONG\r\n" }, EXISTS => sub { ":1\r\n" },
    GET => sub { "\$1\r\n1\r\n" },
    SSCAN => sub { "*2\r\n\$1\r\n7\r\n*1000\r\n" . join '',
        map { "\$36\r\n" . guid(++$n, 8) . "\r\n" } 1 .. 1000 },
);
$t->mark;
$between->says(sub { ($answer{$_[0]} // sub { "-ERR no\r\n" })->(@_) });
like($t->wait_for_log(qr/\[error\].*does not fit/), qr/fleet.*raise "zone"/,
    'a list without end: refused');
everywhere(token(guid(1)), 'ok', 'a list without end: the last list stays');
$between->honest;
let_in($redis, guid(3));
everywhere(token(guid(3)), 'ok', 'a list without end: then the real one');

$t->done;


# of the answers of both workers, for a while

sub slowest {
    my ($until, $slowest) = (time + 1, 0);

    do {
        my $from = time;
        said(token(CLIENT_V2));
        my $took = time - $from;
        $slowest = $took if $took > $slowest;
    } while (time < $until);
    return $slowest;
}
