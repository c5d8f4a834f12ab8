#!/usr/bin/perl

# A Redis that is slow, one that is away for longer than max_stale, and a feed
# that does not follow: what the API shows and answers says what is in force.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::ApiClient;
use EntraMDM::Between;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live qw(live_http live_start token everywhere list said
    worker_connections feed_workers);
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
    'redis redis://127.0.0.1:%%PORT_redis%% timeout=1s max_stale=10s poll=1s;'
        . 'zone 4m;', http => api_map() . fleet_policy(
        'redis redis://127.0.0.1:%%PORT_between%% timeout=1s;', 'slow'),
    server => api_location() . 'location /slow/ { entra_mdm_api slow;'
        . ' entra_mdm_api_role $role; }'));
my $redis = EntraMDM::Redis->new($t, 'redis');
my $between = EntraMDM::Between->new($t, 'between', $redis);
my $clients = list('client_ids');

# a thousand activities each time, and each time a bit late

my $entries = "*1000\r\n" . join '', map {
    my $id = (2_000_000 - $_) . '-0';
    "*2\r\n\$" . length($id) . "\r\n$id\r\n*0\r\n" } 1 .. 1000;
$between->says(sub {
    return "-ERR not now\r\n" if $_[0] ne 'XREVRANGE';
    sleep 0.3;
    return $entries;
});

live_start($t);
everywhere(token(guid(1)), 'audience_not_allowed', 'at first');
is((patch([ guid(1) ], undef))[0], 200, 'a change');


# slow: every answer comes in time, but the page needs many

my $from = time;
my @answer = api(GET => 'activities?page=30&per_page=1000',
    location => '/slow/');
error_is('activities', \@answer, 503,
    [ base => 'Redis cannot be used: it takes longer than 4000 ms in all' ]);
cmp_ok(time - $from, '>', 3.5, 'in that time');
cmp_ok($between->answered, '>', 3, 'all steps were answered');
$between->stop;


# a feed that does not follow

sub on {
    my ($c, $method, $body) = @_;
    my $r = $c->request($method => "${EntraMDM::ApiClient::Location}config",
        headers => [ 'X-Role' => 'admin', defined $body
            ? ('Content-Type' => 'application/json') : () ],
        defined $body ? (body => json->encode($body)) : ());
    return ($r->status, scalar eval { json->decode($r->body) }, $r);
}

my $workers = worker_connections();
my ($feed) = grep { my $pid = $_; grep { $_ == $pid }
    feed_workers($redis->port) } keys %$workers;
my ($other) = map { $workers->{$_} } grep { $_ != $feed } keys %$workers;
my $behind = qr/^Redis has these lists now, but this node has not read them within 4000 ms: they are not in force here yet$/;

kill STOP => $feed;
error_is('a change', [ on($other, PATCH => lists([ guid(2) ], undef)) ], 503,
    [ base => $behind ]);
is_deeply($redis->cmd(SMEMBERS => $clients), [ guid(2) ], 'Redis has it');
is($other->request(GET => '/tos', bearer => token(guid(2)))
    ->header('X-Result'), 'audience_not_allowed', 'it is not in force');
my ($status, $json) = on($other, 'GET');
is_lists('nor shown', [ guid(1) ], [], $json);
error_is('the same once more, which changes nothing',
    [ on($other, PATCH => lists([ guid(2) ], undef)) ], 503,
    [ base => $behind ]);
$redis->cmd(DEL => list('generation'));
error_is('one after Redis has gone back to an earlier generation',
    [ on($other, PATCH => lists([ guid(2), guid(4) ], undef)) ], 503,
    [ base => $behind ]);


# and then these lists are too old

ok((wait_for { exists((on($other, 'GET'))[1]{in_force}) } 20),
    'not in force any more');
is($other->request(GET => '/tos', bearer => token(guid(1)))
    ->header('X-Result'), 'lists_unavailable', 'which the gate says as well');

kill CONT => $feed;
everywhere(token(guid(2)), 'ok', 'the feed follows again');
everywhere(token(guid(1)), 'audience_not_allowed', 'both changes');
($status, $json) = patch([ guid(1) ], undef);
is($status, 200, 'a change is answered again');
ok(!exists $json->{in_force}, 'and in force');


# Redis is away for longer than max_stale

sub shown {
    my ($config, $status) = map { (api(GET => $_))[1] } qw(config status);

    return map { $_->{in_force} // 1 ? 'in force' : 'not in force' }
        $config, $status;
}

my $tag = (api(GET => 'config'))[2]->header('ETag');
is(join(', ', shown()), 'in force, in force', 'config and status');
$redis->pause;
ok((wait_for { said(token(guid(1))) eq 'lists_unavailable' } 20),
    'too old');
is(join(', ', shown()), 'not in force, not in force', 'which both say');
(undef, $json, my $r) = api(GET => 'config');
is_lists('the last lists are shown', [ guid(1) ], [], $json);
is($json->{source}, 'redis', 'which came from Redis');
is($r->header('ETag'), $tag, 'under their tag');
error_is('a change', [ patch([ guid(1), guid(3) ], undef, match => $tag) ],
    503, [ base => qr/nothing was changed/ ]);

$redis->resume;
ok((wait_for { !exists((api(GET => 'config'))[1]{in_force}) }), 'read again');
($status) = patch([ guid(1), guid(3) ], undef, match => $tag);
is($status, 200, 'the tag of then is still that of these lists');
everywhere(token(guid(1)), 'ok', 'in force');


# and lists that were never read

$redis->stop;
ok($t->reload(http => $t->{http} =~ s/zone 4m/zone 5m/r
    =~ s/(entra_mdm_policy) fleet/$1 fresh/r
    =~ s/entra_mdm fleet/entra_mdm fresh/gr
    =~ s/entra_mdm_api fleet/entra_mdm_api fresh/r), 'a policy of its own');
is(join(', ', shown()), 'not in force, not in force', 'never read');
is(said(token(guid(1))), 'lists_unavailable', 'which the gate says as well');
is_lists('nothing to show', [], []);

$t->done;
