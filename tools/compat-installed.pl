#!/usr/bin/perl

# The installed package as an administrator meets it: fleet.conf, copied to
# /etc/nginx/nginx.conf as it is, is a working gate.  For tools/compat.
#
#   perl -It/lib tools/compat-installed.pl
#
# In a network of its own, where all ports and addresses of the file are free,
# there are the things that the file speaks of: its certificate, its DNS server,
# its backend, and one that answers as login.microsoftonline.com, by an authority
# that the system trusts for so long.  All of it is taken away again.

use strict;
use warnings;

use File::Copy qw(copy);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use IO::Socket::SSL qw(SSL_VERIFY_NONE);
use Test::More;

use EntraMDM::Alone;
use EntraMDM::Backend;
use EntraMDM::Certificates;
use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Soap;
use EntraMDM::Token;

alone();

my ($shipped, $used) = map { "/etc/nginx/$_" }
    qw(entra-mdm/fleet.conf nginx.conf);
my $trusted = '/usr/local/share/ca-certificates/compat.crt';
my $enroll = '/api/mdm/microsoft/enroll';
my $dir = tempdir(CLEANUP => 1);
my $key = new_key();
my %token = (
    v1 => mint($key, claims_v1()),
    v2 => mint($key, claims_v2()),
    stranger => mint($key, claims_v2(aud => TENANT)),
    forged => mint(new_key(kid => $key->kid), claims_v2()),
);
my @copies;

# Where the stand-in of Fleet listens and keeps its records.

sub Place::dir  { return $dir }
sub Place::port { return 8412 }

sub put {
    my ($from, $to) = @_;

    push @copies, [ $to, -e $to ? slurp($to) : undef ];
    copy($from, $to) or die "$to: $!";
}

END {
    my $status = $?;

    system 'nginx -s quit 2>/dev/null';
    wait_for { !-e '/run/nginx.pid' };
    for (reverse @copies) {
        my ($file, $before) = @$_;
        defined $before ? spew($file, $before) : unlink $file;
    }
    system 'update-ca-certificates --fresh >/dev/null 2>&1';
    $? = $status;
}

sub https {
    my ($token) = @_;
    my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1:443',
        SSL_verify_mode => SSL_VERIFY_NONE, SSL_hostname => HOST)
        or die $IO::Socket::SSL::SSL_ERROR;
    return EntraMDM::HTTP->wrap($socket)->request(POST => $enroll, close => 1,
        body => enroll_message($token));
}


# what the file speaks of

my $ca = EntraMDM::Certificates->new("$dir/ca");
my %fleet = $ca->certificate('fleet', "DNS:${\HOST}");

put("$dir/ca/ca.crt", $trusted);
put($fleet{cert}, '/etc/nginx/entra-mdm/fleet.crt');
put($fleet{key}, '/etc/nginx/entra-mdm/fleet.key');
put($shipped, $used);
system('update-ca-certificates >/dev/null 2>&1') == 0 or die;

my $login = EntraMDM::Alone::Login->new($dir, $ca, '127.0.0.53', $key);
my $backend = EntraMDM::Backend->new('Place', 'fleet');


# an administrator

is(slurp($used), slurp($shipped), 'fleet.conf as it is');
my $said = `nginx -t 2>&1`;
is($?, 0, 'nginx -t') or diag $said;
is(system('nginx'), 0, 'nginx starts');
ok((wait_for { IO::Socket::INET->new('127.0.0.1:443') }), 'and listens');

for my $version (qw(v1 v2)) {
    is(https($token{$version})->status, 200, "a $version token is accepted");
    my $seen = $backend->last;
    is($seen && $seen->body, enroll_message($token{$version}),
        'and reaches Fleet');
    like($seen && $seen->header('X-Entra-UPN'), qr/\@example\.com$/,
        'with its user');
}

for ([ stranger => 's:Authorization', 'audience_not_allowed' ],
     [ forged => 's:Authentication', 'signature_invalid' ])
{
    my ($who, $subcode, $reason) = @$_;
    is(fault(https($token{$who}))->{subcode}, $subcode, "$who: refused");
    like(slurp('/var/log/nginx/error.log'), qr/refused, $reason/,
        "$who: $reason");
}
is(scalar $backend->requests, 0, 'and does not reach Fleet');


# a reader

my $docs = '/usr/share/doc/libnginx-mod-http-entra-mdm';
my $links;

for my $page ("$docs/README.md", glob "$docs/docs/*.md") {
    my ($folder) = $page =~ m{^(.*)/};

    for (grep { !/^(?:https?:|#)/ } slurp($page) =~ /\]\(([^)]+)\)/g) {
        my ($file) = split /#/;
        ok(-e "$folder/$file", "$page: $file is there");
        $links++;
    }
}
cmp_ok($links // 0, '>', 20, 'its links lead somewhere');

done_testing();
