#!/usr/bin/perl

# GET and PATCH config: what is shown, what is taken, and what is refused; the
# same with the zone as the list, and with Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my ($clients, $tenants) = map { "mdm.windows_entra_${_}_ids" }
    qw(client tenant);
my $key = new_key();
my ($other, $foreign) = map { guid($_, 77) } 1, 2;
my %source = (zone => 'state', redis => 'redis');
my %tag;                                # of the same lists

# in servers of these names: what the API changes at /zone and /redis

sub at_each {
    my ($lines) = @_;
    return join '', map { $lines =~ s/STORE/$_/gr } sort keys %source;
}

my $t = EntraMDM::Nginx->new(workers => 2, http =>
    fleet_policy('', 'zone')
    . fleet_policy('redis redis://127.0.0.1:%%PORT_redis%%;', 'redis')
    . api_map() . <<"EOC");

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        client_max_body_size 8m;
        entra_mdm_api_role \$role;
        ${\ at_each('location /STORE/ { entra_mdm_api STORE; }') }
    }

    server {
        listen 127.0.0.1:%%PORT_gate%% reuseport;
        client_max_body_size 4m;
        add_header X-Result \$entra_mdm_result always;
        add_header X-Worker \$pid always;
        ${\ at_each('location /STORE { entra_mdm STORE;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%; }') }
    }

    server {
        listen 127.0.0.1:%%PORT_small%%;
        client_max_body_size 1k;
        entra_mdm_api_role admin;
        ${\ at_each('location /STORE { entra_mdm_api STORE; }') }
    }

    server {
        listen 127.0.0.1:%%PORT_h2%% http2;
        client_body_buffer_size 1k;
        entra_mdm_api_role admin;
        ${\ at_each('location /STORE/ { entra_mdm_api STORE; }') }
    }
EOC

$t->write_file('keys.json', jwks($key));
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $redis = EntraMDM::Redis->new($t, 'redis');
$t->start;


# by every worker of this node

sub enters {
    my ($store, $name, $expected, %claims) = @_;
    my $token = mint($key, claims_v2(%claims));
    my (%worker, %result);

    for (1 .. 200) {
        my $r = http_get("/$store", port => $t->port('gate'),
            bearer => $token);
        $worker{ $r->header('X-Worker') } = 1;
        $result{ $r->header('X-Result') }++;
        last if keys %worker == 2;
    }
    is(scalar keys %worker, 2, "$name: asked every worker");
    is(join(' ', keys %result), $expected, $name);
}

sub config_error {
    my ($name, $body, @rest) = @_;
    error_is($name, [ api(PATCH => 'config', $body) ], @rest);
}


sub story {
    my ($store) = @_;
    my $n = 100;

    # at first

    ok((wait_for { (api(GET => 'config'))[1]{source} eq $source{$store} }),
        'the source');
    my ($status, $json, $r) = api(GET => 'config');
    is($status, 200, 'GET');
    is_deeply($json, {
        mdm => { windows_entra_client_ids => [],
                 windows_entra_tenant_ids => [] },
        static => { windows_entra_client_ids => [CLIENT_V2],
                    windows_entra_tenant_ids => [TENANT] },
        generation => 0, gitops_mode => JSON::PP::false,
        source => $source{$store},
    }, 'empty lists, and those of the configuration');
    like($r->body, qr/"windows_entra_client_ids":\[\]/, 'never null');
    is($r->header('Content-Type'), 'application/json', 'JSON');
    is($r->header('Content-Length'), length $r->body, 'its length');
    is($r->header('Cache-Control'), 'no-store', 'never cached');
    is($r->header('X-Content-Type-Options'), 'nosniff', 'never sniffed');
    my $empty = $r->header('ETag');
    like($empty, qr/^"[0-9a-f]{64}"$/, 'a strong ETag');

    ($status, undef, $r) = api(HEAD => 'config');
    is($status, 200, 'HEAD');
    is($r->body, '', 'without a body');
    is($r->header('ETag'), $empty, 'but with an ETag');
    ok($r->header('Content-Length') > 100, 'and a length');

    ($status, undef, $r) = api(GET => 'config',
        headers => [ 'If-None-Match' => $empty ]);
    is($status, 304, 'If-None-Match');
    is($r->body, '', 'without a body');
    ($status) = api(GET => 'config', headers => [ 'If-None-Match' => '"x"' ]);
    is($status, 200, 'If-None-Match with another tag');


    # the gate and the lists: each change counts from the next request on

    enters($store, 'another application is refused', 'audience_not_allowed',
        aud => $other);

    ($status, $json, $r) = patch([$other], undef);
    is($status, 200, 'PATCH');
    is_lists('answers the new lists', [$other], [], $json);
    is($json->{generation}, 1, 'a new generation');
    my $one = $r->header('ETag');
    isnt($one, $empty, 'a new tag');
    enters($store, 'it is let in at once, by every worker', 'ok',
        aud => $other);
    enters($store, 'what the configuration says holds beside it', 'ok');

    ($status, $json) = patch(undef, [$foreign]);
    is_lists('the other list is untouched', [$other], [$foreign], $json);
    enters($store, 'another tenant is let in', 'ok', aud => $other,
        tid => $foreign,
        iss => "https://login.microsoftonline.com/$foreign/v2.0");

    ($status, $json) = patch([], undef);
    is_lists('a list is emptied', [], [$foreign], $json);
    enters($store, 'and refuses again', 'audience_not_allowed', aud => $other);

    ($status, $json) = patch([], []);
    is_lists('both at once', [], [], $json);
    is((api(GET => 'config'))[2]->header('ETag'), $empty,
        'the same lists have the same tag');


    # as typed

    my $typed = 'ABCDEF01-abCD-ef01-2345-6789aBcDeF0a';

    ($status, $json) = patch([ guid(9), $typed, lc $typed, guid(9),
        uc $typed ]);
    is_lists('values are kept as typed, each once', [ guid(9), $typed ], [],
        $json);
    my $generation = $json->{generation};
    my $tag = (api(GET => 'config'))[2]->header('ETag');

    ($status, $json, $r) = patch([ uc $typed, guid(9) ]);
    is($status, 200, 'another spelling, another order');
    is_lists('is no change', [ guid(9), $typed ], [], $json);
    is($json->{generation}, $generation, 'no new generation');
    is($r->header('ETag'), $tag, 'nor another tag');

    ($status, $json) = patch([ lc $typed, guid(10) ]);
    is_lists('what stays keeps its spelling', [ guid(10), $typed ], [], $json);

    ($status, $json) = patch([]);
    ($status, $json) = patch([ lc $typed ]);
    is_lists('what comes anew is spelled anew', [ lc $typed ], [], $json);

    ($status, $json) = api(PATCH => 'config', { mdm => {} });
    is($status, 200, 'no list is named');
    is_lists('and none is changed', [ lc $typed ], [], $json);


    # If-Match

    patch([ guid(1) ], []);
    $tag = (api(GET => 'config'))[2]->header('ETag');
    $tag{$tag} = $store;

    error_is('If-Match with another tag',
        [ patch([], undef, match => $empty) ], 412,
        [ base => qr/If-Match.*nothing was changed/ ]);
    is_lists('nothing has changed', [ guid(1) ], []);
    error_is('If-Match without quotes',
        [ patch([], undef, match => $tag =~ s/"//gr) ], 412);
    error_is('If-Match with nothing', [ patch([], undef, match => '') ], 412);
    error_is('a part of the tag',
        [ patch([], undef, match => substr($tag, 0, 20) . '"') ], 412);

    ($status, $json, $r) = patch([ guid(2) ], undef, match => $tag);
    is($status, 200, 'If-Match with the tag: nginx makes no 412 of it');
    is_lists('it has changed', [ guid(2) ], [], $json);
    error_is('the tag of before', [ patch([], undef, match => $tag) ], 412);

    $tag = $r->header('ETag');
    ($status, undef, $r) = patch([ guid(3) ], undef, match => "\"x\", $tag");
    is($status, 200, 'one of several tags');
    $tag = $r->header('ETag');
    ($status, undef, $r) = patch([ guid(4) ], undef, match => "W/$tag");
    is($status, 200, 'a proxy has made it weak');
    ($status) = patch([ guid(5) ], undef, match => '*');
    is($status, 200, 'any');
    error_is('and bad values are bad values, whatever the tag',
        [ patch(['x'], undef, match => '"x"') ], 422);


    # what is refused; nothing of it changes anything

    patch([ guid(1) ], [ guid(2) ]);
    $tag = (api(GET => 'config'))[2]->header('ETag');

    config_error('not a GUID', lists([ guid(3), '12345' ]), 422,
        [ $clients => 'Invalid Entra client ID: 12345' ]);
    config_error('not a tenant', lists([ guid(3) ], ['common']), 422,
        [ $tenants => 'Invalid Entra tenant ID: common' ]);
    config_error('blanks around', lists([ ' ' . guid(3) ]), 422,
        [ $clients => 'Invalid Entra client ID:  ' . guid(3) ]);
    config_error('an error each', lists([ 'a', guid(3), 'b' ], ['c']), 422,
        [ $clients => 'Invalid Entra client ID: a' ],
        [ $clients => 'Invalid Entra client ID: b' ],
        [ $tenants => 'Invalid Entra tenant ID: c' ]);
    config_error('a value to be escaped', lists([ "\"\\\n\x{20ac}</script>" ]),
        422,
        [ $clients => "Invalid Entra client ID: \"\\\n\x{20ac}</script>" ]);
    config_error('a thousand bad values',
        lists([ map { "bad $_" } 1 .. 1000 ]), 422,
        map { [ $clients => "Invalid Entra client ID: bad $_" ] } 1 .. 100);
    config_error('no mdm', {}, 422, [ mdm => 'is missing' ]);
    config_error('mdm null', { mdm => undef }, 422, [ mdm => qr/object/ ]);
    config_error('a list null',
        { mdm => { windows_entra_client_ids => undef } }, 422,
        [ $clients => qr/array of strings/ ]);
    config_error('a list of numbers',
        { mdm => { windows_entra_tenant_ids => [1] } }, 422,
        [ $tenants => qr/array of strings/ ]);
    config_error('an unknown field', { mdm => { enabled => JSON::PP::true } },
        422, [ 'mdm.enabled' => qr/known/ ]);
    config_error('an unknown field above', { mdm => {}, 'a"b' => 1 }, 422,
        [ 'a"b' => qr/known/ ]);
    config_error('an array', [], 400, [ base => qr/JSON object/ ]);
    config_error('no JSON', 'x', 400, [ base => qr/JSON object/ ]);
    config_error('nothing', '', 400, [ base => qr/JSON object/ ]);
    config_error('a name twice', '{"mdm":{},"mdm":{}}', 400);
    config_error('not UTF-8', "{\"mdm\":{},\"\xff\":1}", 400);
    config_error('two documents', '{"mdm":{}}{"mdm":{}}', 400);
    config_error('very deep', '{"mdm":' . '[' x 100_000 . ']' x 100_000 . '}',
        400);
    config_error('more IDs than the API takes', lists([ map { guid($_) }
        1 .. 25_001 ]), 413,
        [ $clients => qr/25000 IDs; larger lists .*Redis/ ]);
    config_error('a large body', '{"mdm":{}' . ' ' x (4 * 1024 * 1024) . '}',
        413, [ base => qr/4m/ ]);
    error_is('a large body in chunks', [ api(PATCH => 'config',
        '{"mdm":{}' . ' ' x (4 * 1024 * 1024) . '}', chunked => 65536) ], 413);

    for my $type ('text/plain', 'application/x-www-form-urlencoded', '',
        'application/jsonx', 'multipart/form-data; boundary=x')
    {
        error_is("Content-Type '$type'", [ api(PATCH => 'config', lists([]),
            headers => [ 'Content-Type' => $type ]) ], 415);
    }

    ($status, undef, $r) = api(PATCH => 'config', lists([]), expect => 1,
        headers => [ 'Content-Type' => 'text/plain' ]);
    is($status, 415, 'Expect');
    ok(!$r->continued, 'no "100 Continue" for a body that is not wanted');

    is(http_request(PATCH => "/$store/config", port => $t->port('small'),
        body => '{"mdm":{}' . ' ' x 2000 . '}',
        headers => [ 'Content-Type' => 'application/json' ])->status, 413,
        'client_max_body_size is nginx\'s own');

    is((api(GET => 'config'))[2]->header('ETag'), $tag,
        'nothing of that changed anything');


    # ways to send a body

    for my $way ([ chunked => 7 ], [ pieces => 11 ], [ expect => 1 ],
        [ headers => [ 'Content-Type' => 'Application/JSON; charset=utf-8' ] ])
    {
        my $id = guid(++$n);
        ($status, $json) = patch([$id], undef, @$way);
        is($status, 200, "$way->[0]");
        is_lists("$way->[0]: taken", [$id], [ guid(2) ], $json);
    }

    my @many = map { guid($_) } 1 .. 500;
    $r = http2(PATCH => "/$store/config", port => $t->port('h2'),
        body => json->encode(lists(\@many)),
        headers => [ 'Content-Type' => 'application/json' ]);
    is($r->status, 200, 'HTTP/2, a body in a file');
    is_lists('taken', \@many, [ guid(2) ], json->decode($r->body));

    is(http_get("/$store/config", port => $t->port('small'))->status, 200,
        'a location without a slash at its end');
    is(http_get("/${store}config", port => $t->port('small'))->status, 404,
        'is not the beginning of a longer name');


    # 25,000 of each

    my @most = map { guid($_) } 1 .. 25_000;

    error_is('two lists that do not fit the zone twice',
        [ patch(\@most, \@most) ], 507,
        [ base => qr/zone.*nothing was changed/ ]);
    is_lists('nothing has changed', \@many, [ guid(2) ]);

    ($status, $json) = patch(\@most, []);
    is($status, 200, '25,000 IDs');
    is_lists('are there', \@most, []);
    ($status, $json) = patch([], []);
    is($status, 200, 'and gone');
}

for my $store (sort keys %source) {
    local $EntraMDM::ApiClient::Location = "/$store/";
    subtest $store => sub { story($store) };
}
is(scalar keys %tag, 1, 'a tag is of the lists, not of where they are kept');

$t->done;
