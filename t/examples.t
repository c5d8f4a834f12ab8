#!/usr/bin/perl
# once

# The examples are complete: nginx accepts each of them as it is shipped, but
# for its paths and ports; and fleet.conf admits and refuses as it promises, by
# keys that it fetches as the include says, over TLS from where Microsoft's
# server would be.  What the others promise is in the tests beside this one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::Example;
use EntraMDM::File qw(root slurp);
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new;
my $key = new_key();
my $ca = example_files($t, $key);
my %login = $ca->certificate('login', 'DNS:login.microsoftonline.com');

# The key server: a group of its name, which comes before any resolver.

my $login = <<"EOC";
upstream login.microsoftonline.com { server 127.0.0.1:%%PORT_login%%; }
server {
    listen 127.0.0.1:%%PORT_login%% ssl;
    ssl_certificate $login{cert};
    ssl_certificate_key $login{key};
    location / {
        proxy_pass http://127.0.0.1:%%PORT_keys%%;
        proxy_set_header Host \$host;
        proxy_pass_request_headers on;
    }
}
EOC

$t->write_file($_, $t->file($_)
    =~ s{/etc/ssl/certs/ca-certificates.crt}{$login{ca}}r)
    for grep { /^jwks-/ } examples();

my @examples = grep { !/^jwks-/ } examples();
my @includes = grep { /^jwks-/ } examples();
my ($readme) = slurp(root() . '/README.md');

for my $name (@examples) {
    my ($code, $said) = $t->nginx_t(conf => example($name));

    like($readme, qr/\(conf-examples\/\Q$name\E\)/, "$name: README has it");
    if ($name eq 'redis-tls.conf' && $code != 0) {
        like($said, qr/\[emerg\].*hiredis.*TLS.* in \S+:\d+/,
            "$name: hiredis has no TLS, and nginx -t says so");
        next;
    }
    is($code, 0, "$name: nginx -t") or diag $said;
    unlike($said, qr/\[emerg\]/, "$name: without an error");

    # from 1.25.1 on; before, there is no other way to write it
    $said =~ s/.*"listen ... http2" directive is deprecated.*\n//;
    unlike($said, $name eq 'dry-run.conf' ? qr/\[warn\](?!.*dry_run)/
        : qr/\[warn\]/, "$name: without a warning");
}

is(scalar @examples, 13, 'all examples');

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

$t->change(conf => example('fleet.conf') =~ s/(?=entra_mdm_policy)/$login/r
    =~ s/^http \{/http {\n    gzip on; gzip_types *; gzip_min_length 0;/mr);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $keys = EntraMDM::Backend->new($t, 'keys');
$keys->answer('*' => { status => 404 },
    '/common/discovery/v2.0/keys' => { body => jwks($key) });
$t->start;

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
is(https(GET => $_)->status, 400, "a path that others may read on: $_")
    for goes_on('', "$mdm/discovery", "$mdm/auth", "$mdm/management");
is($fleet->requests, 0, 'nothing of that reaches Fleet');

# as it would be compressed, and so chunked, wherever gzip is on

$r = https(POST => "$mdm/enroll", body => enroll_message($v2),
    headers => [ 'Accept-Encoding' => 'gzip' ]);
is($r->header('Content-Encoding'), undef, 'an answer is not compressed');
is($r->header('Content-Length'), length $r->body, 'it comes in one piece');
$fleet->requests;

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
$t->done;
