package EntraMDM::Example;

# The files of conf-examples, with the paths and ports of a test in place of an
# administrator's.
#
#   my $t = EntraMDM::Nginx->new;
#   my $ca = example_files($t, $key);       # keys, certificates, the module
#   $t->change(conf => example('fleet.conf'));
#
# 8080 is %%PORT_8080%%, where requests go; 443 is %%PORT_tls%%, for https();
# the backends 8412 and 8413 are %%PORT_fleet%% and %%PORT_other%%; a Redis is
# %%PORT_redis%%.  https() presents a client's certificate with
# client => { cert, key }.
#
#   is(enroll($token), 'accepted bob@example.com');
#   is(enroll($stranger), 'audience_not_allowed');
#
# enroll() is a device that enrolls, by what the backend saw and error.log says:
# the user, or the reason.  Options: fleet (a Backend), and those of http_post().

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::SSL qw(SSL_VERIFY_NONE);

use EntraMDM::Backend;
use EntraMDM::Certificates;
use EntraMDM::File qw(root slurp);
use EntraMDM::HTTP qw(http_post);
use EntraMDM::Soap;
use EntraMDM::Token;

our @EXPORT = qw(example example_files examples enroll fleet goes_on
    https);

use constant ENROLL => '/api/mdm/microsoft/enroll';

my ($T, $Fleet);


sub examples {
    opendir my $folder, root() . '/conf-examples' or die;
    return sort grep { /\.conf$/ } readdir $folder;
}

sub example_files {
    my ($t, $key) = @_;
    my $ca = EntraMDM::Certificates->new($t->dir . '/ca');
    my %server = $ca->certificate('fleet',
        'DNS:fleet.example.com,DNS:mdm-admin.example.com,IP:127.0.0.1');

    $T = $t;
    mkdir $t->dir . '/modules';
    symlink $t->{module},
        $t->dir . '/modules/ngx_http_entra_mdm_module.so' or die $!;
    $t->write_file($_, jwks($key)) for qw(keys.json keys-usgov.json);
    $t->write_file('fleet.crt', slurp($server{cert}));
    $t->write_file('fleet.key', slurp($server{key}));
    $t->write_file($_, slurp("$ca->{dir}/ca.crt"))
        for qw(admins.crt redis-ca.crt);
    $t->write_file('redis-password', secret('password-of-nginx') . "\n");
    $t->write_file('admins', '');
    $t->write_file($_, slurp(root() . "/conf-examples/$_"))
        for grep { /^jwks-/ } examples();
    return $ca;
}

sub example {
    my ($name) = @_;
    my $conf = slurp(root() . "/conf-examples/$name");
    my $temp = join '', map { "${_}_temp_path %%DIR%%/$_;\n" }
        qw(client_body proxy fastcgi uwsgi scgi);

    for ($conf) {
        s{/etc/nginx/entra-mdm/}{%%DIR%%/}g;
        s{/var/log/nginx/|/var/lib/nginx/}{%%DIR%%/}g;
        s{/usr/share/entra-mdm/ui/}{root() . '/ui/'}eg;
        s{/run/nginx.pid|nginx.pid}{%%DIR%%/error.pid};
        s{^user .*}{user root;}m;
        s{listen(\s+)443 ssl}{listen$1 127.0.0.1:%%PORT_tls%% ssl}g;
        s{listen(\s+)8080}{listen$1 127.0.0.1:%%PORT_8080%%}g;
        s{127\.0\.0\.1:(?:8412|8081)}{127.0.0.1:%%PORT_fleet%%}g;
        s{127\.0\.0\.1:8413}{127.0.0.1:%%PORT_other%%}g;
        s{^(\s*[^#\s].*?)(?:redis\.example\.com|127\.0\.0\.1):6379}
         {${1}127.0.0.1:%%PORT_redis%%}gm;
        s{10\.0\.0\.1(\d):\d+}{127.0.0.1:%%PORT_redis$1%%}g;
        s/^events/daemon off;\nevents/m;
        s/^http \{/http {\n$temp/m unless /_temp_path/;
    }
    return $conf;
}

# Options: host, client, and those of a request.

sub https {
    my ($method, $path, %o) = @_;
    my $host = delete $o{host} // 'fleet.example.com';
    my $client = delete $o{client};
    my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1',
        PeerPort => $T->port('tls'), SSL_verify_mode => SSL_VERIFY_NONE,
        SSL_hostname => $host, $client ? (SSL_cert_file => $client->{cert},
        SSL_key_file => $client->{key}) : ()) or die
        $IO::Socket::SSL::SSL_ERROR;

    local $EntraMDM::HTTP::Host = $host;
    return EntraMDM::HTTP->wrap($socket)->request($method, $path,
        close => 1, %o);
}

# Paths that are open to nginx, which ends them at "#", and lead into the gated
# ones where somebody reads on.

sub goes_on { return map { ("$_#/../enroll", "$_#/../..@{[ ENROLL ]}") } @_ }

# The stand-in of Fleet, on 8412.

sub fleet { return $Fleet //= EntraMDM::Backend->new($T, 'fleet') }

sub enroll {
    my ($token, %o) = @_;
    my $fleet = delete $o{fleet} // fleet();
    my $uri = delete $o{uri} // ENROLL;

    $fleet->requests;
    $T->mark;
    my $message = enroll_message($token);
    my $r = http_post($uri, $message, %o);
    my ($seen) = $fleet->requests;

    if ($seen) {
        return 'the backend answers ' . $r->status if $r->status != 200;
        return 'the body is another' if $seen->body ne $message;
        return 'accepted ' . ($seen->header('X-Entra-UPN') // 'nobody');
    }
    my $line = $T->wait_for_log(qr/ refused, \w+/) // '';
    my ($reason) = $line =~ / refused, (\w+)/ or return 'status ' . $r->status;
    return fault($r)->{subcode} ? $reason : "$reason without a fault";
}

1;
