#!/usr/bin/perl

# A state that cannot be read, and one that cannot be written: nothing else
# fails because of it, nothing is lost by it, and the log says what to do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX qw(mkfifo);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $http = $Headers . <<'EOC';
    entra_mdm_policy fleet {
        jwks   file=%%DIR%%/keys.json check=1s;
        state  state/fleet.json;
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
my $dir = $t->dir . '/state';
my $path = "$dir/fleet.json";

chmod 0755, $t->dir;
$t->write_file('keys.json', jwks($key));
mkdir $dir;

sub tried { return $t->nginx_t(http => $http =~ s/state\s+\S+;/$_[0]/r) }

# where the state may be: [ path, what is said ]

my $own = qr/its directory must be one of its own/;

for (
    [ '/fleet.json',                 $own ],
    [ '/etc/fleet.json',             $own ],
    [ '/etc/nginx/fleet.json',       $own ],
    [ '/var/lib/fleet.json',         $own ],
    [ '/var/lib/nginx/fleet.json',   $own ],
    [ '/var/./lib//fleet.json',      $own ],
    [ '/var/fleet.json',             $own ],
    [ '/tmp/fleet.json',             $own ],
    [ '/usr/fleet.json',             $own ],
    [ '/run/fleet.json',             $own ],
    [ '/home/fleet.json',            $own ],
    [ '/home/ann/fleet.json',        $own ],
    [ '/root/fleet.json',            $own ],
    [ 'fleet.json',                  $own ],
    [ './fleet.json',                $own ],
    [ '%%DIR%%/linked/fleet.json',   $own ],
    [ '/var/lib/../lib/fleet.json',  qr/must not have "\.\." in it/ ],
    [ 'state/',                      qr/of a file, not of a directory/ ],
    [ 'state/.',                     qr/of a file, not of a directory/ ],
    [ '/',                           qr/of a file, not of a directory/ ],
    [ '""',                          qr/must be the path of a file/ ],
    [ 'state/a.json extra',          qr/invalid number of arguments/ ],
    [ 'state/a.json; state state/b.json', qr/"state" directive is duplicate/ ],
) {
    my ($value, $says) = @$_;
    symlink '/etc', $t->dir . '/linked';
    my ($code, $said) = tried("state $value;");

    isnt($code, 0, "state $value: refused");
    like($said, $says, "state $value: says why");
}

my ($code, $said) = $t->nginx_t(http => fleet_policy('state state//f.json;')
    . fleet_policy('state ./state/f.json;', 'second'));
isnt($code, 0, 'two policies and one file: refused');
like($said, qr/state\/f\.json" is that of policy "fleet" already, in \S+:\d+/,
    'two policies and one file: says whose it is');
($code, $said) = $t->nginx_t(http => fleet_policy('state state/f.json;')
    . fleet_policy('state state/s.json;', 'second'));
is($code, 0, 'two policies and one directory') or diag $said;
unlike($said, qr/can accept nobody/, 'a state may fill the lists');

SKIP: {
    skip 'nothing is given away here', 10 if $user eq 'root';

    mkdir $t->dir . '/shared';
    $t->write_file('shared/precious', '');
    ($code, $said) = tried('state shared/fleet.json;');
    isnt($code, 0, 'a directory with other things: refused');
    like($said, qr/would be given to the workers' user, but has "precious"/,
        'a directory with other things: says so');
    is((stat $t->dir . '/shared')[4], 0, 'and keeps its owner');
    rename $t->dir . '/shared/precious', $t->dir . '/shared/fleet.json';
    write_state($t, file => 'shared/fleet.json');
    ($code, $said) = tried('state shared/fleet.json;');
    is($code, 0, 'a directory with a state only') or diag $said;
    is((stat $t->dir . '/shared')[4], scalar getpwnam($user), 'is given away');
    ($code, $said) = $t->nginx_t(user => 'nobody nogroup',
        http => $http =~ s/state\s+\S+;/state shared\/fleet.json;/r);
    is($code, 0, 'to another user, too') or diag $said;

    mkdir $t->dir . '/victim';
    symlink 'victim', $t->dir . '/trap';
    system('chown', '-h', $user, $t->dir . '/trap') == 0 or die;
    ($code, $said) = tried('state trap/fleet.json;');
    isnt($code, 0, 'a symbolic link that the workers may have made: refused');
    like($said, qr/is a symbolic link that is not root's/,
        'a symbolic link that the workers may have made: says so');
    is((stat $t->dir . '/victim')[4], 0, 'it points to root\'s, which stays so');
    system('chown', '-h', 'root', $t->dir . '/trap') == 0 or die;
    ($code, $said) = tried('state trap/fleet.json;');
    is($code, 0, 'one of root\'s') or diag $said;
}

# What cannot be read stops nginx where it is the list, unless a zone holds
# it: [ name, how to make it, what is said ]

my $text = state_text(client_ids => [CLIENT_V2], tenant_ids => [TENANT]);
my $damaged = qr/is damaged: it is not a JSON object/;

sub put { my ($bytes) = @_; return sub { spew($path, $bytes) } }

my @bad = (
    [ 'empty',           put(''), $damaged ],
    [ 'truncated',       put(substr $text, 0, -20), $damaged ],
    [ 'binary',          put(pack 'C*', map { $_ * 7 % 256 } 0 .. 999),
                         $damaged ],
    [ 'zeroes',          put("\0" x 4096), $damaged ],
    [ 'an array',        put('[]'), $damaged ],
    [ 'a name twice',    put('{"version":1,"version":1}'), $damaged ],
    [ 'wrong types',     put(state_text(client_ids => 'all')),
                         qr/is damaged: "client_ids" is not an array/ ],
    [ 'no GUID',         put(state_text(tenant_ids => [ TENANT, '*' ])),
                         qr/is damaged: number 2 of "tenant_ids" is not a G/ ],
    [ 'no version',      put('{}'), qr/is damaged: "version" is missing/ ],
    [ 'too large',       sub { spew($path, ''); truncate $path, 65 << 20 },
                         qr/has \d+ bytes, the limit is 67108864/ ],
    [ 'a symbolic link', sub { spew("$path.real", $text);
                               symlink "$path.real", $path },
                         qr/cannot be opened: .*symbolic links/ ],
    [ 'a FIFO',          sub { mkfifo($path, 0600) }, qr/is not a file/ ],
    [ 'a directory',     sub { mkdir $path }, qr/is not a file/ ],
);

sub cleared { unlink $path, "$path.real"; rmdir $path }

spew($path, $text);
$t->start;
ok(state_with($t, sub { $_[0]{jwks} }), 'a state that is good');

for (@bad) {
    my ($name, $make, $says) = @$_;

    cleared();
    $make->();
    ($code, $said) = $t->nginx_t;
    isnt($code, 0, "$name: nginx -t refuses it");
    like($said, qr/\[emerg\].* the state "\Q$path\E" of policy "fleet" $says/,
        "$name: says why");
    like($said, qr/move it away to begin with empty lists.* in \S+:\d+/,
        "$name: and what to do");
    ok($t->reload, "$name: a reload, which has the zone, goes on");
    verdict("$name: with its lists", http_get('/', bearer => $good), $fleet,
        '200 ok accepted 1');
}

# whoever may not read it can still test the rest

cleared();
spew($path, 'damaged');

SKIP: {
    skip 'needs root, and a user nobody', 2 if $user eq 'root';
    chmod 0600, $path;
    chmod 0700, $dir;
    mkdir $t->dir . '/open';
    chmod 0777, $t->dir . '/open';
    $t->write_file('tried.conf', $t->conf_text('tried')
        =~ s{((?:pid|error_log|access_log) \S+)/}{$1/open/}gr);
    $said = `su -s /bin/sh nobody -c '$t->{binary} -t -e stderr \\
        -p @{[ $t->dir ]} -c @{[ $t->dir ]}/tried.conf' 2>&1`;
    like($said, qr/\[warn\].* cannot be opened by this user: it was not tested/,
        'nginx -t of a plain user warns');
    unlike($said, qr/\[emerg\].*state/, 'and refuses nothing for that');
}

# the workers need not be able to read what the master has read

$t->stop;
cleared();
spew($path, $text);
chmod 0600, $path;
$t->start;
verdict('a file of root', http_get('/', bearer => $good), $fleet,
    '200 ok accepted 1');
ok(state_with($t, sub { $_[0]{jwks} }), 'is replaced all the same');

# a disk that is full, while nginx runs

SKIP: {
    $t->stop;
    skip 'mounts are not allowed here', 9
        if system("mount -t tmpfs -o size=64k none '$dir' 2>/dev/null") != 0;

    spew($path, $text);
    $t->start;
    my $saved = state_with($t, sub { $_[0]{jwks} });
    is(kids($saved), $key->kid, 'a small disk');

    open my $fh, '>', "$dir/filler" or die;
    1 while syswrite $fh, 'x' x 4096;
    close $fh;
    $t->mark;
    $t->write_file('keys.json', jwks($next));
    my $says = '\[error\].* the state "\S+/fleet\.json" of policy "fleet" '
        . 'cannot be written: until the disk .*No space left';
    ok($t->wait_for_log($says), 'a full disk: the log says so');
    ok($t->reload, 'a full disk: reload');
    verdict('a full disk: judged as ever', http_get('/', bearer => mint($next,
        claims_v2())), $fleet, '200 ok accepted 1');
    is(kids(read_state($t)), $key->kid, 'a full disk: the last one stays');
    ok(!-e "$path.tmp", 'a full disk: no temporary file stays');
    unlink "$dir/filler" or die;
    ok(state_with($t, sub { kids($_[0]) eq $next->kid }),
        'room again: saved');
    ok($t->wait_for_log('\[notice\].*fleet\.json" .* is saved again'),
        'room again: the log says so');
    is(scalar(() = $t->new_log =~ /$says/g), 1, 'told once');
    $t->stop;
    system("umount '$dir'") == 0 or die 'umount';
}

END {
    my $status = $?;
    $t->stop('TERM') if $t;
    system "umount '$dir' 2>/dev/null" if $dir && $> == 0;
    $? = $status;
}

# a directory that is gone, and back

$t->start;
ok(state_with($t, sub { $_[0]{jwks} }), 'a directory');
$t->mark;
rename $dir, "$dir.away" or die;
$t->write_file('keys.json', jwks($key));
ok($t->wait_for_log('is in a directory that cannot be opened.*No such file'),
    'gone');
rename "$dir.away", $dir or die;
ok(state_with($t, sub { kids($_[0]) eq $key->kid }), 'back: saved');

$t->done;
