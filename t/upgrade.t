#!/usr/bin/perl

# A new nginx binary takes over while the old one runs, and back: two masters,
# each with a zone of its own, and one state file.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX qw(WNOHANG uname);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

# nginx ignores the signal as long as whoever started it is its parent, so it
# has to be a daemon, and whose parent is gone becomes a child of this test.

my $prctl = { x86_64 => 157, aarch64 => 167 }->{ (uname)[4] };
plan(skip_all => 'prctl() has another number here') if !$prctl;
syscall($prctl, 36, 1, 0, 0, 0) == 0 or die "prctl: $!";

# a new binary is started by the whole name of the old one

my ($binary) = grep { -x } map { "$_/nginx" } split /:/, "$ENV{PATH}:/usr/sbin";
$binary = $ENV{ENTRA_MDM_NGINX} if ($ENV{ENTRA_MDM_NGINX} // '') =~ m{/};

my $t = EntraMDM::Nginx->new(workers => 2, binary => $binary,
    http => $Headers . <<'EOC');
    entra_mdm_policy fleet {
        tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9;
        jwks      file=%%DIR%%/keys.json check=1s;
        state     state/fleet.json;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            entra_mdm fleet token=bearer;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
    }
EOC
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my ($key, $next) = map { new_key() } 1 .. 2;
my $good = mint($key, claims_v2());
my @masters;

END { kill KILL => map { $_, of($_) } @masters }

sub of { my ($master) = @_; local $t->{pid} = $master; return $t->children }

# The master whose workers are at work now.

sub master {
    my ($not) = @_;
    my $master = wait_for {
        my $pid = eval { $t->file('error.pid') } // 0;
        return if $pid <= 0 || grep { $_ == $pid } @$not;
        local $t->{pid} = $pid + 0;
        $t->workers == 2 && $pid + 0;
    } or BAIL_OUT('no master with two workers');
    push @masters, $master;
    return $master;
}

sub ended {
    my ($master) = @_;
    my $ended = wait_for { waitpid $master, WNOHANG; !kill 0, $master };
    @masters = grep { $_ != $master } @masters;
    return $ended;
}

sub in_force {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    # two masters may share the requests
    for my $n (1 .. 4) {
        verdict("$name, $n", http_get('/', bearer => $good), $fleet,
            '200 ok accepted 1');
    }
}

sub saves {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    for my $new ($next, $key) {
        $t->write_file('keys.json', jwks($new));
        my $state = state_with($t, sub { kids($_[0]) eq $new->kid });
        ok($state, "$name saves");
        is_deeply($state->{client_ids}, [CLIENT_V2], "$name keeps the lists");
    }

    wait_for { http_get('/', bearer => $good)->status == 200 } for 1 .. 4;
    $fleet->requests;
}

# the old binary, as a daemon

$t->write_file('keys.json', jwks($key));
write_state($t, client_ids => [CLIENT_V2]);
$t->write_file('error.conf', $t->conf_text('error')
    =~ s/daemon off/daemon on/r);
waitpid $t->spawn('error'), 0;

my $old = master([]);
in_force('the old binary');
saves('the old binary');

# both, then the new one

kill USR2 => $old;
my $new = master([$old]);
in_force('both');
kill WINCH => $old;
ok(wait_for { !grep { $_ != $new } of($old) }, 'the old workers go');
in_force('the new binary');
saves('the new binary');

# and back

kill HUP => $old;
ok(wait_for {
    local $t->{pid} = $old;
    2 == grep { $_ != $new } $t->workers;
}, 'the old workers return');
kill QUIT => $new;
ok(ended($new), 'the new binary ends');
in_force('back to the old binary');
saves('the old binary, back,');

# for good

kill USR2 => $old;
$new = master([$old, $new]);
kill QUIT => $old;
ok(ended($old), 'the old binary ends');
in_force('the new binary alone');
saves('the new binary, alone,');

$t->{pid} = $new;
ok($t->stop('QUIT'), 'the new binary ends');
@masters = ();
is_deeply(read_state($t)->{client_ids}, [CLIENT_V2], 'the state stays');

$t->done;
