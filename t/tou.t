#!/usr/bin/perl

# The Terms-of-Use page: a refusal that takes Windows back to where it came
# from, with error and description, but never anybody anywhere else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(http => <<'EOC');

    large_client_header_buffers 4 32k;

    add_header X-Result $entra_mdm_result always;
    add_header X-Action $entra_mdm_action always;

    entra_mdm_policy fleet {
        server_url https://fleet.example.com https://mdm.example.com:8443;
        tenant_id  6d8769e6-0f8b-418d-b385-1a53968781c9;
        jwks       file=%%DIR%%/keys.json;
    }

    entra_mdm_policy urlless {
        tenant_id  6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id  1b1b1111-2222-3333-4444-5555555555c1;
        jwks       file=%%DIR%%/keys.json;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;

        client_max_body_size 2m;
        entra_mdm fleet;
        entra_mdm_tou_redirect on;

        location / {
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /off {
            entra_mdm_tou_redirect off;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /urlless {
            entra_mdm urlless;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /dry {
            entra_mdm_dry_run on;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_default%%;

        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();
my $good = mint($key, claims_v1());
my $broker = 'ms-appx-web://Microsoft.AAD.BrokerPlugin';
my $id = 'client-request-id=4d614de0-dab7-4da3-b412-919030001695';

$t->write_file('keys.json', jwks($key));
$t->start;

# error and description by the kind of refusal

for (
    [ 'no_token',             'unauthorized_client&error_description='
                              . 'unauthorized_client' ],
    [ 'token_malformed',      'unauthorized_client&error_description='
                              . 'unauthorized_client', bearer => 'x' ],
    [ 'token_expired',        'unauthorized_client&error_description='
                              . 'unauthorized_client',
                              bearer => token(exp => 1) ],
    [ 'claim_invalid',        'unauthorized_client&error_description='
                              . 'unauthorized_client',
                              bearer => token(aud => undef) ],
    [ 'scope_not_allowed',    'unauthorized_client&error_description='
                              . 'unauthorized_client',
                              bearer => token(scp => 'x') ],
    [ 'audience_not_allowed', 'unauthorized_client&error_description='
                              . 'unauthorized_client',
                              bearer => token(aud => 'x') ],
    [ 'tenant_not_allowed',   'unauthorized_client&error_description='
                              . 'unauthorized%20user%20or%20tenant',
                              bearer => stranger() ],
    [ 'upn_invalid',          'unauthorized_client&error_description='
                              . 'unauthorized%20user%20or%20tenant',
                              bearer => token(upn => "\n") ],
    [ 'message_malformed',    'invalid_request&error_description=The%20'
                              . 'enrollment%20message%20is%20malformed.',
                              bearer => $good, body => 'x' ],
) {
    my ($result, $error, @how) = @$_;
    my $r = http_get(tos($broker), @how);
    is($r->status, 302, "$result: redirected");
    is($r->header('Location'), "$broker?error=$error", "$result: where to");
    is($r->header('X-Result') . ' ' . $r->header('X-Action'),
        "$result refused", "$result: why");
    is($r->header('WWW-Authenticate'), undef, "$result: no challenge");
    unlike($r->raw, qr/eyJ/, "$result: nothing of a token");
}

is($backend->requests, 0, 'nothing has reached the backend');

sub token { return mint($key, claims_v1(@_)) }

sub stranger {
    my $tid = 'ffffffff-1111-4222-8333-444444444444';
    return token(tid => $tid, iss => "https://sts.windows.net/$tid/");
}

# where to: what Fleet allows, and its own server instead of any

my $evil = 'https://evil.example/';
my $fleet = 'https://fleet.example.com';

for (
    $broker, 'MS-APPX-WEB://Microsoft.AAD.BrokerPlugin',
    'ms-aadj-redir://auth/mdm', 'MS-AADJ-REDIR://auth/mdm',
    "$fleet/continue", $fleet, 'HTTPS://FLEET.example.COM/x',
    'https://mdm.example.com:8443/x',
    "$broker/a%20b", "$broker/'\"<>",
) {
    redirected($_, "$_?error=");
}

for (
    "$fleet/continue?a=b", "$fleet?a", "$fleet/?", "$broker?a=b&c=d",
    "$broker?error=x",
) {
    redirected($_, "$_&error=");
}

sub redirected {
    my ($uri, $start) = @_;
    my $r = http_get(tos($uri));
    is($r->status, 302, "$uri: redirected");
    like($r->header('Location'), qr/^\Q$start\Eunauthorized_client&/,
        "$uri: with the error behind");
}

# nowhere else

for (
    "javascript:alert(1)", "JavaScript:alert(1)", 'javascript://%0aalert(1)',
    'data:text/html,x', 'vbscript:x', "http://fleet.example.com/", '',
    'Microsoft.AAD.BrokerPlugin', ' javascript:alert(1)', "java\tscript:x",
    " $broker", "$broker ", "$broker\t", "$broker\0", "$broker\r\nX-Evil: 1",
    "$broker\nX-Evil: 1", "$broker/\x7f", "$broker/\xc3\xa4",
    "ms-appx-web:Microsoft", 'ms-appx-web:', 'ms-appx-web://',
    'ms-appx-web:///x', 'ms-appx://x', 'ms-appx-web-x://x', "x$broker",
    'https://enroll.example.com/continue', $evil, 'file:///etc/passwd',
    '//evil.example', '/evil', '///evil.example', "\\\\evil.example",
    'https:', 'https:/', 'https://', 'https:fleet.example.com',
    'https:/fleet.example.com', 'https:///fleet.example.com',
    "$fleet:443/", "$fleet:8443/", 'https://mdm.example.com/', "$fleet./",
    "$fleet.evil.example/", "$fleet%2eevil.example/", "$fleet%00.evil.example/",
    "$fleet\@evil.example/", "$fleet:x\@evil.example/",
    "https://evil.example\@fleet.example.com/", "https://\@fleet.example.com/",
    "$fleet\\\@evil.example/", "$fleet\\.evil.example/", "$fleet\\",
    "https:\\\\fleet.example.com", "$fleet/\\..", "$fleet/#x", "$broker#x",
    "$broker#?a=b", "$fleet#\@evil.example/", "https://evil.example#$fleet",
    "https://evil.example?$fleet", "https://xfleet.example.com/",
    "https://fl\xc3\xa9et.example.com/", 'https://[::1]/', "$fleet,$evil",
) {
    not_redirected(tos($_), show($_));
}

sub show { return $_[0] =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger }

my $coded = code($broker);

for (
    [ 'none',                    '/tos' ],
    [ 'none among others',       "/tos?api-version=1.0&$id" ],
    [ 'a name alone',            '/tos?redirect_uri' ],
    [ 'two',                     tos($broker) . "&redirect_uri=$coded" ],
    [ 'two, the first a good one', tos($broker)
                                   . '&redirect_uri=' . code($evil) ],
    [ 'two, one of an escaped name', tos($broker)
                                   . '&redirect%5Furi=' . code($evil) ],
    [ 'two, both escaped',       "/tos?%72edirect_uri=$coded"
                                   . '&redirect_ur%69=x' ],
    [ 'two, the last a good one', tos($evil) . "&redirect_uri=$coded" ],
    [ 'two, one of them empty',  tos($broker) . '&redirect_uri=' ],
    [ 'a name in upper case',    "/tos?REDIRECT_URI=$coded" ],
    [ 'a longer name',           "/tos?xredirect_uri=$coded" ],
    [ 'in the value of another', "/tos?x=;redirect_uri=$coded" ],
    [ 'in the path',             "/tos/redirect_uri=$coded" ],
    [ 'a broken escape',         '/tos?redirect_uri=ms-appx-web%3A//x%2' ],
    [ 'an escape that is none',  '/tos?redirect_uri=ms-appx-web%3A//x%zz' ],
    [ 'a blank as a plus',       '/tos?redirect_uri=ms-appx-web%3A//x+y' ],
    [ 'escaped twice',           '/tos?redirect_uri=' . code($coded) ],
    [ 'a host escaped twice',    tos('https://fleet%252eexample.com/') ],
) {
    my ($name, $uri) = @$_;
    not_redirected($uri, $name);
}

sub not_redirected {
    my ($uri, $name) = @_;
    my $r = http_get($uri);
    is(join(' ', $r->status, $r->header('X-Result') // '-',
        $r->header('WWW-Authenticate') // '-', $r->header('Location') // '-',
        $r->header('X-Evil') // '-'), '401 no_token Bearer - -',
        "no redirect: $name");
}

# not only escapes: as a browser would write it, and first, last, alone

is(http_get("/tos?redirect_uri=$broker&$id")->status, 302, 'not escaped');
is(http_get("/tos?redirect_uri=$coded")->status, 302, 'alone');
is(http_get("/tos?redirect%5Furi=$coded")->status, 302, 'of an escaped name');
is(http_get("/tos?a&&b=&redirect_uri=$coded&")->status, 302, 'among oddities');

# 2 KB, decoded

my $long = 'ms-appx-web://x/' . '.' x 2032;

redirected($long, "$long?error=");
not_redirected(tos("$long."), 'one byte over 2 KB');
is(http_get('/tos?redirect_uri=' . $long =~ s/\./%2e/gr)->status, 302,
    '6 KB that are 2 KB');

# where it is not asked for

is(http_get(tos($broker), port => $t->port('default'))->status, 401,
    'off by default');
is(http_get(tos($broker) =~ s/tos/off/r)->status, 401, 'off');
is(http_get(tos($fleet) =~ s/tos/urlless/r)->status, 401,
    'https without a server_url');
is(http_get(tos($broker) =~ s/tos/urlless/r)->status, 302,
    'its other schemes without a server_url');

my $r = http_post(tos($broker), policy_message('x'));
is($r->status, 500, 'a message is not redirected');
is(fault($r)->{subcode}, 's:Authentication', 'it gets its fault');
is($r->header('Location'), undef, 'and no Location');
is($backend->requests, 0, 'nothing has reached the backend');

$r = http_get(tos($broker), bearer => $good);
is($r->status, 200, 'who is accepted is not redirected');
is($r->header('Location'), undef, 'no Location then');
is($backend->last->uri, tos($broker), 'but reaches the backend');

$r = http_get(tos($broker) =~ s/tos/dry/r);
is($r->status . ' ' . $r->header('X-Action'), '200 would_refuse',
    'nor who is only watched');

$r = http_request(HEAD => tos($broker));
is($r->status, 302, 'HEAD is redirected');
like($r->header('Location'), qr/^\Q$broker?error=\E/, 'HEAD: where to');
$r = http2(GET => tos($broker), port => $t->port('h2'));
like($r->header('Location'), qr/^\Q$broker?error=\E/, 'HTTP/2: where to');

my $c = http_connect();
is($c->request(GET => tos($broker))->status, 302, 'on one connection');
is($c->request(GET => tos($broker), bearer => $good)->status, 200,
    'redirected, then accepted');

$t->done;


sub tos {
    my ($uri) = @_;
    return '/tos?api-version=1.0&redirect_uri=' . code($uri) . "&$id";
}

sub code { return $_[0] =~ s/([^\w.~-])/sprintf '%%%02X', ord $1/ger }
