#!/usr/bin/perl
# once

# Static analysis finds nothing in core, module and command, by the two tools
# that take seconds; "make analyze" runs clang-tidy as well.  And each of the
# three finds what is there to find.

use strict;
use warnings;

use File::Temp;
use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(root spew);

chdir root() or die;
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};

my $said = `make -s analyze TOOLS='gcc cppcheck' 2>&1`;

SKIP: {
    # another compiler raises other false alarms than those explained here
    skip 'the explanations are for Debian 12', 1
        if `gcc -dumpversion` !~ /^12\b/ || `cppcheck --version` !~ / 2\.10\b/;
    is($said, "no findings from cppcheck, gcc\n", 'nothing is found');
}


# What each of them sees, on a line of its own.

my %planted = (
    gcc => [ 'malloc-leak', <<'EOC' ],
void *malloc(unsigned long size);
int planted(void);
int planted(void)
{
    int  *p = malloc(sizeof(int));

    if (p == 0) { return 0; }
    *p = 1;

EXCUSE
    return *p;
}
EOC
    'clang-tidy' => [ 'DivideZero', <<'EOC' ],
int planted(int n);
int planted(int n)
{
    if (n == 0) {
EXCUSE
        return 1 / n;
    }

    return n;
}
EOC
    cppcheck => [ 'arrayIndexOutOfBounds', <<'EOC' ],
int planted(void);
int planted(void)
{
    int  a[2] = { 1, 2 };

EXCUSE
    return a[2];
}
EOC
);

my $dir = File::Temp->newdir;
my $file = "$dir/planted.c";

for my $tool (sort keys %planted) {
    my ($name, $text) = @{ $planted{$tool} };

    spew($file, $text =~ s/EXCUSE//r);
    $said = `tools/analyze $tool $file 2>&1`;
    isnt($?, 0, "$tool: a mistake is a failure");
    like($said, qr/planted\.c:\d+:.*\Q$name\E\]$/m, "$tool: it is named");

    spew($file, $text =~ s/EXCUSE/    \/* false alarm (other): why *\//r);
    `tools/analyze $tool $file 2>&1`;
    isnt($?, 0, "$tool: the reason is for something else");

    spew($file, $text =~ s/EXCUSE/    \/* false alarm ($name): why *\//r);
    $said = `tools/analyze $tool $file 2>&1`;
    is($said, "no findings from $tool\n", "$tool: with the reason beside it");

    spew($file, "    /* false alarm ($name): why */\n\n"
        . $text =~ s/EXCUSE//r);
    `tools/analyze $tool $file 2>&1`;
    isnt($?, 0, "$tool: the reason is too far away");
}

done_testing();
