#!/usr/bin/perl

# Signing keys in Redis: what is no key set never replaces one that is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    'redis redis://127.0.0.1:%%PORT_redis%% poll=200ms;', jwks => 'redis'));
my $redis = EntraMDM::Redis->new($t, 'redis');
my $next = new_key();
my $key = list('jwks');
my %token = (first => token(CLIENT_V2), next => mint($next, claims_v2()));

live_start($t);

# none yet

my $r = http_get('/tos', bearer => $token{first});
is($r->status . ' ' . $r->header('X-Result'), '503 keys_unavailable',
    'no keys: bearer');
like($r->header('Retry-After'), qr/^[1-9]\d*$/, 'no keys: Retry-After');
$r = http_post('/enroll', enroll_message($token{first}));
is(fault($r)->{subcode}, 's:EnrollmentServer', 'no keys: fault');

# set, rotated

$redis->cmd(SET => $key, jwks(key()));
everywhere($token{first}, 'ok', 'keys are set');
everywhere($token{next}, 'key_unknown', 'no others');
let_in($redis, guid(1));
everywhere(token(guid(1)), 'ok', 'lists beside them');
$redis->cmd(SET => $key, jwks(key(), $next));
everywhere($token{next}, 'ok', 'a second key');
everywhere($token{first}, 'ok', 'beside the first');
$redis->cmd(SET => $key, jwks($next));
everywhere($token{first}, 'key_unknown', 'a key that is gone');
everywhere($token{next}, 'ok', 'the other stays');
$redis->cmd(SET => $key, jwks(key()));
everywhere($token{first}, 'ok', 'rotated back');
everywhere($token{next}, 'key_unknown', 'at once');

# what is no key set

my $pad = sub { jwks($next) =~ s/^\{/'{"pad":"' . 'x' x $_[0] . '",'/er };
my %bad = (
    'garbage' => "\0\xff not JSON",
    'nothing' => '',
    'no keys in it' => '{"keys":[]}',
    'cut off' => substr(jwks($next), 0, 200),
    'a small key' => jwks(new_key(bits => 1024)),
    'too large' => $pad->(128 * 1024),
    'very large' => $pad->(20_000_000),
);

for my $name (sort keys %bad) {
    $t->mark;
    $redis->cmd(SET => $key, $bad{$name});
    like($t->wait_for_log(qr/\[error\]/), qr/fleet/, "$name: logged");
    stays($redis, $token{first}, 'ok', "$name: the last keys stay");
    everywhere($token{next}, 'key_unknown', "$name: no others");

    my $polls = polls();
    ok((wait_for { polls() > $polls + 3 }), "$name: looked at again");
    is(scalar lines(qr/\[error\]/), 1, "$name: and told once");
}
$t->mark;
$redis->cmd(SET => $key, $bad{'too large'});
my $size = length $bad{'too large'};
like($t->wait_for_log(qr/\[error\]/), qr/\b$size\b.*\b131072\b/,
    'too large: the size and the limit');

$redis->cmd(SET => $key, jwks(key(), $next));
everywhere($token{next}, 'ok', 'good again');
$t->mark;
$redis->cmd(LPUSH => 'tmp', 'x');
$redis->cmd(RENAME => 'tmp', $key);
like($t->wait_for_log(qr/\[error\].*jwks/), qr/fleet/, 'a List: logged');
stays($redis, $token{first}, 'ok', 'a List: the last keys stay');

$redis->cmd(SET => $key, jwks(key(), $next));
$t->mark;
$redis->cmd(DEL => $key);
like($t->wait_for_log(qr/\[(?:error|warn)\].*jwks/), qr/fleet/,
    'DEL: logged');
stays($redis, $token{first}, 'ok', 'DEL: the last keys stay');

$redis->cmd(SET => $key, $pad->(64 * 1024));
everywhere($token{first}, 'key_unknown', '64 KB: the old one has gone');
everywhere($token{next}, 'ok', '64 KB: works');

# they outlive the connection, and a reload

$redis->kill9;
everywhere($token{next}, 'ok', 'Redis is away');
ok($t->reload, 'reload');
everywhere($token{next}, 'ok', 'reload without Redis');
$redis->start;
$redis->cmd(SET => $key, jwks(key()));
everywhere($token{first}, 'ok', 'Redis is back');

$t->done;


sub polls {
    my ($n) = $redis->cmd(qw(INFO commandstats)) =~ /cmdstat_strlen:calls=(\d+)/;
    return $n // 0;
}
