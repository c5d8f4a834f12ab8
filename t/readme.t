#!/usr/bin/perl
# once

# README's tables and the code say the same.  Its blocks are run by t/docs.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::Document;
use EntraMDM::File qw(root slurp spew);
use EntraMDM::HTTP;
use EntraMDM::Metrics ();
use EntraMDM::Nginx;
use EntraMDM::Source;
use EntraMDM::Token;

my $readme = EntraMDM::Document->new('README.md');

sub words { return map { /`([^`]*)`/ ? $1 : $_ } @_ }
sub table { return $readme->table(@_) }

# As an administrator writes it: 60s, 16k.

sub seconds { my ($n) = @_; return $n % 3600 == 0 ? $n / 3600 . 'h'
    : $n % 60 == 0 && $n > 60 ? $n / 60 . 'm' : "${n}s" }
sub size { my ($n) = @_; return $n % 1048576 ? $n / 1024 . 'k'
    : $n / 1048576 . 'm' }


# reasons

my @reasons = reasons();
is(scalar @reasons, 23, 'reasons are found in the code');
is_deeply([ map { [ @$_[ 0 .. 4 ], $_->[5] =~ tr/`//dr ] } table('reason') ],
    [ map { my ($key, $status, $code, $hresult, @texts) = @$_;
        [ "`$key`", $status, $code, "`0x$hresult`", @texts ] } @reasons ],
    'reasons');


# variables

is_deeply([ map { /\$(\w+)/ } map { $_->[0] } table('variable') ],
    [ source('ngx_http_entra_mdm_variables.c')
        =~ /ngx_string\("(entra_mdm_\w+)"\)/g ], 'variables');

is_deeply([ grep { $_ ne '' } body_of('ngx_http_entra_mdm_actions')
    =~ /ENTRA_STR_INIT\("(\w*)"\)/g ], [ map { /`(\w+)`/g }
    (grep { $_->[0] =~ /action/ } table('variable'))[0][1] ], 'actions');


# metrics

my @metrics = map { my ($name, $type, $labels, $help) = @$_;
    [ "`$name`", $type, join(', ', map { "`$_`" } @$labels), $help ]
} EntraMDM::Metrics::rows();

is(scalar @metrics, 20, 'metrics are found in the code');
is_deeply([ table('metric') ], \@metrics, 'metrics');


# headers

my ($names) = source('ngx_http_entra_mdm_headers.c')
    =~ /header_names\[\] = \{(.*?)\}/s;
is_deeply([ words(map { $_->[0] } table('header')) ],
    [ map { "X-Entra-$_" } $names =~ /"([^"]+)"/g ], 'headers');


# directives of the block, what they take, and what holds if they are not there

my @inner = table('directive');
my %default = map { (words($_->[0]))[0] => $_->[2] } @inner;
my %takes = map { (words($_->[0]))[0] => "$_->[0] $_->[1]" } @inner;

is_deeply([ words(map { $_->[0] } @inner) ],
    [ rows_of('ngx_http_entra_mdm_directives') ], 'directives of the block');

for (
    [ leeway => seconds(source() =~ /rules\.leeway = (\d+);/) ],
    [ scope => source() =~ /rules\.scope = entra_lit\("(\w+)"\)/ ],
    [ zone => size(value_of('zone_size')) ],
    [ header_prefix => source() =~ /header_prefix, "([^"]+)"\)/ ],
    [ max_token => size(value_of('max_token')) ],
    [ max_body => size(value_of('max_body')) ],
    [ log_level => lc((source() =~ /->log_level = NGX_LOG_(\w+);/)[0]) ],
    [ soap_fault_status => 'auto' ], [ require_upn => 'off' ],
    [ device_token => 'deny' ], [ cloud => 'public' ],
)
{
    my ($name, $value) = @$_;
    is($default{$name}, "`$value`", "$name: default");
}

is_deeply([ $default{jwks} =~ /`(\w+)`/g ],
    [ '1h', '1m', '24h', '60s' ], 'jwks: defaults, as written');
is_deeply([ map { value_of($_) } qw(refresh min_interval check) ],
    [ 3600, 60, 60 ], 'jwks: defaults, as in the code');
like(source('ngx_http_entra_mdm_sources.c'), qr/max_stale = 24 \* 3600;/,
    'jwks: max_stale');
is_deeply([ $takes{jwks} =~ /`(\w+=)`\*/g ],
    [ 'request=', rows_of('times'), 'file=', 'check=' ], 'jwks: parameters');
like($takes{jwks}, qr/`redis`/, 'jwks: redis');

# the limits that the table tells, tried

my $t = EntraMDM::Nginx->new;
$t->write_file('keys.json', jwks(new_key()));

sub policy_takes {
    my ($lines) = @_;
    my $jwks = $lines =~ /^jwks / ? '' : 'jwks file=%%DIR%%/keys.json;';
    my ($code, $said) = $t->nginx_t(http => <<"EOC");
        entra_mdm_policy fleet {
            tenant_id @{[ TENANT ]};
            client_id @{[ CLIENT_V2 ]};
            $jwks
            $lines
        }
        server { listen 127.0.0.1:%%PORT_8080%%; }
EOC
    return $code == 0;
}

for (
    [ leeway => '300s', '301s' ], [ max_token => '1m', '1025k' ],
    [ max_body => '1024m', '1025m' ],
    [ soap_fault_status => '599', '600' ], [ soap_fault_status => '400', '399' ],
    (map { [ soap_fault_status => '200', $_ ] } 408, 444, 494, 499),
    (map { [ log_level => $_, 'debug' ] } qw(info notice warn error)),
    (map { [ cloud => $_, 'germany' ] } qw(public usgov china)),
    (map { [ device_token => $_, 'allow' ] } qw(pass deny)),
)
{
    my ($name, $good, $bad) = @$_;
    my ($told) = $takes{$name} =~ /(\Q$good\E)/;

    ok($told || $name =~ /status/, "$name: $good is in the table");
    ok(policy_takes("$name $good;"), "$name $good");
    ok(!policy_takes("$name $bad;"), "not $name $bad");
}


my ($least, $most) = $takes{jwks} =~ /every `check`, (\w+) to (\w+)/;
is_deeply([ $least, $most ], [ '1s', '1d' ], 'check: limits');
for ([ $least, 1 ], [ $most, 1 ], [ '0s', '' ], [ '86401s', '' ]) {
    my ($time, $good) = @$_;
    is(policy_takes("jwks file=%%DIR%%/keys.json check=$time;"), $good,
        "check=$time");
}


# How many IDs a zone holds: that many fit, and somewhat more do not.

my $state = $t->dir . '/state';
mkdir $state;

for (table('`zone`')) {
    my ($zone, $ids) = (words($_->[0]), $_->[1] =~ tr/,//dr);

    for ([ $ids, 1 ], [ int $ids * 1.02, '' ]) {
        my ($n, $fits) = @$_;
        spew("$state/fleet.json", '{"version":1,"client_ids":[' . join(',',
            map { sprintf '"%08x-2222-3333-4444-555555555555"', $_ } 1 .. $n)
            . '],"tenant_ids":[]}');
        is(policy_takes("zone $zone; state $state/fleet.json;"), $fits,
            "zone $zone: $n IDs");
    }
}


# directives of locations, and where they may stand

my %flag = (http => 'MAIN', server => 'SRV', location => 'LOC');
my $commands = body_of('ngx_http_entra_mdm_commands');
my @outer = $commands =~ /ngx_string\("(\w+)"\)/g;

is_deeply([ $readme->text =~ /^### (entra_mdm\w*)/mg ], \@outer, 'directives');

for my $name (@outer) {
    my ($flags) = $commands =~ /ngx_string\("$name"\),\s*(\S+),/;
    my ($told) = $readme->text =~ /^### $name\b.*\n\nContext: ([^.;]+?)[.;]/m;
    my ($places) = ($told // '') =~ /^((?:`\w+`(?:, )?)+)/;

    is(join(' ', ($places // '') =~ /`(\w+)`/g),
        join(' ', grep { $flags =~ /NGX_HTTP_$flag{$_}_CONF/ }
            qw(http server location)), "$name: context");
    next if $flags !~ /NGX_CONF_FLAG/;
    my ($default) = $readme->text =~ /^### $name\b.*\n\n.*?Default: `(\w+)`/m;
    my ($member) = $commands =~ /"$name".*?conf_t, (\w+)\)/s;
    my ($value) = source() =~ /merge_value\(conf->$member,\s+[^;]*?(\d)\);/s;
    is($default, $value ? 'on' : 'off', "$name: default");
}

my ($entra_mdm) = $readme->text =~ /^### entra_mdm (.*)$/m;
is_deeply([ map { "token=$_" } $entra_mdm =~ /\b(auto|bearer|soap)\b/g ],
    [ source('ngx_http_entra_mdm_module.c') =~ /ngx_string\("(token=\w+)"\)/g ],
    'entra_mdm: values of token=');


# each header has the claim that the table names, or else the other one

my $key = new_key();
my $backend = EntraMDM::Backend->new($t, 'fleet');

$t->write_file('keys.json', jwks($key));
$t->change(http => <<"EOC");
    entra_mdm_policy fleet {
        tenant_id @{[ TENANT ]};
        client_id @{[ CLIENT_V2 ]};
        jwks file=%%DIR%%/keys.json;
    }
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            entra_mdm  fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
    }
EOC
$t->start;

my @named = table('header');
my $claims = claims_v2(deviceid => 'the-device', upn => 'other@example.com');
my @else = map { ($_->[1] =~ /`(\w+)`/g)[1] // () } @named;

is_deeply(\@else, [ 'preferred_username' ], 'what stands in for a claim');
my %nameless = %$claims;
delete $nameless{upn};

for ([ 0, $claims ], [ 1, \%nameless ]) {
    my ($n, $given) = @$_;

    is(http_get('/', bearer => mint($key, $given))->status, 200, 'accepted');
    my $seen = $backend->last;
    for my $row (@named) {
        my @claim = $row->[1] =~ /`(\w+)`/g;
        my $claim = $claim[$n] // $claim[0];

        is($seen->header((words($row->[0]))[0]), $claims->{$claim},
            "$row->[0]: $claim");
    }
}
$t->done;
