#!/usr/bin/perl
# once

# The core against others who read the same: an XML reader after the backend's
# over mutated messages, and PyJWT over mutated tokens.  Whatever the core
# accepts, they must read as the same token, and as valid.
#
# ENTRA_MDM_COUNT is how many of each are tried, ENTRA_MDM_SEED another draw.

use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $top = "$FindBin::Bin/..";
my $folder = tempdir(CLEANUP => 1);
my $core = "$folder/core";
my $seed = $ENV{ENTRA_MDM_SEED} // 1;
my $count = $ENV{ENTRA_MDM_COUNT} // 20_000;
my $python = '/usr/bin/python3';        # the one that Debian's packages are for

my @sources = ("$top/t/differential/core.c",
    glob "$top/ngx_http_entra_mdm_module/core/*.c");

my @sanitize = ('-fsanitize=address,undefined', '-fno-sanitize-recover');

is(system(qw(gcc -std=gnu11 -g -O1 -Wno-unused-function), @sanitize, '-I',
    "$top/ngx_http_entra_mdm_module/core", '-I', "$top/t/core", @sources,
    qw(-lcrypto -ljansson -lexpat -o), $core), 0, 'built');

my %figures = run('soap.py', $core, $seed, $count,
    glob "$top/t/core/data/soap/valid/*.xml");

is($figures{messages}, $count, 'messages: all were read');
cmp_ok($figures{both}, '>', $count / 10, 'messages: many are accepted by both');
is($figures{different}, 0, 'messages: each names the same token to both');

%figures = run('jws.py', $core, $seed, $count / 2, $folder);

is($figures{tokens}, $count / 2, 'tokens: all were read');
cmp_ok($figures{accepted}, '>', $count / 200, 'tokens: many are accepted');
is($figures{different}, 0, 'tokens: none is accepted that PyJWT refuses');

done_testing();


sub run {
    my ($script, @arguments) = @_;
    open my $out, '-|', $python, "$top/t/differential/$script", @arguments
        or die "$python: $!";
    my @lines = <$out>;
    close $out;

    is($?, 0, "$script: exit status");
    diag(substr $_, 0, 4000) for grep { /^DIFFERENT/ } @lines;
    note($lines[-1] // '');
    return ($lines[-1] // '') =~ /(\w+)=(\d+)/g;
}
