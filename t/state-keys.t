#!/usr/bin/perl

# Keys that were fetched survive, as old as they were.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(workers => 2, http => $Headers
    . fleet_policy('state state/fleet.json;') =~ s/jwks file=\S+;/jwks request=\/_entra\/jwks;/r . <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /_entra/jwks {
            internal;
            alias %%DIR%%/idp.json;
        }
    }
EOC
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();
my $good = mint($key, claims_v2());

sub judged {
    my ($name, $expected) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    verdict($name, http_get('/', bearer => $good), $fleet, $expected);
}

$t->write_file('idp.json', jwks($key));
$t->start;
judged('keys are fetched', '200 ok accepted 1');
my $state = state_with($t, sub { kids($_[0]) eq $key->kid }, 3);
ok($state, 'and saved');
is($state->{jwks_source}, 'request=/_entra/jwks', 'with their source');

# nobody to ask any more; then the same keys, but of an hour or a day ago

unlink $t->dir . '/idp.json' or die;
kill KILL => -$t->{pid};
wait_for { $t->reaped };
$t->start;
judged('killed, and nobody to ask', '200 ok accepted 1');
$t->stop;
is(read_state($t)->{jwks_fetched}, $state->{jwks_fetched},
    'no younger than before');

for ([ 23 * 3600, '200 ok accepted 1' ],
     [ 25 * 3600, '503 keys_unavailable refused 0' ])
{
    my ($age, $expected) = @$_;
    write_state($t, jwks => [$key], jwks_fetched => time - $age);
    $t->start;
    judged("$age seconds old", $expected);
    $t->stop;
}

# keys that nobody may use come back to life with the next fetch

$t->write_file('idp.json', jwks($key));
$t->start;
judged('fetched again', '200 ok accepted 1');
ok(state_with($t, sub { $_[0]{jwks_fetched} > time - 60 }), 'and saved');

$t->done;
