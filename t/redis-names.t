#!/usr/bin/perl

# Redis by host name: resolved by nginx's resolver while it runs, so that it
# may come and move, and no worker waits for a name server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use EntraMDM::DNS;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $resolver = 'resolver 127.0.0.1:%%PORT_dns%% valid=1s ipv6=off;'
    . ' resolver_timeout 1s;';
my $http = live_http('redis redis://redis.invalid:%%PORT_redis%%'
    . ' timeout=500ms;');
my $t = EntraMDM::Nginx->new(workers => 2, http => $resolver . $http);
my $dns = EntraMDM::DNS->new($t, 'dns');
my $redis = EntraMDM::Redis->new($t, 'redis', save => 1);

# a name that nobody will ever resolve, without the means to wait for it

$t->write_file('keys.json', jwks(key()));
my ($code, $said) = $t->nginx_t(http => $http);
isnt($code, 0, 'no resolver: nginx -t fails');
like($said, qr/\[emerg\].*redis\.invalid.* in \S+:\d+/,
    'no resolver: naming it, and where');
like($said, qr/resolver/, 'no resolver: and the way out');

# the name comes into being

let_in($redis, guid(1));
live_start($t);
pass('a name that is not there yet: nginx starts');
is(said(token(guid(1))), 'lists_unavailable', 'nor is the list');
is(said(token(CLIENT_V2)), 'ok', 'the configuration counts');
ok((wait_for { $dns->queries >= 2 }), 'it is looked up, and again');

$dns->answer('redis.invalid' => 'failure');
my $n = $dns->queries;
ok((wait_for { $dns->queries > $n } 20), 'after a failure as well');
$dns->answer('redis.invalid' => 'silent');
$n = $dns->queries;
ok((wait_for { $dns->queries > $n } 20), 'and a name server that hangs');

# which holds up nobody

my @took;
for (1 .. 200) {
    my $from = time;
    said(token(CLIENT_V2));
    push @took, time - $from;
}
cmp_ok(percentile(95, @took), '<', 0.1, 'nobody waits for the name server');

$dns->answer('redis.invalid' => [ '127.0.0.1' ]);
everywhere(token(guid(1)), 'ok', 'the name is there', 20);

# Redis moves

$redis->kill9;
$dns->answer('redis.invalid' => [ '127.0.0.2' ]);
my $moved = EntraMDM::Redis->new($t, 'moved', address => '127.0.0.2',
    port => $redis->port);
let_in($moved, guid(2));
everywhere(token(guid(2)), 'ok', 'a new address', 20);
everywhere(token(guid(1)), 'audience_not_allowed', 'its list counts');

# several addresses, only one of which answers

$dns->answer('redis.invalid' => [ '127.0.0.3', '127.0.0.2', '127.0.0.4' ]);
$moved->kill9;
$moved->start;
let_in($moved, guid(3));
everywhere(token(guid(3)), 'ok', 'one address of several', 30);

# the name is gone: what is known stays

$dns->answer('redis.invalid' => undef);
$moved->kill9;
$n = $dns->queries;
ok((wait_for { $dns->queries > $n } 20), 'the name is gone');
everywhere(token(guid(3)), 'ok', 'the last list stays');
ok($t->reload, 'reload without the name');
everywhere(token(guid(3)), 'ok', 'and still does');

# localhost needs no resolver

$redis->start;
let_in($redis, guid(4));
ok($t->reload(http => $http =~ s/redis\.invalid/localhost/r), 'localhost');
everywhere(token(guid(4)), 'ok', 'localhost: followed');

$t->done;
