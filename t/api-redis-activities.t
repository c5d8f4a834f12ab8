#!/usr/bin/perl

# Activities in Redis: of the API and of changes from elsewhere, each once,
# however many nodes see it.

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

# A second node is another nginx that follows the same Redis.

sub node {
    my ($port, $more) = @_;
    return live_http("redis redis://127.0.0.1:%%PORT_redis%% poll=1s; zone 8m;"
        . ($more // ''), http => api_map(), server => api_location())
        =~ s/PORT_8080/PORT_$port/gr;
}

my $t = EntraMDM::Nginx->new(workers => 2, http => node(8080));
my $redis = EntraMDM::Redis->new($t, 'redis', acl => <<'EOC');
user default on nopass ~* &* +@all
user reader on >reader ~* &* -@all +@read +@connection +client +subscribe +ping
EOC
my $second = EntraMDM::Nginx->new(workers => 2, http => node('second'));
$second->{ports}{redis} = $t->{ports}{redis};
my $port = $second->port('second');
my ($clients, $tenants) = map { list($_) } qw(client_ids tenant_ids);
my $stream = list('activities');

# what is there before anybody looks makes no activity

$redis->cmd(SADD => $clients, guid(1), guid(2));
live_start($t);
$second->write_file('keys.json', $t->file('keys.json'));
mkdir $second->dir . '/html';
$second->write_file("html/$_", 'page') for qw(tos enroll open);
$second->start;
$EntraMDM::HTTP::Port = $t->port(8080);

sub activities {
    my ($args, %o) = @_;
    my ($status, $json) = api(GET => 'activities' . ($args // ''), %o);
    return ($json->{meta}, map {
        my ($kind) = keys %{ $_->{details} };
        join ' ', $_->{type} =~ /^(added|deleted)_microsoft_entra_(\w+)$/,
            $_->{details}{$kind}, $_->{actor}, $_->{role}
    } @{ $json->{activities} });
}

# both nodes have looked at all there is

sub settled {
    my ($name, $expected) = @_;
    my @now;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_for { (undef, @now) = activities('?per_page=1000');
        @now == @$expected };
    # what would be too much comes with a look of the other node: its poll
    select undef, undef, undef, 1.2;
    (undef, @now) = activities('?per_page=1000');
    is_deeply(\@now, $expected, $name) or diag explain \@now;
}

ok((wait_for { $redis->cmd(SISMEMBER => list('accounted_client_ids'), '-')
    && $redis->cmd(SISMEMBER => list('accounted_tenant_ids'), '-') }),
    'somebody has looked');
settled('nothing is told of what was there', []);


# from elsewhere

my $typed = 'ABCDEF01-abCD-ef01-2345-6789aBcDeF0a';
$redis->cmd(SADD => $clients, $typed);
settled('an ID that was added', my $all = [ "added client_id $typed redis " ]);
$redis->cmd(SREM => $clients, $typed);
settled('and deleted', unshift(@$all, "deleted client_id $typed redis ")
    && $all);
$redis->cmd(SADD => $tenants, guid(7));
settled('a tenant', unshift(@$all, "added tenant @{[ guid(7) ]} redis ")
    && $all);
is(scalar(grep { /added_microsoft_entra_tenant \S+, actor: "redis"/ }
    map { split /\n/, $_->error_log } $t, $second), 1,
    'a notice of the node that noted it');


# by the API of either node

my ($status) = patch([ guid(3) ], undef, user => 'ann');
is($status, 200, 'PATCH');
($status) = patch([ guid(3), guid(4) ], undef, port => $port,
    role => 'gitops');
is($status, 200, 'PATCH at the other node');
settled('one each, by whom it was made', unshift(@$all,
    "added client_id @{[ guid(4) ]} gitops gitops",
    "added client_id @{[ guid(3) ]} ann admin",
    "deleted client_id @{[ guid(2) ]} ann admin",
    "deleted client_id @{[ guid(1) ]} ann admin") && $all);
(undef, my @there) = activities('?per_page=1000', port => $port);
is_deeply(\@there, $all, 'the same at the other node');

my ($here) = map { $_->header('ETag') } (api(GET => 'config'))[2];
ok((wait_for { (api(GET => 'config', port => $port))[2]->header('ETag')
    eq $here }), 'and so is the ETag');

my ($entry) = @{ $redis->cmd(XREVRANGE => $stream, '+', '-', COUNT => 1) };
is_deeply($entry->[1], [ type => 'added_microsoft_entra_client_id',
    client_id => guid(4), actor => 'gitops', role => 'gitops' ],
    'as it is in the stream');
my ($json) = (api(GET => 'activities'))[1];
is($json->{activities}[0]{id}, $entry->[0], 'its ID');
like($json->{activities}[0]{created_at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
    'its time');


# while nobody is there

$_->stop for $t, $second;
$redis->cmd(SADD => $clients, guid(5));
$t->start;
$second->start;
settled('what happened meanwhile', unshift(@$all,
    "added client_id @{[ guid(5) ]} redis ") && $all);


# many

$redis->cmd(SADD => $clients, map { guid($_) } 100 .. 350);
settled('some hundreds', unshift(@$all, map { "added client_id "
    . guid($_) . ' redis ' } reverse 100 .. 350) && $all);
$t->mark;
$second->mark;
$redis->cmd(SADD => $clients, map { guid($_) } 10_001 .. 12_000);
ok((wait_for { grep { $_->new_log =~ /in 2000 places, too many/ }
    $t, $second }),
    'thousands are one notice');
settled('and no activities', $all);
$redis->cmd(SREM => $clients, guid(12_000));
settled('but then go on', unshift(@$all,
    "deleted client_id @{[ guid(12_000) ]} redis ") && $all);


# pages

(my $meta, @there) = activities('?per_page=10');
is_deeply(\@there, [ @$all[ 0 .. 9 ] ], 'a page');
ok($meta->{has_next_results} && !$meta->{has_previous_results}, 'the first');
($meta, @there) = activities('?page=3&per_page=7');
is_deeply(\@there, [ @$all[ 21 .. 27 ] ], 'the fourth');
ok($meta->{has_next_results} && $meta->{has_previous_results}, 'of more');
($meta, @there) = activities('?page=1&per_page=' . (@$all - 3));
is_deeply(\@there, [ @$all[ -3 .. -1 ] ], 'the last');
ok(!$meta->{has_next_results}, 'is the last');
($meta, @there) = activities('?page=9&per_page=100');
ok(!@there && !$meta->{has_next_results}, 'past the last');
$redis->cmd(XADD => $stream, '*', i => $_) for 1 .. 2100;
($meta, @there) = activities('?page=700&per_page=3');
is_deeply(\@there, [ @$all[ 0 .. 2 ] ], 'far down, past what others wrote');
$redis->cmd(DEL => $stream);
(undef, @there) = activities();
is_deeply(\@there, [], 'a stream that is gone');
$redis->cmd(SET => $stream, 'x');
error_is('one that is none', [ api(GET => 'activities') ], 503,
    [ base => qr/WRONGTYPE/ ]);
$redis->cmd(DEL => $stream);


# a user who may only read

my $read = node(8080)
    =~ s/poll=1s/poll=1s user=reader password_file=%%DIR%%\/pw/r;
$t->write_file('pw', 'reader');
$second->stop;
ok($t->reload(http => $read), 'a user who may only read');
ok($t->wait_for_log(qr/in this log only/), 'says so');
$t->mark;
$redis->cmd(SADD => $clients, guid(6));
ok($t->wait_for_log('added_microsoft_entra_client_id ' . guid(6)
    . ', actor: "redis"'), 'a notice');
$redis->cmd(SREM => $clients, guid(6));
ok($t->wait_for_log('deleted_microsoft_entra_client_id ' . guid(6)
    . ', actor: "redis"'), 'each time');
is(scalar(() = $t->new_log =~ /microsoft_entra_client_id/g), 2, 'and once');
error_is('PATCH', [ patch([ guid(1) ], undef) ], 503,
    [ base => qr/NOPERM.*nothing was changed/ ]);
ok($redis->cmd(SISMEMBER => $clients, guid(5)), 'nothing was changed');

$second->settle;
$t->done;
