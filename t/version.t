#!/usr/bin/perl

# The log, the metrics and the command name the version: one constant, which
# CHANGES and debian/changelog have too (t/packaging.t).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Ctl;
use EntraMDM::File qw(root slurp);
use EntraMDM::HTTP;
use EntraMDM::Metrics;
use EntraMDM::Nginx;
use EntraMDM::Token;

my ($version) = slurp(root() . '/ngx_http_entra_mdm_module/core/entra_version.h')
    =~ /ENTRA_VERSION\s+"([^"]+)"/;
my $line = qr/\[notice\] .*entra_mdm: ngx_http_entra_mdm_module (\S+), (\d+) policies$/m;

my $t = EntraMDM::Nginx->new(level => 'notice', http => <<'EOC');
    entra_mdm_policy fleet {
        tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id 1b1b1111-2222-3333-4444-5555555555c1;
        jwks      file=%%DIR%%/keys.json;
    }
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location = /metrics { entra_mdm_metrics; }
    }
EOC

$t->write_file('keys.json', jwks(new_key()));

my ($code, $said) = $t->nginx_t;
is($code, 0, 'nginx -t');
unlike($said . $t->file('tried.log'), $line, 'says nothing of it');

$t->start;
is_deeply([ $t->error_log =~ /$line/g ], [ $version, 1 ],
    'the log at start, once');

$t->mark;
ok($t->reload, 'reload');
is_deeply([ $t->new_log =~ /$line/g ], [ $version, 1 ],
    'and after a reload, when the module may be another');

is(value('build_info', policy => 'fleet', version => $version), 1,
    'the metrics');
is(ctl($t, '--version')->{out}, "entra-mdmctl $version\n", 'the command');

$t->done;
