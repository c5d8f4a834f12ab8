#!/usr/bin/perl

# once: nothing here but the clock

# A clock that leaps by an hour, to and fro, while all else goes on: tokens are
# judged by the time of the moment, even those that were verified before;
# fetches are no more and no fewer for it; changes keep their order and reach
# the state.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);

use EntraMDM::ApiClient;
use EntraMDM::Backend;
use EntraMDM::File qw(spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant HOUR => 3600;

my $t = EntraMDM::Nginx->new(workers => 2, http => $Headers . fleet_policy(
    'state state/fleet.json;', 'fleet',
    'request=/keys refresh=1h min_interval=1s max_stale=1d') . api_map()
    . <<"EOC");
    client_max_body_size 2m;
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /keys {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%;
        }
        @{[ api_location() ]}
    }
EOC
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $idp = EntraMDM::Backend->new($t, 'idp');
my ($key, $next, $last) = map { new_key() } 1 .. 3;

system($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', $t->dir . '/clock.so',
    "$FindBin::Bin/clock.c", '-ldl') == 0 or die 'no clock.so';

# nginx looks at the clock when something happens.

sub clock {
    my ($off) = @_;
    spew($t->dir . '/clock', $off);
    http_get('/') for 1 .. 4;
    $fleet->requests;
}

sub leap { clock($_ % 2 ? HOUR : -HOUR + 5 * $_) for 1 .. $_[0] }

sub ask {
    my ($name, $token, $expected) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    verdict($name, http_get('/', bearer => $token), $fleet, $expected);
}

sub in_time {
    my ($name, $token) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok((wait_for { http_get('/', bearer => $token)->status == 200 }), $name);
    $fleet->requests;
}

spew($t->dir . '/clock', 0);
$idp->answer('/keys' => { body => jwks($key) });
{
    local $ENV{LD_PRELOAD} = $t->dir . '/clock.so';
    local $ENV{ENTRA_MDM_CLOCK} = $t->dir . '/clock';
    $t->start;
}


# tokens, known or not

my $now = time;
my $good = mint($key, claims_v2(nbf => $now - 60, iat => $now - 60,
    exp => $now + 600));
my $soap = enroll_message($good);

for my $round (1, 2) {
    clock(0);
    ask("now $round", $good, '200 ok accepted 1') for 1 .. 4;
    verdict("now $round: SOAP", http_post('/', $soap), $fleet,
        '200 ok accepted 1');
    clock(HOUR);
    ask("an hour on $round", $good, '401 token_expired refused 0') for 1 .. 4;
    verdict("an hour on $round: SOAP", http_post('/', $soap), $fleet,
        '500 token_expired refused 0');
    clock(-HOUR);
    ask("an hour back $round", $good, '401 token_not_yet_valid refused 0')
        for 1 .. 4;
    verdict("an hour back $round: SOAP", http_post('/', $soap), $fleet,
        '500 token_not_yet_valid refused 0');
}


# fetches that succeed, that are slow, that fail

sleep 1.1;
$idp->requests;
my $from = Time::HiRes::time;
leap(12);
my $most = int(Time::HiRes::time - $from) + 2;
cmp_ok(scalar $idp->requests, '<=', $most, 'leaps: no more than one a second');

clock(-HOUR);
$idp->answer('/keys' => { body => jwks($key, $next), delay => 1 });
clock(0);
in_time('a key that is new', mint($next, claims_v2()));

sleep 1.1;
$idp->answer('/keys' => { body => jwks($key, $next, $last), delay => 1.5 });
$idp->requests;
my $c = http_connect();
$c->send([ "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    . "Authorization: Bearer @{[ mint($last, claims_v2()) ]}\r\n\r\n" ]);
ok((wait_for { $idp->requests }), 'a slow fetch');
leap(3);
clock(0);
verdict('leaps while it lasts: it counts', $c->response, $fleet,
    '200 ok accepted 1');
is(scalar $idp->requests, 0, 'and is the only one');

$idp->answer('/keys' => { status => 500 });
sleep 1.1;
leap(2);
$idp->requests;
$from = Time::HiRes::time;
leap(20);
$most = int(Time::HiRes::time - $from) + 2;
cmp_ok(scalar $idp->requests, '<=', $most, 'failures: no more for the leaps');
clock(0);
ask('failures: the last good keys', $good, '200 ok accepted 1');
$idp->answer('/keys' => { body => jwks(my $new = new_key(), $key) });
in_time('failures: and on', mint($new, claims_v2()));


# changes

my @made;
for my $off (0, HOUR, -HOUR, 0) {
    clock($off);
    my ($status) = patch([ guid(scalar @made) ], undef);
    is($status, 200, "a change, the clock $off off");
    push @made, $off;
}
my $id = guid($#made);
my @activities = @{ (api(GET => 'activities?per_page=100'))[1]{activities} };
is(join(' ', map { $_->{id} } @activities), join(' ', reverse 1 .. @activities),
    'activities in the order of the changes');
my @added = grep { $_->{type} =~ /^added/ } @activities;
is(join(' ', map { $_->{details}{client_id} } @added),
    join(' ', map { guid($_) } reverse 0 .. $#made), 'each of them');
cmp_ok($added[1]{created_at}, 'lt', $added[2]{created_at},
    'with the time that it was');
ok(state_with($t, sub { "@{ $_[0]{client_ids} // [] }" eq $id }), 'saved');
my $status = (api(GET => 'status'))[0];
is($status, 200, 'the status');
clock(-HOUR);
patch([ $id, guid(50) ], undef);
ok(state_with($t, sub { "@{ $_[0]{client_ids} // [] }" eq join ' ', $id, guid(50) }),
    'saved an hour back, too');

$t->settle;
$t->start;
is_lists('a restart by the right clock', [ $id, guid(50) ], []);
ask('and its keys', mint($new, claims_v2()), '200 ok accepted 1');
$t->done;
