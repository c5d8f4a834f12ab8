#!/usr/bin/perl
# once

# The examples with Redis: the users of redis/users.acl may do what they are
# for, and nothing else; redis/redis.conf keeps the lists; nginx finds the
# master by Sentinel, and the node of a cluster; keys come by Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::Backend;
use EntraMDM::Example;
use EntraMDM::File qw(root slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live qw(list);
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new;
my $key = new_key();
my $ca = example_files($t, $key);
my ($v1, $v2) = (mint($key, claims_v1()), mint($key, claims_v2()));
my ($ann, $bob) = ('accepted ann@example.com', 'accepted bob@example.com');
my $clients = list('client_ids');
my $acl = slurp(root() . '/conf-examples/redis/users.acl');
my @users = $acl =~ /^user (\S+) on/mg;

fleet();

sub becomes {
    my ($token, $expected, $name) = @_;
    my $got;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_for { ($got = enroll($token)) eq $expected } 20;
    is($got, $expected, $name);
}

# Another Redis is not one that has lost its data.

sub begin {
    unlink $t->dir . '/entra_mdm/fleet.json';
    $t->start;
}

# A command from the head of an example, as a shell runs it.

sub command {
    my ($file, $begins) = @_;
    my ($text) = slurp(root() . "/conf-examples/$file")
        =~ /^#   (\Q$begins\E(?:.*(?:\\|&&)\n)*.*)/m or die "$file: $begins";
    return $text =~ s/^#//mgr;
}

sub shell {
    my ($user, $command) = @_;
    local $ENV{REDISCLI_AUTH} = "password-of-$user";
    my $said = `cd @{[ $t->dir ]} && { $command\n} 2>&1`;
    return $said =~ s/\s+$//r;
}


# redis-tls.conf: the server is as redis.conf says.

my %certificate = $ca->certificate('redis', 'IP:127.0.0.1');
my $conf = slurp(root() . '/conf-examples/redis/redis.conf');
for ($conf) {
    s{/etc/redis/redis-ca\.crt}{$certificate{ca}} or die;
    s{/etc/redis/redis\.crt}{$certificate{cert}} or die;
    s{/etc/redis/redis\.key}{$certificate{key}} or die;
    s{6379}{$t->port('redis')}e or die;
    s{^aclfile\s+/etc/redis/users\.acl\n}{}m or die;
}
my $secure = EntraMDM::Redis->new($t, 'redis', acl => $acl, conf => $conf,
    tls => \%certificate);
my @cli = ('redis-cli', '-p', $t->port('redis'), '--tls', '--cacert',
    $certificate{ca});

is_deeply(\@users, [ qw(nginx nginx-api lists courier replica sentinel) ],
    'users');
like($conf, qr/^#   $_ /m, "redis.conf says what $_ is for") for @users;
like(shell(nobody => "@cli PING"), qr/NOAUTH|WRONGPASS/, 'default is off');
is($secure->cmd(qw(CONFIG GET maxmemory-policy))->[1], 'noeviction',
    'nothing is evicted');

for ([ nginx => "SADD '$clients' x" ], [ nginx => "DEL '$clients'" ],
     [ nginx => 'GET other' ], [ nginx => 'FLUSHALL' ],
     [ 'nginx-api' => 'FLUSHALL' ], [ 'nginx-api' => "DEL '$clients'" ],
     [ 'nginx-api' => 'SADD other x' ], [ 'nginx-api' => 'CONFIG GET dir' ],
     [ lists => "SET '@{[ list('jwks') ]}' x" ],
     [ lists => "SADD '@{[ list('accounted_client_ids') ]}' x" ],
     [ lists => "DEL '$clients'" ], [ courier => "SADD '$clients' x" ],
     [ courier => "SET '@{[ list('generation') ]}' 1" ],
     [ replica => "SMEMBERS '$clients'" ],
     [ sentinel => "SMEMBERS '$clients'" ])
{
    my ($user, $command) = @$_;
    like(shell($user => "@cli --user $user $command"), qr/^NOPERM/m,
        "$user may not $command");
}

my $example = example('redis-tls.conf');
my ($code, $said) = $t->nginx_t(conf => $example);
my $tls = $code == 0;
my $redis = $secure;

if (!$tls) {
    like($said, qr/\[emerg\].*hiredis.*TLS.* in \S+:\d+/,
        'hiredis has no TLS: nginx -t says so');
    $secure->stop;
    $redis = EntraMDM::Redis->new($t, 'plain', acl => $acl, save => 1);
    for ($example) {
        s{rediss://\S+}{redis://127.0.0.1:%%PORT_plain%%/0} or die;
        s{^\s*tls_ca=.*(?=;)}{}m or die;
    }
    @cli = ('redis-cli', '-p', $t->port('plain'));
}

# with the API beside it

$example =~ s/(?=^    server \{)/api_map()/me;
$example =~ s/(?=^        location \^~)/api_location()/me;

$t->change(conf => $example);
$t->start;
becomes($v1, $ann, 'the configuration counts');
is(http_get($_)->status, 400, "a path that others may read on: $_")
    for goes_on('', '/api/mdm/microsoft/discovery');
is(fleet()->requests, 0, 'nothing of that reaches Fleet');
ok((wait_for { $redis->subscribers == 1 }), 'the ACL suffices for tracking');
becomes($v2, 'audience_not_allowed', 'an application that nobody listed');

for my $change ([ SADD => $bob ], [ SREM => 'audience_not_allowed' ]) {
    my ($what, $then) = @$change;
    my $command = command('redis-tls.conf', "redis-cli --tls --user lists $what");

    $command =~ s/GUID/CLIENT_V2/e or die;
    $command =~ s/^redis-cli --tls/@cli/ or die;
    is(shell(lists => $command), 1, "lists may $what");
    becomes($v2, $then, "and every nginx follows");
}

($code) = patch([ CLIENT_V2 ], undef);
isnt($code, 200, 'by the API, the user nginx cannot');
is(enroll($v2), 'audience_not_allowed', 'and nothing has changed');

$t->write_file('redis-password', secret('password-of-nginx-api') . "\n");
ok($t->reload(conf => $example =~ s/user=nginx\b/user=nginx-api/gr),
    'the user nginx-api');
$t->mark;
($code) = patch([ CLIENT_V2 ], undef);
is($code, 200, 'lets an application in');
becomes($v2, $bob, 'which counts');
is(join(' ', @{ $redis->cmd(SMEMBERS => $clients) }), CLIENT_V2, 'in Redis');
($code, my $json) = api(GET => 'activities');
is($json->{activities}[0]{type}, 'added_microsoft_entra_client_id',
    'with an activity');
($code) = patch([], undef);
is($code, 200, 'and shuts it out');
becomes($v2, 'audience_not_allowed', 'which counts, too');
($code) = patch([ CLIENT_V2 ], undef);
is($code, 200, 'and in again');
unlike($t->new_log, qr/NOPERM/, 'no right is missing');

# what was acknowledged is on disk

$redis->kill9;
$redis->start;
is(join(' ', @{ $redis->cmd(SMEMBERS => $clients) }), CLIENT_V2,
    'the lists outlive Redis');
like(shell(nobody => "@cli PING"), qr/NOAUTH|WRONGPASS/,
    'default is off, whatever it might do');
like(shell(nobody => "@cli --user default PING"), qr/NOAUTH|WRONGPASS/,
    'under its name, too');
$t->settle;
$redis->stop;


# redis-sentinel.conf: of three addresses one answers.

$t->write_file('redis-password', secret('password-of-nginx') . "\n");
my @login = ("masteruser replica", "masterauth password-of-replica");
my ($first, $second) = map { EntraMDM::Redis->new($t, $_, acl => $acl,
    conf => join "\n", @login) } qw(first second);
my $port = $first->port;

$second->cmd(REPLICAOF => '127.0.0.1', $port);
ok((wait_for { $second->cmd(qw(INFO replication)) =~ /link_status:up/ } 20),
    'the user replica replicates');
my $sentinel = EntraMDM::Redis->sentinel($t, 'redis2', mymaster => $first,
    conf => "sentinel auth-user mymaster sentinel\n"
          . "sentinel auth-pass mymaster password-of-sentinel\n");

$first->cmd(SADD => $clients, CLIENT_V2);
$t->change(conf => example('redis-sentinel.conf'));
begin();
becomes($v2, $bob, 'the sentinel names the master');
ok($sentinel->knows_replica('mymaster'), 'and knows the replica');
ok((wait_for { $second->cmd(SCARD => $clients) == 1 }), 'which has the list');
is($sentinel->cmd(qw(SENTINEL FAILOVER mymaster)), 'OK', 'another master');
ok((wait_for { $sentinel->master('mymaster') == $second->port
    && $second->cmd('ROLE')->[0] eq 'master' } 30), 'by the user sentinel');
$second->cmd(SREM => $clients, CLIENT_V2);
becomes($v2, 'audience_not_allowed', 'is followed');
is(enroll($v1), $ann, 'with the configuration');
$t->settle;
$_->stop for $sentinel, $first, $second;


# redis-cluster.conf: the node that has the lists is followed.

my $cluster = EntraMDM::Redis->cluster($t, { acl => $acl },
    qw(redis1 redis3 redis4));

$t->change(conf => example('redis-cluster.conf'));
begin();
becomes($v2, 'audience_not_allowed', 'not listed');
my $sadd = command('redis-cluster.conf', 'redis-cli -c');
$sadd =~ s/GUID/CLIENT_V2/e or die;
$sadd =~ s/-h \S+/'-p ' . $t->port('redis1')/e or die;
like(shell(lists => $sadd), qr/^1$/m, 'redis-cli finds the node');
becomes($v2, $bob, 'listed at the node that has the slot');
my ($to) = $cluster->others($clients);
$cluster->move($clients => $to);
$to->cmd(SREM => $clients, CLIENT_V2);
becomes($v2, 'audience_not_allowed', 'and at the one that has it then');
$t->settle;
$_->stop for $cluster->nodes;


# air-gapped.conf: nobody enrolls until the keys are there.

$redis = EntraMDM::Redis->new($t, 'quiet', acl => $acl);
my $microsoft = EntraMDM::Backend->new($t, 'keys');

$t->change(conf => example('air-gapped.conf')
    =~ s/%%PORT_redis%%/%%PORT_quiet%%/r);
begin();
is(enroll($v1), 'keys_unavailable', 'no keys');

my $bring = command('air-gapped.conf', 'curl');
$bring =~ s{https://[^/]+}{'http://127.0.0.1:' . $t->port('keys')}e or die;
$bring =~ s{=https}{=http} or die;
$bring =~ s{--askpass}{} or die;
$bring =~ s{-p 6379}{'-p ' . $t->port('quiet')}e or die;

my $next = new_key();
for ([ $key, $v1 ], [ $next, mint($next, claims_v1()) ]) {
    my ($published, $token) = @$_;

    $microsoft->answer('/common/discovery/v2.0/keys'
        => { body => jwks($published) });
    is(shell(courier => $bring), 'OK', 'keys are brought');
    becomes($token, $ann, 'and count');
}
becomes($v1, 'key_unknown', 'a key that has gone does not');

$microsoft->answer('/common/discovery/v2.0/keys' => { status => 500 });
like(shell(courier => $bring), qr/500/, 'Microsoft is away');
is($redis->cmd(GET => list('jwks')), jwks($next), 'the keys stay');
is(enroll(mint($next, claims_v1())), $ann, 'and count');
$t->done;
