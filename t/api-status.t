#!/usr/bin/perl

# GET status: what is in force, what has been decided, and why verified tokens
# were refused; with the zone as the list, and with Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $key = new_key();
my %source = (zone => 'state', redis => 'redis');
my %lines = (zone => '', redis => 'redis redis://127.0.0.1:%%PORT_redis%%;');
my $t = EntraMDM::Nginx->new(http => api_map() . join('', map {
    fleet_policy("device_token pass; $lines{$_}", $_) } sort keys %lines)
    . 'server { listen 127.0.0.1:%%PORT_8080%%;'
    . join('', map { <<"EOC" } sort keys %lines) . <<'EOC');

        location /$_/ {
            entra_mdm_api $_;
            entra_mdm_api_role \$role;
        }
        location /gate/$_ {
            entra_mdm $_;
            add_header X-Request \$request_id always;
            try_files /nothing /ok;
        }
        location /dry/$_ {
            entra_mdm $_ token=bearer;
            entra_mdm_dry_run on;
            try_files /nothing /ok;
        }
EOC
        location /ok { entra_mdm off; return 204; }
    }
EOC

$t->write_file('keys.json', jwks($key));
my $redis = EntraMDM::Redis->new($t, 'redis');
$t->start;

sub status { return (api(GET => 'status'))[1] }

sub refused {
    my ($store, %claims) = @_;
    return http_get("/gate/$store", bearer => mint($key, claims_v2(%claims)))
        ->header('X-Request');
}

sub story {
    my ($store) = @_;

    my ($status, $json, $r) = api(GET => 'status');
    is($status, 200, 'GET');
    is($r->header('Content-Type'), 'application/json', 'JSON');
    is($r->header('Cache-Control'), 'no-store', 'never cached');
    is((api(HEAD => 'status'))[0], 200, 'HEAD');

    is($json->{policy}, $store, 'the policy');
    like($json->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'the time');
    if ($store eq 'redis') {
        my $told = $json->{redis};
        like(delete $told->{$_}, qr/^\d+$/, $_)
            for qw(last_update_seconds reconnects);
        is_deeply($told, { connected => JSON::PP::true,
            tracking => JSON::PP::true, generation => 0,
            skipped_members => { client_ids => 0, tenant_ids => 0 } },
            'Redis');
    } else {
        is($json->{redis}, undef, 'no Redis');
    }
    is($json->{state}, undef, 'no state');
    is($json->{source}, $source{$store}, 'the source');
    is($json->{dry_run_locations}, 1, 'dry-run locations');
    my $generation = delete $json->{lists}{generation};
    is_deeply($json->{lists}, {
        client_ids => { live => 0, static => 1 },
        tenant_ids => { live => 0, static => 1 } }, 'sizes of the lists');
    is($json->{keys}{source}, 'file', 'where the keys are from');
    is($json->{keys}{count}, 1, 'how many');
    ok($json->{keys}{usable}, 'usable');
    like($json->{keys}{age_seconds}, qr/^\d+$/, 'how old');
    ok(exists $json->{keys}{last_fetch}, 'the last fetch');
    is($json->{zone}{size}, 2 * 1024 * 1024, 'the zone');
    cmp_ok($json->{zone}{snapshot_used}, '<', $json->{zone}{snapshot_room},
        'and what of it is in use');
    is_deeply($json->{decisions}{$_},
        { accepted => {}, passed => {}, refused => {}, would_refuse => {} },
        "no decisions, $_") for qw(total last_hour);
    is_deeply($json->{refusals}, [], 'no refusals');

    my $used = $json->{zone}{snapshot_used};
    patch([ map { guid($_) } 1 .. 100 ], [ guid(1) ]);
    $json = status();
    is($json->{lists}{client_ids}{live}, 100, 'a list has grown');
    is($json->{lists}{tenant_ids}{live}, 1, 'the other too');
    cmp_ok($json->{lists}{generation}, '>', $generation, 'a new generation');
    is("$generation $json->{lists}{generation}", '0 1', 'counted from none')
        if $store eq 'zone';
    cmp_ok($json->{zone}{snapshot_used}, '>=', $used + 101 * 19,
        'of 19 bytes each');


    # decisions and refusals

    my $stranger = guid(4);

    is(http_get("/gate/$store", bearer => mint($key, claims_v2()))->status,
        204, 'accepted') for 1 .. 3;
    http_get("/gate/$store");
    http_get("/gate/$store", bearer => mint(new_key(),
        claims_v2(aud => 'nobody sees it')));
    http_get("/dry/$store", bearer => mint($key, claims_v2(scp => 'other')));
    my @ids = (
        refused($store, aud => [ 'https://other.example.com/', "\"<\x{e4}" ]),
        refused($store, tid => $stranger,
            iss => "https://login.microsoftonline.com/$stranger/v2.0"),
        refused($store, exp => time - 1000),
    );
    http_post("/gate/$store", enroll_message('{"type":1}', value_type =>
        'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager'
        . '/Enrollment/DeviceEnrollmentUserToken'));

    $json = status();
    my $expected = {
        accepted => { ok => 3 }, passed => { device_token => 1 },
        would_refuse => { scope_not_allowed => 1 },
        refused => { no_token => 1, key_unknown => 1,
            audience_not_allowed => 1, tenant_not_allowed => 1,
            token_expired => 1 },
    };
    is_deeply($json->{decisions}{total}, $expected, 'decisions');
    is_deeply($json->{decisions}{last_hour}, $expected, 'of the last hour');

    my @refusals = @{ $json->{refusals} };
    is_deeply([ map { $_->{key} } @refusals ],
        [qw(token_expired tenant_not_allowed audience_not_allowed
            scope_not_allowed)],
        'refusals of tokens that verified, newest first');
    is_deeply([ map { $_->{action} } @refusals ],
        [ ('refused') x 3, 'would_refuse' ], 'dry run included');
    is_deeply([ map { $_->{request_id} } @refusals[ 0 .. 2 ] ],
        [ reverse @ids ], 'their request IDs');
    is_deeply([ map { $_->{tenant} } @refusals[ 0 .. 2 ] ],
        [ TENANT, $stranger, TENANT ], 'their tenants');
    is_deeply([ map { $_->{tenant_listed} ? 1 : 0 } @refusals[ 0 .. 2 ] ],
        [ 1, 0, 1 ], 'which are listed or not');
    is_deeply($refusals[2]{audiences},
        [ 'https://other.example.com/', "\"<\x{e4}" ], 'their audiences');
    is_deeply($refusals[1]{audiences}, [CLIENT_V2], 'one');
    like($refusals[0]{time}, qr/^\d{4}-.*Z$/, 'when');

    patch(undef, [$stranger]);
    ok(status()->{refusals}[1]{tenant_listed},
        'a tenant that is listed by now');


    # what is long, and many

    refused($store, aud => [ ("\x{20ac}" x 60) x 9 ]);
    my $last = status()->{refusals}[0];
    is_deeply($last->{audiences}, [ "\x{20ac}" x 60 ],
        'as many audiences as there is room for');
    is($last->{more_audiences}, 8, 'and how many more');
    refused($store, aud => "\x{20ac}" x 200);
    $last = status()->{refusals}[0];
    is_deeply($last->{audiences}, [ "\x{20ac}" x 85 ],
        'one that is cut, not within a character');
    refused($store, aud => [], tid => TENANT);
    is_deeply(status()->{refusals}[0]{audiences}, [], 'none');
    refused($store, tid => 5);
    is(status()->{refusals}[0]{tenant}, '', 'no tenant');
    ok(!status()->{refusals}[0]{tenant_listed}, 'is not listed');

    refused($store, aud => "app-$_") for 1 .. 60;
    @refusals = @{ status()->{refusals} };
    is(scalar @refusals, 50, 'the last fifty');
    is_deeply([ map { $_->{audiences}[0] } @refusals ],
        [ map { "app-$_" } reverse 11 .. 60 ], 'are kept');

    ok($t->reload, 'a reload');
    is(scalar @{ status()->{refusals} }, 50, 'keeps them');
}

for my $store (sort keys %source) {
    local $EntraMDM::ApiClient::Location = "/$store/";
    ok((wait_for { status()->{source} eq $source{$store} }), $source{$store});
    subtest $store => sub { story($store) };
}


# what Redis has that is none, loses, and is it there

my $clients = 'entra_mdm:{redis}:client_ids';
$EntraMDM::ApiClient::Location = '/redis/';

$redis->cmd(SADD => $clients, 'rubbish');
ok((wait_for { status()->{redis}{skipped_members}{client_ids} == 1 }),
    'a member that is no GUID is counted');
cmp_ok(status()->{redis}{generation}, '>', 0, 'the generation there');
$redis->cmd('FLUSHALL');
ok((wait_for { status()->{source} eq 'lost' }), 'lost data are shown');
is(status()->{lists}{client_ids}{live}, 100, 'and the last lists');
$redis->stop;
ok((wait_for { !status()->{redis}{connected} }), 'and a Redis that is away');
is(status()->{lists}{client_ids}{live}, 100, 'with the last lists');

$t->done;
