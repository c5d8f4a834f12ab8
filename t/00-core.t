#!/usr/bin/perl
# once

# The core's unit tests, t/core: built with sanitizers and run, one subtest a
# program, whose TAP is taken over.

use strict;
use warnings;

use File::Basename qw(basename);
use File::Temp;
use FindBin;
use Test::More;

my $dir = "$FindBin::Bin/core";
my $log = File::Temp->new;

# a number of jobs of the caller's own make is none of this one's business
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};

if (system("make -C '$dir' all >'$log' 2>&1") != 0) {
    fail('built');
    diag($_) for lines("$log");
    done_testing();
    exit;
}

pass('built');

my @programs = split ' ', `make -s --no-print-directory -C '$dir' list`;

cmp_ok(scalar @programs, '>', 0, 'there are tests');

for my $program (@programs) {
    subtest basename($program) => sub { run($program) };
}

done_testing();


sub run {
    my ($program) = @_;

    my ($plan, $count) = (-1, 0);
    my $errors = File::Temp->new;
    my $pid = open my $out, '-|';

    die "fork: $!" if !defined $pid;

    if ($pid == 0) {
        chdir $dir and open STDERR, '>', "$errors" and exec $program;
        exit 127;
    }

    while (my $line = <$out>) {
        chomp $line;

        if ($line =~ /^(not )?ok (\d+)(?: - (.*))?$/) {
            $count++;
            ok(!$1 && $2 == $count, $3);

        } elsif ($line =~ /^1\.\.(\d+)$/) {
            $plan = $1;

        } elsif ($line =~ /^# ?(.*)/) {
            note($1);

        } else {
            fail("no TAP: $line");
        }
    }

    close $out;

    is($?, 0, 'exit status');
    is($count, $plan, 'the plan is kept');

    my @said = lines("$errors");

    ok(!@said, 'no sanitizer speaks');
    diag($_) for @said;
}


sub lines {
    my ($name) = @_;

    open my $file, '<', $name or return "$name: $!";
    chomp(my @lines = <$file>);

    return @lines;
}
