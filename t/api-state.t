#!/usr/bin/perl

# The API and the state file: an answer is followed by the file, and what was
# changed, as it was typed and by whom, is there again after a restart.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(time);

use EntraMDM::ApiClient;
use EntraMDM::File qw(slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(workers => 2,
    http => fleet_policy('state state/fleet.json;') . api_conf());
my $path = $t->dir . '/state/fleet.json';
my $typed = 'ABCDEF01-abCD-ef01-2345-6789aBcDeF0a';

sub saved { return eval { json->decode(slurp($path)) } }

sub activities {
    return map { "$_->{id} $_->{type} $_->{actor} $_->{created_at}" }
        @{ (api(GET => 'activities?per_page=1000'))[1]{activities} };
}

$t->write_file('keys.json', jwks(new_key()));
$t->start;
is((api(GET => 'config'))[1]{source}, 'state', 'the source');

my ($status, $json) = patch([ guid(1), $typed ], [ guid(2) ],
    user => "j\xc3\xb6rg");
my $answered = time;
is($status, 200, 'PATCH');
my $file = wait_for { my $file = saved();
    $file && @{ $file->{client_ids} // [] } == 2 && @{ $file->{activities} }
        == 3 && $file };
ok($file, 'the file follows');
cmp_ok(time - $answered, '<', $ENV{ENTRA_MDM_SANITIZED} ? 5 : 1,
    'within a second');
is_deeply($file->{client_ids}, [ guid(1), $typed ], 'as typed');
is_deeply($file->{tenant_ids}, [ guid(2) ], 'both lists');
is($file->{activities}[0]{actor}, "j\x{f6}rg", 'and who it was');
ok((wait_for { (api(GET => 'status'))[1]{state}{written} }),
    'status has it');

my $tag = (api(GET => 'config'))[2]->header('ETag');
my @before = activities();
is(scalar @before, 3, 'activities');

for my $end ([ 'a quit', 'QUIT' ], [ 'a fast shutdown', 'TERM' ]) {
    my ($name, $signal) = @$end;

    patch([ guid(1), $typed, guid(3) ], undef);
    patch([ guid(1), $typed ], undef);
    @before = activities();
    ok($t->stop($signal), $name);
    $t->start;
    is_lists("$name: the lists", [ guid(1), $typed ], [ guid(2) ]);
    is((api(GET => 'config'))[2]->header('ETag'), $tag, "$name: the tag");
    is_deeply([ activities() ], \@before, "$name: the activities");
}

($status) = patch([], undef, match => $tag);
is($status, 200, 'and on');
my @after = activities();
is(scalar @after, @before + 2, 'new activities');
my @ids = map { (split)[0] } @after;
is_deeply(\@ids, [ reverse 1 .. @ids ], 'are numbered on');

# changes while nginx is reloaded, and an old worker may write last

sub writer {
    my ($n) = @_;

    for my $i (1 .. 15) {
        my $status = 412;
        while ($status == 412) {
            my (undef, $json, $r) = api(GET => 'config');
            ($status) = patch([ guid($n * 100 + $i),
                @{ $json->{mdm}{windows_entra_client_ids} } ], undef,
                match => $r->header('ETag'));
        }
        die "status $status\n" if $status != 200;
    }
}

my @pids = map {
    my $n = $_;
    my $pid = fork // die "fork: $!";
    POSIX::_exit(eval { writer($n); 1 } ? 0 : 1) if !$pid;
    $pid;
} 1 .. 3;
ok($t->reload, 'a reload meanwhile') for 1, 2;
is(scalar(grep { waitpid($_, 0); $? } @pids), 0, 'all changes are made');
my $ids = (api(GET => 'config'))[1]{mdm}{windows_entra_client_ids};
is_deeply($ids, [ sort map { my $n = $_; map { guid($n * 100 + $_) } 1 .. 15 }
    1 .. 3 ], 'none is lost');
ok((wait_for { my $file = saved();
    $file && join(' ', @{ $file->{client_ids} }) eq "@$ids" }),
    'the file has them all');
$t->crash;
$t->start;
is_lists('after a crash too', $ids, [ guid(2) ]);
patch([], undef);

# However IDs are typed, one by one or thousands: in lists, in the file, in a
# zone of another size.  Letters only is what the zone cannot pack.

my $letters = 'ABCDEFab-cdef-ABCD-efab-cdefabCDEFAB';
my @many = map { my $n = $_;
    join '', map { rand() < 0.5 ? uc : lc } split //,
        sprintf '%08x-beef-4ace-8bad-%012x', $n, $n * 0xabcdef } 1 .. 1400;

for my $list ([ $typed, $letters ], [ @many, $letters ], \@many) {
    my $n = @$list;

    is((patch($list, [ guid(2) ]))[0], 200, "$n typed IDs");
    is_lists("$n typed: all of them", $list, [ guid(2) ]);
    ok((wait_for { "@{ saved()->{client_ids} }" eq "@$list" }),
        "$n typed: in the file");
    ok($t->reload(http => $t->{http} =~ s/(state state)/zone 1m; $1/r),
        "$n typed: another zone") if $n == 1401;
    is_lists("$n typed: still all of them", $list, [ guid(2) ]);
}

# a failed write is shown

$t->mark;
rename $t->dir . '/state', $t->dir . '/moved' or die;
($status) = patch([ guid(4) ], undef);
is($status, 200, 'PATCH without a directory');
ok((wait_for { my $s = (api(GET => 'status'))[1]{state};
    $s->{failing} && $s->{failed} }), 'the status says it failed');
rename $t->dir . '/moved', $t->dir . '/state' or die;
ok((wait_for { !(api(GET => 'status'))[1]{state}{failing} } 10),
    'until it does not');
is_deeply(saved()->{client_ids}, [ guid(4) ], 'saved');

$t->done;
