#!/usr/bin/perl

# While the API waits for Redis: the client resets its stream or goes, nginx
# is told to quit or to reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::HTTP2;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(
    http => fleet_policy('redis redis://127.0.0.1:%%PORT_redis%% timeout=3s;')
    . api_map() . <<"EOC");

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        @{[ api_location() ]}
    }
EOC
my $redis = EntraMDM::Redis->new($t, 'redis');
my $path = $EntraMDM::ApiClient::Location;
my $key = 'entra_mdm:{fleet}:client_ids';

$t->write_file('keys.json', jwks(new_key()));
$t->start;
ok((wait_for { $redis->subscribers }), 'the feed is at work');

my ($worker) = $t->workers;
my $change = json->encode(lists([ guid(1) ], undef));
my @type = ('content-type' => 'application/json');

# connections to Redis, of the worker; the feed has one

sub asks {
    my $port = $t->port('redis');
    my $hex = sprintf ':%04X', $port;
    open my $tcp, '<', "/proc/$worker/net/tcp" or die;
    my %to = map { my @f = split; $f[2] =~ /$hex$/ ? ("socket:[$f[9]]" => 1)
        : () } <$tcp>;
    return grep { $to{ readlink // '' } } glob "/proc/$worker/fd/*";
}

my $idle = asks();
cmp_ok($idle, '>', 0, 'it has a connection');

sub half {
    my ($name, $method, $what) = @_;
    my $c = h2_connect($t->port('h2'), 65535);

    $redis->pause;
    $c->send([ h2_head(1, $method, "$path$what", 'x-role' => 'admin',
        $method eq 'PATCH' ? @type : ()), h2_frame(H2_DATA, 1, 1,
        $method eq 'PATCH' ? $change : '') ]);
    ok((wait_for { asks() > $idle }), "$name: Redis is asked");
    return $c;
}


# streams

for my $case ([ 'a change', PATCH => 'config' ],
    [ 'a reading', GET => 'activities' ])
{
    my ($name, $method, $what) = @$case;
    my $c = half("$name, reset", $method, $what);

    $c->send([ h2_frame(H2_RST, 0, 1, pack 'N', 8) ]);
    ok((wait_for { asks() == $idle }), "$name, reset: not any more");
    $c->send([ h2_frame(H2_PING, 0, 0, 'x' x 8) ]);
    ok(h2_until($c, H2_PING, 0), "$name, reset: the connection lives");

    $c = half("$name, gone", $method, $what);
    $c->close;
    ok((wait_for { asks() == $idle }), "$name, gone: not any more");
    $redis->resume;
}

is_deeply($redis->cmd(SMEMBERS => $key), [], 'nothing was changed');
is(($t->workers)[0], $worker, 'the worker is the same');


# a worker that is to go

my $c = half('a reload', PATCH => 'config');
kill HUP => $t->{pid};
ok((wait_for { my @now = $t->workers; @now && !grep { $_ == $worker } @now }),
    'new workers accept');
$redis->resume;
my $answer = h2_until($c, H2_DATA, 1);
like($answer && $answer->[3], qr/${\guid(1)}/, 'the old one answers');
is_deeply($redis->cmd(SMEMBERS => $key), [ guid(1) ], 'which is so');
is_lists('and in force', [ guid(1) ], []);

$t->done;
