#!/usr/bin/perl

# Every birth of a policy's zone: what was in force stays in force, or comes
# from the state, whatever becomes of configuration and module.  Another
# binary: upgrade.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Copy qw(copy);
use IO::Socket::INET;
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant OTHER => '2b1b1111-2222-3333-4444-5555555555c2';

my $http = $Headers . <<'EOC';
    entra_mdm_policy fleet {
        jwks   file=%%DIR%%/keys.json check=1s;
        state  state/fleet.json;
        zone   1m;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            entra_mdm fleet token=bearer;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
    }
EOC

my $user = $> == 0 && getpwnam('www-data') ? 'www-data' : 'root';
my $t = EntraMDM::Nginx->new(workers => 2, user => $user, http => $http);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my ($key, $next) = map { new_key() } 1 .. 2;
my $good = mint($key, claims_v2());
my $other = mint($key, claims_v2(aud => OTHER));
my $path = $t->dir . '/state/fleet.json';

chmod 0755, $t->dir;
$t->write_file('keys.json', jwks($key));

# Our client is listed, the other is not; or the other way round.

sub in_force {
    my ($name, $reversed) = @_;
    my @of = $reversed ? ($other, $good) : ($good, $other);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    verdict("$name: listed", http_get('/', bearer => $of[0]), $fleet,
        '200 ok accepted 1');
    verdict("$name: not listed", http_get('/', bearer => $of[1]), $fleet,
        '403 audience_not_allowed refused 0');
}

sub state_of {
    my (@ids) = @_;
    write_state($t, client_ids => \@ids, tenant_ids => [TENANT]);
}

# Until what the last start or reload had to save is saved.

sub settled { return state_with($t, sub { $_[0]{jwks} }) }

# fresh, from the state

state_of(CLIENT_V2);
$t->start;
in_force('fresh');
ok(settled(), 'fresh: saved');

# inherited: nobody looks at the file

state_of(OTHER);
ok($t->reload, 'reload, another state');
in_force('inherited');
$t->expect_log(qr/is damaged|is not a file/);
$t->write_file('state/fleet.json', 'no state at all');
ok($t->reload, 'reload, a damaged state');
in_force('inherited, a damaged state');
unlink $path or die;
ok($t->reload, 'reload, no state');
in_force('inherited, no state');

# another size: what is in force is taken over, not what the file has

state_of(OTHER);
ok($t->reload(http => $http =~ s/1m/2m/r), 'a larger zone');
in_force('a larger zone');
ok(state_with($t, sub { "@{ $_[0]{client_ids} }" eq CLIENT_V2 }),
    'a larger zone is saved');
$t->write_file('state/fleet.json', 'no state at all');
ok($t->reload(http => $http), 'a smaller zone, a damaged state');
in_force('a smaller zone');

# a listen address in use: the new zones were there already, and go again

my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
    or die;
my $listen = 'server { listen 127.0.0.1:' . $taken->sockport . '; }';

$t->expect_log(qr/Address already in use|still could not bind/);
$t->mark;
ok(!$t->reload(http => $http . $listen), 'an address in use');
$t->wait_for_log('still could not bind');
in_force('after a reload that failed');
$t->mark;
ok(!$t->reload(http => $http =~ s/1m/2m/r . $listen),
    'an address in use, and a larger zone');
$t->wait_for_log('still could not bind');
in_force('after one with a larger zone');
$t->change(http => $http);
$t->write_file('keys.json', jwks($next));
ok(state_with($t, sub { kids($_[0]) eq $next->kid }),
    'the old workers still save');
$t->write_file('keys.json', jwks($key));
ok(state_with($t, sub { kids($_[0]) eq $key->kid }), 'and once more');
in_force('still');

# too small for what is in force, or in the file: [ zone, IDs ]

my @many = map { sprintf '1b1b1111-2222-3333-4444-%012x', $_ } 1 .. 30_000;

$t->expect_log(qr/raise "zone" to \d+k or more/);
ok($t->reload(http => $http =~ s/1m/4m/r), 'a much larger zone');
$t->stop;
state_of(@many, CLIENT_V2);
$t->start;
in_force('30,001 IDs');
ok(!$t->reload(http => $http), 'a zone too small for them is refused');
in_force('the old one stays');
my ($code, $said) = $t->nginx_t(http => $http);
isnt($code, 0, 'nginx -t refuses it too');
like($said, qr/"fleet" has 1048576 bytes and needs \d+: raise "zone" to \d+k/,
    'and says why');
my ($enough) = $said =~ /to (\d+)k or more/;
($code, $said) = $t->nginx_t(http => $http =~ s/1m/${enough}k/r);
is($code, 0, 'what it says is enough') or diag $said;
$t->stop;

# another name: only the state knows

state_of(CLIENT_V2);
$t->change(http => $http);
$t->start;
ok(settled(), 'saved');
state_of(OTHER);
my $renamed = $http =~ s/(entra_mdm(?:_policy)?) fleet/$1 edge/gr;
ok($t->reload(http => $renamed), 'another name');
in_force('another name', 1);
ok(state_with($t, sub { $_[0]{policy} eq 'edge' }), 'saved under that name');
unlink $path or die;
ok($t->reload(http => $http), 'the first name, no state');
verdict('nothing is left of it', http_get('/', bearer => $good), $fleet,
    '403 audience_not_allowed refused 0');

# a reload that adds "state" to a policy, and one that takes it away

$t->stop;
state_of(CLIENT_V2);
my $without = $http =~ s/state  .*//r;
$t->change(http => $without);
$t->start;
verdict('no state', http_get('/', bearer => $good), $fleet,
    '403 audience_not_allowed refused 0');
ok($t->reload(http => $http), 'with state');
in_force('with state, an inherited zone');
ok(settled(), 'with state: saved');
is("@{ read_state($t)->{client_ids} }", CLIENT_V2, 'as it was');

# lists that were in force before a policy had none are not those of now

ok($t->reload(http => $without), 'without');
verdict('without state', http_get('/', bearer => $good), $fleet,
    '403 audience_not_allowed refused 0');
state_of(OTHER);
ok($t->reload(http => $http), 'with state again');
in_force('with state again', 1);
ok($t->reload(http => $without), 'without');
$t->write_file('state/fleet.json', 'no state at all');
$t->mark;
ok($t->reload(http => $http), 'with a damaged one');
ok($t->wait_for_log(qr/\[error\] .*fleet\.json" of policy "fleet" is damaged/),
    'the log says so');
for my $token ($good, $other) {
    verdict('nobody is listed', http_get('/', bearer => $token), $fleet,
        '403 audience_not_allowed refused 0');
}
$t->stop;

# the module replaced by another file

state_of(CLIENT_V2);
$t->start;
in_force('one module');
ok(settled(), 'saved');
copy($t->{module}, $t->dir . '/again.so') or die;
ok($t->reload(module => $t->dir . '/again.so'), 'another file of the module');
in_force('another module');
$t->write_file('keys.json', jwks($next));
ok(state_with($t, sub { kids($_[0]) eq $next->kid
    && "@{ $_[0]{client_ids} }" eq CLIENT_V2 }), 'another module saves');
$t->write_file('keys.json', jwks($key));
ok(state_with($t, sub { kids($_[0]) eq $key->kid }), 'and again');

$t->stop;

# Without a master a reload makes no new process, and unmaps the old zone.
# (Requests still come by the old cycle's sockets then: nobody reloads so.)

$t->change(main => 'master_process off;', workers => 1);
$t->start;
in_force('no master');
$t->write_file('error.conf', $t->conf_text('error') =~ s/1m/3m/r);
$t->mark;
kill HUP => $t->{pid};
ok($t->wait_for_log('reconfiguring'), 'no master: reload');
$t->write_file('keys.json', jwks($next));
ok(state_with($t, sub { kids($_[0]) eq $next->kid }), 'no master: saved');

$t->done;
