package EntraMDM::Backend;

# A stand-in for what nginx talks to: the enrollment server, or the place
# that serves the signing keys.  It remembers every request, byte for byte,
# and answers 200 unless told otherwise.
#
#   my $fleet = EntraMDM::Backend->new($t, 'fleet');    # %%PORT_fleet%%
#   $fleet->answer('/keys' => { body => $jwks, delay => 0.2 });
#   $fleet->last->header('X-Entra-UPN');  $fleet->last->body;
#   is(scalar $fleet->requests, 0, 'nothing has reached the backend');
#
# An answer may have: status, headers (a list), body, delay (seconds),
# close => 1 (end the connection without an answer), raw (these bytes).
# The path '*' stands for all others.  A request is on record before its
# answer is sent.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(sleep);

use EntraMDM::File qw(slurp spew);
use EntraMDM::HTTP;

my $JSON = JSON::PP->new->ascii->canonical;


sub new {
    my ($class, $t, $name) = @_;
    $name //= 'backend';
    my $self = bless {
        port => $t->port($name), log => $t->dir . "/$name.requests",
        rules => $t->dir . "/$name.rules", answers => {}, read => 0,
        owner => $$,
    }, $class;

    spew($self->{log}, '');
    $self->answer('*' => { body => "backend\n" });
    $self->start;
    return $self;
}


sub port { return $_[0]{port} }

sub answer {
    my ($self, %answers) = @_;

    $_ = $self->lean($_) for values %answers;
    %{ $self->{answers} } = (%{ $self->{answers} }, %answers);
    spew($self->{rules}, $JSON->encode($self->{answers}));
}


# Every request reads the rules: long texts lie in files of their own.

sub lean {
    my ($self, $answer) = @_;
    my %lean = %$answer;

    for my $what (grep { length($lean{$_} // '') > 4096 } qw(body raw)) {
        my $file = "$self->{rules}." . ++$self->{files};
        spew($file, delete $lean{$what});
        $lean{"${what}_file"} = $file;
    }
    return \%lean;
}


# Requests since the last call; in scalar context, how many.

sub requests {
    my ($self) = @_;
    my @lines = slurp($self->{log}) =~ /(.*)\n/g;     # whole ones
    my @new = map { bless $JSON->decode($_), 'EntraMDM::HTTP::Message' }
              splice @lines, $self->{read};

    $self->{read} += @new;
    return @new;
}

sub last { my ($self) = @_; return ($self->requests)[-1] }


sub start {
    my ($self) = @_;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $self->{port}, Listen => 128, ReuseAddr => 1)
        or croak "backend: $@";

    $self->{pid} = fork // croak "fork: $!";
    return if $self->{pid};

    setpgrp;
    $SIG{CHLD} = 'IGNORE';
    $SIG{$_} = 'DEFAULT' for qw(TERM INT);
    my $test = getppid;
    while (getppid == $test) {
        IO::Select->new($listen)->can_read(1) or next;
        my $client = $listen->accept or next;
        my $pid = fork // next;
        next if $pid;
        eval { $self->serve($client) };
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}

sub stop {
    my ($self) = @_;

    kill KILL => -$self->{pid};
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    $self->stop if $self->{pid} && $self->{owner} == $$;
}


sub serve {
    my ($self, $socket) = @_;
    my $client = EntraMDM::HTTP->wrap($socket);

    while (my $request = $client->message) {
        delete $request->{raw};
        open my $log, '>>:raw', $self->{log} or die;
        syswrite $log, $JSON->encode({%$request}) . "\n";
        $self->reply($client, $request) or return;
        return if ($request->header('Connection') // '') =~ /close/i
            || $request->{start} =~ m{HTTP/1\.0$};
    }
}

sub reply {
    my ($self, $client, $request) = @_;
    my $answers = $JSON->decode(slurp($self->{rules}));
    my ($path) = split /\?/, $request->uri;
    my $answer = $answers->{$path} // $answers->{'*'};

    $answer->{$_} = slurp($answer->{"${_}_file"})
        for grep { $answer->{"${_}_file"} } qw(body raw);
    my $status = $answer->{status} // 200;
    my $body = $answer->{body} // '';
    my @headers = @{ $answer->{headers} // [] };

    sleep $answer->{delay} if $answer->{delay};
    return 0 if $answer->{close} || $request->truncated;
    if (defined $answer->{raw}) {
        $client->send([ $answer->{raw} ]);
        return 0;
    }

    my $head = "HTTP/1.1 $status Answer\r\nContent-Length: "
        . length($body) . "\r\n";
    $head .= join(': ', splice @headers, 0, 2) . "\r\n" while @headers;
    $client->send(["$head\r\n" . ($request->method eq 'HEAD' ? '' : $body)]);
    return 1;
}

1;
