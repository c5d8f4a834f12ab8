package EntraMDM::Between;

# What stands between nginx and a Redis, and can be made to misbehave.
#
#   my $between = EntraMDM::Between->new($t, 'between', $redis);
#   $between->honest;                   # passes everything on
#   $between->says("+OK\r\n");          # answers so to whatever it is sent
#   $between->says(undef, 3);           # closes at the third command
#   $between->mutes;                    # honest, but lets no message through
#   $between->mutes(SSCAN => sub { }, EXISTS => sub { });
#   $between->before(EXEC => sub { });  # honest, and so on
#
# The last two call the first function, in a process of its own, before the
# first SSCAN goes on, then the second before the next EXISTS.  says() also
# takes a function that is given a command, a list of words, and answers it.
#
# Each of them begins with new connections.  connections() and answered()
# tell how many came since, and how many commands were answered with it.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use POSIX ();

use EntraMDM::File qw(slurp spew);


sub new {
    my ($class, $t, $name, $redis) = @_;
    my $self = bless {
        port => $t->port($name), to => $redis->port, owner => $$, pid => 0,
        log => $t->dir . "/$name.log",
    }, $class;

    $self->honest;
    return $self;
}

sub honest { my ($self) = @_; return $self->run(0) }

sub mutes {
    my ($self, @before) = @_;
    return $self->run(0, undef, 1, @before);
}

sub before {
    my ($self, @before) = @_;
    return $self->run(0, undef, 0, @before);
}

sub says {
    my ($self, $bytes, $from_command) = @_;
    return $self->run($from_command // 1, $bytes);
}

sub connections { return slurp($_[0]{log}) =~ tr/c// }
sub answered    { return slurp($_[0]{log}) =~ tr/a// }

sub stop {
    my ($self) = @_;

    return if !$self->{pid};
    kill KILL => $self->{pid};
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    $self->stop if $self->{owner} == $$;
}


sub run {
    my ($self, $from_command, $bytes, $mute, @before) = @_;

    $self->stop;
    $self->{mute} = $mute;
    $self->{before} = \@before;
    spew($self->{log}, '');
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $self->{port}, Listen => 128, ReuseAddr => 1)
        or croak "between: $@";
    my $test = $$;
    $self->{pid} = fork // croak "fork: $!";
    return if $self->{pid};

    local $SIG{PIPE} = 'IGNORE';
    @$self{qw(select commands peer)} = (IO::Select->new($listen), 0, {});
    while (getppid == $test) {
        for my $socket ($self->{select}->can_read(0.5)) {
            if ($socket == $listen) {
                $self->accept($listen);
            } elsif ($self->{peer}{$socket}) {
                $self->pass($socket, $from_command, $bytes);
            }
        }
    }
    POSIX::_exit(0);
}

sub accept {
    my ($self, $listen) = @_;
    my $client = $listen->accept or return;
    my $server = IO::Socket::INET->new("127.0.0.1:$self->{to}") or return;

    $self->happened('c');
    $self->{client}{$client} = 1;
    @{ $self->{peer} }{ $client, $server } = ($server, $client);
    $self->{select}->add($client, $server);
}

sub pass {
    my ($self, $socket, $from_command, $answer) = @_;
    my $peer = $self->{peer}{$socket};

    if (!sysread $socket, my $bytes, 65536) {
        $self->end($socket, $peer);

    } elsif ($from_command && $self->{client}{$socket}
             && ($self->{commands} += () = $bytes =~ /^\*\d+\r$/mg)
                >= $from_command)
    {
        $self->happened('a');
        $answer = join '', map { $answer->(@$_) } commands($bytes)
            if ref $answer;
        defined $answer ? syswrite $socket, $answer
                        : $self->end($socket, $peer);

    } elsif ($self->{client}{$socket}) {
        while (@{ $self->{before} }
               && $bytes =~ /^\Q$self->{before}[0]\E\r$/m)
        {
            shift @{ $self->{before} };
            shift(@{ $self->{before} })->();
        }
        syswrite $peer, $bytes;

    } elsif (!$self->{mute} || $bytes !~ /^\$7\r\nmessage\r$/m) {
        syswrite $peer, $bytes;
    }
}

# Commands come whole: they are short.

sub commands {
    my ($bytes) = @_;
    return map { [ /^\$\d+\r\n(.*?)\r$/mg ] } split /^\*\d+\r\n/m, $bytes
        =~ s/^\*\d+\r\n//r;
}

sub end {
    my ($self, @sockets) = @_;

    $self->{select}->remove(@sockets);
    delete @{ $self->{$_} }{@sockets} for qw(peer client);
    close $_ for @sockets;
}

sub happened {
    my ($self, $what) = @_;
    open my $out, '>>', $self->{log} or die;
    syswrite $out, $what;
}

1;
