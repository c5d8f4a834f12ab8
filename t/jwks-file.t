#!/usr/bin/perl

# A key set in a file that changes while nginx runs: however it is replaced,
# the new one comes into force without a reload, and nothing but a whole key
# set takes the last one's place.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX qw(mkfifo);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;
use EntraMDM::Verdict;

sub policy {
    my ($name, $file) = @_;
    return fleet_policy('', $name) =~ s/keys\.json/$file/r;
}

my $http = $Headers . policy('fleet', 'keys.json check=1s')
    . policy('clock', 'clock.json check=1s')
    . policy('slow', 'keys.json check=1h') . <<'EOC';
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        entra_mdm fleet;
        location /     { proxy_pass http://127.0.0.1:%%PORT_fleet%%; }
        location /slow { entra_mdm slow;
                         proxy_pass http://127.0.0.1:%%PORT_fleet%%; }
    }
EOC

my $user = $> == 0 && getpwnam('www-data') ? 'www-data' : 'root';
my $t = EntraMDM::Nginx->new(workers => 2, user => $user, http => $http);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my @keys = map { new_key(kid => "key-$_") } 1 .. 3;
my @tokens = map { mint($_, claims_v2()) } @keys;
my @clock = map { new_key() } 1 .. 2;
my $keys = $t->dir . '/keys.json';

chmod 0755, $t->dir;
$t->write_file('keys.json', jwks($keys[0]));
$t->write_file('clock.json', jwks($clock[0]));
$t->start;

# Two checks of another file: meanwhile ours has been looked at.

sub checked {
    for (1 .. 2) {
        @clock = reverse @clock;
        $t->mark;
        $t->write_file('clock.json', jwks($clock[0]));
        $t->wait_for_log('clock\.json.*has 1 keys') or die 'no check';
    }
}

sub in_force {
    my ($name, $n) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    for my $i (1 .. @keys) {
        verdict("$name: key $i", http_get('/', bearer => $tokens[ $i - 1 ]),
            $fleet, $i == $n ? '200 ok accepted 1'
                             : '401 key_unknown refused 0');
    }
}

# Written in place, without a rename.

sub overwrite {
    my ($bytes) = @_;
    open my $fh, '>:raw', $keys or die "$keys: $!";
    print {$fh} $bytes;
    close $fh or die "$keys: $!";
}

# Both workers: each answers some of many requests.

sub comes_into_force {
    my ($name, $n) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = wait_for {
        my $got = http_get('/', bearer => $tokens[ $n - 1 ]);
        $got->status == 200 && $got;
    };
    $fleet->requests;
    ok($r, "$name: in force");
    in_force($name, $n);
}

sub told {
    my ($pattern) = @_;
    return scalar grep { /\[error\].*$pattern/ } split /\n/, $t->error_log;
}

# every way of replacing it

in_force('at start', 1);
$t->write_file('keys.json', jwks($keys[1]));
comes_into_force('renamed into place', 2);
overwrite(jwks($keys[0]));
comes_into_force('written in place', 1);
overwrite(jwks($keys[2]));
comes_into_force('written in place, as many bytes', 3);

# in the manner of Kubernetes: keys.json -> ..data/keys.json, ..data switched

mkdir $t->dir . "/$_" for qw(..1 ..2);
$t->write_file('..1/keys.json', jwks($keys[0]));
$t->write_file('..2/keys.json', jwks($keys[1]));
symlink '..1', $t->dir . '/..data' or die;
unlink $keys or die;
symlink '..data/keys.json', $keys or die;
comes_into_force('a symbolic link instead', 1);
symlink '..2', $t->dir . '/..new' or die;
rename $t->dir . '/..new', $t->dir . '/..data' or die;
comes_into_force('a symbolic link switched', 2);
unlink $keys or die;
$t->write_file('keys.json', jwks($keys[0]));
comes_into_force('a file again', 1);

# half of it is no key set, and the rest follows

my $whole = jwks($keys[1]);
my $none = 'gave policy "fleet" no key set: ';
$t->write_file('keys.json', substr $whole, 0, 200);
checked();
in_force('half written', 1);
my $told = told($none);
checked();
is(told($none), $told, 'half written: told once');
open my $fh, '>>:raw', $keys or die;
print {$fh} substr $whole, 200;
close $fh;
comes_into_force('the rest', 2);

# what is no key set changes nothing: [ name, what to do, what is said ]

for (
    [ 'garbage', sub { $t->write_file('keys.json', 'keys') },
      $none ],
    [ 'nothing', sub { $t->write_file('keys.json', '') },
      $none ],
    [ 'no key of use', sub { $t->write_file('keys.json',
        jwks($keys[0]->jwk(use => 'enc'))) },
      $none ],
    [ 'too large', sub { $t->write_file('keys.json',
        jwks($keys[0]) . ' ' x 140_000) },
      'keys\.json" of policy "fleet" has \d+ bytes, the limit is 131072' ],
    [ 'removed', sub { unlink $keys },
      'keys\.json" of policy "fleet" cannot be opened.*No such file' ],
    [ 'a directory', sub { unlink $keys; mkdir $keys },
      'keys\.json" of policy "fleet" is not a file' ],
    $user eq 'root' ? () :
    [ 'not for workers', sub { rmdir $keys;
        $t->write_file('keys.json', jwks($keys[0])); chmod 0600, $keys },
      'keys\.json" of policy "fleet" cannot be opened.*Permission denied' ],
    [ 'a FIFO', sub { unlink $keys; rmdir $keys; mkfifo($keys, 0644) },
      'keys\.json" of policy "fleet" is not a file' ],
) {
    my ($name, $do, $says) = @$_;
    my $before = told($says);

    $do->();
    ok(wait_for { told($says) > $before }, "$name: told");
    checked();
    in_force($name, 2);
    is(told($says), $before + 1, "$name: once");
}

unlink $keys or die;
checked();
$t->write_file('keys.json', jwks($keys[2]));
comes_into_force('back, with another key', 3);
ok($t->wait_for_log('can be read again'), 'back: the log says so');

# never sooner than "check" says, but for a reload

verdict('check=1h', http_get('/slow', bearer => $tokens[0]), $fleet,
    '200 ok accepted 1');
ok($t->reload, 'reload');
verdict('check=1h, after a reload', http_get('/slow', bearer => $tokens[2]),
    $fleet, '200 ok accepted 1');
in_force('after a reload', 3);

# the old worker 0 no longer looks; the new one does

$t->write_file('keys.json', jwks($keys[0]));
comes_into_force('after a reload', 1);

# as it is written: [ parameters, what is said ]

for (
    [ 'check=0',              qr/"check=0".* from 1s to 1d/ ],
    [ 'check=soon',           qr/"check=soon".* from 1s to 1d/ ],
    [ 'check=',               qr/"check=".* from 1s to 1d/ ],
    [ 'check=2d',             qr/"check=2d".* from 1s to 1d/ ],
    [ 'check=500ms',          qr/"check=500ms".* from 1s to 1d/ ],
    [ 'refresh=1h',           qr/"refresh=1h".*only "check="/ ],
    [ 'check=1m refresh=1h',  qr/"refresh=1h".*only "check="/ ],
    [ 'x',                    qr/"x".*only "check="/ ],
) {
    my ($parameters, $says) = @$_;
    my ($code, $said) = $t->nginx_t(http => $http =~ s/check=1h/$parameters/r);

    isnt($code, 0, "$parameters: refused");
    like($said, $says, "$parameters: says why");
}

my ($code) = $t->nginx_t(http => $http =~ s/check=1h/check=1d/r);
is($code, 0, 'once a day');

$t->done;
