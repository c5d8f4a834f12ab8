#!/usr/bin/perl
# once

# README's tables and the code say the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(root slurp);
use EntraMDM::Metrics ();
use EntraMDM::Nginx;
use EntraMDM::Token;

my $readme = slurp(root() . '/README.md');
my $glue = root() . '/ngx_http_entra_mdm_module';


# Rows of the table whose head begins with that cell, without its markup.

sub table {
    my ($head) = @_;
    my ($rows) = $readme =~ /^\| \Q$head\E \|.*\n\|(?:---\|)+\n((?:\|.*\n)+)/m
        or die "no table of $head";
    my @rows;

    for my $row (split /\n/, $rows) {
        $row =~ s/\\\|/or/g;
        my @cells = $row =~ /\| (.*?) (?=\|)/g;
        push @rows, \@cells;
    }
    return @rows;
}

sub words { return map { /`([^`]*)`/ ? $1 : $_ } @_ }


# reasons

my $map = slurp("$glue/core/entra_reason.h");
my @reasons;

$map =~ s/\\\n//g;
while ($map =~ /X\(\w+, \s* "(\w+)", \s* (\d+), \s* (\w+), \s* "([^"]*)", \s*
                "[^"]*", \s* ((?:"[^"]*"\s*)+), \s* ((?:"[^"]*"\s*)+) \)/gx)
{
    my ($key, $status, $code, $subcode, @texts) = ($1, $2, $3, $4, $5, $6);
    push @reasons, [ "`$key`", $status, ucfirst(lc $code) . " `$subcode`",
                     map { join '', /"([^"]*)"/g } @texts ];
}

is(scalar @reasons, 23, 'reasons are found in the code');
is_deeply([ map { [ @$_[ 0 .. 3 ], $_->[4] =~ tr/`//dr ] } table('reason') ],
    \@reasons, 'reasons');


# variables

my @variables = slurp("$glue/ngx_http_entra_mdm_variables.c")
    =~ /ngx_string\("(entra_mdm_\w+)"\)/g;
is_deeply([ map { /\$(\w+)/ } map { $_->[0] } table('variable') ],
    \@variables, 'variables');


# commands of entra-mdmctl

my @commands = slurp(root() . '/entra-mdmctl/main.c')
    =~ /^    \{ "([a-z-]+)", CTL_/mg;
is_deeply([ words(map { $_->[0] } table('command')) ], \@commands, 'commands');


# metrics

my @metrics = map { my ($name, $type, $labels, $help) = @$_;
    [ "`$name`", $type, join(', ', map { "`$_`" } @$labels), $help ]
} EntraMDM::Metrics::rows();

is(scalar @metrics, 20, 'metrics are found in the code');
is_deeply([ table('metric') ], \@metrics, 'metrics');


# headers

my ($names) = slurp("$glue/ngx_http_entra_mdm_headers.c")
    =~ /header_names\[\] = \{(.*?)\}/s;
is_deeply([ words(map { $_->[0] } table('header')) ],
    [ map { "X-Entra-$_" } $names =~ /"([^"]+)"/g ], 'headers');


# directives

my ($inner) = slurp("$glue/ngx_http_entra_mdm_policy.c")
    =~ /mdm_directives\[\] = \{(.*?)\n\};/s;
is_deeply([ words(map { $_->[0] } table('directive')) ],
    [ $inner =~ /ngx_string\("(\w+)"\)/g ], 'directives of the block');

my ($outer) = slurp("$glue/ngx_http_entra_mdm_module.c")
    =~ /mdm_commands\[\] = \{(.*?)\n\};/s;
is_deeply([ $readme =~ /^### (entra_mdm\w*)/mg ],
    [ $outer =~ /ngx_string\("(\w+)"\)/g ], 'directives');


# the configuration on the first screen

my ($conf) = $readme =~ /```nginx\n(.*?)```/s;
my $t = EntraMDM::Nginx->new;

$conf =~ s{/etc/nginx/entra-mdm/}{@{[ root() ]}/conf-examples/};
$conf =~ s{modules/ngx_http_entra_mdm_module.so}{$t->{module}};
$conf =~ s{listen 8080}{listen 127.0.0.1:%%PORT_8080%%};
$conf =~ s{events}{pid %%DIR%%/tried.pid;\nevents};

my ($code, $said) = $t->nginx_t(conf => $conf);
is($code, 0, 'the first configuration') or diag $said;
unlike($said, qr/\[warn\]/, 'without a warning');


# every file that is named is there

for my $file ($readme =~ /\]\(([^)#]+)\)/g) {
    ok(-e root() . "/$file", "link to $file");
}

done_testing();
