#!/usr/bin/perl

# once: nothing here but the disk

# The state's disk is full, or cannot be written to: changes are answered and
# in force all the same, log and API say that a restart would lose them, the
# old file stays whole, and all is saved as soon as there is room.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Metrics;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(workers => 2, http => $Headers
    . fleet_policy('state state/fleet.json;') . api_conf('', <<'EOC'));
        location = /metrics { entra_mdm_metrics; }
        location = /page    { entra_mdm fleet; try_files /page =404; }
EOC
my $dir = $t->dir . '/state';
my $key = new_key();
my $n = 0;

mkdir $dir;
plan skip_all => 'mounts are not allowed here'
    if system("mount -t tmpfs -o size=64k none '$dir' 2>/dev/null") != 0;

END {
    my $status = $?;
    $t->stop('TERM') if $t;
    system "umount '$dir' 2>/dev/null" if $dir;
    $? = $status;
}

$t->write_file('keys.json', jwks($key));
$t->write_file('page', "page\n");
$t->start;

sub in_force {
    my ($name, $id, $result) = @_;
    my $r = http_get('/page', bearer => mint($key, claims_v2(aud => $id)));

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->header('X-Result'), $result, $name);
}

sub saved {
    my ($name, $id) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(state_with($t, sub { "@{ $_[0]{client_ids} // [] }" eq $id }), $name);
}

sub full {
    open my $fh, '>', "$dir/filler" or die;
    1 while syswrite $fh, 'x' x 4096;
}

for ([ 'a full disk', \&full, sub { unlink "$dir/filler" or die },
       qr/cannot be written: .*No space left on device/ ],
     [ 'a read-only disk', sub { remount('ro') }, sub { remount('rw') },
       qr/old temporary file.*Read-only|cannot be created: .*Read-only/ ]) {
    my ($name, $break, $mend, $says) = @$_;
    my ($old, $new) = (guid(++$n), guid(++$n));

    is((patch([$old], []))[0], 200, "$name: before");
    saved("$name: before: saved", $old);
    my $failed = value('state_writes_total', policy => 'fleet',
        outcome => 'failed');
    $t->mark;
    $break->();
    is((patch([$new], undef))[0], 200, "$name: a change");
    in_force("$name: is in force", $new, 'ok');
    in_force("$name: as is what it took out", $old, 'audience_not_allowed');
    my $line = $t->wait_for_log(
        qr/\[error\].*the state "\S+" of policy "fleet"/);
    like($line, $says, "$name: the log says what is wrong");
    like($line, qr/until the disk and the directory's rights are mended/,
        "$name: and what to do");
    ok((wait_for { (api(GET => 'status'))[1]{state}{failing} }),
        "$name: so does the API");
    cmp_ok(value('state_writes_total', policy => 'fleet',
        outcome => 'failed'), '>', $failed, "$name: and a counter");
    saved("$name: the old file is whole", $old);
    ok($t->reload, "$name: a reload");
    in_force("$name: and still", $new, 'ok');
    $mend->();
    saved("$name: mended: saved", $new);
    ok((wait_for { !(api(GET => 'status'))[1]{state}{failing} }),
        "$name: mended: so the API says");
}

sub remount { system("mount -o remount,$_[0] '$dir'") == 0 or die 'mount' }

$t->crash;
$t->start;
in_force('after all were killed', guid($n), 'ok');
$t->done;
