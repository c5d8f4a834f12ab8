#!/usr/bin/perl
# once

# The image of the Dockerfile, built without a container engine: it serves
# the demo configuration, as a user without privileges, until a mount replaces
# it.  Takes some minutes the first time; the image's layers are kept.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;

use EntraMDM::File qw(root slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

for my $tool (qw(buildah debootstrap)) {
    plan(skip_all => "$tool is not installed")
        if !grep { -x "$_/$tool" } split /:/, "$ENV{PATH}:/usr/sbin";
}
plan(skip_all => 'buildah needs root here') if $> != 0;

my $image = root() . '/tools/image';
my $said = `$image bookworm 2>&1`;
is($?, 0, 'the image is built') or diag $said;

# The port cannot be mapped here, so it is the configuration that is replaced.

my $t = EntraMDM::Nginx->new(module => 0);
my $key = new_key();
my $conf = slurp(root() . '/conf-examples/demo.conf');
my $port = $t->port(8080);
my $nobody = $t->port('nobody');

$conf =~ s/listen 8080/listen 127.0.0.1:$port/;
$conf =~ s/127\.0\.0\.1:8081/127.0.0.1:$nobody/g;
$t->write_file('nginx.conf', $conf);
$t->write_file('keys.json', jwks($key));
chmod 0755, $t->dir;

my $pid = fork // die;
if ($pid == 0) {
    setpgrp;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', $t->dir . '/container.log';
    open STDERR, '>&', \*STDOUT;
    exec $image, 'run', 'bookworm',
        '-v', $t->dir . '/nginx.conf:/etc/nginx/nginx.conf:ro',
        '-v', $t->dir . '/keys.json:/etc/nginx/keys.json:ro';
}

my $up = wait_for { IO::Socket::INET->new("127.0.0.1:$port") } 60;
ok($up, 'it serves') or diag $t->file('container.log');

# What the health check of the Dockerfile asks for.

my ($check) = slurp(root() . '/Dockerfile')
    =~ m{CMD curl -fsS http://127\.0\.0\.1:8080(\S+)};
is(http_get($check)->body, "ok\n", 'it is healthy');

my $mdm = '/api/mdm/microsoft';
is(http_post("$mdm/enroll", enroll_message(mint($key, claims_v2())))->body,
    'accepted: user bob@example.com of tenant ' . TENANT . "\n",
    'a token is accepted');
is(fault(http_post("$mdm/enroll", enroll_message(mint(new_key(),
    claims_v2()))))->{subcode}, 's:Authentication', 'another is refused');

my ($master) = map { m{/proc/(\d+)/} }
    grep { (eval { slurp($_) } // '') =~ m{^nginx: master.*/var/lib/nginx/} }
    glob '/proc/[0-9]*/cmdline';
my ($uid) = slurp("/proc/$master/status") =~ /^Uid:\s+(\d+)/m;
isnt($uid, 0, 'nginx has no privileges');

kill QUIT => $master;
waitpid $pid, 0;
is($?, 0, 'it ends when it is told to');
like($t->file('container.log'), qr/policy "fleet" refused, key_unknown/,
    'its log is on standard error');

done_testing();
