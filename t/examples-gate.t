#!/usr/bin/perl
# once

# What the examples promise of the gate itself: several Fleet servers, the
# sovereign clouds, a dry run that is ended, a line of JSON for each enrollment,
# limits.  fleet.conf has its test in examples.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP qw(decode_json);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::Example;
use EntraMDM::File qw(root slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new;
my $mdm = '/api/mdm/microsoft';
my $key = new_key();
my $ca = example_files($t, $key);
my $v2 = mint($key, claims_v2());
my $stranger = mint($key, claims_v2(aud => TENANT));
my ($ann, $bob) = ('accepted ann@example.com', 'accepted bob@example.com');


# In every example that gates 8080, three paths are open to whom no gate knows
# yet, and whatever else may appear beside them is not, nor may it hide behind
# a "#".

my @gated = grep { example($_) =~ /PORT_8080.*entra_mdm\s+\w+;/s
    && $_ ne 'demo.conf' && $_ ne 'redis-tls.conf' } examples();

fleet();
for my $name (@gated) {
    my $host = $name eq 'multi-tenant.conf' ? 'mdm.example.com' : HOST;
    local $EntraMDM::HTTP::Host = $host;

    unlink $t->dir . '/entra_mdm/fleet.json';
    $t->change(conf => example($name)
        =~ s/entra_mdm_dry_run +on;//r
        =~ s/\n\s+(?:resolver|include.*jwks-)[^;]*;.*//gr
        =~ s/request=\/_entra\/jwks/file=%%DIR%%\/keys.json/r);
    $t->start;
    for my $path (qw(discovery auth management)) {
        is(http_post("$mdm/$path", 'x')->status, 200, "$name: $path is open");
    }
    is(scalar fleet()->requests, 3, "$name: and reaches Fleet");
    for my $path ("$mdm/enroll", "$mdm/policy", "$mdm/enroll/", "$mdm/new",
        "$mdm/discovery/", "$mdm//enroll", "/x/../$mdm/enroll",
        "$mdm/%65nroll", "$mdm/enroll%0a", "$mdm/auth/..%2fenroll")
    {
        isnt(http_post($path, 'x')->status, 200, "$name: POST $path");
        isnt(http_get($path)->status, 200, "$name: GET $path");
    }
    isnt(http_get("$mdm/tos")->status, 200, "$name: terms of use");
    is(http_get($_)->status, 400, "$name: a path that others may read on: $_")
        for goes_on('', "$mdm/discovery", "$mdm/auth", "$mdm/management");
    is(scalar fleet()->requests, 0, "$name: nothing of that reaches Fleet");
    $t->settle;
}


# demo.conf opens one of them.

$t->change(conf => example('demo.conf'));
$t->start;
is(http_post("$mdm/discovery", 'x')->status, 200, 'demo.conf: discovery');
is(fleet()->requests, 1, 'demo.conf: and reaches the backend');
is(http_get($_)->status, 400, "demo.conf: a path that others may read on: $_")
    for goes_on("$mdm/discovery");
is(fleet()->requests, 0, 'demo.conf: nothing of that does');
$t->settle;


# multi-tenant.conf: two policies, the first with two servers and a file of
# more tenants.

my $other = EntraMDM::Backend->new($t, 'other');
my $third = '11111111-2222-4333-8444-555555555555';
my $government = '8fa981a8-2bad-43af-95a7-3c75b8a9a3eb';
my $gov_key = new_key(issuer =>
    'https://login.microsoftonline.us/{tenantid}/v2.0');

sub at { my ($host, $token, @more) = @_;
    local $EntraMDM::HTTP::Host = $host;
    return enroll($token, @more);
}

sub v1 { my ($host, $tenant) = @_;
    return mint($key, claims_v1(aud => "https://$host/", tid => $tenant,
        iss => "https://sts.windows.net/$tenant/"));
}

$t->write_file('keys-usgov.json', jwks($gov_key, $key));
$t->write_file('group-more.inc', "tenant_id $third;\n");
$t->change(conf => example('multi-tenant.conf'));
$t->start;
is(at("mdm.example.$_", v1("mdm.example.$_", TENANT)), $ann,
    "multi-tenant.conf: mdm.example.$_") for qw(com net);
is(at('mdm.example.com', $v2), $bob, 'a v2 token');
is(at('mdm.example.com', v1('mdm.example.com', $third)), $ann,
    'a tenant of a file');
is(at('mdm.example.com', v1('mdm.example.com', $government)),
    'tenant_not_allowed', "another policy's tenant");
is(at('mdm-gov.example.com', v1('mdm-gov.example.com', TENANT),
    fleet => $other), 'tenant_not_allowed', 'and the other way round');

my $gov = mint($gov_key, claims_v2(tid => $government,
    aud => '3b3b1111-2222-3333-4444-5555555555c3',
    iss => "https://login.microsoftonline.us/$government/v2.0"));
is(at('mdm-gov.example.com', $gov, fleet => $other), 'accepted nobody',
    'the government at its own server');
{
    local $EntraMDM::HTTP::Host = 'mdm-gov.example.com';
    http_post("$mdm/enroll", enroll_message($gov),
        headers => [ 'X-Entra-UPN' => 'evil', 'X-Gov-Entra-UPN' => 'evil' ]);
}
my $seen = $other->last;
is($seen->header('X-Gov-Entra-UPN'), 'bob@example.com',
    'with headers of its own');
is($seen->header('X-Entra-UPN'), undef, 'and no others');
is(at('mdm.example.com', $gov), 'key_unknown', 'nowhere else');
{
    local $EntraMDM::HTTP::Host = 'mdm-gov.example.com';
    is(http_get($_)->status, 400, "nor a path that others may read on: $_")
        for goes_on("$mdm/discovery");
}
is($other->requests, 0, 'nothing of that reaches the backend');
$t->settle;


# sovereign-cloud.conf: keys from that cloud, tokens of that cloud.

for my $cloud ([ usgov => 'login.microsoftonline.us' ],
               [ china => 'login.partner.microsoftonline.cn' ])
{
    my ($name, $host) = @$cloud;
    my $login = EntraMDM::Backend->new($t, "keys_$name");
    my %login = $ca->certificate($host, "DNS:$host");
    my $theirs = new_key();

    $login->answer('*' => { status => 404 },
        '/common/discovery/v2.0/keys' => { body => jwks($theirs) });
    $t->write_file("jwks-$name.conf",
        slurp(root() . "/conf-examples/jwks-$name.conf")
            =~ s{/etc/ssl/certs/ca-certificates.crt}{$login{ca}}r);
    $t->change(conf => example('sovereign-cloud.conf')
        =~ s/cloud( +)usgov/cloud$1$name/r
        =~ s/jwks-usgov\.conf/jwks-$name.conf/r
        =~ s/(?=entra_mdm_policy)/<<"EOC"/er);
upstream $host { server 127.0.0.1:%%PORT_login_$name%%; }
server {
    listen 127.0.0.1:%%PORT_login_$name%% ssl;
    ssl_certificate $login{cert};
    ssl_certificate_key $login{key};
    location / { proxy_pass http://127.0.0.1:%%PORT_keys_$name%%; }
}
EOC
    $t->start;

    my @iss = (iss => "https://$host/@{[ TENANT ]}/v2.0");
    my $tenants = 'https://' . $host . '/{tenantid}/v2.0';
    is(enroll(mint($theirs, claims_v2(@iss))), 'key_not_allowed',
        "$name: a key of the public cloud's issuer");

    $theirs = new_key(issuer => $tenants);
    $login->answer('/common/discovery/v2.0/keys' => { body => jwks($theirs) });
    ok($t->stop, 'stop');
    $t->start;
    is(enroll(mint($theirs, claims_v2(@iss))), $bob, "$name: accepted");
    is(enroll(mint($key, claims_v2())), 'key_unknown',
        "$name: a token of the public cloud");
    $t->settle;
}


# dry-run.conf: nobody is refused, until its line is deleted.

my $dry = example('dry-run.conf');

$t->change(conf => $dry);
$t->start;
is(enroll($v2), $bob, 'dry-run.conf: accepted');
is(enroll($stranger), 'accepted nobody', 'would be refused, and goes on');
like($t->new_log, qr/would refuse, audience_not_allowed/, 'as error.log says');
ok($t->wait_for_log(qr/ would_refuse audience_not_allowed /, 'enrollment.log'),
    'and the access log');
ok($t->reload(conf => $dry =~ s/^.*delete me to mean it\n//mr), 'meant');
is(enroll($stranger), 'audience_not_allowed', 'refused');
is(enroll($v2), $bob, 'accepted as before');
$t->settle;


# access-log.conf: one line of JSON for each enrollment.

unlink $t->dir . '/enrollment.log';
$t->change(conf => example('access-log.conf'));
$t->start;

http_get("$mdm/discovery");
is(http_get("$mdm/tos", bearer => $v2)->status, 200,
    'access-log.conf: terms of use');
is(http_post("$mdm/policy", policy_message($v2))->status, 200, 'policy');
is(enroll($v2), $bob, 'enroll');
is(enroll($stranger, uri => "$mdm/policy"), 'audience_not_allowed', 'refused');
is(http_get("$mdm/tos", bearer => $stranger)->status, 403,
    'refused before it begins');

# workers write when they have answered, in whatever order
my @lines;
wait_for {
    @lines = map { decode_json($_) } $t->file('enrollment.log') =~ /(.*)\n/g;
    @lines == 3;
};
@lines = sort { "$a->{action} $a->{uri}" cmp "$b->{action} $b->{uri}" } @lines;
is_deeply([ map { "$_->{action} $_->{uri}" } @lines ],
    [ "accepted $mdm/enroll", "refused $mdm/policy", "refused $mdm/tos" ],
    'a line each');
is($lines[0]{upn}, 'bob@example.com', 'the user');
is($lines[0]{device_name}, 'DESKTOP-0VQ7P2R', 'the device');
is($lines[0]{hardware_id}, 'BCB8C6F2A4D14F57AAE0D84C7F6EE2E0', 'the hardware');
is($lines[0]{tenant}, TENANT, 'the tenant');
is($lines[0]{result}, 'ok', 'the verdict');
is($lines[1]{result}, 'audience_not_allowed', 'why');
is($lines[1]{tenant}, TENANT, 'and of which tenant');
$t->settle;
is(scalar(() = $t->file('enrollment.log') =~ /\n/g), 3, 'and no more');

# a device may call itself what it likes

my $named = 'DESKTOP","upn":"ceo@example.com';

unlink $t->dir . '/enrollment.log';
$t->start;
http_post("$mdm/enroll", enroll_message($v2)
    =~ s/DESKTOP-0VQ7P2R/$named =~ s{"}{&quot;}gr/er);
my $line;
wait_for { ($line) = $t->file('enrollment.log') =~ /(.*)\n/ };
my $told = eval { decode_json($line) } // {};
is($told->{device_name}, $named, "the device's word stays in its field");
is($told->{upn}, 'bob@example.com', 'and changes no other');
$t->settle;


# rate-limit.conf: an address may send 21 at once, then with the rate; one of
# ours as much as it wants, and as much as Fleet may get.

my $limits = example('rate-limit.conf') =~ s/rate=2r\/s/rate=1r\/m/r
    =~ s/rate=200r\/s/rate=1r\/m/r =~ s/burst=400/burst=40/r
    =~ s{192\.0\.2\.0/24}{127.0.0.2/32}r;

sub statuses {
    my ($from, $times, $path, $body) = @_;
    my %status;

    for (1 .. $times) {
        my $socket = IO::Socket::INET->new(LocalAddr => $from,
            PeerAddr => '127.0.0.1', PeerPort => $t->port(8080)) or die $@;
        $status{ EntraMDM::HTTP->wrap($socket)->request(POST => "$mdm/$path",
            body => $body, close => 1)->status }++;
    }
    return \%status;
}

$t->change(conf => $limits);
$t->start;
fleet()->requests;
my $message = enroll_message($v2);
is_deeply(statuses('127.0.0.1', 25, 'enroll', $message),
    { 200 => 21, 429 => 4 }, 'rate-limit.conf: one address');
is(scalar fleet()->requests, 21, 'what is over it does not reach Fleet');
like($t->error_log, qr/\[warn\].*limiting requests.*zone "enrolling".*client: 127\.0\.0\.1/,
    'error.log names the client');
is_deeply(statuses('127.0.0.1', 25, 'management', 'x'), { 200 => 25 },
    'devices that are enrolled are not limited');
is_deeply(statuses('127.0.0.2', 25, 'enroll', $message),
    { 200 => 20, 429 => 5 }, 'an address of ours, up to what Fleet may get');
like($t->error_log, qr/limiting requests.*zone "fleet".*client: 127\.0\.0\.2/,
    'which is the limit');
$t->done;
