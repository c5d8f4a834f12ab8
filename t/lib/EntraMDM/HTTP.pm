package EntraMDM::HTTP;

# An HTTP client that says exactly the bytes it is told to, and the reading
# half of a server (EntraMDM::Backend).  An object is one connection:
#
#   http_get('/tos', bearer => $token)->status
#   http_post('/enroll', $message, chunked => 1, headers => [...])
#   http_raw(["GET / HT", "TP/1.1\r\n\r\n"])          # one write each
#   http2(POST => '/enroll', body => $message)        # by curl
#   https(GET => '/', certificate => $ca->certificate(...))     # likewise
#   my $c = http_connect(); $c->request(GET => '/'); $c->request(...)
#
# Options: port, headers (a list or a hash), body, bearer (a token),
# chunked => size of the chunks, pieces => size of the writes, expect => 1
# (wait for "100 Continue"), pause => seconds between writes, timeout.

use strict;
use warnings;

use Carp qw(croak);
use Exporter 'import';
use File::Temp;
use IO::Select;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep time);

use EntraMDM::File qw(slurp TIMEOUT);

our @EXPORT = qw(http_get http_post http_request http_raw http_connect http2
    https);
our $Port;                      # where requests go; EntraMDM::Nginx sets it
our $Host = 'fleet.example.com';
our $Type = 'application/soap+xml; charset=utf-8';


sub http_get  { my $uri = shift; return http_request(GET => $uri, @_) }
sub http_post { my $uri = shift; return http_request(POST => $uri, body => @_) }

sub http_request {
    my ($method, $uri, %o) = @_;
    my $c = http_connect(%o);
    return $c->request($method, $uri, close => 1, %o);
}

sub http_raw {
    my ($bytes, %o) = @_;
    my $c = http_connect(%o);
    $c->send(ref $bytes ? $bytes : [$bytes], $o{pause});
    return $c->response;
}

sub http_connect {
    my (%o) = @_;
    my $port = $o{port} // $Port // croak 'no port to connect to';
    my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port",
        Timeout => TIMEOUT) or croak "127.0.0.1:$port: $@";

    return __PACKAGE__->wrap($socket, $o{timeout});
}

sub wrap {
    my ($class, $socket, $timeout) = @_;

    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
    $socket->blocking(0);
    return bless {
        socket => $socket, in => '', eof => 0, timeout => $timeout // TIMEOUT,
    }, $class;
}


# Writing.  What the server says meanwhile is kept, so neither side blocks;
# a server that closes early ends the writing, not the test.

sub request {
    my ($self, $method, $uri, %o) = @_;
    my @headers = request_headers(%o);
    my $body = $o{body} // '';

    unshift @headers, [ Host => $Host ] unless has(host => @headers);
    push @headers, [ Connection => 'close' ] if $o{close};
    push @headers, [ Expect => '100-continue' ] if $o{expect};

    if ($o{chunked}) {
        push @headers, [ 'Transfer-Encoding' => 'chunked' ];
    } elsif (defined $o{body} && !has('content-length', @headers)) {
        push @headers, [ 'Content-Length' => length $body ];
    }

    my $head = join '', "$method $uri HTTP/1.1\r\n",
        (map { "$_->[0]: $_->[1]\r\n" } @headers), "\r\n";
    my @body = $o{chunked} ? chunks($body, $o{chunked}) : $body;

    if ($o{expect}) {
        $self->send([$head]);
        my $answer = $self->message($method) // return $self->response;
        return $answer if $answer->status != 100;
        $self->send(\@body, $o{pause});
        my $final = $self->response($method);
        $final->{continued} = 1;
        return $final;
    }

    my @writes = $o{pieces} ? cut(join('', $head, @body), $o{pieces})
               : $o{chunked} ? ($head, @body) : "$head@body";
    $self->send(\@writes, $o{pause});
    return $self->response($method);
}

sub send {
    my ($self, $writes, $pause) = @_;
    my $select = IO::Select->new($self->{socket});
    local $SIG{PIPE} = 'IGNORE';

    for my $bytes (@$writes) {
        my $out = $bytes;
        while (length $out) {
            $self->fill(0) while !$self->{eof} && $select->can_read(0);
            $select->can_write($self->{timeout}) or return;
            my $n = syswrite $self->{socket}, $out;
            if (!defined $n) {
                next if $!{EAGAIN};
                return;
            }
            substr $out, 0, $n, '';
        }
        sleep $pause if $pause;
    }
}

sub request_headers {
    my (%o) = @_;
    my @flat = ref $o{headers} eq 'HASH' ? %{ $o{headers} }
             : @{ $o{headers} // [] };
    my @headers;

    push @headers, [ splice @flat, 0, 2 ] while @flat;
    push @headers, [ Authorization => "Bearer $o{bearer}" ]
        if defined $o{bearer};
    push @headers, [ 'Content-Type' => $Type ]
        if defined $o{body} && !has('content-type', @headers);
    return @headers;
}

sub has { my $name = shift; return scalar grep { lc $_->[0] eq $name } @_ }
sub cut { my ($bytes, $n) = @_; return unpack "(a$n)*", $bytes }

sub chunks {
    my ($bytes, $n) = @_;
    return ((map { sprintf "%x\r\n%s\r\n", length, $_ } cut($bytes, $n)),
            "0\r\n\r\n");
}


# Reading.  Whatever arrives in time is returned; a message that never came
# has status 0, and one that broke off is marked `truncated`.

sub response {
    my ($self, $method) = @_;
    my $continued = 0;

    while (my $m = $self->message($method // '')) {
        $continued = 1 if $m->status == 100;
        next if $m->status >= 100 && $m->status < 200;
        $m->{continued} = $continued;
        return $m;
    }

    return EntraMDM::HTTP::Message->new('', [], '', raw => $self->{in},
        truncated => 1, continued => $continued);
}

sub message {
    my ($self, $method) = @_;

    $self->{raw} = '';
    $self->{truncated} = 0;
    my $head = $self->line("\r\n\r\n") // return;
    my ($start, @lines) = split /\r\n/, $head;
    my @headers = map { [ split /:[ \t]*/, $_, 2 ] } @lines;
    my $m = EntraMDM::HTTP::Message->new($start, \@headers, '');

    $m->{body} = $self->body($m, $method // '');
    @$m{qw(raw truncated)} = @$self{qw(raw truncated)};
    return $m;
}

sub body {
    my ($self, $m, $method) = @_;
    my $status = $m->status;

    return '' if $method eq 'HEAD' || $status =~ /^(?:1..|204|304)$/;

    if (($m->header('Transfer-Encoding') // '') =~ /chunked/i) {
        my $body = '';
        while (defined(my $size = $self->line("\r\n"))) {
            my $n = hex(($size =~ /^([0-9a-f]+)/i)[0] // 0);
            if ($n == 0) {
                1 while length($self->line("\r\n") // '');
                return $body;
            }
            $body .= $self->take($n);
            $self->line("\r\n");
        }
        return $body;
    }

    my $length = $m->header('Content-Length');
    return $self->take($length) if defined $length;
    return '' if !$status;          # a request without a body

    1 while $self->fill;
    return $self->take(length $self->{in});
}

sub line {
    my ($self, $end) = @_;
    my $at;

    while (($at = index $self->{in}, $end) < 0) {
        next if $self->fill;
        $self->{truncated} = 1;
        return;
    }
    return substr $self->take($at + length $end), 0, $at;
}

sub take {
    my ($self, $n) = @_;

    while (length $self->{in} < $n) {
        next if $self->fill;
        $self->{truncated} = 1;
        last;
    }
    my $bytes = substr $self->{in}, 0, $n, '';
    $self->{raw} .= $bytes;
    return $bytes;
}

sub fill {
    my ($self, $timeout) = @_;

    return 0 if $self->{eof};
    IO::Select->new($self->{socket})->can_read($timeout // $self->{timeout})
        or return 0;
    my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
    return 1 if $n || (!defined $n && $!{EAGAIN});
    $self->{eof} = 1;
    return 0;
}

# Did the other side close, with nothing more to say?

sub closed {
    my ($self) = @_;
    1 while $self->fill;
    return $self->{eof} && $self->{in} eq '';
}

sub close { my ($self) = @_; return $self->{socket}->close }


# By curl.  https() takes any server for the one it looks for, and shows a
# certificate: a reference to a hash of files, cert and key.

sub http2 { return by_curl('http', ['--http2-prior-knowledge'], @_) }

sub https {
    my ($method, $uri, %o) = @_;
    my $shown = $o{certificate};

    return by_curl('https', [ '-k', '--http1.1', $shown
        ? ('--cert', $shown->{cert}, '--key', $shown->{key}) : () ], @_);
}

sub by_curl {
    my ($scheme, $more, $method, $uri, %o) = @_;
    my ($sent, $head, $body) = map { File::Temp->new } 1 .. 3;
    my @command = ('curl', '-sS', @$more, '--path-as-is',
        '--max-time', TIMEOUT, '-X', $method, '-D', $head, '-o', $body,
        '--noproxy', '*');
    my @headers = request_headers(%o);

    unshift @headers, [ Host => $Host ] unless has(host => @headers);
    push @command, '-H', "$_->[0]: $_->[1]" for @headers;
    push @command, '--head' if $method eq 'HEAD';

    # a newer curl tells the length unless it is forbidden to
    push @command, '-H', 'Content-Length:' if has('transfer-encoding', @headers);

    if (defined $o{body}) {
        print {$sent} $o{body};
        $sent->flush;
        push @command, '--data-binary', "\@$sent";
    }

    system @command, "$scheme://127.0.0.1:" . ($o{port} // $Port) . $uri;
    my $text = (grep { /^HTTP/ } split /\r\n\r\n/, slurp("$head"))[-1] // '';
    my ($start, @lines) = split /\r\n/, $text;
    my $bytes = slurp("$body");

    return EntraMDM::HTTP::Message->new($start // '',
        [ map { [ split /:[ \t]*/, $_, 2 ] } @lines ], $bytes,
        raw => "$text\r\n\r\n$bytes", truncated => $? != 0);
}


package EntraMDM::HTTP::Message;

# A request or a response, as it was read.

sub new {
    my ($class, $start, $list, $body, %more) = @_;
    my ($first, $second) = (split(/ /, $start), '', '');
    my %headers;

    push @{ $headers{lc $_->[0]} }, $_->[1] for @$list;
    return bless {
        start => $start, list => $list, headers => \%headers, body => $body,
        ($first =~ m{^HTTP/} ? (status => $second, version => $first)
                             : (method => $first, uri => $second)), %more,
    }, $class;
}

sub status    { return $_[0]{status} || 0 }
sub version   { return $_[0]{version} }
sub method    { return $_[0]{method} }
sub uri       { return $_[0]{uri} }
sub body      { return $_[0]{body} }
sub raw       { return $_[0]{raw} }
sub continued { return $_[0]{continued} }
sub truncated { return $_[0]{truncated} }
sub headers   { return $_[0]{headers} }     # lower-case name => [values]
sub names     { return map { $_->[0] } @{ $_[0]{list} } }       # as sent

sub header {
    my ($self, $name) = @_;
    my $values = $self->{headers}{lc $name} // return undef;
    return join ', ', @$values;
}

1;
