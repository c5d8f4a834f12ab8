package EntraMDM::Fault;

# Makes the n-th call that can fail go wrong, in whatever process of nginx it
# happens: memory of nginx's pools, of its zones and of the heap, connections,
# subrequests, answers, libraries, system calls; see t/fault.c.
#
#   my $fault = EntraMDM::Fault->new($t);       # before $t->start
#   $fault->arm(3, 'pool heap');                # the third of these fails
#   my $what = $fault->disarm;          # "ngx_palloc at f.c:12", or undef
#   $fault->arm(3, 'pool heap', 1);             # and all from there on
#   $fault->arm(3, 'pool heap', 0, $pid);       # those of that process
#
#   $fault->each('pool heap', sub { ... });
#
# The latter arms 1, 2, 3 … and calls the function, which says with disarm()
# that it is over, until nothing has failed; then it does the same with faults
# that last.  It returns how many have failed.

use strict;
use warnings;

use Carp qw(croak);
use File::Basename qw(dirname);
use Test::More;

use EntraMDM::File qw(root slurp spew);

use constant PAGE => 4096;

my %Kinds = (pool => 1, slab => 2, heap => 4, nginx => 8, library => 16,
    system => 32);


sub new {
    my ($class, $t) = @_;
    my $self = bless {
        file => $t->dir . '/fault', module => $t->dir . '/fault.so',
        lines => {},
    }, $class;

    spew($self->{file}, "\0" x PAGE);
    chmod 0666, $self->{file};
    $self->link($t->{module});
    $t->change(module => $self->{module});
    $ENV{ENTRA_MDM_FAULT} = $self->{file};
    return $self;
}

# The objects that make has left, linked once more.

sub link {
    my ($self, $module) = @_;
    my $makefile = dirname($module) . '/objs/Makefile';
    my $source = root() . '/t/fault.c';

    -e $makefile or plan skip_all => "$makefile is not there: run make";
    my ($compiler) = slurp($makefile) =~ /^CC =\s*(.*)/m;
    my ($inputs) = slurp($makefile)
        =~ /^\t\$\(LINK\) -o \S+_module\.so (.*?)^$/ms or croak $makefile;
    my @wrapped = map { "-Wl,--wrap=$_" } slurp($source)
        =~ /^FAULT\(.*?(\w+),\s+\(/msg;

    $inputs =~ s/\\?\n/ /g;
    @wrapped > 40 or croak 'few calls are known';
    system("$compiler -g -O1 -fPIC -Wall -Werror -c -o '$self->{module}.o'"
        . " '$source' && $compiler -o '$self->{module}' $inputs"
        . " '$self->{module}.o' @wrapped -ldl") == 0 or croak 'no fault.so';
}

sub arm {
    my ($self, $n, $kinds, $lasting, $pid) = @_;
    my $bits = 0;

    $bits |= $Kinds{$_} // croak "no such kind: $_" for split / /, $kinds;
    $self->put(pack 'Q7 a80', 0, $n, $lasting ? 1 : 0, $pid // 0,
        0, 0, 0, '');
    $self->put(pack 'Q', $bits);
}

# What has gone wrong since it was armed.

sub disarm {
    my ($self) = @_;

    $self->put(pack 'Q', 0);
    return $self->failed;
}

sub failed {
    my ($self) = @_;
    my ($failed, $site, $name) = unpack 'x40 Q2 Z80', slurp($self->{file});

    return undef if !$failed;
    return "$name at " . ($self->{lines}{$site} //= $self->line($site));
}

sub put {
    my ($self, $bytes) = @_;

    open my $fh, '+<:raw', $self->{file} or croak $self->{file};
    syswrite $fh, $bytes;
}

# The call is before the address it returns to.

sub line {
    my ($self, $site) = @_;
    my ($line) = slurp_command('addr2line', '-s', '-e', $self->{module},
        sprintf '%x', $site - 1);

    return $line =~ /^(\S+)/ ? $1 : sprintf '%x', $site;
}

sub slurp_command {
    open my $pipe, '-|', @_ or return '';
    return scalar(<$pipe>) // '';
}

sub each {
    my ($self, $kinds, $try) = @_;
    my $sum = 0;

    for my $lasting (0, 1) {
        for (my $n = 1; ; $n++) {
            $self->arm($n, $kinds, $lasting);
            my $what = $try->($n, $lasting) // last;
            $sum++;
            croak "no end of faults, the last was $what" if $n > 500;
        }
    }
    return $sum;
}

1;
