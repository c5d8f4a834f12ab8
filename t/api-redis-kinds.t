#!/usr/bin/perl
# once

# Changes by the API in a cluster, and behind Sentinel.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live qw(live_http live_start token everywhere list);
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

sub http {
    my ($url) = @_;
    return live_http("redis $url timeout=1s; zone 4m;", http => api_map(),
        server => api_location());
}

# a cluster, by a node that has another slot; then the slot moves

my $t = EntraMDM::Nginx->new(workers => 2);
my $cluster = EntraMDM::Redis->cluster($t, qw(n1 n2 n3));
my $clients = list('client_ids');
my $other = ($cluster->others($clients))[0];

$t->change(http => http("redis-cluster://127.0.0.1:" . $other->port));
live_start($t);
everywhere(token(guid(1)), 'audience_not_allowed', 'at first', 20);

my ($status, $json) = patch([ guid(1) ], [ guid(2) ]);
is($status, 200, 'PATCH') or diag explain $json;
is_deeply($cluster->cmd(SMEMBERS => $clients), [ guid(1) ],
    'the right node has it');
everywhere(token(guid(1), guid(2)), 'ok', 'in force', 0);
is(scalar @{ (api(GET => 'activities'))[1]{activities} }, 2, 'activities');

$cluster->move($clients => $other);
ok((wait_for { (patch([ guid(3) ], undef))[0] == 200 }), 'the slot has moved');
is_deeply($other->cmd(SMEMBERS => $clients), [ guid(3) ], 'and it follows');
everywhere(token(guid(3)), 'ok', 'in force');
$t->settle;

# Sentinel: the first one of the list is not there

$t->change(http => http('redis-sentinel://127.0.0.1:%%PORT_nobody%%,'
    . '127.0.0.1:%%PORT_sentinel%%/service'));
my $master = EntraMDM::Redis->new($t, 'master', save => 1);
my $sentinel = EntraMDM::Redis->sentinel($t, 'sentinel', service => $master);
$t->start;
everywhere(token(guid(4)), 'audience_not_allowed', 'at first', 20);
($status, $json) = patch([ guid(4) ], undef);
is($status, 200, 'PATCH') or diag explain $json;
is_deeply($master->cmd(SMEMBERS => $clients), [ guid(4) ],
    'the master has it');
everywhere(token(guid(4)), 'ok', 'in force', 0);
$master->stop;
error_is('no master', [ patch([ guid(5) ], undef) ], 503,
    [ base => qr/nothing was changed/ ]);

$t->done;
