#!/usr/bin/perl
# once

# docs/performance.md has a row for each case of tools/bench, with its limit,
# and no other.  What a request takes in instructions, which no load on the
# machine changes, is counted here.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(root slurp);

my $doc = slurp(root() . '/docs/performance.md');
my $said = `'${\ root()}/tools/bench' --list`;
my %listed = $said =~ /^(\S+) +(\S.*)$/mg;
my ($rows) = $doc =~ /^```text[^\n]*\n(.*?)^```/ms;
my %kept;

is($?, 0, 'tools/bench --list');
cmp_ok(scalar keys %listed, '>', 10, 'cases are listed');

for my $row (grep { / at (?:most|least) / } split /\n/, $rows) {
    my ($name, $what, $verdict) = $row =~ /^(\S+) +(\S.*?)  .* (\S+)$/;
    is($what, $listed{$name}, "$name: what it is");
    $kept{$name} = $verdict;
}

is_deeply([ sort keys %kept ], [ sort keys %listed ], 'a row for each case');
is_deeply([ grep { $kept{$_} ne 'kept' } sort keys %kept ], [],
    'every limit is kept');

system("'${\ root()}/tools/bench' --case nonsense --list >/dev/null 2>&1");
isnt($?, 0, 'a case that is none');

SKIP: {
    my $valgrind = `valgrind --version 2>/dev/null`;
    skip 'no valgrind', 1 if !$valgrind;

    my $table = `PATH=\$PATH:/usr/sbin $^X -I'${\ root()}/t/lib' \\
        '${\ root()}/tools/bench.pl' '${\ root()}' --quick --instructions`;
    is($?, 0, 'instructions') or diag($table);
    note($table);
}

done_testing();
