#!/usr/bin/perl
# once

# Every line of the core that refuses is executed by the core's tests: "make
# coverage" names those that are not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(root);

# a number of jobs of the caller's own make is none of this one's business
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};

my $root = root();
my $said = `make -j2 -C '$root' coverage 2>&1`;

is($?, 0, 'no refusal that no test reaches') or diag(substr $said, -4000);
like($said, qr/^all +\d+\.\d% of \d{4} +\d+\.\d% of \d{4}$/m,
    'lines and branches are printed');

done_testing();
