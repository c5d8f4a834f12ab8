#!/usr/bin/perl

# Activities: one for each ID that came or went, by whom, in the order they
# happened, a page at a time, and each in error.log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(level => 'notice',
    http => fleet_policy() . api_conf());

$t->write_file('keys.json', jwks(new_key()));
$t->start;

# type, ID and author of those on a page, and what it says of others

sub activities {
    my ($args) = @_;
    my ($status, $json) = api(GET => 'activities' . ($args // ''));
    return ($json->{meta}, map {
        my ($kind) = keys %{ $_->{details} };
        join ' ', $_->{type} =~ /^(added|deleted)_microsoft_entra_(\w+)$/,
            $kind, $_->{details}{$kind}, $_->{actor}, $_->{role}
    } @{ $json->{activities} });
}

my ($status, $json, $r) = api(GET => 'activities');
is($status, 200, 'none yet');
is_deeply($json, { activities => [], meta => {
    has_next_results => JSON::PP::false,
    has_previous_results => JSON::PP::false } }, 'is an empty array');
is($r->header('Cache-Control'), 'no-store', 'never cached');


# one each

my $typed = 'ABCDEF01-abCD-ef01-2345-6789aBcDeF0a';
my ($one, $two, $three) = map { guid($_) } 1 .. 3;
my $from = time;

patch([ $one, $typed ], undef, user => 'ann');
patch([ $one, lc $typed, $two, uc $two ], [$three], role => 'gitops');
patch([ $two ], undef, user => "j\xc3\xb6rg\"\\");
patch([ uc $two ], undef);
patch([ 'x' ], []);
patch([], [], match => '"x"');

my ($meta, @said) = activities();
is_deeply(\@said, [
    "deleted client_id client_id $typed j\x{f6}rg\"\\ admin",
    "deleted client_id client_id $one j\x{f6}rg\"\\ admin",
    "added tenant tenant_id $three gitops gitops",
    "added client_id client_id $two gitops gitops",
    "added client_id client_id $typed ann admin",
    "added client_id client_id $one ann admin",
], 'newest first, each with its author, and none where nothing changed');

(undef, $json) = api(GET => 'activities');
is(scalar(grep { $_->{created_at} =~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/ }
    @{ $json->{activities} }), 6, 'times as RFC 3339 has them');
my ($y, $m, $d) = (gmtime $from)[ 5, 4, 3 ];
like($json->{activities}[5]{created_at},
    sprintf('/^%04d-%02d-/', $y + 1900, $m + 1), 'of now');
is_deeply([ sort keys %{ $json->{activities}[0] } ],
    [qw(actor created_at details id role type)], 'the fields');
my %ids = map { $_->{id} => 1 } @{ $json->{activities} };
is(scalar keys %ids, 6, 'each has an ID of its own');


# in error.log

ok($t->wait_for_log("\\[notice\\] .*entra_mdm: policy \"fleet\" "
    . "added_microsoft_entra_client_id $typed, actor: \"ann\", "
    . 'role: "admin"'), 'a notice');
ok($t->wait_for_log("added_microsoft_entra_tenant $three, actor: \"gitops\""),
    'for each');
ok($t->wait_for_log("deleted_microsoft_entra_client_id $one, actor: "
    . '"j\\\\xC3\\\\xB6rg\\\\x22\\\\x5C"'), 'with values escaped')
    or diag $t->new_log;


# pages

($meta, @said) = activities('?page=0&per_page=4');
is(scalar @said, 4, 'the first page');
ok($meta->{has_next_results} && !$meta->{has_previous_results}, 'of more');
($meta, my @next) = activities('?page=1&per_page=4');
is(scalar @next, 2, 'the second');
ok(!$meta->{has_next_results} && $meta->{has_previous_results}, 'is the last');
is_deeply([ @said, @next ], [ (activities())[ 1 .. 6 ] ], 'together all');
($meta, @said) = activities('?per_page=3&page=1');
ok(@said == 3 && !$meta->{has_next_results}, 'a last page that is full');
($meta, @said) = activities('?page=9');
ok(!@said && !$meta->{has_next_results} && $meta->{has_previous_results},
    'past the last');

for (qw(page=-1 page=x page= page=1e3 page=99999999999999999999),
     qw(per_page=0 per_page=-1 per_page=1001 per_page=x))
{
    my ($name) = /(\w+)/;
    error_is($_, [ api(GET => "activities?$_") ], 400,
        [ $name => qr/must be a number from/ ]);
}

is((api(HEAD => 'activities'))[0], 200, 'HEAD');


# long names

patch([ $one ], undef, user => "\xe2\x82\xac" x 30);
($meta, @said) = activities('?per_page=2');
like($said[0], qr/ \x{20ac}{21} admin$/, 'cut, but not within a character');


# more than the zone keeps

patch([], undef);
patch([ map { guid($_) } 1 .. 1500 ], undef, user => 'ann');
($meta, @said) = activities('?per_page=1000');
is(scalar @said, 1000, 'the last thousand are kept');
ok(!$meta->{has_next_results}, 'and no more');
like($said[0], qr/@{[ guid(1500) ]} ann/, 'the newest');
like($said[999], qr/@{[ guid(501) ]} ann/, 'the oldest');
ok($t->wait_for_log('added_microsoft_entra_client_id ' . guid(1500)),
    'the log has them all');
is(scalar(() = $t->error_log =~ /added_microsoft_entra_client_id .* "ann"/g),
    1 + 1 + 1500, 'once each');

# a worker that ends leaves none of its lines behind

$t->mark;
patch([], undef);
ok($t->reload, 'a reload');
$t->wait_for_log(qr/deleted_microsoft_entra_client_id @{[ guid(1500) ]}/);
is(scalar(() = $t->new_log =~ /deleted_microsoft_entra_client_id/g), 1500,
    'a line each');
($meta, @said) = activities('?per_page=1');
like($said[0], qr/deleted .*@{[ guid(1500) ]}/,
    'what the zone has survives a reload');

# a small zone has fewer

ok($t->reload(http => fleet_policy('zone 512k;') . api_conf()),
    'a smaller zone');
($meta, @said) = activities('?per_page=1000');
is(scalar @said, 200, 'takes over two hundred');
like($said[0], qr/deleted .*@{[ guid(1500) ]}/, 'the newest');
patch([ map { guid($_) } 1 .. 300 ], undef);
($meta, @said) = activities('?per_page=1000');
is(scalar @said, 200, 'and keeps no more');
like($said[0], qr/added .*@{[ guid(300) ]}/, 'of the newest');

$t->done;
