#!/usr/bin/perl
# once

# The tables of docs/ and of the manual page say what the code says; links lead
# somewhere.  README's own tables are in t/readme.t, blocks in t/docs.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Document;
use EntraMDM::File qw(root slurp);
use EntraMDM::Source;

my %page = map { $_ => EntraMDM::Document->new($_) } documents();

sub table { my ($name, $head) = @_; return $page{"docs/$name.md"}->table($head) }
sub words { return map { /`([^`]*)`/ ? $1 : $_ } @_ }


# redis.md

my @options = table(redis => 'option');
is_deeply([ map { $_->[0] =~ /`(\w+=)`/g } @options ],
    [ rows_of('ngx_http_entra_mdm_redis_options') ], 'options of redis');

my %default = map { my $row = $_; map { $_ => $row->[2] }
    $row->[0] =~ /`(\w+)=`/g } @options;
is($default{poll}, '`' . value_of('poll') / 1000 . 's`', 'poll: default');
is($default{timeout}, '`' . value_of('timeout') / 1000 . 's`',
    'timeout: default');
unlike(source(), qr/redis->max_stale = /, 'max_stale is not set');
is($default{max_stale}, '`off`', 'hence off');
like(source('*redis_conf.c'), qr/"entra_mdm:\{%V\}:"/, 'the prefix');
is($default{prefix}, '`entra_mdm:{`*policy*`}:`', 'prefix: default');

my ($keys) = source('*redis_conf.c') =~ /((?:\s*ngx_string\("\w+"\),?)+)/;
my %told = map { $_ => 1 } map { $_->[0] =~ /:(\w+)`/g }
    table(redis => 'key');
$told{$_}++ for $page{'docs/lists.md'}->text =~ /`…(accounted_\w+)`/g;
is_deeply([ grep { !$told{$_} } $keys =~ /"(\w+)"/g ], [], 'keys in Redis');
cmp_ok(scalar(() = $keys =~ /"\w+"/g), '>=', 5, 'which are found');


# lists.md

my %asked;
for (table(lists => 'request')) {
    my ($method, $path) = $_->[0] =~ /^`(\w+) (\w+)/;
    push @{ $asked{$path} }, $method;
}
my %answered = source('ngx_http_entra_mdm_api.c')
    =~ /\{ ngx_string\("(\w+)"\), "([A-Z, ]+)"/g;
is_deeply([ sort keys %asked ], [ sort keys %answered ], 'paths of the API');
for my $path (sort keys %answered) {
    is_deeply([ sort @{ $asked{$path} } ], [ sort grep { $_ ne 'HEAD' }
        split /, /, $answered{$path} ], "$path: methods");
}

my %number = (BAD_REQUEST => 400, FORBIDDEN => 403, NOT_FOUND => 404,
    NOT_ALLOWED => 405, PRECONDITION_FAILED => 412,
    REQUEST_ENTITY_TOO_LARGE => 413, UNSUPPORTED_MEDIA_TYPE => 415,
    SERVICE_UNAVAILABLE => 503, INSUFFICIENT_STORAGE => 507);
my %sent = map { $_ => 1 } map { $number{$_} // $_ } source('*_api*.c')
    =~ /(?:_error\(\w+,\s*|\bstatus = )(?:NGX_HTTP_)?([A-Z_]+|422)\b/g;
is_deeply([ map { $_->[0] } table(lists => 'status') ],
    [ sort grep { /^\d/ } keys %sent ], 'statuses of the API');

is_deeply([ words(map { $_->[0] } table(lists => 'command')) ],
    [ slurp(root() . '/entra-mdmctl/main.c') =~ /^    \{ "([a-z-]+)", CTL_/mg ],
    'commands');


# the manual page

my $manual = slurp(root() . '/entra-mdmctl/entra-mdmctl.1');
my ($status) = $manual =~ /^\.Sh EXIT STATUS\n(.*?)^\.Sh/ms;
my %code = slurp(root() . '/entra-mdmctl/ctl.h') =~ /(CTL_\w+) = (\d+)/g;
delete @code{ grep { /_(?:FLAG|VALUE|VALUES)$/ } keys %code };
is_deeply([ $status =~ /^\.It (\d+)$/mg ], [ sort values %code ],
    'exit codes of entra-mdmctl');
like($manual, qr/^\.It Fl -exit-code\n.*?exit with $code{CTL_DIFFERENT} /ms,
    '--exit-code');


# operating.md

my $alerts = slurp(root() . '/conf-examples/prometheus/alerts.yml');
is_deeply([ words(map { $_->[0] } table(operating => 'alert')) ],
    [ $alerts =~ /- alert: (\w+)/g ], 'alerts');

for my $name (sort keys %page) {
    my %known = map { $_ => 1 } $alerts =~ /- alert: (\w+)/g;
    is_deeply([ grep { !$known{$_} } $page{$name}->text
        =~ /\b(EntraMdm\w+)/g ], [], "$name: knows no other alerts");
}

# What is quoted of the log is in it.

my $said = source('{,core/}*.[ch]') =~ s/"\s*"//gr =~ s/\\"/"/gr;
for (grep { $_->[2] !~ /^nginx/ } table(operating => 'what')) {
    for my $quoted ($_->[2] =~ /"([^"]+)"/g) {
        my $pattern = join '[^;]*', map { quotemeta } split / ?… ?/, $quoted;
        like($said, qr/entra_mdm: [^;]*$pattern/, "the log: $quoted");
    }
}

my %metric = map { $_ => 1 }
    source('*_metrics.c') =~ /\{ "(entra_mdm_\w+)", "/g;
my %directive = map { $_ => 1 } rows_of('ngx_http_entra_mdm_commands'),
    map { "entra_mdm_$_" } qw(result action);
for my $name (sort keys %page) {
    is_deeply([ grep { !$metric{$_} && !$directive{$_} }
        $page{$name}->prose =~ /(?<!\$)`(entra_mdm_\w+)`/g ], [],
        "$name: knows no other metrics and directives");
}


# troubleshooting.md

my @reasons = reasons();
my $troubles = $page{'docs/troubleshooting.md'};
is_deeply([ $troubles->text =~ /^### (\w+)$/mg ], [ map { $_->[0] } @reasons ],
    'each reason has its place');

my %shown = map { (words($_->[0]))[0] => "$_->[1] $_->[2]" }
    $troubles->table('code');
my %by;
push @{ $by{"0x$_->[3]"} }, $_->[0] for @reasons;

# [MS-MDE2] 2.2.10, and mdmregistration.h
my %type = (NotSupported => '0x80180015', InMaintenance => '0x80180017');
my %typed = source('core/entra_reason.h') =~ s/\\\n//gr
    =~ /"(\w+)",\s+\d+, \w+, "[^"]+", "(\w+)",/g;
cmp_ok(scalar keys %typed, '>', 0, 'error types are found in the code');
push @{ $by{ $type{ $typed{$_} } // $typed{$_} } }, $_ for sort keys %typed;
is_deeply([ sort grep { /^0x8018/ } keys %shown ], [ sort keys %by ],
    'each HRESULT, too');
for my $code (sort keys %by) {
    my %ours = map { $_ => 1 } @{ $by{$code} };
    is_deeply([ grep { !$ours{$_} } $shown{$code} =~ /`(\w+_\w+|internal)`/g ],
        [], "$code: the reasons are its own");
}
like($shown{ $type{$_} }, qr/`$_`/, "$_ is named") for sort keys %type;

for (grep { $_->[0] =~ /`0x8019/ } $troubles->table('code')) {
    my ($codes, $means) = @$_;
    my ($statuses) = $means =~ /^HTTP (\d+(?:, \d+)*)/;

    is($codes, join(', ', map { sprintf '`0x8019%04x`', $_ }
        split /, /, $statuses // ''), "$codes: HTTP status");
}


# installing.md

my $control = slurp(root() . '/debian/control');
is_deeply([ words(map { $_->[0] } table(installing => 'package')) ],
    [ $control =~ /^Package: (\S+)$/mg ], 'packages');
my ($curl) = $control =~ /libcurl4-openssl-dev \(>= ([\d.]+)\)/;
like($page{'docs/installing.md'}->text, qr/libcurl \Q$curl\E /, 'libcurl');

# What docker is told is what t/image.t does without one: it builds from the
# tree, and mounts files at the same places.

my ($build, $run, @more) = $page{'docs/installing.md'}->documented('container');
is($build, 'docker build -t entra-mdm .', 'the image is built from the tree');
is_deeply(\@more, [], 'and run');
for my $mount ($run =~ /-v (\S+)/g) {
    my ($file, $place) = $mount =~ m{^\./(\S+?)(:/\S+:ro)$};
    like(slurp(root() . '/t/image.t'), qr{/\Q$file$place\E}, "-v $mount");
}
my ($port) = $run =~ /-p 8080:(\d+)/;
like(slurp(root() . '/Dockerfile'), qr/^EXPOSE $port$/m, "-p $port");


# links

for my $name (sort keys %page) {
    my $folder = $name =~ m{^(.*/)} ? $1 : '';

    for my $link ($page{$name}->links) {
        next if $link =~ /^https?:/;
        my ($file, $anchor) = split /#/, $link, 2;
        my $path = $file eq '' ? $name : "$folder$file";

        1 while $path =~ s{[^/]+/\.\./}{};
        ok(-e root() . "/$path", "$name: link to $link") or next;
        next if !defined $anchor;
        ok((grep { $_ eq $anchor } $page{$path}->anchors),
            "$name: $link is a heading");
    }
}

done_testing();
