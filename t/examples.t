#!/usr/bin/perl
# once

# The examples are complete: nginx accepts each of them as it is shipped, but
# for its paths and ports, and fleet.conf admits and refuses as it promises,
# by keys that it fetches as the include says, over TLS from where Microsoft's
# server would be.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::SSL qw(SSL_VERIFY_NONE);
use JSON::PP qw(decode_json);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(root slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new;
my $module = $t->{module};
my $key = new_key();

mkdir $t->dir . '/modules';
symlink $module, $t->dir . '/modules/ngx_http_entra_mdm_module.so' or die $!;
$t->write_file($_, jwks($key)) for qw(keys.json keys-usgov.json);
system('openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch '
    . "-subj /CN=fleet.example.com -keyout @{[ $t->dir ]}/fleet.key "
    . "-out @{[ $t->dir ]}/fleet.crt 2>/dev/null") == 0 or die;
system('openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch '
    . '-subj /CN=Microsoft -addext subjectAltName=DNS:login.microsoftonline.com '
    . "-keyout @{[ $t->dir ]}/login.key -out @{[ $t->dir ]}/login.crt "
    . '2>/dev/null') == 0 or die;

# The key server: a group of its name, which comes before any resolver.

my $login = <<'EOC';
upstream login.microsoftonline.com { server 127.0.0.1:%%PORT_login%%; }
server {
    listen 127.0.0.1:%%PORT_login%% ssl;
    ssl_certificate %%DIR%%/login.crt;
    ssl_certificate_key %%DIR%%/login.key;
    location / {
        proxy_pass http://127.0.0.1:%%PORT_keys%%;
        proxy_set_header Host $host;
        proxy_pass_request_headers on;
    }
}
EOC

for my $cloud (qw(public usgov china)) {
    my $text = slurp(root() . "/conf-examples/jwks-$cloud.conf");

    $text =~ s{/etc/ssl/certs/ca-certificates.crt}{$t->{dir}/login.crt};
    $t->write_file("jwks-$cloud.conf", $text);
}


# A shipped file with the paths and ports of this test.

sub example {
    my ($name) = @_;
    my $conf = slurp(root() . "/conf-examples/$name");
    my $temp = join '', map { "${_}_temp_path %%DIR%%/$_;\n" }
        qw(client_body proxy fastcgi uwsgi scgi);

    for ($conf) {
        s{/etc/nginx/entra-mdm/}{%%DIR%%/}g;
        s{/var/log/nginx/|/var/lib/nginx/}{%%DIR%%/}g;
        s{/run/nginx.pid|nginx.pid}{%%DIR%%/error.pid};
        s{^user .*}{user root;}m;
        s{listen(\s+)443 ssl}{listen$1 127.0.0.1:%%PORT_tls%% ssl};
        s{listen(\s+)8080}{listen$1 127.0.0.1:%%PORT_8080%%}g;
        s{127\.0\.0\.1:(8412|8413|8081)}{127.0.0.1:%%PORT_fleet%%}g;
        s/^events/daemon off;\nevents/m;
        s/^http \{/http {\n$temp/m unless /_temp_path/;
    }
    return $conf;
}

opendir my $folder, root() . '/conf-examples' or die;
my @files = sort grep { /\.conf$/ } readdir $folder;
my @examples = grep { !/^jwks-/ } @files;
my @includes = grep { /^jwks-/ } @files;

for my $name (@examples) {
    my ($code, $said) = $t->nginx_t(conf => example($name));
    is($code, 0, "$name: nginx -t") or diag $said;
    unlike($said, qr/\[emerg\]/, "$name: without an error");

    # from 1.25.1 on; before, there is no other way to write it
    $said =~ s/.*"listen ... http2" directive is deprecated.*\n//;
    unlike($said, $name eq 'dry-run.conf' ? qr/\[warn\](?!.*dry_run)/
        : qr/\[warn\]/, "$name: without a warning");
}

is(scalar @examples, 6, 'all examples');

for my $name (@includes) {
    my ($code, $said) = $t->nginx_t(http => <<EOC);
        entra_mdm_policy fleet {
            client_id @{[ CLIENT_V2 ]};
            tenant_id @{[ TENANT ]};
            jwks request=/_entra/jwks;
        }
        proxy_cache_path %%DIR%%/cache keys_zone=c:1m;
        proxy_cache c;
        server {
            listen 127.0.0.1:%%PORT_8080%%;
            include @{[ root() ]}/conf-examples/$name;
        }
EOC
    is($code, 0, "$name: nginx -t, as it is shipped, without DNS")
        or diag $said;
    unlike($said, qr/\[(?:warn|emerg)\]/, "$name: without a warning");
}

is(scalar @includes, 3, 'all includes');


# fleet.conf: the six endpoints.

$t->change(conf => example('fleet.conf') =~ s/(?=entra_mdm_policy)/$login/r);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $keys = EntraMDM::Backend->new($t, 'keys');
$keys->answer('*' => { status => 404 },
    '/common/discovery/v2.0/keys' => { body => jwks($key) });
$t->start;

sub https {
    my ($method, $path, %o) = @_;
    my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1',
        PeerPort => $t->port('tls'), SSL_verify_mode => SSL_VERIFY_NONE,
        SSL_hostname => 'fleet.example.com') or die $IO::Socket::SSL::SSL_ERROR;
    return EntraMDM::HTTP->wrap($socket)->request($method, $path,
        close => 1, %o);
}

my $mdm = '/api/mdm/microsoft';
my ($v1, $v2) = (mint($key, claims_v1()), mint($key, claims_v2()));
my $stranger = mint($key, claims_v2(aud => TENANT));

for ([ discovery => discover_message() ], [ management => '<SyncML/>' ]) {
    my ($path, $body) = @$_;
    is(https(POST => "$mdm/$path", body => $body)->status, 200,
        "$path is open");
    is($fleet->last->body, $body, "$path reaches Fleet");
}

is(https(GET => "$mdm/auth?appru=a&login_hint=b")->status, 200, 'auth is open');
is($fleet->last->uri, "$mdm/auth?appru=a&login_hint=b", 'auth reaches Fleet');

for my $token ($v1, $v2) {
    for my $message (policy_message($token), enroll_message($token)) {
        my $path = $message =~ /GetPolicies/ ? 'policy' : 'enroll';

        is(https(POST => "$mdm/$path", body => $message)->status, 200,
            "$path with a token");
        my $seen = $fleet->last;
        is($seen->body, $message, "$path: the body is the same");
        is($seen->header('X-Entra-Tenant-ID'), TENANT, "$path: the tenant");
        is($seen->header('Transfer-Encoding'), undef, "$path: no chunks");
    }

    is(https(GET => "$mdm/tos?redirect_uri=x", bearer => $token)->status, 200,
        'terms of use with a token');
    ok($fleet->last->header('X-Entra-UPN'), 'terms of use: the user');
}

my $r = https(POST => "$mdm/enroll", body => enroll_message($stranger));
is(fault($r)->{subcode}, 's:Authorization', 'another application is refused');
is(https(GET => "$mdm/tos", bearer => $stranger)->status, 403,
    'terms of use: another application is refused');
is(https(GET => "$mdm/tos")->status, 401, 'terms of use without a token');
is(https(POST => "$mdm/policy", body => discover_message())->status, 500,
    'policy without a token');
is(https(POST => "$mdm/enroll/", body => 'x')->status, 400,
    'nor does a variant of the path pass');
for my $path ('/', "$mdm/discovery", "$mdm/management") {
    is(https(GET => "$path#/../enroll")->status, 400,
        "a path that others may read on: $path#");
}
is($fleet->requests, 0, 'nothing of that reaches Fleet');

my $device = enroll_message('{"type":1,"payload":{"orbit_node_key":"k"}}',
    value_type => 'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager'
        . '/Enrollment/DeviceEnrollmentUserToken');
is(https(POST => "$mdm/enroll", body => $device)->status, 200,
    'a device token passes');
is($fleet->last->header('X-Entra-UPN'), undef, 'and names nobody');

is(https(GET => '/')->status, 200, 'the rest of Fleet is open');
is(https(GET => '/', headers => [ 'X-Entra-UPN' => 'evil' ])->status, 200,
    'with a forged header');
is($fleet->last->header('X-Entra-UPN'), undef, 'which does not reach it');

my ($fetch, @more) = $keys->requests;
is(@more, 0, 'one fetch of the keys');
is($fetch->header('Host'), 'login.microsoftonline.com', 'by its name');
is_deeply([ grep { !/^(?:host|connection)$/ } keys %{ $fetch->headers } ], [],
    'with no other header');
is(https(GET => '/_entra/jwks')->status, 404, 'which no client can ask for');
$t->settle;


# access-log.conf: one line of JSON for each enrollment.

$t->change(conf => example('access-log.conf'));
$t->start;

is(http_post("$mdm/enroll", enroll_message($v2))->status, 200, 'enroll');
isnt(http_post("$mdm/enroll", enroll_message($stranger))->status, 200,
    'refused');
http_get("$mdm/discovery");

# workers write when they have answered, in whatever order
my @lines;
wait_for {
    @lines = map { decode_json($_) } $t->file('enrollment.log') =~ /(.*)\n/g;
    @lines == 2;
};
@lines = sort { $a->{action} cmp $b->{action} } @lines;
is(scalar @lines, 2, 'a line each');
is($lines[0]{action}, 'accepted', 'accepted');
is($lines[0]{upn}, 'bob@example.com', 'the user');
is($lines[0]{device_name}, 'DESKTOP-0VQ7P2R', 'the device');
is($lines[0]{hardware_id}, 'BCB8C6F2A4D14F57AAE0D84C7F6EE2E0', 'the hardware');
is($lines[1]{action}, 'refused', 'refused');
is($lines[1]{result}, 'audience_not_allowed', 'why');
is($lines[1]{tenant}, TENANT, 'the tenant');

$t->done;
