#!/usr/bin/perl

# What survives: lists and keys are there again after every kind of end, with
# nobody to ask for them, and as old as they were.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl qw(LOCK_EX);
use Test::More;
use Time::HiRes qw(time);

use EntraMDM::Backend;
use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant OTHER => '2b1b1111-2222-3333-4444-5555555555c2';

# A policy that trusts nobody by itself.

sub http {
    my ($lines, $location) = @_;
    return $Headers . "entra_mdm_policy fleet {\n$lines\n}\n" . <<"EOC";
    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location / {
            entra_mdm fleet token=bearer;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /_entra/jwks {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_nobody%%;
        }
    }
EOC
}

my $state = 'state state/fleet.json;';
my $fetched = http("jwks request=/_entra/jwks; $state");
my $file = http("jwks file=%%DIR%%/keys.json check=1s; $state");
my $user = $> == 0 && getpwnam('www-data') ? 'www-data' : 'root';

my $t = EntraMDM::Nginx->new(workers => 2, user => $user, http => $fetched);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my ($key, $next) = map { new_key() } 1 .. 2;
my $good = mint($key, claims_v2());
my $path = $t->dir . '/state/fleet.json';

chmod 0755, $t->dir;

sub bearer { return http_get('/', bearer => $_[0]) }

sub judged {
    my ($name, $token, $expected) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return verdict($name, bearer($token), $fleet, $expected);
}

# All processes at once, as when the machine goes down.

sub kill_all {
    my @all = $t->children;
    kill KILL => -$t->{pid};
    wait_for { $t->reaped && !grep { kill 0, $_ } @all };
}

my $accepted = '200 ok accepted 1';

# every kind of end; neither Redis nor identity provider is anywhere

my $then = time - 7200;
write_state($t, client_ids => [ uc CLIENT_V2, OTHER ], tenant_ids => [TENANT],
    jwks => [$key], jwks_fetched => int $then, lists_updated => int $then,
    redis_generation => 7, lists_source => 'redis');
$t->start;
judged('lists and keys of the state', $good, $accepted);

for my $end (
    [ 'quit',           sub { $t->stop('QUIT') } ],
    [ 'fast shutdown',  sub { $t->stop('TERM') } ],
    [ 'kill -9 of all', \&kill_all ],
) {
    my ($name, $how) = @$end;
    $how->();
    $t->start;
    judged("after $name", $good, $accepted);
    judged("after $name: who is not listed",
        mint($key, claims_v2(aud => '3b1b1111-2222-3333-4444-5555555555c3')),
        '403 audience_not_allowed refused 0');
}

my $kept = read_state($t);
is($kept->{jwks_fetched}, int $then, 'the keys are as old as they were');
is($kept->{lists_updated}, int $then, 'so are the lists');
ok($t->stop, 'stopped');

# keys that must not be used, whatever the file says: [ name, members ]

for (
    [ 'keys past max_stale',       jwks_fetched => int time - 25 * 3600 ],
    [ 'keys without a time',       jwks_fetched => undef ],
    [ 'keys of the future',        jwks_fetched => int time + 3600 ],
    [ 'keys of another source',    jwks_source => 'request=/_other/jwks' ],
    [ 'keys of a file',            jwks_source => 'file=/_entra/jwks' ],
    [ 'keys of Redis',             jwks_source => 'redis' ],
    [ 'keys of no source',         jwks_source => undef ],
    [ 'keys that are none',        jwks => {} ],
) {
    my ($name, @members) = @$_;
    write_state($t, client_ids => [CLIENT_V2], tenant_ids => [TENANT],
        jwks => [$key], @members);
    $t->start;
    judged($name, $good, '503 keys_unavailable refused 0');
    $t->stop;
}

# a clock that was a little ahead; the time is put right in the file

write_state($t, client_ids => [CLIENT_V2], tenant_ids => [TENANT],
    jwks => [$key], jwks_fetched => int time + 200);
$t->start;
judged('keys of the near future', $good, $accepted);
ok($t->wait_for_log('written by a clock ahead'), 'the log says so');
ok(state_with($t, sub { $_[0]{jwks_fetched} <= time }),
    'the file no longer says so');
$t->stop;

# no state yet: empty lists, then a file with what is known

unlink $path or die;
$t->write_file('keys.json', jwks($key));
$t->change(http => $file);
$t->start;
judged('no state: empty lists', $good, '403 audience_not_allowed refused 0');
my $first = state_with($t, sub { $_[0]{jwks} });
is(kids($first), $key->kid, 'what is known is saved');
ok(!exists $first->{client_ids}, 'what is not known is left out');
is($first->{policy}, 'fleet', 'for which policy');

SKIP: {
    skip 'needs root, and a user www-data', 3 if $user eq 'root';
    my @dir = stat $t->dir . '/state';
    my @is = stat $path;
    is(sprintf('%o', $is[2] & 07777), '600', 'nobody else may read it');
    is($is[4], scalar getpwnam($user), "it is the workers' own");
    is($dir[4], scalar getpwnam($user), 'so is its directory');
}

# a directory that is not there is made

$t->stop;
unlink $path;
rmdir $t->dir . '/state' or die;
$t->start;
ok(state_with($t, sub { kids($_[0]) eq $key->kid }), 'in a new directory');
is(sprintf('%o', (stat $t->dir . '/state')[2] & 07777), '700',
    'for nobody else');

# saved within a second after a change, lists and all

$t->stop;
write_state($t, client_ids => [ uc CLIENT_V2 ], tenant_ids => [TENANT]);
$t->start;
judged('lists of the state, keys of a file', $good, $accepted);
$t->mark;
$t->write_file('keys.json', jwks($next));
ok($t->wait_for_log('has 1 keys'), 'other keys are in force');
my $changed = time;
my $saved = state_with($t, sub { kids($_[0]) eq $next->kid });
cmp_ok(time - $changed, '<', 2, 'saved at once');
is_deeply($saved->{client_ids}, [ uc CLIENT_V2 ], 'the client IDs stay, as typed');
is_deeply($saved->{tenant_ids}, [TENANT], 'the tenant IDs stay');
like(slurp($path), qr/\n    "${\ uc CLIENT_V2}"\n/, 'one ID a line');
is_deeply([ glob $t->dir . '/state/*' ], [$path], 'no other file is left');

# nothing changes, nothing is written: the file is the very same

my $inode = join ' ', (stat $path)[ 1, 9 ];
$t->mark;
ok($t->reload, 'reload');
judged('after a reload', mint($next, claims_v2()), $accepted);
is(join(' ', (stat $path)[ 1, 9 ]), $inode, 'the same file');

# the file of a worker that was killed is in nobody's way, nor is a trap

my $victim = $t->write_file('victim', 'precious');
symlink $victim, "$path.tmp" or die;
$t->write_file('keys.json', jwks($key));
ok(state_with($t, sub { kids($_[0]) eq $key->kid }),
    'a temporary file that is a symbolic link');
is($t->file('victim'), 'precious', 'what it points to is untouched');
spew("$path.tmp", 'half of it');
$t->write_file('keys.json', jwks($next));
ok(state_with($t, sub { kids($_[0]) eq $next->kid }),
    'a temporary file that was left');
ok(!-e "$path.tmp", 'is gone');

# somebody has the lock, and does not let go

open my $lock, '<', $t->dir . '/state' or die;
flock $lock, LOCK_EX or die;
$t->mark;
$t->write_file('keys.json', jwks($key));
ok($t->wait_for_log('has 1 keys'), 'locked out: other keys are in force');
ok($t->wait_for_log(qr/\[error\].* is in a directory that another process has locked/),
    'locked out: the log says so');
is(kids(read_state($t)), $next->kid, 'locked out: nothing is written');
close $lock;
ok($t->wait_for_log('is saved again'), 'the lock is gone');
is(kids(read_state($t)), $key->kid, 'saved');
$t->write_file('keys.json', jwks($next));
ok(state_with($t, sub { kids($_[0]) eq $next->kid }), 'and on');

# whoever replaces worker 0 saves what changes

$t->expect_log(qr/worker process \d+ exited on signal 9/);
my %dead = map { $_ => 1 } $t->workers;
kill KILL => keys %dead;
wait_for { my @now = $t->workers; @now == 2 && !grep { $dead{$_} } @now };
$t->write_file('keys.json', jwks($key));
ok(state_with($t, sub { kids($_[0]) eq $key->kid }), 'by a new worker 0');

# An old worker 0 that lingers leaves the file alone, whether it shares the
# zone with the new one or not.  With so many clients both workers have some.

for my $zone ('', 'zone 3m;') {
    my $name = $zone || 'the same zone';
    my @clients = map { http_connect() } 1 .. 12;
    $_->send([ "GET / HTTP/1.1\r\nHost: a\r\n" ]) for @clients;
    my @old = $t->workers;

    ok($t->reload(http => $file =~ s/jwks/$zone jwks/r),
        "$name: reload while clients hold the workers");
    $t->write_file('keys.json', jwks($next));
    ok(state_with($t, sub { kids($_[0]) eq $next->kid }),
        "$name: the new worker saves");
    $t->write_file('keys.json', jwks($key));
    ok(state_with($t, sub { kids($_[0]) eq $key->kid }), "$name: and again");
    $inode = join ' ', (stat $path)[ 1, 9 ];
    my %now = map { $_ => 1 } $t->children;
    is(scalar(grep { $now{$_} } @old), 2, "$name: the old workers are there");
    $_->close for @clients;
    ok(wait_for { my %left = map { $_ => 1 } $t->children;
        !grep { $left{$_} } @old }, "$name: the old workers go");
    is(join(' ', (stat $path)[ 1, 9 ]), $inode, "$name: the same file");
}

# even if it has something of its own to save: an old zone with other keys

my @clients = map { http_connect() } 1 .. 12;
$_->send([ "GET / HTTP/1.1\r\nHost: a\r\n" ]) for @clients;
my @old = $t->workers;
my $third = new_key();

$t->write_file('third.json', jwks($third));
ok($t->reload(http => $file =~ s/keys\.json/third.json/r),
    'other keys and another zone');
ok(state_with($t, sub { kids($_[0]) eq $third->kid }), 'are saved');
$t->mark;
$t->write_file('keys.json', jwks($next));
ok($t->wait_for_log('keys\.json" .* has 1 keys'), 'the old zone changes');
$_->close for @clients;
ok(wait_for { my %left = map { $_ => 1 } $t->children;
    !grep { $left{$_} } @old }, 'the old workers go');
is(kids(read_state($t)), $third->kid, 'the new ones have the file');

ok($t->reload(http => $file), 'back');
ok(state_with($t, sub { kids($_[0]) eq $next->kid }), 'and on');

# what could not be saved in time is saved at the end

for my $signal ($user eq 'root' ? () : qw(QUIT TERM)) {
    my ($before, $after) = $signal eq 'QUIT' ? ($next, $key) : ($key, $next);
    chmod 0500, $t->dir . '/state';
    $t->mark;
    $t->write_file('keys.json', jwks($after));
    ok($t->wait_for_log('fleet\.json" of policy "fleet" cannot be created.*'
        . 'Permission denied'), "$signal: the directory is read-only");
    ok($t->wait_for_log('has 1 keys'), "$signal: other keys are in force");
    is(kids(read_state($t)), $before->kid, "$signal: the last one stays");
    chmod 0700, $t->dir . '/state';
    ok($t->stop($signal), "$signal: nginx ends");
    is(kids(read_state($t)), $after->kid, "$signal: saved at the end");
    $t->start;
}

# without a master

$t->stop;
$t->change(main => 'master_process off;', workers => 1);
$t->start;
judged('no master', mint($next, claims_v2()), $accepted);
$t->write_file('keys.json', jwks($key));
ok(state_with($t, sub { kids($_[0]) eq $key->kid }), 'no master: saved');
judged('no master: other keys', $good, $accepted);

$t->done;
