#!/usr/bin/perl

# Every call by which a worker's own work may fail does: fetching keys,
# reading the lists in Redis, saving the state.  What was in force stays so,
# the log says what failed, and afterwards it succeeds.  With ENTRA_MDM_LONG=1
# each fault has its turn, else every sixth: others with sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);

use EntraMDM::ApiClient qw(api_map api_location patch);
use EntraMDM::Backend;
use EntraMDM::Fault;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant KINDS => 'pool heap nginx library';

my ($first, $step) = $ENV{ENTRA_MDM_LONG} ? (1, 1)
                   : ($ENV{ENTRA_MDM_SANITIZED} ? 4 : 1, 6);
my $t = EntraMDM::Nginx->new;
my $fault = EntraMDM::Fault->new($t);
my $fleet = EntraMDM::Backend->new($t, 'fleet');


# keys: a policy for each fault, all of which want a new key at the same time

my $idp = EntraMDM::Backend->new($t, 'idp');
my $next = new_key();
my @policies = map { "p$_" } 1 .. ($ENV{ENTRA_MDM_LONG} ? 150 : 50);

$t->change(events => 'worker_connections 1024;', http => $Headers
    . join('', map { fleet_policy('zone 512k;', $_,
        "request=/keys/$_ min_interval=1s") } @policies)
    . "server {\n listen 127.0.0.1:%%PORT_8080%%;\n"
    . join('', map {
        "location /$_/ { entra_mdm $_;"
            . " proxy_pass http://127.0.0.1:%%PORT_fleet%%; }\n"
            . "location = /keys/$_ { internal;"
            . " proxy_pass http://127.0.0.1:%%PORT_idp%%; }\n" } @policies)
    . "}\n");
$idp->answer('*' => { body => jwks(key()) });
$t->start;

my $old = mint(key(), claims_v2());
my $new = mint($next, claims_v2());
my (@wrong, @tried);

is(join(' ', grep { http_get("/$_/", bearer => $old)->status != 200 }
    @policies), '', 'keys');
$idp->answer('*' => { body => jwks(key(), $next) });
sleep 1.05;
$fleet->requests;
for my $policy (@policies) {
    $fault->arm($first + $step * @tried, KINDS);
    my $r = http_get("/$policy/", bearer => $new);
    my $what = $fault->disarm // last;
    my $result = $r->header('X-Result') // 'none';
    my $reached = $fleet->requests;

    push @tried, $policy;
    push @wrong, "$what: $result" if $result ne 'ok'
        && $r->status !~ /^(?:401|500|0)$/;
    push @wrong, "$what: $result and $reached" if $reached > ($result eq 'ok');
    push @wrong, "$what: the last good keys"
        if http_get("/$policy/", bearer => $old)->status != 200;
    $fleet->requests;
}
cmp_ok(scalar(@tried), '>', 60 / $step, 'keys: ' . @tried . ' faults');
cmp_ok(scalar(@tried), '<', scalar(@policies), 'keys: to the last');
is(join("\n", @wrong), '', 'keys: nothing but the new key is missing');
@wrong = ();
for my $policy (@tried) {
    push @wrong, $policy if !wait_for { http_get("/$policy/",
        bearer => $new)->status == 200 };
}
is("@wrong", '', 'keys: then it comes');
$t->settle;


# lists in Redis; requests go to the worker that does not read them

my $redis = EntraMDM::Redis->new($t, 'redis');

$t->change(workers => 2, events => '', http => live_http(
    'redis redis://127.0.0.1:%%PORT_redis%% timeout=500ms poll=5s;'));
live_start($t);
let_in($redis, guid(1));
everywhere(token(guid(1)), 'ok', 'Redis is followed');
my ($reader) = feed_workers($redis->port);
my $connections = worker_connections();
my ($other) = map { $connections->{$_} } grep { $_ != $reader }
    keys %$connections;
ok($reader && $other, 'by one worker');

sub word {
    my $r = $other->request(GET => '/tos', bearer => $_[0]);
    return $r->header('X-Result') // 'none';
}

my $faults = 0;
@wrong = ();
for (my $n = $first; ; $n += $step) {
    my $id = guid($n, 1);

    $fault->arm($n, KINDS, 0, $reader);
    let_in($redis, $id);
    wait_for { $fault->failed || word(token($id)) eq 'ok' };
    my $what = $fault->disarm // last;
    $faults++;
    push @wrong, "$what: the last list" if word(token(guid(1))) ne 'ok';
    push @wrong, "$what: the new one"
        if !wait_for { word(token($id)) eq 'ok' };
}
cmp_ok($faults, '>', 60 / $step, "lists: $faults faults");
is(join("\n", @wrong), '', 'lists: the last ones stay, the new ones come');
is(join(' ', feed_workers($redis->port)), $reader, 'lists: no worker has died');
everywhere(token(guid($first, 1)), 'ok', 'lists: everywhere');

# nor can its successor begin to read

$t->expect_log(qr/exited on signal 9/);
$fault->arm(1, 'pool', 1);
$t->mark;
kill KILL => $reader;
ok($t->wait_for_log(qr/no memory to follow redis of policy "fleet": .*reload/),
    'a new worker without memory says what to do');
$fault->disarm;
everywhere(token(guid(1)), 'ok', 'the last lists stay');
ok($t->reload, 'a reload');
let_in($redis, guid(2));
everywhere(token(guid(2)), 'ok', 'has them followed again');
$t->settle;


# changes by the API, which the worker that is asked writes to Redis

$t->change(workers => 1, http => live_http('redis redis://127.0.0.1:'
    . '%%PORT_redis%% timeout=500ms poll=5s;', http => api_map(),
    server => api_location()));
live_start($t);
($faults, @wrong) = (0);
is((patch([ guid(1) ], [ guid(1) ]))[0], 200, 'the API');
for (my $n = $first; ; $n += $step) {
    my ($before) = @{ $redis->cmd(SMEMBERS => list('client_ids')) };
    my $id = guid($n, 2);

    $fault->arm($n, KINDS);
    my ($status, $json, $r) = patch([$id], undef);
    my $what = $fault->disarm // last;
    my ($now) = @{ $redis->cmd(SMEMBERS => list('client_ids')) };
    my $said = "$what: $status " . $r->body;

    $faults++;
    push @wrong, "$what: $status" if $status !~ /^(?:0|200|50[03])$/;
    push @wrong, "$said: not in Redis" if $status == 200 && $now ne $id;
    push @wrong, "$said: changed" if $now ne $before
        && $r->body =~ /nothing was changed/;
    push @wrong, "$said: not enforced"
        if !wait_for { said(token($now)) eq 'ok' };
    push @wrong, "$said: the one before is"
        if $now ne $before && !wait_for { said(token($before)) ne 'ok' };
}
cmp_ok($faults, '>', 60 / $step, "changes: $faults faults");
is(join("\n", @wrong), '', 'changes: made, or not, as told');
$t->expect_log(qr/no memory to log changes/);
$t->settle;


# the state, saved by worker 0: the file is always whole

$t->change(http => $Headers . fleet_policy('state state/fleet.json;')
    . api_map() . <<"EOC");
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        @{[ api_location() ]}
    }
EOC

$t->start;
patch([ guid(0) ], []);
ok(state_with($t, sub { @{ $_[0]{client_ids} // [] } }), 'a state');
($faults, @wrong) = (0);
for (my $n = 1; ; $n++) {
    my $id = guid($n);

    my ($status) = patch([$id], undef);
    $fault->arm($n, 'system heap');
    $t->mark;
    wait_for { $fault->failed || state_with($t,
        sub { ($_[0]{client_ids}[0] // '') eq $id }, 0) };
    my $what = $fault->failed;
    if ($what) {
        $t->wait_for_log(qr/the state "\S+" of policy "fleet" .*until the disk/)
            or push @wrong, "$what: not logged";
        my ($in_file) = @{ (read_state($t) // {})->{client_ids} // ['none'] };
        push @wrong, "$what: $in_file is in the file"
            if $in_file ne $id && $in_file ne guid($n - 1);
    }
    $fault->disarm // last;
    $faults++;
    push @wrong, "$what: not saved afterwards" if !state_with($t,
        sub { ($_[0]{client_ids}[0] // '') eq $id });
}
cmp_ok($faults, '>', 5, "state: $faults faults");
is(join("\n", @wrong), '', 'state: whole, told, and made good');
$t->done;
