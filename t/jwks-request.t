#!/usr/bin/perl

# Keys from a location: fetched at start, in the background, and on demand;
# one attempt at a time on a node, none within min_interval of the last.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(encode_json);
use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

sub conf {
    my ($times) = @_;

    return $Headers . fleet_policy('', 'fleet', "request=/_entra/jwks $times")
        . fleet_policy('', 'second', "request=/_entra/jwks refresh=1h")
        . <<'EOC';
    client_max_body_size 2m;
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /second/ {
            entra_mdm second;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /_entra/jwks {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%/keys;
        }
    }
EOC
}

my $t = EntraMDM::Nginx->new(workers => 2, http => conf('min_interval=1s'));
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $idp = EntraMDM::Backend->new($t, 'idp');
my ($key, $next) = (new_key(), new_key());
my ($good, $other) = map { mint($_, claims_v2()) } $key, $next;

sub serve {
    my ($keys, %o) = @_;
    $idp->answer('/keys' => { body => jwks(@$keys), %o });
    $idp->requests;
}

# All at once, each on a connection of its own: what they were answered.

sub burst {
    my (@tokens) = @_;
    my @clients = map { http_connect() } @tokens;
    my %told;

    $clients[$_]->send([ "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        . "Authorization: Bearer $tokens[$_]\r\n\r\n" ]) for 0 .. $#clients;
    for (@clients) {
        my $r = $_->response;
        $told{ $r->status . ' ' . ($r->header('X-Result') // '-') }++;
        $_->close;
    }
    return join ', ', map { "$told{$_}x $_" } sort keys %told;
}

# A token of a key nobody knows; the text after the second point is no matter.

my $garbage = b64url('x' x 256);

sub stranger {
    my (%claims) = @_;
    my $kid = join '', map { chr 97 + int rand 26 } 1 .. 20;

    return join '.', b64url(encode_json({ alg => 'RS256', kid => $kid })),
        b64url(encode_json(claims_v2(%claims))), $garbage;
}

# Many requests over a few connections that stay open.

sub many {
    my ($n, %claims) = @_;
    my %told;

    for (1 .. 10) {
        my $c = http_connect();
        for (1 .. $n / 10) {
            my $r = $c->request(GET => '/', bearer => stranger(%claims));
            $told{ $r->status . ' ' . ($r->header('X-Result') // '-') }++;
        }
        $c->close;
    }
    return join ', ', map { "$told{$_}x $_" } sort keys %told;
}

sub interval { sleep 1.05 }         # until another attempt is allowed


# at start, nobody having asked

serve([$key], delay => 0.4);
$t->start;
is(burst(($good) x 200), '200x 200 ok',
    'a cold start: all wait for the keys and are judged by them');
is($fleet->requests, 200, 'and reach the backend');
ok($t->wait_for_log(qr/key set .* of policy "second"/), 'two policies');

my @fetches = $idp->requests;
is(scalar @fetches, 2, 'one fetch for each policy, whoever asks');
for my $fetch (@fetches) {
    is($fetch->method, 'GET', 'it is a GET');
    is($fetch->header('Authorization'), undef, 'with nothing of a client');
    is($fetch->body, '', 'nor a body');
}

verdict('bearer', http_get('/', bearer => $good), $fleet, '200 ok accepted 1');
verdict('SOAP', http_post('/', enroll_message($good)), $fleet,
    '200 ok accepted 1');
verdict('HTTP/2', http2(POST => '/', port => $t->port('h2'),
    body => enroll_message($good)), $fleet, '200 ok accepted 1');
verdict('the other policy', http_get('/second/', bearer => $good), $fleet,
    '200 ok accepted 1');
is($idp->requests, 0, 'a set that is young is not fetched again');
is(http_get('/_entra/jwks')->status, 404, 'no client gets at the location');
is($idp->requests, 0, 'nor causes a request by it');


# rotation

interval();
serve([ $key, $next ], delay => 0.2);
is(burst(($other) x 20), '20x 200 ok', 'the first tokens under a new key');
is($idp->requests, 1, 'one fetch for them all');
verdict('the old key', http_get('/', bearer => $good), $fleet,
    '200 ok accepted 21');

interval();
serve([$next]);
verdict('nobody has asked yet', http_get('/', bearer => $good), $fleet,
    '200 ok accepted 1');
verdict('an unknown key has them fetched',
    http_post('/', enroll_message(stranger())), $fleet,
    '500 key_unknown refused 0');
is($idp->requests, 1, 'once');
is(burst(($good) x 10), '10x 401 key_unknown',
    'a key that is gone stops working at once, in each worker');
is(burst(($other) x 10), '10x 200 ok', 'the others go on');
$fleet->requests;

for my $method (qw(GET POST)) {
    interval();
    serve([ $key, $next ], delay => 0.1);
    my $c = http_connect();
    my %o = $method eq 'GET' ? (bearer => $good)
          : (body => enroll_message($good));
    verdict("$method that waited", $c->request($method, '/', %o), $fleet,
        '200 ok accepted 1');
    verdict("$method, the next on that connection",
        $c->request(GET => '/', bearer => stranger()), $fleet,
        '401 key_unknown refused 0');
    verdict("$method, and one more",
        $c->request($method, '/', %o), $fleet, '200 ok accepted 1');
    is($idp->requests, 1, 'one fetch');
    interval();
    serve([$next]);
    http_get('/', bearer => stranger());
    is($idp->requests, 1, 'the key is gone again');
}

interval();
serve([ $key, $next ], delay => 0.2);
verdict('HTTP/2 that waited', http2(POST => '/', port => $t->port('h2'),
    body => enroll_message($good)), $fleet, '200 ok accepted 1');


# strangers

interval();
serve([ $key, $next ]);
is(many(200, tid => CLIENT_V2), '200x 401 key_unknown', 'unlisted tenant');
is(many(200, iss => 'https://login.example.com/'), '200x 401 key_unknown',
    'issuer of no trusted form');
is(many(50, iss => undef), '50x 401 key_unknown', 'no issuer');
is($idp->requests, 0, 'none of them causes a fetch');

my $from = time;
is(many(2000), '2000x 401 key_unknown', '2,000 random keys');
my $most = 1 + int(time - $from);
my $fetched = $idp->requests;
cmp_ok($fetched, '>=', 1, 'cause a fetch');
cmp_ok($fetched, '<=', $most, "in $most intervals no more than as many");

interval();
serve([ $key, $next ]);
for (
    [ 'a token for Graph', mint($key, claims_v2(),
        header => { kid => 'x', nonce => 'n' }), '401 key_unknown' ],
    [ 'another algorithm', mint($key, claims_v2(), alg => 'RS384',
        header => { kid => 'x' }), '401 algorithm_not_allowed' ],
    [ 'no token at all', 'garbage', '401 token_malformed' ],
) {
    my ($name, $token, $expected) = @$_;
    is(burst($token), "1x $expected", $name);
    is($idp->requests, 0, "$name: no fetch");
}


# keys that may not be used are known

interval();
my $weak = new_key(bits => 1024);
serve([ $key, $weak ]);
http_get('/', bearer => stranger());
is($idp->requests, 1, 'a set with a key that is too short');
interval();
verdict('it is named', http_get('/', bearer => mint($weak, claims_v2())),
    $fleet, '401 key_not_allowed refused 0');
is($idp->requests, 0, 'which causes no fetch');


# in the background

ok($t->reload(http => conf('refresh=1s min_interval=1s')),
    'refresh every second');
serve([$key]);
ok((wait_for { $idp->{seen} += $idp->requests; $idp->{seen} >= 3 }),
    'without a request of anybody');
verdict('by the new set', http_get('/', bearer => $other), $fleet,
    '401 key_unknown refused 0');

$idp->answer('/keys' => { body => jwks($key), delay => 2 });
$idp->requests;
ok((wait_for { $idp->requests }), 'a fetch is under way, and slow');
$from = time;
verdict('nobody waits for it', http_get('/', bearer => $good), $fleet,
    '200 ok accepted 1');
cmp_ok(time - $from, '<', 1, 'as long as the keys are young');
serve([$key]);

my ($worker) = $t->workers;
$t->expect_log(qr/worker process \d+ exited on signal 9/);
for my $pid ($t->workers) {
    kill KILL => $pid;
    ok((wait_for { my @now = $t->workers; @now == 2
        && !grep { $_ == $pid } @now }), 'a worker dies');
}
$idp->requests;
ok((wait_for { $idp->requests }), 'its successor goes on');

ok($t->reload(http => conf('refresh=1h min_interval=1s')), 'refresh=1h');
interval();
$idp->requests;
ok($t->reload, "reload $_") for 1 .. 2;
verdict('after the reload', http_get('/', bearer => $good), $fleet,
    '200 ok accepted 1');
is($idp->requests, 0, 'a set younger than refresh is not fetched again');

ok($t->reload(http => conf('refresh=1h min_interval=1s')
    =~ s/jwks request/zone 3m; jwks request/gr), 'zones of another size');
interval();
verdict('after that reload', http_get('/', bearer => $good), $fleet,
    '200 ok accepted 1');
is($idp->requests, 0, 'nor one that a new zone has taken over');

ok($t->reload(http => conf('refresh=1s min_interval=1s')), 'refresh=1s');
ok((wait_for { $idp->requests }), 'an older one is');
$t->settle;


# one process

my $single = EntraMDM::Nginx->new(main => 'master_process off;',
    http => conf('min_interval=1s') =~ s/%%PORT_fleet%%/$fleet->port/er
        =~ s/%%PORT_idp%%/$idp->port/er);
serve([$key], delay => 0.2);
$single->start;
is(burst(($good) x 20), '20x 200 ok', 'without a master');
is($idp->requests, 2, 'one fetch for each policy');

interval();
serve([$next]);
is(burst($other), '1x 200 ok', 'it fetches on demand');

$single->done;
