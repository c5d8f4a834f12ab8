#!/usr/bin/perl

# One nginx with the module: its fleet.conf, with this machine's paths, admits
# one request and refuses another.  For tools/compat.
#
#   perl -It/lib tools/compat.pl BINARY LOAD FILE
#
# LOAD stands in place of the file's load_module line.

use strict;
use warnings;

use IO::Socket::SSL qw(SSL_VERIFY_NONE);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(slurp);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my ($binary, $load, $file) = @ARGV;
my $t = EntraMDM::Nginx->new(binary => $binary, module => 0,
    user => 'www-data');
my $key = new_key();

$t->write_file('keys.json', jwks($key));
system('openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch '
    . "-subj /CN=fleet.example.com -keyout @{[ $t->dir ]}/fleet.key "
    . "-out @{[ $t->dir ]}/fleet.crt 2>/dev/null") == 0 or die;


# As its head says: what is to be changed, and the keys from a file.  With a
# prefix of ours, a relative path of Debian's must be made a full one.

sub adapted {
    my $conf = slurp($file);
    my $temp = join '', map { "${_}_temp_path %%DIR%%/$_;\n" }
        qw(client_body proxy fastcgi uwsgi scgi);

    for ($conf) {
        s/^load_module .*/$load/m or die;
        s{/etc/nginx/entra-mdm/(fleet\.)}{%%DIR%%/$1}g;
        s{/etc/nginx/mime.types}{%%DIR%%/mime.types};
        s{/var/log/nginx/}{%%DIR%%/}g;
        s{/run/nginx.pid}{%%DIR%%/error.pid};
        s{listen(\s+)443 ssl}{listen$1 127.0.0.1:%%PORT_tls%% ssl} or die;
        s{127\.0\.0\.1:8412}{127.0.0.1:%%PORT_fleet%%} or die;
        s{request=/_entra/jwks}{file=%%DIR%%/keys.json} or die;
        s/^\s*(?:resolver|include.*jwks-public).*\n//mg == 2 or die;
        s/^events/daemon off;\nevents/m;
        s/^http \{/http {\n$temp/m;
    }
    return $conf;
}

sub https {
    my ($method, $path, %o) = @_;
    my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1',
        PeerPort => $t->port('tls'), SSL_verify_mode => SSL_VERIFY_NONE,
        SSL_hostname => 'fleet.example.com') or die $IO::Socket::SSL::SSL_ERROR;
    return EntraMDM::HTTP->wrap($socket)->request($method, $path,
        close => 1, %o);
}


diag(`$binary -v 2>&1` =~ s{.*nginx/}{nginx }r);
$t->write_file('mime.types', "types { text/html html; }\n");
symlink '/usr/share/nginx/modules', $t->dir . '/modules';
$t->change(conf => adapted());

my ($code, $said) = $t->nginx_t;
is($code, 0, 'nginx -t') or diag $said;

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $enroll = '/api/mdm/microsoft/enroll';
my $message = enroll_message(mint($key, claims_v2()));

$t->start;
is(https(POST => $enroll, body => $message)->status, 200, 'accepted');
my $seen = $fleet->last;
is($seen->body, $message, 'the backend gets the body');
is($seen->header('X-Entra-UPN'), 'bob@example.com', 'and the user');

my $stranger = enroll_message(mint(new_key(), claims_v2()));
my $refused = https(POST => $enroll, body => $stranger);
is(fault($refused)->{subcode}, 's:Authentication', 'another is refused');
is($fleet->requests, 0, 'and does not reach the backend');

$t->done;
