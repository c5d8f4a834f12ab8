#!/usr/bin/perl

# The location that serves the keys: found, checked, and asked whatever stands
# around it; over TLS only if it proves its name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new;
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $idp = EntraMDM::Backend->new($t, 'idp');
my $key = new_key();
my $good = mint($key, claims_v2());
my $policy = fleet_policy('', 'fleet', 'request=/_entra/jwks min_interval=1s');

$idp->answer($_ => { body => jwks($key) }) for '/keys', '/_entra/jwks';

sub server {
    my (@lines) = @_;
    return join "\n", 'server {', 'listen 127.0.0.1:%%PORT_8080%%;', @lines,
        '}', '';
}

my $proxy = 'proxy_pass http://127.0.0.1:%%PORT_idp%%;';
my $proper = "location = /_entra/jwks { internal; $proxy }";
my $gated = 'location / { entra_mdm fleet; proxy_pass'
    . ' http://127.0.0.1:%%PORT_fleet%%; } client_max_body_size 2m;';


# nginx -t: [ name, what it says (undef: nothing), servers and more ]

my $tls = 'proxy_pass https://127.0.0.1:%%PORT_tls%%;';
my $cache = 'proxy_cache_path %%DIR%%/cache keys_zone=c:1m; proxy_cache c;';

for (
    [ 'a proper location', undef, server($proper, $gated) ],
    [ 'in another server', undef, server($gated), "server { listen"
        . " 127.0.0.1:%%PORT_second%%; $proper }" ],
    [ 'below a prefix', undef,
        server("location /_entra/ { $proper }", $gated) ],
    [ 'a static one', undef,
        server('location = /_entra/jwks { internal; root /; }', $gated) ],
    [ 'none at all', 'no server has a location for "jwks request=/_entra/jwks"',
        server($gated) ],
    [ 'a longer name', 'no server has a location',
        server("location = /_entra/jwks2 { internal; $proxy }", $gated) ],
    [ 'a shorter name', 'no server has a location',
        server("location = /_entra/jwk { internal; $proxy }", $gated) ],
    [ 'a prefix', 'is not checked',
        server("location /_entra/ { internal; $proxy }", $gated) ],
    [ 'a regex', 'is not checked',
        server("location ~ ^/_entra/j { internal; $proxy }", $gated) ],
    [ 'another regex', 'no server has a location',
        server("location ~ ^/_entra/x { internal; $proxy }", $gated) ],
    [ 'a prefix before a regex', 'is not checked',
        server("location ^~ /_entra/ { internal; $proxy }",
               "location ~ jwks { $proxy }", $gated) ],
    [ 'not internal', 'is open to clients',
        server("location = /_entra/jwks { $proxy }", $gated) ],
    [ 'TLS unverified', 'takes signing keys from whoever answers',
        server("location = /_entra/jwks { internal; $tls }", $gated) ],
    [ 'TLS unverified, by a variable', 'if it asks over TLS',
        server('location = /_entra/jwks { internal; set $a 127.0.0.1;'
            . ' proxy_pass https://$a; }', $gated) ],
    [ 'TLS verified', undef, server("location = /_entra/jwks { internal; $tls"
        . ' proxy_ssl_verify on; proxy_ssl_trusted_certificate'
        . ' %%DIR%%/ca.crt; }', $gated) ],
    [ 'a cache', 'has a cache', $cache . server($proper, $gated) ],
    [ 'no cache here', undef, $cache . server("location = /_entra/jwks {"
        . " internal; proxy_cache off; $proxy }", $gated) ],
) {
    my ($name, $said, @http) = @$_;

    issue_certificates() if !-e $t->dir . '/ca.crt';
    my ($code, $out) = $t->nginx_t(http => join "\n", $policy, @http);
    my $fails = $said && $said =~ /no server/;

    is($code, $fails ? 1 : 0, "$name: nginx -t") or diag $out;
    if (!$said) {
        unlike($out, qr/\[(?:warn|emerg)\]/, "$name: nothing to say");
        next;
    }
    like($out, qr/\[@{[ $fails ? 'emerg' : 'warn' ]}\].*\Q$said\E/,
        "$name: said");
    like($out, qr/policy "fleet".* in \S+tried\.conf:\d+/, "$name: where");
    like($out, qr/\Qentra-mdm\/jwks-public.conf/, "$name: the way out")
        if $fails;
}

# what the directive itself refuses

for (
    [ 'request=', 'it must be request= and the URI of a location' ],
    [ 'request=jwks', 'it must be request= and the URI of a location' ],
    [ 'request=@jwks', 'it must be request= and the URI of a location' ],
    [ 'request=/_entra/jwks refresh', 'invalid parameter "refresh"' ],
    [ 'request=/_entra/jwks max_age=1h', 'invalid parameter "max_age=1h"' ],
    [ 'request=/_entra/jwks refresh=0', 'a time of 1s or more' ],
    [ 'request=/_entra/jwks min_interval=10ms', 'a time of 1s or more' ],
    [ 'request=/_entra/jwks max_stale=x', 'a time of 1s or more' ],
    [ 'request=/_entra/jwks refresh=30s',
        '"min_interval" (60 s) of "jwks" must not be over "refresh" (30 s)' ],
    [ 'request=/_entra/jwks refresh=2h refresh=1h',
        'parameter "refresh=" is repeated in "jwks"' ],
    [ 'request=/_entra/jwks max_stale=30m', 'nor that over "max_stale"' ],
) {
    my ($jwks, $said) = @$_;
    my ($code, $out) = $t->nginx_t(http => fleet_policy('', 'fleet', $jwks)
        . server($proper, $gated));

    is($code, 1, "jwks $jwks: refused");
    like($out, qr/\[emerg\].*\Q$said\E.* in \S+tried\.conf:\d+/,
        "jwks $jwks: why");
}

sub issue_certificates {
    my $dir = $t->dir;

    system("cd $dir && (openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch"
        . ' -subj /CN=ca -keyout ca.key -out ca.crt && openssl req -newkey'
        . ' rsa:2048 -nodes -batch -subj /CN=keys -keyout keys.key -out keys.csr'
        . ' && printf subjectAltName=DNS:login.example.com >keys.ext'
        . ' && openssl x509 -req -in keys.csr -CA ca.crt -CAkey ca.key'
        . ' -CAcreateserial -days 2 -extfile keys.ext -out keys.crt)'
        . ' >openssl.out 2>&1') == 0 or die "openssl";
}


# One start each: is the set fetched with this around the location?

sub fetched {
    my ($name, $http, $works, $events) = @_;

    $t->change(http => $Headers . $http, events => $events // '');
    $idp->requests;
    $t->mark;
    $t->start;
    my $r = http_get('/', bearer => $good);
    is($r->status . ' ' . ($r->header('X-Result') // ''),
        $works ? '200 ok' : '503 keys_unavailable', $name)
        or diag $t->new_log;
    ok($t->stop, "$name: nginx quits");
}

for (
    [ 'limit_req', 'limit_req_zone $binary_remote_addr zone=r:1m rate=1r/s;'
        . ' limit_req zone=r burst=5;' ],
    [ 'limit_conn', 'limit_conn_zone $binary_remote_addr zone=n:1m;'
        . ' limit_conn n 5;' ],
    [ 'headers of a client',
        'proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Port'
        . ' $remote_port; proxy_set_header X-Server $server_addr:$server_port;'
        . ' proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;'
        . ' proxy_set_header Host $host; proxy_set_header X-User $remote_user;'
        . ' proxy_set_header Cookie $http_cookie$cookie_a; proxy_set_header'
        . ' X-Upn $entra_mdm_upn$entra_mdm_result; proxy_set_header X-Scheme'
        . ' "$scheme$https$request_uri$request$request_id$request_length";' ],
    [ 'access rules', 'deny all; location = /keys-are-behind-them { }',
        server => "$proper location / { allow all; entra_mdm fleet;"
        . ' proxy_pass http://127.0.0.1:%%PORT_fleet%%; }' ],
    [ 'auth_basic', 'auth_basic on; auth_basic_user_file %%DIR%%/users;',
        server => "$proper location / { auth_basic off; entra_mdm fleet;"
        . ' proxy_pass http://127.0.0.1:%%PORT_fleet%%; }' ],
    [ 'a gate', 'entra_mdm fleet;' ],
    [ 'a mirror', 'mirror /mirror; location = /mirror { internal; return 204; }'
        ],
    [ 'rewrites of the server', 'set $a b; if ($uri ~ x) { set $a c; }' ],
    [ 'access_log and log_subrequest', 'log_subrequest on;' ],
) {
    my ($name, $around, %o) = @$_;
    my ($zones) = $around =~ /^(limit_\w+_zone .*?;)/;
    my $lines = $zones ? substr $around, length $zones : $around;

    fetched("beside $name", $policy . ($zones // '')
        . server($lines, $o{server} // "$proper $gated"), 1);
}

fetched('a delay of the location itself', $policy
    . 'limit_req_zone $binary_remote_addr zone=r:1m rate=2r/s;'
    . server("location = /_entra/jwks { internal; limit_req zone=r burst=5;"
        . " $proxy }", $gated)
    . fleet_policy('', 'p2', 'request=/_entra/jwks min_interval=1s'), 1);
fetched('a file', $policy
    . server('location = /_entra/jwks { internal; alias %%DIR%%/set.json; }',
        $gated), 1) if $t->write_file('set.json', jwks($key));
fetched('a file, read by threads', $policy
    . server('location = /_entra/jwks { internal; aio threads; sendfile off;'
        . ' directio 512; alias %%DIR%%/set.json; }', $gated), 1);
fetched('an answer by "return"', $policy . server('location = /_entra/jwks {'
    . ' internal; return 200 \'' . jwks($key) . '\'; }', $gated), 1);
fetched('a named location behind it', $policy
    . server('location = /_entra/jwks { internal; try_files /none @keys; }',
        "location \@keys { $proxy }", $gated), 1);
for my $method (qw(select poll)) {
    my ($code) = $t->nginx_t(http => '', events => "use $method;");
    next if $code;                      # not built in
    for ([ 'a proxy', $proxy ], [ 'no buffers', "$proxy proxy_buffering off;" ],
         [ 'a file', 'alias %%DIR%%/set.json;' ]) {
        my ($name, $lines) = @$_;
        fetched("$method, $name", $policy
            . server("location = /_entra/jwks { internal; $lines }", $gated),
            1, "use $method;");
    }
}

fetched('a prefix', $policy
    . server("location /_entra/ { internal; $proxy }", $gated), 1);
fetched('with arguments', fleet_policy('', 'fleet',
        'request=/_entra/jwks?a=b&c=d')
    . server('location = /_entra/jwks { internal; proxy_pass'
        . ' http://127.0.0.1:%%PORT_idp%%/keys?$args; }', $gated), 1);
is(($idp->last // die)->uri, '/keys?a=b&c=d', 'which are passed on');

# a client cannot have what the fetch may

$t->change(http => $Headers . $policy . server('entra_mdm fleet;',
    "location = /_entra/jwks { $proxy }",
    "location = /ssi { entra_mdm off; ssi on; alias %%DIR%%/ssi.html; }",
    'location / { proxy_pass http://127.0.0.1:%%PORT_fleet%%; }'));
$t->write_file('ssi.html', '<!--# include virtual="/_entra/jwks" -->');
$t->start;
is(http_get('/', bearer => $good)->status, 200, 'a gated location, not internal');
is(http_get('/_entra/jwks')->status, 401, 'a client is refused');
unlike(http_get('/ssi')->body, qr/"keys"/, 'so is a subrequest of its own');
ok($t->stop, 'nginx quits');


# TLS; a session to be used again is what nginx leaves to its own end

my $idp_tls = 'server { listen 127.0.0.1:%%PORT_tls%% ssl;'
    . ' ssl_certificate %%DIR%%/keys.crt; ssl_certificate_key %%DIR%%/keys.key;'
    . ' location / { proxy_pass http://127.0.0.1:%%PORT_idp%%; } }';

for (
    [ 'another name', 'login.example.org', 'ca.crt', 0, 'does not match' ],
    [ 'another CA', 'login.example.com', 'other.crt', 0, 'verify error' ],
    [ 'the right name', 'login.example.com', 'ca.crt', 1 ],
) {
    my ($name, $host, $ca, $works, $said) = @$_;

    system("cd @{[ $t->dir ]} && openssl req -x509 -newkey rsa:2048 -nodes"
        . ' -days 2 -batch -subj /CN=other -keyout other.key -out other.crt'
        . ' 2>/dev/null') if !-e $t->dir . '/other.crt';
    fetched("TLS: $name", $policy . $idp_tls . server(
        "location = /_entra/jwks { internal; $tls proxy_ssl_verify on;"
        . " proxy_ssl_name $host; proxy_ssl_server_name on;"
        . ' proxy_ssl_session_reuse off;'
        . " proxy_ssl_trusted_certificate %%DIR%%/$ca; }", $gated), $works);
    like($t->new_log, qr/upstream SSL certificate.*$said/, "TLS: $name: said")
        if !$works;
}

$t->done;
