package EntraMDM::Machine;

# A copy of this machine that can be thrown away: its files by an overlay,
# its network with a loopback of its own, its processes.  Whatever is
# installed, started or broken there is gone when the test ends, and every
# port is free.
#
#   EntraMDM::Machine::possible() or plan skip_all => ...;
#   my ($code, @tap) = EntraMDM::Machine::run($0, @arguments);
#
# runs a Perl script in such a machine, which begins with
#
#   my $machine = EntraMDM::Machine->enter;
#   my $run = $machine->sh('make install');     # code, out, err
#
# Takes root, and a kernel that lets it mount.

use strict;
use warnings;

use Carp qw(croak);
use Fcntl qw(O_NOCTTY O_RDWR);
use File::Temp qw(tempdir);
use IO::Handle;
use POSIX ();
use Socket qw(AF_INET SOCK_DGRAM);
use Time::HiRes qw(sleep);

use EntraMDM::File qw(root slurp spew);

use constant {
    SIOCSIFFLAGS => 0x8914, IFF_UP => 1,
    TIOCSPTLCK => 0x40045431, TIOCGPTN => 0x80045430,
};

# a shell buries the orphans, as init would
my @Unshare = (qw(unshare --mount --pid --net --fork --kill-child),
    'bash', '-c', '"$@"; exit $?', 'init');


sub possible {
    return $> == 0 && system(@Unshare, 'true') == 0;
}

# Its exit code, and what it wrote to standard output.

sub run {
    my (@script) = @_;

    local $ENV{ENTRA_MDM_MACHINE} = tempdir(CLEANUP => 1);
    open my $out, '-|', @Unshare, $^X, '-I' . root() . '/t/lib', @script
        or croak "unshare: $!";
    my @lines = <$out>;
    close $out;
    return ($?, @lines);
}


sub enter {
    my ($class) = @_;
    my $dir = $ENV{ENTRA_MDM_MACHINE} // croak 'not in a machine';
    my $tree = root();

    must('mount', '-t', 'tmpfs', 'machine', $dir);
    overlay("$dir/system", '/', "$dir/root");
    overlay("$dir/tree", $tree, "$dir/root$tree")
        if (stat $tree)[0] != (stat '/')[0];

    must('mount', '--rbind', '/dev', "$dir/root/dev");
    must('mount', '-t', 'proc', 'proc', "$dir/root/proc");
    must('mount', '-t', 'tmpfs', 'tmp', "$dir/root/$_") for qw(tmp run);
    chmod 01777, "$dir/root/tmp";
    mkdir "$dir/root/run/lock";
    mkdir "$dir/root/site";
    chroot "$dir/root" or croak "chroot: $!";
    chdir $tree or croak "$tree: $!";

    loopback();
    delete $ENV{ENTRA_MDM_MACHINE};
    return bless { dir => '/site', port => {} }, $class;
}

sub overlay {
    my ($layer, $lower, $at) = @_;

    mkdir $_ for $layer, "$layer/upper", "$layer/work", $at;
    must('mount', '-t', 'overlay', 'overlay', '-o',
        "lowerdir=$lower,upperdir=$layer/upper,workdir=$layer/work", $at);
}

# struct ifreq has 40 bytes

sub loopback {
    my $request = pack 'a16 s x22', 'lo', IFF_UP;

    socket my $socket, AF_INET, SOCK_DGRAM, 0 or croak "socket: $!";
    ioctl $socket, SIOCSIFFLAGS, $request or croak "lo: $!";
}

sub must { system(@_) == 0 or croak "@_: failed" }


# What EntraMDM::Backend, Redis and DNS ask for.

sub dir { return $_[0]{dir} }

sub port {
    my ($self, $name) = @_;
    return $self->{port}{$name} // croak "no port of $name";
}


# A script of bash that ends at the first command that fails, as a login shell
# of root would run it, at a terminal where the line `typed` is typed; variables
# it exports are there for the next one.

sub sh {
    my ($self, $script, %o) = @_;
    my $dir = $self->dir;
    my ($out, $err, $env) = map { "$dir/sh.$_" } qw(out err env);

    spew("$dir/sh", "set -eo pipefail\n[ ! -e $env ] || . $env\n$script\n"
        . "export -p >$env\n");

    my ($terminal, $typist) = terminal($o{typed} // '');
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        POSIX::setsid();
        open STDIN, '+<', $terminal;
        open STDOUT, '>', $out;
        open STDERR, '>', $err;
        %ENV = (HOME => '/root', LC_ALL => 'C.UTF-8', TERM => 'dumb',
            PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin');
        exec 'timeout', 300, 'bash', "$dir/sh" or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    my $code = $? >> 8 || $?;
    kill KILL => $typist;
    waitpid $typist, 0;
    return { code => $code, out => slurp($out), err => slurp($err) };
}

# A terminal, and a process that types the same line again and again: who asks
# for a password forgets what was typed before.

sub terminal {
    my ($line) = @_;
    my ($unlock, $number) = (pack('i', 0), pack 'i', 0);

    sysopen my $master, '/dev/ptmx', O_RDWR | O_NOCTTY or croak "ptmx: $!";
    ioctl $master, TIOCSPTLCK, $unlock or croak "TIOCSPTLCK: $!";
    ioctl $master, TIOCGPTN, $number or croak "TIOCGPTN: $!";
    my $name = '/dev/pts/' . unpack 'i', $number;
    sysopen my $open, $name, O_RDWR | O_NOCTTY or croak "$name: $!";

    my $pid = fork // croak "fork: $!";
    return ($name, $pid) if $pid;
    $master->blocking(0);
    while (1) {
        syswrite $master, "$line\n";
        sysread $master, my $echo, 65536;
        sleep 0.05;
    }
}

1;
