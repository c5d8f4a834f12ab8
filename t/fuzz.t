#!/usr/bin/perl
# once

# A short round of each fuzzer: every input that is kept, then some seconds of
# new ones.  "make fuzz T=soap S=900" is a long round of one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Document;
use EntraMDM::File qw(root slurp);

my $dir = "$FindBin::Bin/fuzz";
my $seconds = 2;

# a number of jobs of the caller's own make is none of this one's business
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};

my $built = `make -j2 -C '$dir' all 2>&1`;

is($?, 0, 'built') or diag($built);

my @units = split ' ', `make -s --no-print-directory -C '$dir' list`;

cmp_ok(scalar @units, '>', 0, 'there are fuzzers');

my $doc = slurp(root() . '/docs/fuzzing.md');
my @told = $doc =~ /^\| `(\w+)` \|/mg;

is_deeply([sort @told], [sort @units], 'docs/fuzzing.md tells of them all');

while ($doc =~ m{Kept as (.*?)\.\n}sg) {
    ok(-s "$dir/corpus/$_", "$_: is kept") for $1 =~ /`([^`]+)`/g;
}

for my $unit (@units) {
    my $kept = () = glob "$dir/corpus/$unit/*";
    my $said = `make -s -C '$dir' run T=$unit S=$seconds 2>&1`;
    my $failed = $?;
    my ($runs) = $said =~ /stat::number_of_executed_units:\s*(\d+)/;

    cmp_ok($kept, '>', 0, "$unit: inputs are kept");
    ok(-s "$dir/dict/$unit.dict", "$unit: a dictionary");
    is($failed, 0, "$unit: every promise is kept")
        or diag(substr $said, -4000);
    cmp_ok($runs // 0, '>', $kept, "$unit: new inputs were tried");
    note("$unit: $runs inputs") if defined $runs;
}

# Its commands, but for a second only; what would change the tree, or takes
# AFL++ where that is not installed, is only looked up.

my $root = root();

for my $command (EntraMDM::Document->new('docs/fuzzing.md')
    ->documented('fuzzing'))
{
    $command =~ s/\s*#.*//;
    $command =~ s/\bS=\d+/S=1/;
    my $may = $command !~ / merge / && ($command !~ /=afl/ || afl());
    my $run = $may ? $command : $command =~ s/^make/make -n/r;
    my $said = `cd '$root' && $run 2>&1`;
    is($?, 0, "docs/fuzzing.md: $run") or diag(substr $said, -4000);
}

sub afl {
    return grep { -x "$_/afl-fuzz" } split /:/, $ENV{PATH};
}

done_testing();
