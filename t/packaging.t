#!/usr/bin/perl
# once

# The Debian packages and the tree say the same: what make install installs,
# the version, the folder of the state, the libraries.  tools/deb builds the
# packages, tools/compat --packages tries them.

use strict;
use warnings;

use File::Find qw(find);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(root slurp);

chdir root() or die;
my $control = slurp('debian/control');
my @packages = $control =~ /^Package: (\S+)$/mg;

is(scalar @packages, 3, 'three packages');


# files of debian/

my @of_packages = map { m{^debian/(.+)\.(?:install|docs|dirs|links|postrm|postinst
    |preinst|prerm|lintian-overrides)$}x ? $1 : () } glob 'debian/*';

for my $name (@of_packages) {
    ok((grep { $_ eq $name } @packages), "$name is a package");
}

for my $script (glob('debian/*.{preinst,postinst,prerm,postrm}')) {
    is(system('sh', '-n', $script), 0, "$script: syntax");
    my $text = slurp($script);
    like($text, qr/^set -e$/m, "$script: stops at an error");
    like($text, qr/^#DEBHELPER#$/m, "$script: has debhelper's part");
}

is(system('bash', '-n', $_), 0, "$_: syntax") for qw(tools/deb tools/compat);
ok(-x $_, "$_ can be run") for qw(debian/rules tools/deb tools/compat);


# What make install installs is in one package, and nothing else is.

sub installed {
    my $dir = tempdir(CLEANUP => 1);
    my @files;

    my $said = `make install DESTDIR=$dir PREFIX=/usr MODULES_DIR=/usr/lib/nginx/modules 2>&1`;
    is($?, 0, 'make install') or diag $said;
    find(sub {
        push @files, $File::Find::name =~ s{^\Q$dir\E/}{}r if -f;
    }, $dir);
    return sort @files;
}

# A line of debhelper's has files of the tree and a folder for them, or one
# path as make install and nginx-dev install it.

sub packaged {
    my %where;

    for my $name (@packages) {
        for my $line (split /\n/, slurp("debian/$name.install")) {
            my ($from, $to) = split ' ', $line;
            my @paths = defined $to
                ? map { "$to/" . s{.*/}{}r } glob $from : $from;

            ok(scalar @paths, "$name: $line");
            push @{ $where{$_} }, $name for @paths;
        }
    }
    return %where;
}

my %packaged = packaged();
is_deeply([ sort keys %packaged ], [ installed() ],
    'packages and make install have the same files');
is_deeply([ grep { @{ $packaged{$_} } > 1 } sort keys %packaged ], [],
    'none is in two packages');
is_deeply($packaged{'usr/bin/entra-mdmctl'}, [ 'entra-mdm-tools' ],
    'the command is apart from the module');
is_deeply($packaged{'usr/share/entra-mdm/ui/index.html'}, [ 'entra-mdm-ui' ],
    'so is the page');


# docs/installing.md removes all of it

my @gone = map { split ' ' } slurp('docs/installing.md')
    =~ /^rm (?:-r )?(.+)$/mg;
is_deeply([ grep { my $file = "/$_";
    !grep { $file =~ m{^\Q$_\E(?:/|$)} } @gone } sort keys %packaged ], [],
    'make install: nothing is left by its removal');


# version

my ($version) = slurp('ngx_http_entra_mdm_module/core/entra_version.h')
    =~ /ENTRA_VERSION\s+"([^"]+)"/;
my ($changes) = slurp('CHANGES') =~ /^Changes with \S+ (\S+)/m;
my ($changelog) = slurp('debian/changelog') =~ /\A(\S+ \(\S+\))/;

is($changes, $version, 'version in CHANGES');
is($changelog, "libnginx-mod-http-entra-mdm ($version)",
    'version in debian/changelog');


# the folder of the state

my ($example) = slurp('conf-examples/admin.conf') =~ m{^\s*state\s+/(\S+)/}m;
my $module = 'libnginx-mod-http-entra-mdm';

is(slurp("debian/$module.dirs"), "$example\n", 'is in the package');
like(slurp('debian/rules'), qr{^state\s+=\s\S+/\Q$example\E$}m, 'has an owner');
like(slurp("debian/$module.postrm"), qr{rm -rf /\Q$example\E$}m,
    'and is purged');


# What tools/setup installs for a build, the packages are built with.

my ($build) = slurp('tools/setup') =~ /^build="(.*?)"/ms;
my ($depends) = $control =~ /^Build-Depends: (.*?)^\S/ms;
my @libraries = grep { /^lib/ } split ' ', $build;

ok(scalar @libraries, 'libraries');
is_deeply([ sort map { s/\s.*//sr } grep { /^lib/ } split /,\s*/, $depends ],
    [ sort @libraries ], 'the same for tools/setup and Build-Depends');


# A header of the system's that comes before nginx's own takes _GNU_SOURCE from
# them, and newer nginx does not compile then.

for my $file (glob 'ngx_http_entra_mdm_module/*.c') {
    my ($first) = slurp($file) =~ /^#include (.*)/m;
    like($first, qr/^"ngx_/, "$file: nginx's headers come first");
}

done_testing();
