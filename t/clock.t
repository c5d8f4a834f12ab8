#!/usr/bin/perl

# once: nothing here but the clock

# A clock that is set: what has grown old stays old, and a leap makes nothing
# young, nor stops a refresh.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);

use EntraMDM::Backend;
use EntraMDM::File qw(spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant { HOUR => 3600, OTHER => '2b1b1111-2222-3333-4444-5555555555c2' };

my $t = EntraMDM::Nginx->new(workers => 2);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $idp = EntraMDM::Backend->new($t, 'idp');
my ($key, $next) = (new_key(), new_key());

system($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', $t->dir . '/clock.so',
    "$FindBin::Bin/clock.c", '-ldl') == 0 or die 'no clock.so';

# nginx's time of day is ahead of ours, or behind it, by so many seconds.

my $off = 0;

sub clock {
    ($off) = @_;
    spew($t->dir . '/clock.new', $off);
    rename $t->dir . '/clock.new', $t->dir . '/clock' or die "clock: $!";
}

# A token of that time.

sub token {
    my ($by, %claims) = @_;
    my $now = time + $off;

    return mint($by // $key, claims_v2(nbf => $now - 60, iat => $now - 60,
        exp => $now + 600, %claims));
}

sub ask {
    my ($name, $expected, @token) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    verdict($name, http_get('/', bearer => token(@token)), $fleet, $expected);
}

# Until a request is answered so.

sub in_time {
    my ($name, $expected, @token) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok((wait_for {
        my $said = http_get('/', bearer => token(@token))->header('X-Result');
        ($said // '') eq $expected;
    }), $name);
    $fleet->requests;
}

sub begin {
    my ($times, $lines) = @_;

    $t->change(http => $Headers . fleet_policy($lines, 'fleet',
        "request=/_entra/jwks min_interval=1s $times") . <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /_entra/jwks {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%/keys;
        }
    }
EOC
    local $ENV{LD_PRELOAD} = $t->dir . '/clock.so';
    local $ENV{ENTRA_MDM_CLOCK} = $t->dir . '/clock';
    $t->start;
}

my %set = (body => jwks($key));
my %broken = (status => 500);


# keys

clock(0);
$idp->answer('/keys' => { %set });
begin('refresh=2s max_stale=4s');
ask('as it is', '200 ok accepted 1');

$idp->answer('/keys' => { %broken });
clock(-HOUR);
ask('an hour back: no key is older for that', '200 ok accepted 1');
in_time('an hour back: but it grows old', 'keys_unavailable');
ok($t->wait_for_log(qr/keys_unavailable.*, [4-9] seconds old/),
    'an hour back: as the log says');
$idp->answer('/keys' => { %set });
in_time('an hour back: they are fetched again', 'ok');
$idp->answer('/keys' => { body => jwks($key, $next) });
in_time('an hour back: the refresh goes on', 'ok', $next);

$idp->answer('/keys' => { %broken });
clock(+HOUR);
ask('two hours on: the keys are old', '503 keys_unavailable refused 0');
$idp->answer('/keys' => { %set });
in_time('two hours on: whoever comes has them fetched', 'ok');

clock(0);
$idp->answer('/keys' => { body => jwks($key, $next) });
in_time('an hour back again: a key nobody knew', 'ok', $next);
$t->settle;


# a state of today, read by a clock that begins with 1970

write_state($t, client_ids => [CLIENT_V2], tenant_ids => [TENANT],
    jwks => [$key]);
$idp->answer('/keys' => { %broken });
clock(100 - time);
begin('max_stale=1d', 'state state/fleet.json;');
ask('1970: nobody knows how old the keys are',
    '503 keys_unavailable refused 0');
$idp->answer('/keys' => { %set });
in_time('1970: until they are fetched', 'ok');
$t->settle;


# lists

my @other = (undef, tid => OTHER,
    iss => 'https://login.microsoftonline.com/' . OTHER . '/v2.0');
my $redis = EntraMDM::Redis->new($t, 'redis');

$redis->cmd(SADD => 'entra_mdm:{fleet}:tenant_ids', OTHER);
clock(0);
begin('', 'redis redis://127.0.0.1:%%PORT_redis%% max_stale=3s;');
in_time('a tenant that Redis lists', 'ok', @other);
$redis->pause;
clock(-HOUR);
in_time('an hour back: the list grows old', 'lists_unavailable', @other);
ask('an hour back: what is configured does not', '200 ok accepted 1');
$redis->resume;
in_time('an hour back: it is read again', 'ok', @other);

$t->done;
