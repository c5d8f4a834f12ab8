#!/usr/bin/perl

# Activities: one for each ID that came or went, by whom, in the order they
# happened, a page at a time, and each in error.log; with the zone as the list,
# and with Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::File qw(slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;
use EntraMDM::Verdict;

sub conf {
    my ($zone) = @_;
    return fleet_policy("state state/zone.json; $zone", 'zone')
        . fleet_policy('redis redis://127.0.0.1:%%PORT_redis%%;', 'redis')
        . api_map() . <<'EOC';

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        entra_mdm_api_role $role;
        location /zone/  { entra_mdm_api zone; }
        location /redis/ { entra_mdm_api redis; }
    }
EOC
}

my $t = EntraMDM::Nginx->new(level => 'notice', http => conf('zone 2m;'));

$t->write_file('keys.json', jwks(new_key()));
my $redis = EntraMDM::Redis->new($t, 'redis');
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

sub story {
    my ($store) = @_;

    # at first

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

    ok($t->wait_for_log("\\[notice\\] .*entra_mdm: policy \"$store\" "
        . "added_microsoft_entra_client_id $typed, actor: \"ann\", "
        . 'role: "admin"'), 'a notice');
    ok($t->wait_for_log("added_microsoft_entra_tenant $three, "
        . 'actor: "gitops"'),
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
    ok(!$meta->{has_next_results} && $meta->{has_previous_results},
        'is the last');
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
    like($said[0], qr/ \x{20ac}{21} admin$/,
        'cut, but not within a character');

    # a page is of twenty, if nobody says otherwise

    patch([ map { guid($_) } 50 .. 79 ], undef);
    ($meta, @said) = activities();
    is(scalar @said, 20, 'twenty');
    ok($meta->{has_next_results}, 'of more');
    (undef, my @second) = activities('?page=1');
    (undef, my @all) = activities('?per_page=100');
    cmp_ok(scalar @second, '>', 10, 'which are on the next');
    is_deeply([ @said, @second ], \@all, 'each on one of them');
}

my %source = (zone => 'state', redis => 'redis');
for my $store (sort keys %source) {
    local $EntraMDM::ApiClient::Location = "/$store/";
    ok((wait_for { (api(GET => 'config'))[1]{source} eq $source{$store} }),
        $source{$store});
    subtest $store => sub { story($store) };
}


# more than the zone keeps

$EntraMDM::ApiClient::Location = '/zone/';
$t->mark;

my ($from, $ann) = (guid(501), 'added_microsoft_entra_client_id .* "ann"');

patch([], undef);
patch([ map { guid($_) } 1 .. 1500 ], undef, user => 'ann');
my ($meta, @said) = activities('?per_page=1000');
is(scalar @said, 1000, 'the last thousand are kept');
ok(!$meta->{has_next_results}, 'and no more');
like($said[0], qr/@{[ guid(1500) ]} ann/, 'the newest');
like($said[999], qr/$from ann/, 'the oldest');
ok($t->wait_for_log('added_microsoft_entra_client_id ' . guid(1500)),
    'the log has them all');
is(scalar(() = $t->new_log =~ /$ann/g), 1500, 'once each');

# and more than it has room for, again and again: one comes, the oldest goes

my @ids = map { $_->{id} }
    @{ (api(GET => 'activities?per_page=1000'))[1]{activities} };
is_deeply(\@ids, [ reverse $ids[-1] .. $ids[-1] + 999 ], 'numbered');
for my $n (1 .. 3) {
    patch([ map { guid($_) } 1 .. 1500 + $n ], undef, user => 'joe');
    (undef, @said) = activities('?per_page=1000');
    is(scalar @said, 1000, "$n more: as many");
    like($said[0], qr/@{[ guid(1500 + $n) ]} joe/, "$n more: the newest");
    like($said[999], qr/@{[ guid(501 + $n) ]} ann/, "$n more: the oldest");
}
patch([ map { guid($_) } 1 .. 1500 ], undef, user => 'joe');
(undef, @said) = activities('?per_page=1000');

# the state file has them all, and after a restart so has the zone

my $saved = sub { json->decode(slurp($t->dir . '/state/zone.json')) };

ok((wait_for { my $file = eval { $saved->()->{activities} };
    $file && $file->[-1]{type} =~ /deleted/ }), 'the file follows');
is(scalar @{ $saved->()->{activities} }, 1000, 'with a thousand');
for my $signal (qw(QUIT TERM)) {
    ok($t->stop($signal), "$signal, and a start");
    $t->start;
    my (undef, @now) = activities('?per_page=1000');
    is_deeply(\@now, \@said, "$signal: the same thousand");
}
patch([ map { guid($_) } 1 .. 1501 ], undef, user => 'eve');
(undef, my @now) = activities('?per_page=1000');
like($now[0], qr/@{[ guid(1501) ]} eve/, 'the newest comes');
is_deeply([ @now[ 1 .. 999 ] ], [ @said[ 0 .. 998 ] ], 'the oldest goes');
is((api(GET => 'activities?per_page=1'))[1]{activities}[0]{id},
    $ids[0] + 7, 'numbered on');
patch([ map { guid($_) } 1 .. 1500 ], undef);

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

ok($t->reload(http => conf('zone 512k;')), 'a smaller zone');
($meta, @said) = activities('?per_page=1000');
is(scalar @said, 200, 'takes over two hundred');
like($said[0], qr/deleted .*@{[ guid(1500) ]}/, 'the newest');
patch([ map { guid($_) } 1 .. 300 ], undef);
($meta, @said) = activities('?per_page=1000');
is(scalar @said, 200, 'and keeps no more');
like($said[0], qr/added .*@{[ guid(300) ]}/, 'of the newest');

$t->done;
