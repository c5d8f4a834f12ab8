package EntraMDM::Image;

# Images that tools/image builds, and containers of them, without a container
# engine: in a network of the test's own (EntraMDM::Alone), so that each has the
# ports that its configuration names.
#
#   images('bookworm', 'redis bookworm');   # skips the test where that cannot be
#   my $gate = EntraMDM::Image->run($dir, 'bookworm', '-v', "$file:/etc/x:ro");
#   $gate->log; $gate->main('nginx: master'); $gate->quit('QUIT');
#   EntraMDM::Image::once('bookworm', [ '-e', 'A=b' ], 'sh', '-c', '...');
#
# quit() is true if the container ended well.

use strict;
use warnings;

use Exporter 'import';
use POSIX ();
use Test::More;

use EntraMDM::Alone;
use EntraMDM::File qw(root slurp wait_for);

our @EXPORT = qw(images);

use constant SAID => 'ENTRA_MDM_IMAGES';

my $tool = root() . '/tools/image';


sub images {
    my @names = @_;

    for my $needed (qw(buildah debootstrap unshare)) {
        plan(skip_all => "$needed is not installed")
            if !grep { -x "$_/$needed" } split /:/, "$ENV{PATH}:/usr/sbin";
    }
    plan(skip_all => 'building images needs root here') if $> != 0;
    plan(skip_all => 'no namespaces may be made here')
        if system('unshare --net true 2>/dev/null') != 0;

    # in there, nothing leads to a mirror
    alone(SAID, $ENV{+SAID} // join '', map {
        my $said = `$tool $_ 2>&1 </dev/null`;
        $? == 0 ? "ok $_\n" : $said;
    } @names);
    my @said = split /\n/, delete $ENV{+SAID};
    is(shift @said, "ok $_", "$_ is built")
        or do { diag(join "\n", @said); BAIL() } for @names;
}

sub BAIL { done_testing(); exit 1 }

sub command {
    my ($name, $options, @command) = @_;
    return ($tool, 'run', $name, @$options, @command ? ('--', @command) : ());
}

sub once {
    my ($name, $options, @command) = @_;
    my $pid = open(my $out, '-|') // die "fork: $!";

    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        exec command($name, $options, @command) or POSIX::_exit(127);
    }
    local $/;
    return scalar <$out>;
}

# What the container's user may write to, as an engine sees to it.

sub run {
    my ($class, $dir, $name, $options, @command) = @_;
    my $log = "$dir/container-" . ++our $Number;
    my $self = bless { log => $log, owner => $$ }, $class;

    open my $out, '>>', $log or die "$log: $!";
    chmod 0666, $log;
    $self->{pid} = fork // die "fork: $!";
    return $self if $self->{pid};
    setpgrp;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>&', $out;
    open STDERR, '>&', $out;
    exec command($name, $options, @command) or POSIX::_exit(127);
}

sub log { return slurp($_[0]{log}) }

# The process in the container whose command line begins so, or with a path to it.

sub main {
    my ($self, $title) = @_;
    my (%parent, @named);

    for my $stat (glob '/proc/[0-9]*/stat') {
        my ($pid, $parent) = (eval { slurp($stat) } // '')
            =~ /^(\d+) \(.*\) \S (\d+)/s or next;
        $parent{$pid} = $parent;
        push @named, $pid if (eval { slurp("/proc/$pid/cmdline") } // '')
            =~ m{^(?:/\S*/)?\Q$title\E};
    }
    for my $pid (@named) {
        for (my $at = $pid; $at; $at = $parent{$at}) {
            return $pid if $at == $self->{pid};
        }
    }
    return 0;
}

sub quit {
    my ($self, $title, $signal) = @_;
    my $main = $self->main($title) or return 0;

    kill $signal, $main;
    wait_for { waitpid($self->{pid}, POSIX::WNOHANG()) != 0 } 30 or return 0;
    $self->{pid} = 0;
    return $? == 0;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    return if !$self->{pid} || $self->{owner} != $$;
    kill TERM => -$self->{pid};
    wait_for { waitpid($self->{pid}, POSIX::WNOHANG()) != 0 }
        or kill KILL => -$self->{pid};
}

1;
