#!/usr/bin/perl

# TLS: a server is believed whose certificate is good, and for this name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Certificates;
use EntraMDM::File qw(wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2);
my ($ca, $foreign) = map { EntraMDM::Certificates->new($t->dir . "/$_") }
    qw(ca foreign);
my $options = 'tls_ca=%%DIR%%/ca/ca.crt timeout=2s';
my $url = 'rediss://127.0.0.1:%%PORT_good%%';

$t->write_file('keys.json', jwks(key()));
my ($code, $said) = $t->nginx_t(http => live_http("redis $url $options;"));

if ($code != 0) {
    like($said, qr/\[emerg\].*hiredis.*TLS.* in \S+:\d+/,
        'hiredis has no TLS: nginx -t says so');
    done_testing();
    exit;
}

my %certificate = (
    good => [ $ca, 'DNS:redis.invalid,IP:127.0.0.1' ],
    named => [ $ca, 'DNS:redis.invalid' ],
    foreign => [ $foreign, 'DNS:redis.invalid,IP:127.0.0.1' ],
    expired => [ $ca, 'DNS:redis.invalid,IP:127.0.0.1', expired => 1 ],
    picky => [ $ca, 'DNS:redis.invalid,IP:127.0.0.1' ],
);
my %server = map { my ($name, ($by, @what)) = ($_, @{ $certificate{$_} });
    $name => EntraMDM::Redis->new($t, $name,
        tls => { $by->certificate($name, @what), ca => "$ca->{dir}/ca.crt" },
        conf => 'tls-auth-clients ' . ($name eq 'picky' ? 'yes' : 'no'))
} keys %certificate;
my %client = $ca->certificate('client', 'DNS:nginx');
my $certificate = "tls_cert=$client{cert} tls_key=$client{key}";
my $plain = EntraMDM::Redis->new($t, 'plain');

let_in($_, guid(1)) for values %server, $plain;

my $started = 0;

for ([ good => $options, 'an address that the certificate has' ],
     [ good => "$options tls_name=redis.invalid", 'a name that it has' ],
     [ named => "$options tls_name=redis.invalid", 'only the name' ],
     [ picky => "$options $certificate", "a client's certificate" ],
     [ good => "$options $certificate", 'which nobody asked for' ])
{
    my ($name, $with, $told) = @$_;
    my $new = guid(++our $New, 1);

    serve($name, $with);
    let_in($server{$name}, $new);
    everywhere(token($new), 'ok', "$told: the list");
    shut_out($server{$name}, $new);
    everywhere(token($new), 'audience_not_allowed', "$told: followed");
}

# 10,000 IDs: many records, both ways

let_in($server{good}, map { guid($_, 2) } 1 .. 10_000);
everywhere(token(guid(10_000, 2)), 'ok', 'a long list');
$server{good}->kill9;
$server{good}->start;
let_in($server{good}, guid(3));
everywhere(token(guid(3)), 'ok', 'a server that comes back', 20);

$t->stop;
$started = 0;

for ([ named => $options, 'an address that the certificate has not' ],
     [ good => "$options tls_name=other.invalid", 'another name' ],
     [ foreign => $options, "another authority's" ],
     [ expired => $options, 'an expired one' ],
     [ good => 'timeout=2s', "an authority that the system does not know" ],
     [ picky => $options, "a server that asks for the client's" ],
     [ picky => "$options tls_cert=$server{foreign}{tls}{cert}"
       . " tls_key=$server{foreign}{tls}{key}", "a client's of another's" ],
     [ plain => $options, 'no TLS at all' ])
{
    my ($name, $with, $told) = @$_;

    $t->stop if $started;
    $started = 0;
    $t->mark;
    serve($name, $with);
    ok($t->wait_for_log(qr/\[error\].*fleet/), "$told: logged");
    is(said(token(guid(1))), 'lists_unavailable', "$told: no list");
    is(said(token(CLIENT_V2)), 'ok', "$told: the configuration counts");
}

# what nginx -t says

for ([ 'tls_ca=%%DIR%%/missing.crt', 'missing.crt', 'no such authority' ],
     [ "tls_cert=$client{cert}", 'tls_key', 'a certificate without its key' ],
     [ "tls_key=$client{key}", 'tls_cert', 'a key without its certificate' ],
     [ "tls_cert=$client{cert} tls_key=$ca->{dir}/ca.key", 'key',
       'a key of another certificate' ])
{
    my ($with, $says, $name) = @$_;
    my ($code, $said) = $t->nginx_t(http => live_http("redis $url $with;"));
    isnt($code, 0, "$name: nginx -t fails");
    like($said, qr/\[emerg\].*$says.* in \S+:\d+/, "$name: says why");
}

$t->done;


sub serve {
    my ($name, $with) = @_;
    my $http = live_http("redis rediss://127.0.0.1:%%PORT_$name%% $with;");

    $started ? ok($t->reload(http => $http), 'reload')
             : ($t->change(http => $http), live_start($t));
    $started = 1;
}
