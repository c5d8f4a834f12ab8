#!/usr/bin/perl
# once

# The image of the Dockerfile, built without a container engine: it serves the
# demo configuration, as a user without privileges, until a mount replaces it.
# The first time takes minutes; the layers are kept.  Another Debian than 12:
#
#   DEBIAN=trixie prove -It/lib t/image.t

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use Test::More;

use EntraMDM::File qw(root slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Image;
use EntraMDM::Soap;
use EntraMDM::Token;

my @releases = $ENV{DEBIAN} // qw(bookworm trixie);

images(@releases);
$EntraMDM::HTTP::Port = 8080;

my $dir = tempdir(CLEANUP => 1);
my $dockerfile = slurp(root() . '/Dockerfile');
my ($check) = $dockerfile =~ /^HEALTHCHECK .*\\\n\s+CMD (.*)/m;
my ($signal) = $dockerfile =~ /^STOPSIGNAL SIG(\w+)/m;
my $enroll = '/api/mdm/microsoft/enroll';
my $key = new_key();
my ($version) = slurp(root() . '/ngx_http_entra_mdm_module/core/entra_version.h')
    =~ /ENTRA_VERSION\s+"([^"]+)"/;

chmod 0755, $dir;

sub healthy {
    my ($debian, @options) = @_;
    return EntraMDM::Image::once($debian, \@options, 'sh', '-c',
        "$check; echo status \$?");
}


for my $debian (@releases) {
    note($debian);

    # nothing mounted: the demo

    my $demo = EntraMDM::Image->run($dir, $debian, []);
    ok((wait_for { eval { http_get('/health')->status == 200 } } 60),
        'nothing is mounted: the demo is served') or diag $demo->log;
    like(healthy($debian), qr/^ok\nstatus 0$/, 'it is healthy');
    like(healthy($debian, '-e', 'HEALTH_URL=http://127.0.0.1:8080/nothing'),
        qr/status [1-9]/, 'as it would not be without an answer');
    my $r = http_post($enroll, enroll_message(mint($key, claims_v2())));
    is(fault($r)->{subcode}, 's:Authentication', 'a token is refused');
    ok((wait_for { $demo->log =~ /policy "fleet" refused, key_unknown/ }),
        'its log is on standard error') or diag $demo->log;

    my $master = $demo->main('nginx: master');
    my ($uid) = slurp("/proc/$master/status") =~ /^Uid:\s+(\d+)/m;
    isnt($uid, 0, 'nginx has no privileges');
    is((split /:/, slurp("/proc/$master/root/etc/passwd")
        =~ s/.*^(?=www-data:)//msr)[2], $uid, 'it is www-data');

    ok($demo->quit('nginx: master', $signal), 'it ends when it is told to');

    my %there = map { /(\S+)=(.*)/ ? ($1, $2) : () } split /\n/,
        EntraMDM::Image::once($debian, [], 'sh', '-c', <<'END');
. /etc/os-release
echo release=$VERSION_CODENAME
echo command=$(entra-mdmctl --version)
for tool in gcc make nginx; do echo $tool=$(command -v $tool); done
END
    is($there{release}, $debian, "on $debian");
    is($there{command}, "entra-mdmctl $version", 'the command is there');
    is("$there{gcc}$there{make}", '', 'without what it was built with');
    like($there{nginx}, qr{/nginx$}, 'as nginx is');


    # mounted: another configuration, other keys

    spew("$dir/nginx.conf", slurp(root() . '/conf-examples/demo.conf')
        =~ s/(?=location = .health)/location = \/mine { return 204; }\n/r);
    spew("$dir/keys.json", jwks($key));

    my $mine = EntraMDM::Image->run($dir, $debian, [
        '-v', "$dir/nginx.conf:/etc/nginx/nginx.conf:ro",
        '-v', "$dir/keys.json:/etc/nginx/keys.json:ro" ]);
    ok((wait_for { eval { http_get('/mine')->status == 204 } } 60),
        'mounted: that is what it serves') or diag $mine->log;
    is(http_post($enroll, enroll_message(mint($key, claims_v2())))->body,
        'accepted: user bob@example.com of tenant ' . TENANT . "\n",
        'a token is accepted');
    is(fault(http_post($enroll, enroll_message(mint(new_key(), claims_v2()))))
        ->{subcode}, 's:Authentication', 'another is refused');
    ok($mine->quit('nginx: master', $signal), 'it ends');


    # hiredis has TLS from trixie on

    spew("$dir/tls.conf", slurp(root() . '/conf-examples/demo.conf')
        =~ s{(?=device_token)}
            {redis rediss://127.0.0.1:6379; state s/s.json; }r);
    my $said = EntraMDM::Image::once($debian, [ '-v',
        "$dir/tls.conf:/etc/nginx/nginx.conf:ro" ],
        qw(nginx -p /var/lib/nginx/ -t));
    like($said, $debian eq 'bookworm' ? qr/\[emerg\].*hiredis.*TLS/
        : qr/test is successful/, 'rediss://, where hiredis has TLS');
}

done_testing();
