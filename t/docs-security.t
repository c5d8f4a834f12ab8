#!/usr/bin/perl
# once

# docs/security.md names the tests that hold its promises: each is there, and
# makes the claim that is quoted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(root slurp);

my $doc = slurp(root() . '/docs/security.md');
my (%named, $claims);

# `t/NAME.t` "claim", "claim"; a line may end anywhere between words

while ($doc =~ /`(t\/[^`]+)`((?:,?\s+"[^"]+")*)/g) {
    my ($file, $quoted) = ($1, $2);

    if (!$named{$file}++) {
        ok(-f root() . "/$file", "there is $file") or next;
    }

    for my $claim ($quoted =~ /"([^"]+)"/g) {
        my $words = $claim =~ s/\s+/ /gr;
        my $text = slurp(root() . "/$file");

        # in Perl a quote within quotes has a backslash, in C two strings join
        $text =~ s/"\s+"//g;
        $text =~ s/'\s+\. '//g;
        $text =~ s/\\'/'/g;
        ok(index($text, $words) >= 0, "$file claims: $words");
        $claims++;
    }
}

cmp_ok(scalar keys %named, '>', 50, 'many tests are named');
cmp_ok($claims, '>', 10, 'and claims of theirs');

# nothing is named in another way, and so unseen

my @loose = grep { !$named{$_} } $doc =~ /\b(t\/[\w\/-]+\.[tc])\b/g;
is_deeply(\@loose, [], 'no test is named but by its path');

# sections that are linked to

for my $anchor ($doc =~ /\]\(#([^)]+)\)/g) {
    my @heads = map { lc s/ /-/gr } $doc =~ /^#+ (.*)$/mg;
    ok((grep { $_ eq $anchor } @heads), "there is a section $anchor");
}

done_testing();
