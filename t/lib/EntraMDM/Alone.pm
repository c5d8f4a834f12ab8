package EntraMDM::Alone;

# A network of the test's own, in which every port and every loopback address is
# free, and nothing leads out.  Takes root.
#
#   alone();        # runs the script again from its beginning, in there
#   alone(BUILT => 1);                      # with this in its environment
#
# And what stands at login.microsoftonline.com there:
#
#   my $login = EntraMDM::Alone::Login->new($dir, $ca, '127.0.0.53', $key);
#
# answers at [::1]:443, by a certificate of that EntraMDM::Certificates, with the
# key set of these keys; the DNS server at that address names it, and more names
# with $login->dns->answer(...).

use strict;
use warnings;

use Exporter 'import';
use Socket qw(AF_INET SOCK_DGRAM);

our @EXPORT = qw(alone);

use constant INSIDE => 'ENTRA_MDM_ALONE';


sub alone {
    my (%environment) = @_;

    if (!$ENV{+INSIDE}) {
        local @ENV{ INSIDE, keys %environment } = (1, values %environment);
        exec qw(unshare --net), $^X, (map { "-I$_" } @INC), $0, @ARGV
            or die "unshare: $!\n";
    }

    # struct ifreq, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP: see netdevice(7)
    socket my $any, AF_INET, SOCK_DGRAM, 0 or die "socket: $!";
    my $lo = pack 'a16 x24', 'lo';
    ioctl $any, 0x8913, $lo or die "lo: $!";
    substr($lo, 16, 2) = pack 's', 1 | unpack 's', substr $lo, 16, 2;
    ioctl $any, 0x8914, $lo or die "lo: $!";
}


package EntraMDM::Alone::Login;

use Carp qw(croak);
use File::Path qw(make_path);

use EntraMDM::DNS;
use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::Token;

use constant NAME => 'login.microsoftonline.com';

sub EntraMDM::Alone::Place::dir  { return ${ $_[0] } }
sub EntraMDM::Alone::Place::port { return 53 }

sub new {
    my ($class, $parent, $ca, $address, @keys) = @_;
    my $dir = "$parent/login";
    my %tls = $ca->certificate(NAME, 'DNS:' . NAME);
    my $self = bless { owner => $$ }, $class;

    make_path("$dir/common/discovery/v2.0");
    spew("$dir/common/discovery/v2.0/keys", jwks(@keys));
    spew("$dir/conf", <<"EOC");
daemon off; user root; pid $dir/pid; error_log $dir/log;
events { }
http {
    access_log off;
    @{[ map { "${_}_temp_path $dir/$_;" }
        qw(client_body proxy fastcgi uwsgi scgi) ]}
    server {
        listen [::1]:443 ssl;
        ssl_certificate $tls{cert};
        ssl_certificate_key $tls{key};
        root $dir;
    }
}
EOC
    $self->{pid} = fork // croak "fork: $!";
    if (!$self->{pid}) {
        $ENV{PATH} .= ':/usr/sbin';
        exec qw(setpriv --pdeathsig QUIT nginx -e), "$dir/log", '-c',
            "$dir/conf" or POSIX::_exit(127);
    }
    wait_for { -s "$dir/pid" } or croak 'no login server: '
        . slurp("$dir/log");

    my $place = bless \$parent, 'EntraMDM::Alone::Place';
    $self->{dns} = EntraMDM::DNS->new($place, 'dns', address => $address);
    $self->{dns}->answer(NAME, [ '::1' ]);
    return $self;
}

sub dns { return $_[0]{dns} }

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    return if $self->{owner} != $$;
    kill QUIT => $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
