package EntraMDM::HTTP3;

# HTTP/3 by aioquic (http3.py beside this), which says what it is told to.
#
#   plan skip_all => $_ for missing_http3() || ();
#   my $t = EntraMDM::Nginx->new(http => "server { $H3_SERVER ... }");
#   h3_certificate($t);                 # before nginx starts
#
#   my $c = h3_connect();
#   $c->request(GET => '/tos', bearer => $token)->status;
#   $c->ask('name', GET => '/tos', bearer => $token);       # a stream's
#   $c->send(h3_head(2, POST => '/enroll'), h3_data(2, $part));
#   $c->send(h3_data(2, $rest, 1));     # 1: and that is all
#   $c->response(2)->status;
#   $c->heard;                          # nginx has what was sent
#
# Options as EntraMDM::HTTP has them: headers, body, bearer; and authority,
# undef for none, and length => 1 for a Content-Length.  What one send() is
# given leaves in as few packets as it fits.  HEAD is not for aioquic, which
# misses the body that the answer tells the length of.

use strict;
use warnings;

use Exporter 'import';
use IO::Handle;
use IO::Select;
use IPC::Open2 qw(open2);
use JSON::PP ();
use Time::HiRes qw(time);

use EntraMDM::Certificates;
use EntraMDM::File qw(TIMEOUT);
use EntraMDM::HTTP;

our @EXPORT = qw(missing_http3 h3_certificate h3_connect h3_head h3_data
    h3_frame h3_reset h3_stop $H3_SERVER);

our $H3_SERVER = <<'EOC';
        listen 127.0.0.1:%%PORT_h3%% quic;
        ssl_certificate     %%DIR%%/h3/server.crt;
        ssl_certificate_key %%DIR%%/h3/server.key;
EOC

my $JSON = JSON::PP->new->ascii->canonical;
my $Python = '/usr/bin/python3';
my $T;


# Why there is no HTTP/3 to test here; '': there is.

sub missing_http3 {
    my $nginx = $ENV{ENTRA_MDM_NGINX} // 'nginx';
    local $ENV{PATH} = "$ENV{PATH}:/usr/sbin:/usr/local/sbin";

    return 'this nginx has no HTTP/3'
        if `$nginx -V 2>&1` !~ /--with-http_v3_module/;
    return 'no python3-aioquic: tools/setup test'
        if system("$Python -c 'import aioquic.h3' 2>/dev/null") != 0;
    return '';
}

sub h3_certificate {
    ($T) = @_;
    EntraMDM::Certificates->new($T->dir . '/h3')
        ->certificate('server', "DNS:$EntraMDM::HTTP::Host");
}


# What to send.

sub h3_head {
    my ($stream, $method, $uri, %o) = @_;
    my @headers = map { [ lc $_->[0], "$_->[1]" ] }
                  EntraMDM::HTTP::request_headers(%o);
    my $authority = exists $o{authority} ? $o{authority}
                  : $EntraMDM::HTTP::Host;

    push @headers, [ 'content-length' => '' . length $o{body} ] if $o{length};
    return { stream => $stream, end => $o{end}, headers => [
        [ ':method' => $method ], [ ':scheme' => 'https' ],
        (defined $authority ? [ ':authority' => $authority ] : ()),
        [ ':path' => $uri ], @headers ] };
}

sub h3_data  { return { stream => $_[0], data => $_[1], end => $_[2] } }
sub h3_frame { return { %{ h3_data(@_) }, frame => 1 } }
sub h3_reset { return { stream => $_[0], reset => $_[1] // 0x10c } }
sub h3_stop  { return { stream => $_[0], stop => $_[1] // 0x10c } }


# A connection.

sub h3_connect {
    my $script = __FILE__ =~ s/HTTP3\.pm$/http3.py/r;
    my $self = bless { in => '', streams => {}, pings => 0, next => 1 };

    $self->{pid} = open2($self->{from}, $self->{to}, $Python, $script,
        $T->port('h3'), $EntraMDM::HTTP::Host, $T->dir . '/h3/ca.crt');
    $self->{to}->autoflush(1);
    return $self;
}

sub send {
    my ($self, @operations) = @_;
    local $SIG{PIPE} = 'IGNORE';

    print { $self->{to} } $JSON->encode(\@operations) . "\n";
}

sub ask {
    my ($self, $stream, $method, $uri, %o) = @_;
    $self->send($self->operations($stream, $method, $uri, %o));
}

sub operations {
    my ($self, $stream, $method, $uri, %o) = @_;
    return h3_head($stream, $method, $uri, %o, end => 1) if !defined $o{body};
    return (h3_head($stream, $method, $uri, %o), h3_data($stream, $o{body}, 1));
}

sub request {
    my ($self, $method, $uri, %o) = @_;
    my $stream = 'request ' . $self->{next}++;

    $self->ask($stream, $method, $uri, %o);
    return $self->response($stream);
}

# The answer of a stream, when it has come.  One that never does has status 0.

sub response {
    my ($self, $name) = @_;
    my $s = $self->{streams}{$name} //= {};

    $self->until(sub { $s->{end} || defined $s->{reset} });
    my @headers = @{ $s->{headers} // [] };
    my ($status) = map { $_->[1] } grep { $_->[0] eq ':status' } @headers;
    @headers = grep { $_->[0] !~ /^:/ } @headers;
    my $body = $s->{data} // '';

    return EntraMDM::HTTP::Message->new(
        defined $status ? "HTTP/3 $status" : '', \@headers, $body,
        truncated => !$s->{end}, raw => join "\n", 'HTTP/3 ' . ($status // ''),
        (map { "$_->[0]: $_->[1]" } @headers), '', $body);
}

# Has all that was sent reached the server?

sub heard {
    my ($self) = @_;
    my $ping = ++$self->{pings};

    $self->send({ ping => $ping });
    return $self->until(sub { ($self->{pong} // 0) >= $ping });
}

# The code by which the server has stopped or reset a stream, or undef.

sub stopped { return $_[0]->code($_[1], 'stopped') }
sub reset   { return $_[0]->code($_[1], 'reset') }

sub code {
    my ($self, $name, $what) = @_;
    my $s = $self->{streams}{$name} //= {};

    $self->until(sub { defined $s->{$what} });
    return $s->{$what};
}

sub until {
    my ($self, $condition, $seconds) = @_;
    my $deadline = time + ($seconds // TIMEOUT);

    while (!$condition->()) {
        return 0 if time > $deadline || defined $self->{closed};
        $self->fill(0.1);
    }
    return 1;
}

sub quiet {
    my ($self, $name) = @_;
    return !$self->until(sub { $self->{streams}{$name} }, 0.3);
}

sub fill {
    my ($self, $timeout) = @_;

    IO::Select->new($self->{from})->can_read($timeout) or return;
    sysread $self->{from}, $self->{in}, 65536, length $self->{in}
        or $self->{closed} //= 'the client has ended';
    while ($self->{in} =~ s/^(.*)\n//) {
        $self->note($JSON->decode($1));
    }
}

sub note {
    my ($self, $what) = @_;

    $self->{closed} = $what->{closed} if defined $what->{closed};
    $self->{pong} = $what->{ping} if defined $what->{ping};
    return if !defined $what->{stream};

    my $s = $self->{streams}{ $what->{stream} } //= {};
    $s->{data} .= $what->{data} if defined $what->{data};
    push @{ $s->{headers} }, @{ $what->{headers} } if $what->{headers};
    $s->{$_} = $what->{$_} for grep { defined $what->{$_} } qw(reset stopped);
    $s->{end} ||= $what->{end};
}

sub close {
    my ($self) = @_;

    return if !$self->{pid};
    CORE::close $self->{to};
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    $self->close;
}

1;
