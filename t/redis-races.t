#!/usr/bin/perl

# What changes in Redis between two commands of the feed, which hears of no
# change here, and looks only once a minute: it finds that itself.

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
    'redis redis://127.0.0.1:%%PORT_between%% timeout=2s poll=1m;'));
my $redis = EntraMDM::Redis->new($t, 'redis');
my $between = EntraMDM::Between->new($t, 'between', $redis);
my ($clients, $tenants) = map { list($_) } qw(client_ids tenant_ids);

live_start($t);
fill(guid(1), guid(2));
everywhere(token(guid(1), guid(1)), 'ok', 'loaded');
ok((wait_for { $redis->cmd(EXISTS => list('generation')) }), 'a generation');

# what is lost while it is read

my $end = load(2, [ token(guid(1), guid(1)), 'ok' ],
    [ token(guid(3)), 'audience_not_allowed' ]);

$t->mark;
$between->mutes(EXISTS => sub { $redis->cmd('FLUSHALL') });
ok($t->wait_for_log(qr/\[error\].*has lost both/), 'lost after it was read');
everywhere(token(guid(1), guid(1)), 'ok', 'the last lists stay');

# and restored after it was not found

$between->mutes(EXISTS => sub { fill(guid(1), guid(4)) });
everywhere(token(guid(4), guid(4)), 'ok', 'restored while it is read');

# both within one pass

ok((wait_for { $redis->cmd(EXISTS => list('generation')) }), 'a generation');
$between->mutes(SSCAN => sub { $redis->cmd('FLUSHALL') },
    EXISTS => sub { fill(guid(1), guid(5)) });
everywhere(token(guid(5), guid(5)), 'ok', 'lost and restored');

my $all = $end->();
is_deeply($all->{wrong}, {}, "$all->{requests} answers, none shut out");

# what is removed after it was read

$between->mutes(EXISTS => sub { $redis->cmd(DEL => $clients) });
everywhere(token(guid(1)), 'audience_not_allowed', 'DEL of one');
everywhere(token(CLIENT_V2, guid(5)), 'ok', 'the other list stays');
let_in($redis, 'nonsense');
$between->mutes;
everywhere(token(CLIENT_V2, guid(5)), 'ok', 'a Set without a GUID');
is(said(token(guid(1))), 'audience_not_allowed', 'is an empty list');

# a Redis that breaks off as soon as it has been read is not read all the time

$between->honest;
let_in($redis, guid(6));
everywhere(token(guid(6)), 'ok', 'breaking off: before');
$t->mark;
my ($until, $n) = (time + 5, 0);
while (time < $until) {
    $redis->cmd(qw(CLIENT KILL TYPE pubsub))
        if lines(qr/\[notice\].*reconnected/) >= $n and ++$n;
    sleep 0.005;
}
cmp_ok($n, '>', 2, 'breaking off: the feed goes on trying');
cmp_ok($n, '<', 16, "breaking off: but not all the time: $n");
let_in($redis, guid(7));
everywhere(token(guid(7)), 'ok', 'breaking off: then it is followed');

$t->done;


sub fill {
    my @ids = @_;

    $redis->cmd('MULTI');
    $redis->cmd(SADD => $_, @ids) for $clients, $tenants;
    $redis->cmd('EXEC');
}
