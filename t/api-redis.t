#!/usr/bin/perl

# The API where Redis has the lists: what PATCH answers is in Redis, and in
# every worker of this node by then; what it does not change stays as it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live qw(live_http live_start token everywhere said list let_in
    shut_out worker_connections);
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    'redis redis://127.0.0.1:%%PORT_redis%% timeout=3s; zone 4m;',
    http => api_map(), server => api_location()));
my $redis = EntraMDM::Redis->new($t, 'redis');
my ($clients, $tenants) = map { list($_) } qw(client_ids tenant_ids);

live_start($t);
ok(wait_for { $redis->subscribers }, 'the feed is at work');

sub members { return [ sort @{ $redis->cmd(SMEMBERS => $_[0]) } ] }

# Every worker, once, at this moment.

my $workers = worker_connections();

sub now_is {
    my ($name, $expected, $client, $tenant) = @_;
    my %said = map { $_->request(GET => '/tos',
        bearer => token($client, $tenant // TENANT))->header('X-Result') => 1 }
        values %$workers;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(join(' ', keys %said), $expected, $name);
}


# reading and writing

my ($status, $json, $r) = api(GET => 'config');
is($status, 200, 'GET');
is_lists('empty', [], [], $json);
is($json->{source}, 'redis', 'from Redis');

now_is('not yet', 'audience_not_allowed', guid(1));
for my $n (1 .. 20) {
    ($status, $json) = patch([ guid($n) ], undef);
    is($status, 200, "PATCH $n") or diag explain $json;
    is_lists("PATCH $n: answers it", [ guid($n) ], [], $json);
    now_is("PATCH $n: every worker knows", 'ok', guid($n));
    now_is("PATCH $n: and not the last one", 'audience_not_allowed',
        guid($n - 1)) if $n > 1;
}
is_deeply(members($clients), [ guid(20) ], 'Redis has it');
is($redis->cmd(GET => list('generation')), $json->{generation},
    'and its generation');
is((api(GET => 'config'))[1]{generation}, $json->{generation},
    'which GET tells');

my $tag = (api(GET => 'config'))[2]->header('ETag');
($status, $json, $r) = patch([ uc guid(20) ], undef, match => $tag);
is($status, 200, 'no change');
is($r->header('ETag'), $tag, 'the same tag');
is($redis->cmd(GET => list('generation')), $json->{generation},
    'no new generation');

($status, $json) = patch(undef, [ guid(5) ]);
is_lists('the other list is untouched', [ guid(20) ], [ guid(5) ], $json);
now_is('another tenant', 'ok', guid(20), guid(5));
patch([], []);
is($redis->cmd(EXISTS => $clients), 0, 'emptied');
now_is('nobody any more', 'audience_not_allowed', guid(20));


# as typed, and what others have put there

my $typed = 'ABCDEF01-abCD-ef01-2345-6789aBcDeF0a';

patch([ $typed ], undef);
is_deeply(members($clients), [$typed], 'as typed');
is_lists('in the answer too', [$typed], []);
$redis->cmd(SADD => $clients, lc $typed, 'rubbish', guid(7));
ok(wait_for { @{ (api(GET => 'config'))[1]{mdm}{windows_entra_client_ids} }
    == 2 }, 'seen from elsewhere, each once');
($status, $json) = patch([ guid(7), guid(8) ], undef);
is_deeply(members($clients), [ guid(7), guid(8) ],
    'every spelling is removed, and what is none');
is_lists('answered', [ guid(7), guid(8) ], [], $json);


# If-Match

$tag = (api(GET => 'config'))[2]->header('ETag');
$redis->cmd(SADD => $clients, guid(9));
error_is('If-Match is of what Redis has', [ patch([], undef, match => $tag) ],
    412, [ base => qr/nothing was changed/ ]);
is_deeply(members($clients), [ map { guid($_) } 7 .. 9 ], 'nothing changed');
ok(wait_for { (api(GET => 'config'))[2]->header('ETag') ne $tag },
    'the tag is another soon');
$tag = (api(GET => 'config'))[2]->header('ETag');
($status) = patch([ guid(1) ], undef, match => $tag);
is($status, 200, 'If-Match with that');


# errors

$redis->cmd(DEL => $tenants);
$redis->cmd(SET => $tenants, 'x');
error_is('a key of another type', [ patch([ guid(2) ], undef) ], 503,
    [ base => qr/WRONGTYPE.*nothing was changed/ ]);
is_deeply(members($clients), [ guid(1) ], 'nothing changed');
$redis->cmd(DEL => $tenants);

$redis->cmd(SET => list('generation'), 'x');
error_is('an odd generation', [ patch([ guid(2) ], undef) ], 503,
    [ base => qr/generation.*delete it.*nothing was changed/ ]);
$redis->cmd(DEL => list('generation'));
($status) = patch([ guid(2) ], undef);
is($status, 200, 'and after that');

$redis->cmd(DEL => list('activities'));
$redis->cmd(SET => list('activities'), 'x');
($status) = patch([ guid(3) ], undef);
is($status, 200, 'a stream that is none hinders no change');
ok($t->wait_for_log('\[error\].*activities are not all in Redis: WRONGTYPE'),
    'but is told');
$redis->cmd(DEL => list('activities'));

$redis->cmd(SADD => $tenants, map { guid($_) } 1 .. 25_001);
error_is('a list larger than the API takes', [ patch([], undef) ], 413,
    [ mdm => qr/25000/ ]);
ok(wait_for { (api(GET => 'config'))[0] == 413 }, 'nor does it show it');
$redis->cmd(DEL => $tenants);
ok(wait_for { (api(GET => 'config'))[0] == 200 }, 'until it is smaller');


# 25,000 at once, and all workers

my @many = map { guid($_) } 1 .. 25_000;
my $from = time;
($status, $json) = patch(\@many, undef);
diag(sprintf 'PATCH of 25,000 IDs took %.0f ms', 1000 * (time - $from));
is($status, 200, '25,000 IDs');
is($redis->cmd(SCARD => $clients), 25_000, 'are in Redis');
now_is('and in force', 'ok', guid(24_999));
cmp_ok($redis->cmd(XLEN => list('activities')), '<', 10_200,
    'activities are capped');
($status) = patch([], undef);
is($status, 200, 'and gone');
now_is('at once', 'audience_not_allowed', guid(24_999));


# Redis away

$redis->stop;
my $before = (api(GET => 'config'))[1];
error_is('Redis is away', [ patch([ guid(3) ], undef) ], 503,
    [ base => qr/nothing was changed/ ]);
is_deeply((api(GET => 'config'))[1], $before, 'GET shows the last lists');
$redis->start;
ok((wait_for { (patch([ guid(3) ], undef))[0] == 200 }, 10), 'it is back');
everywhere(token(guid(3)), 'ok', 'and in force');

$redis->pause;
$from = time;
error_is('Redis does not answer', [ patch([ guid(4) ], undef) ], 503,
    [ base => qr/nothing was changed/ ]);
cmp_ok(time - $from, '<', 10, 'in time');
$redis->resume;
everywhere(token(guid(4)), 'audience_not_allowed', 'nothing was changed');


# a worker that is to go ends its change first

ok((patch([ guid(6) ], undef))[0] == 200, 'before a reload');
ok($t->reload, 'reload');
ok((patch([ guid(7) ], undef))[0] == 200, 'after it');
everywhere(token(guid(7)), 'ok', 'in force');

$t->done;
