package EntraMDM::DNS;

# A name server, on UDP.
#
#   my $dns = EntraMDM::DNS->new($t, 'dns');    # resolver 127.0.0.1:%%PORT_dns%%
#   $dns->answer('redis.test' => [ '127.0.0.1', '::1' ]);
#   $dns->answer('redis.test' => undef);                # no such name
#   $dns->answer('redis.test' => 'silent');             # or: 'failure'
#
# Option: address, 127.0.0.1 if not given.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Socket qw(AF_INET AF_INET6 inet_pton);

use EntraMDM::File qw(slurp spew);

my %Family = (1 => AF_INET, 28 => AF_INET6);         # of types A and AAAA
my %Code = (failure => 2, none => 3);


sub new {
    my ($class, $t, $name, %o) = @_;
    my $self = bless {
        address => '127.0.0.1', %o, port => $t->port($name), rules => $t->dir . "/$name.rules",
        log => $t->dir . "/$name.log", names => {}, owner => $$,
    }, $class;

    spew($self->{log}, '');
    $self->answer;
    $self->start;
    return $self;
}

sub answer {
    my ($self, %names) = @_;

    %{ $self->{names} } = (%{ $self->{names} }, %names);
    spew($self->{rules}, JSON::PP::encode_json($self->{names}));
}

sub queries { return slurp($_[0]{log}) =~ tr/\n// }

sub start {
    my ($self) = @_;
    my $socket = IO::Socket::INET->new(LocalAddr => $self->{address},
        LocalPort => $self->{port}, Proto => 'udp') or croak "dns: $@";
    my $test = $$;

    $self->{pid} = fork // croak "fork: $!";
    return if $self->{pid};
    while (getppid == $test) {
        IO::Select->new($socket)->can_read(0.5) or next;
        my $peer = $socket->recv(my $query, 512) // next;
        my $reply = $self->reply($query) // next;
        $socket->send($reply, 0, $peer);
    }
    POSIX::_exit(0);
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    return if !$self->{pid} || $self->{owner} != $$;
    kill KILL => $self->{pid};
    waitpid $self->{pid}, 0;
}

# RFC 1035 4.1: one question; the answers point back to its name.

sub reply {
    my ($self, $query) = @_;
    my ($id, $question) = unpack 'n x10 a*', $query;
    my ($name, $rest, $type) = ('', $question);

    while (my $length = unpack 'C', $rest) {
        $name .= ($name eq '' ? '' : '.') . substr $rest, 1, $length;
        $rest = substr $rest, 1 + $length;
    }
    $question = substr $question, 0, 4 + 1 + length($question)
        - length($rest);
    $type = unpack 'x n', $rest;

    open my $log, '>>', $self->{log} or die;
    syswrite $log, "$name $type\n";

    my $is = JSON::PP::decode_json(slurp($self->{rules}))->{lc $name};
    return undef if ($is // '') eq 'silent';
    my @addresses = ref $is && $Family{$type}
        ? grep { defined } map { inet_pton($Family{$type}, $_) } @$is : ();
    my $code = ref $is ? 0 : $Code{ $is // 'none' };
    return pack('n6', $id, 0x8180 | $code, 1, scalar @addresses, 0, 0)
        . $question . join '', map { pack 'n3 N n/a', 0xc00c, $type, 1, 1, $_ }
        @addresses;
}

1;
