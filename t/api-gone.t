#!/usr/bin/perl

# Clients that are gone when the API answers: nothing is used that went with
# them, and the worker lives on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;
use EntraMDM::Verdict;

# a Redis that is not there is found out at once

sub conf {
    return fleet_policy(@_) . fleet_policy('redis unix:%%DIR%%/none;', 'away')
        . api_conf('', 'location /away/ { entra_mdm_api away;'
            . ' entra_mdm_api_role $role; }');
}

my $t = EntraMDM::Nginx->new(http => conf());

$t->write_file('keys.json', jwks(new_key()));
$t->start;

my ($worker) = $t->workers;
my $client = guid(1);
my $path = "${EntraMDM::ApiClient::Location}config";
my $head = "Host: $EntraMDM::HTTP::Host\r\nX-Role: admin\r\n";

sub change {
    my ($body, $length, $where) = @_;

    $where //= $path;
    $length //= length $body;
    return "PATCH $where HTTP/1.1\r\n${head}Content-Type: application/json\r\n"
        . "Content-Length: $length\r\n\r\n$body";
}


# The worker sleeps until all has been sent and the client is gone.  Of two
# requests at once, the answer to the first is refused by the client's system,
# so that the second one cannot be answered any more.

sub leave {
    my (@requests) = @_;
    my $c = http_connect();

    kill STOP => $worker;
    $c->send([ join '', @requests ]);
    close $c->{socket};
    kill CONT => $worker;
}

my $get = "GET $path HTTP/1.1\r\n$head\r\n";

for my $what (
    [ 'a change', change(json()->encode(lists([$client], undef))) ],
    [ 'one that changes nothing', change('{"mdm":{}}') ],
    [ 'no JSON', change('{') ],
    [ 'a reading', $get ],
    [ 'a change without Redis', change(json()->encode(lists([])), undef,
        '/away/config') ],
    [ 'activities without Redis', $get =~ s{GET \S+}{GET /away/activities}r ],
)
{
    my ($name, $request) = @$what;

    leave($get, $request);
    is((api(GET => 'config'))[0], 200, "$name: somebody else is answered");
    is(($t->workers)[0], $worker, "$name: by the same worker");
}

is_lists('what was sent in whole was done', [$client], []);


# half a body, then a reload: the old worker still has the request, but its
# lists may be nobody's any more

for my $case ([ 'the same zone', '', 200 ],
    [ 'a larger zone', 'zone 4m;', 503 ])
{
    my ($name, $zone, $expected) = @$case;
    my $c = http_connect();
    my $body = json()->encode(lists([ $client, guid($expected) ], undef));

    $c->send([ change('', length $body)
        =~ s/\r\n\r\n/\r\nExpect: 100-continue\r\n\r\n/r ]);
    ok((wait_for { $c->fill(0); $c->{in} =~ s/^HTTP.*100 Continue\r\n\r\n// }),
        "$name: the API waits for the body");
    ok($t->reload(http => conf($zone)), "$name: reload");
    $c->send([$body]);

    my $r = $c->response;
    is($r->status, $expected, "$name: $expected") or diag $r->raw;
    is(scalar @{ (api(GET => 'config'))[1]{mdm}{windows_entra_client_ids} }, 2,
        "$name: and that is so");
    like($r->body, qr/nothing was changed/, "$name: which it says")
        if $expected != 200;
}

is(scalar @{ (api(GET => 'activities'))[1]{activities} }, 2, 'two activities');
is((patch([], undef))[0], 200, 'the new workers change it');


# reloads with another zone that fail: the old workers go on at once

my @kept = map { guid($_) } 1 .. 10_000;
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
    LocalPort => $t->port('taken')) or die;
my $n = 0;

is((patch(\@kept, undef))[0], 200, 'many IDs');
for my $case (
    [ 'a port that is taken', conf('zone 5m;')
        . 'server { listen 127.0.0.1:%%PORT_taken%%; }',
        qr/still could not bind/ ],
    [ 'a zone that is too small', conf('zone 512k;'),
        qr/needs \d+: raise "zone"/ ])
{
    my ($name, $conf, $why) = @$case;

    $t->mark;
    $t->expect_log($_) for $why, qr/ bind\(\) to /;
    ok(!$t->reload(http => $conf), "$name: no reload");
    ok($t->wait_for_log($why), "$name: told");

    ok((wait_for {
        (patch([ @kept, guid(++$n, 1) ], undef))[0] == 200;
    } 10), "$name: the lists are changed as ever");
}

$t->done;
