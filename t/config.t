#!/usr/bin/perl

# What `nginx -t` says: each mistake is named with directive, value, file and
# line, and with what to write instead.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX qw(mkfifo);
use Test::More;

use EntraMDM::Nginx;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new;
my $guid = CLIENT_V2;
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->write_file('empty.json', '');
$t->write_file('garbage.json', 'keys: none');
$t->write_file('array.json', '[]');
$t->write_file('nokeys.json', '{"keys":[]}');
$t->write_file('ec.json', jwks($key->jwk(kty => 'EC')));
$t->write_file('small.json', jwks(new_key(bits => 1024)));
$t->write_file('mixed.json', jwks($key, $key->jwk(kid => 'enc', use => 'enc')));
$t->write_file('nameless.json', jwks($key, map { $key->jwk(kid => $_) } undef, 7));
$t->write_file('large.json', jwks($key) . ' ' x 140_000);
mkdir $t->dir . '/folder';
mkfifo($t->dir . '/fifo', 0600);

# A policy that works, and these lines; a server that uses it, and these.

sub conf {
    my ($policy, $server) = @_;
    my $jwks = $policy =~ /\bjwks\b/ ? '' : 'jwks file=%%DIR%%/keys.json;';
    my $tenant = $policy =~ /no tenant/ ? '' : 'tenant_id ' . TENANT . ';';
    my $client = $policy =~ /client_id|no client/ ? '' : "client_id $guid;";
    return policy_text("$tenant\n$client\n$jwks\n$policy") . server($server);
}

sub policy_text { return "entra_mdm_policy fleet {\n$_[0]\n}\n" }

sub server {
    my ($lines) = @_;
    $lines //= 'location / { entra_mdm fleet; }';
    return "client_max_body_size 4m;\n"
        . "server { listen 127.0.0.1:%%PORT_8080%%;\n$lines\n}\n";
}

# The number of the line that has this text.

sub line_of {
    my ($text) = @_;
    my @before = split /\Q$text/, $t->file('tried.conf'), 2;
    return 0 if @before < 2;
    return 1 + ($before[0] =~ tr/\n//);
}

sub refused {
    my ($name, $http, $at, @says) = @_;
    my ($code, $said) = $t->nginx_t(http => $http);
    my ($error) = $said =~ /(\[emerg\].*)/;
    my $line = line_of($at);

    return fail("$name: accepted") if $code == 0;
    like($error // '', qr{ in \S+/tried\.conf:$line$}, "$name: where")
        or diag($said);
    like($error, $_, $name) for @says;
}

# [ directive and value, what it says ]: the message has both, too

my $guid_form = qr/must be a GUID, 8-4-4-4-12 hex digits/;
my $url_form = qr/must be a URL with a host, such as https:/;
my $file_form = qr/must be file=PATH/;

for (
    [ 'server_url fleet.example.com',        $url_form ],
    [ 'server_url https://',                 $url_form ],
    [ 'server_url https:///enroll',          $url_form ],
    [ 'server_url https://ann@example.com',  $url_form ],
    [ 'server_url https://:443',             $url_form ],
    [ 'server_url mailto:ann@example.com',   $url_form ],
    [ 'server_url ftp://fleet.example.com',  $url_form ],
    [ 'server_url ""',                       $url_form ],
    [ "client_id \" $guid\"",                $guid_form ],
    [ "client_id \"$guid \"",                $guid_form ],
    [ "client_id \"{$guid}\"",               $guid_form ],
    [ "client_id urn:uuid:$guid",            $guid_form ],
    [ "client_id $guid,$guid",               $guid_form ],
    [ 'client_id 1b1b1111-2222-3333-4444-5555555555c',   $guid_form ],
    [ 'client_id 1b1b1111-2222-3333-4444-5555555555cg',  $guid_form ],
    [ 'client_id 1b1b11112222333344445555555555c1',      $guid_form ],
    [ 'client_id 1b1b111-12222-3333-4444-5555555555c1',  $guid_form ],
    [ 'client_id ""',                        $guid_form ],
    [ 'tenant_id example.onmicrosoft.com',   $guid_form ],
    [ 'tenant_id common',                    $guid_form ],
    [ 'tenant_id *',                         $guid_form ],
    [ 'cloud mars',              qr/public, usgov or china/ ],
    [ 'cloud Public',            qr/public, usgov or china/ ],
    [ 'issuer ""',               qr/cannot be empty/ ],
    [ 'scope ""',                qr/name of a scope, or off/ ],
    [ 'leeway 301s',             qr/at most 300s/ ],
    [ 'leeway 6m',               qr/at most 300s/ ],
    [ 'leeway -1s',              qr/at most 300s/ ],
    [ 'leeway soon',             qr/at most 300s/ ],
    [ 'leeway 500ms',            qr/at most 300s/ ],
    [ 'leeway ""',               qr/at most 300s/ ],
    [ 'leeway 99999999999999999999', qr/at most 300s/ ],
    [ 'require_upn yes',         qr/on or off/ ],
    [ 'device_token x',          qr/deny or pass/ ],
    [ 'device_token on',         qr/deny or pass/ ],
    [ 'jwks keys.json',           $file_form ],
    [ 'jwks file=',              $file_form ],
    [ 'jwks url=https://login.microsoftonline.com/keys', $file_form ],
    [ 'zone x',                  qr/must be a size, such as 2m/ ],
    [ 'zone -2m',                qr/must be a size, such as 2m/ ],
    [ 'zone 99999999999999999999', qr/must be a size, such as 2m/ ],
    [ 'header_prefix X-Entra',   qr/end in "-", such as X-Entra-/ ],
    [ 'header_prefix -X-',       qr/begin with a letter or digit/ ],
    [ 'header_prefix -',         qr/have a letter/ ],
    [ 'header_prefix 1-',        qr/have a letter/ ],
    [ 'header_prefix ""',        qr/such as X-Entra-/ ],
    [ 'header_prefix X_Entra-',  qr/letters, digits and "-"/ ],
    [ 'header_prefix "X Entra-"', qr/letters, digits and "-"/ ],
    [ 'header_prefix X-Entra:-', qr/letters, digits and "-"/ ],
    [ 'header_prefix Content-',  qr/start of a standard header/ ],
    [ 'header_prefix x-forwarded-', qr/start of a standard header/ ],
    [ 'header_prefix X-',        qr/start of a standard header/ ],
    [ 'header_prefix If-None-',  qr/start of a standard header/ ],
    [ 'header_prefix Sec-WebSocket-', qr/start of a standard header/ ],
    [ 'soap_fault_status 302',   qr/auto, 200, or a status from 400 to 599/ ],
    [ 'soap_fault_status 99',    qr/auto, 200, or a status from 400 to 599/ ],
    [ 'soap_fault_status 204',   qr/auto, 200, or a status from 400 to 599/ ],
    [ 'soap_fault_status 600',   qr/auto, 200, or a status from 400 to 599/ ],
    [ 'soap_fault_status 408',   qr/other than 408, 444 and 494 to 499/ ],
    [ 'soap_fault_status 444',   qr/other than 408, 444 and 494 to 499/ ],
    [ 'soap_fault_status 494',   qr/other than 408, 444 and 494 to 499/ ],
    [ 'soap_fault_status 499',   qr/other than 408, 444 and 494 to 499/ ],
    [ 'soap_fault_status x',     qr/auto, 200, or a status from 400 to 599/ ],
    [ 'soap_fault_status -500',  qr/auto, 200, or a status from 400 to 599/ ],
    [ 'max_token 0',             qr/size of at most 1m/ ],
    [ 'max_token -1',            qr/size of at most 1m/ ],
    [ 'max_token 2m',            qr/size of at most 1m/ ],
    [ 'max_token x',             qr/size of at most 1m/ ],
    [ 'max_body 0',              qr/size of at most 1024m/ ],
    [ 'max_body -1',             qr/size of at most 1024m/ ],
    [ 'max_body 1025m',          qr/size of at most 1024m/ ],
    [ 'max_body 99999999999999999999', qr/size of at most 1024m/ ],
    [ 'log_level x',             qr/info, notice, warn or error/ ],
    [ 'log_level debug',         qr/info, notice, warn or error/ ],
) {
    my ($text, $says) = @$_;
    my ($directive, $value) = $text =~ /^(\w+) "?(.*?)"?$/;

    refused($text, conf("$text;"), $text,
        qr/"$directive" directive/, qr/invalid value "\Q$value\E"/, $says);
}

# [ what the key set is, its file, what it says ]

for (
    [ 'missing',               'missing.json',   qr/No such file/ ],
    [ 'below a file',          'keys.json/keys', qr/Not a directory/ ],
    [ 'a folder',              'folder',         qr/is not a file/ ],
    [ 'a pipe nobody writes',  'fifo',           qr/is not a file/ ],
    [ 'empty',                 'empty.json',     qr/is not a key set: / ],
    [ 'not JSON',              'garbage.json',   qr/is not a key set: / ],
    [ 'an array',              'array.json',     qr/is not a key set: / ],
    [ 'without keys',          'nokeys.json',    qr/usable/ ],
    [ 'without an RSA key',    'ec.json',        qr/usable/ ],
    [ 'with a 1024 bit key',   'small.json',     qr/usable/ ],
    [ 'too large',             'large.json',     qr/1\d{5} bytes.* limit/ ],
) {
    my ($name, $file, $says) = @$_;
    my $path = $t->dir . "/$file";

    refused("a key set that is $name", conf("jwks file=$path;"),
        "jwks file=$path;", qr/"jwks"/, qr/\Q$path/, $says);
}

# one value is one value

for my $line ('cloud public', 'scope off', 'leeway 1s', 'require_upn on',
    'device_token pass', 'zone 3m', 'header_prefix X-A-',
    'soap_fault_status 500', 'max_token 1k', 'max_body 1m', 'log_level info',
    'jwks file=%%DIR%%/keys.json')
{
    my ($directive) = $line =~ /^(\w+)/;

    refused("$directive twice", conf("$line; # first\n$line; # second"),
        '; # second',
        qr/"$directive" directive is duplicate in policy "fleet"/);
    refused("$directive with two values", conf("$line more; # here"),
        '; # here', $directive eq 'jwks' ? qr/a file takes only "check=" and a time/
            : qr/number of arguments in "$directive".* one value/);
    refused("$directive without a value", conf("$directive; # here"),
        '; # here', qr/number of arguments in "$directive".* one value/);
}

refused("$_ without a value", conf("$_; # here"), '; # here',
    qr/number of arguments in "$_".* one value or more/)
    for qw(server_url client_id tenant_id issuer);

# [ what is wrong, the http block, where, what it says ]

my $good = 'tenant_id ' . TENANT . '; jwks file=%%DIR%%/keys.json;';
my $map = 'map $remote_user $role { default ""; ann admin; }';
my $token_form = qr/"token=auto", "token=bearer" or "token=soap"/;

for (
    [ 'unknown policy', conf('', 'location / { entra_mdm flete; }'),
        'entra_mdm flete', qr/unknown policy "flete" in "entra_mdm", /,
        qr/define it with "entra_mdm_policy flete \{/ ],
    [ 'unknown policy at the http level', 'entra_mdm fleet;' . server('#'),
        'entra_mdm fleet', qr/unknown policy "fleet"/ ],
    [ 'policy of another case', conf('', 'location / { entra_mdm Fleet; }'),
        'entra_mdm Fleet', qr/unknown policy "Fleet"/ ],
    [ 'two policies of a name', conf('') . "entra_mdm_policy fleet { # here\n}",
        '{ # here', qr/duplicate policy "fleet", first defined in \S+:\d+/ ],
    [ 'a policy named off', "entra_mdm_policy off {\n$good }",
        'entra_mdm_policy off', qr/cannot have the name "off"/ ],
    [ 'a policy without a name', "entra_mdm_policy \"\" {\n$good }",
        'entra_mdm_policy ""', qr/cannot have the name ""/ ],
    [ 'a policy of two names', "entra_mdm_policy a b {\n$good }",
        'entra_mdm_policy a b', qr/number of arguments in "entra_mdm_policy"/ ],
    [ 'a policy that is no block', "entra_mdm_policy fleet;\n",
        'entra_mdm_policy fleet;', qr/"entra_mdm_policy" has no opening "\{"/ ],
    [ 'a policy without keys', "entra_mdm_policy fleet {\n}" . server(),
        'entra_mdm_policy', qr/"fleet" has no "jwks"/, qr/"jwks file=/ ],
    [ 'a policy in a server', "server {\nentra_mdm_policy a {\n$good } }",
        'entra_mdm_policy a', qr/"entra_mdm_policy" .* not allowed here/ ],
    [ 'a directive nobody knows', conf('client_ids x;'),
        'client_ids',
        qr/unknown directive "client_ids" in "entra_mdm_policy"/ ],
    [ 'a directive of nginx in a policy', conf("allow all;\n"),
        'allow all', qr/unknown directive "allow" in "entra_mdm_policy"/ ],
    [ 'a block in a policy', conf("client_id { # here\n }"),
        '{ # here', qr/unexpected "\{"/ ],
    [ 'an include that is not there', conf("include missing.inc;"),
        'include missing.inc', qr/missing\.inc.* No such file/ ],
    [ 'a zone too small', conf('zone 64k;'), 'entra_mdm_policy',
        qr/policy "fleet" has 65536 bytes/, qr/raise "zone" to \d+k or more/ ],
    [ 'no zone', conf('zone 0;'), 'entra_mdm_policy',
        qr/raise "zone" to \d+k or more/ ],
    [ 'a zone too small for many IDs', conf('zone 300k; client_id '
        . join(' ', map { sprintf "%08x%s", $_, substr $guid, 8 } 1 .. 3000)
        . ';'), 'entra_mdm_policy', qr/raise "zone" to \d+k or more/ ],
    [ 'entra_mdm without a policy', conf('', "entra_mdm;\n"),
        'entra_mdm;', qr/number of arguments in "entra_mdm"/ ],
    [ 'entra_mdm with three values', conf('', "entra_mdm a token=soap x;\n"),
        'entra_mdm a', qr/number of arguments in "entra_mdm"/ ],
    [ 'entra_mdm twice', conf('', "entra_mdm fleet;\nentra_mdm off;"),
        'entra_mdm off', qr/"entra_mdm" directive is duplicate/ ],
    [ 'off and something', conf('', 'entra_mdm off token=soap;'),
        'entra_mdm off', qr/"entra_mdm off" takes no .*"token=soap"/ ],
    [ 'a kind of token nobody knows', conf('', 'entra_mdm fleet token=x;'),
        'token=x', qr/"token=x" in "entra_mdm"/, $token_form ],
    [ 'soap without token=', conf('', 'entra_mdm fleet soap;'),
        'fleet soap', qr/"soap" in "entra_mdm"/, $token_form ],
    [ 'in "if"', conf('', "location / { if (\$args) {\nentra_mdm fleet; } }"),
        'entra_mdm fleet', qr/"entra_mdm" directive is not allowed here/ ],
    [ 'in "if" of a server', conf('', "if (\$args) {\nentra_mdm fleet; }"),
        'entra_mdm fleet', qr/"entra_mdm" directive is not allowed here/ ],
    [ 'in limit_except', conf('',
        "location / { limit_except GET {\nentra_mdm fleet; } }"),
        'entra_mdm fleet', qr/"entra_mdm" directive is not allowed here/ ],
    [ 'dry run, perhaps', conf('', 'entra_mdm_dry_run maybe;'),
        'maybe', qr/"maybe" in "entra_mdm_dry_run".*"on" or "off"/ ],
    [ 'redirect where', conf('', 'entra_mdm_tou_redirect /x;'),
        '/x', qr{"/x" in "entra_mdm_tou_redirect".*"on" or "off"} ],
    [ 'the API without a role', conf('', "location /api/ {\n"
        . 'entra_mdm_api fleet; }'), 'entra_mdm_api fleet',
        qr/"entra_mdm_api" needs "entra_mdm_api_role", which says who may/ ],
    [ 'the API of an unknown policy', conf('', "location /api/ {\n"
        . 'entra_mdm_api flete; entra_mdm_api_role $role; }') . $map,
        'entra_mdm_api flete', qr/unknown policy "flete" in "entra_mdm_api", /,
        qr/define it with "entra_mdm_policy flete \{/ ],
    [ 'the API without a policy', conf('', "location /api/ {\n"
        . 'entra_mdm_api; }'), 'entra_mdm_api;', qr/number of arguments/ ],
    [ 'the API twice', conf('', "location /api/ { entra_mdm_api fleet;\n"
        . 'entra_mdm_api fleet; # here }'), '# here',
        qr/"entra_mdm_api" directive is duplicate/ ],
    [ 'the API at one path', conf('', "location = /api/ {\n"
        . 'entra_mdm_api fleet; }'), 'entra_mdm_api fleet',
        qr{cannot stand in location "/api/".*such as location /entra-mdm/} ],
    [ 'the API at a pattern', conf('', "location ~ /api/ {\n"
        . 'entra_mdm_api fleet; }'), 'entra_mdm_api fleet',
        qr/cannot stand in location/ ],
    [ 'the API at a name', conf('', "location \@api {\n"
        . 'entra_mdm_api fleet; }'), 'entra_mdm_api fleet',
        qr/cannot stand in location/ ],
    [ 'the API of a server', conf('', "entra_mdm_api fleet;\n"),
        'entra_mdm_api fleet', qr/"entra_mdm_api" .* not allowed here/ ],
    [ 'the API in "if"', conf('', "location / { if (\$args) {\n"
        . 'entra_mdm_api fleet; } }'), 'entra_mdm_api fleet',
        qr/"entra_mdm_api" .* not allowed here/ ],
    [ 'the API behind the gate', conf('', "location /api/ { "
        . 'entra_mdm_api_role $role; entra_mdm fleet;' . "\n"
        . 'entra_mdm_api fleet; }') . $map, 'entra_mdm_api fleet',
        qr/"entra_mdm fleet" and "entra_mdm_api" cannot stand in one/ ],
    [ 'an actor of nothing', conf('', "entra_mdm_api_role \$role actor=;")
        . $map,
        'actor=', qr/invalid parameter "actor=": the second is "actor=/ ],
    [ 'something else than an actor', conf('', "entra_mdm_api_role \$role x;")
        . $map, 'role x', qr/invalid parameter "x": the second is "actor=/ ],
    [ 'two roles', conf('', "entra_mdm_api_role \$role;\n"
        . 'entra_mdm_api_role $role; # here' . "\n") . $map, '# here',
        qr/"entra_mdm_api_role" directive is duplicate/ ],
    [ 'GitOps, perhaps', conf('', 'entra_mdm_api_gitops maybe;'), 'maybe',
        qr/"maybe" in "entra_mdm_api_gitops".*"on" or "off"/ ],
) {
    refused(@$_);
}

$t->write_file('bad.inc', "\n\nclient_id x;\n");
my (undef, $said) = $t->nginx_t(http => conf('include bad.inc;'));
like($said, qr/invalid value "x" in "client_id".* in \S+\/bad\.inc:3$/m,
    'an error in an included file is found there');
(undef, $said) = $t->nginx_t(http => "entra_mdm_policy a {\n$good");
like($said, qr/\[emerg\] unexpected end of file, expecting "\}"/,
    'a policy that does not end');

my $redis = 'redis redis://127.0.0.1;';

sub api { return "location /api/ { entra_mdm_api fleet; $_[0] }" }

# accepted: [ name, the policy, the server, what it warns of, where ]

for (
    [ 'as in the manual', '' ],
    [ 'leeway 300s', 'leeway 300s;' ],
    [ 'leeway 5m', 'leeway 5m;' ],
    [ 'leeway 0', 'leeway 0;' ],
    [ 'a GUID in capitals', 'client_id ' . uc($guid) . ';' ],
    [ 'a thousand GUIDs in a line', 'client_id ' . join(' ',
        map { sprintf "%08x%s", $_, substr $guid, 8 } 1 .. 1000) . ';' ],
    [ 'URLs of every form', 'server_url https://a.example.com:8443/x?y '
        . 'HTTPS://B.example.com http://10.0.0.1 "https://[2001:db8::1]:1";' ],
    [ 'the lowest fault status', 'soap_fault_status 400;' ],
    [ 'the highest fault status', 'soap_fault_status 599;' ],
    [ 'a fault of status 200', 'soap_fault_status 200;' ],
    [ 'the fault status by default', 'soap_fault_status auto;' ],
    [ 'the largest sizes', 'max_token 1m; max_body 1024m;',
        'client_max_body_size 0; location / { entra_mdm fleet; }' ],
    [ 'the smallest sizes', 'max_token 1; max_body 1;' ],
    [ 'an issuer', 'issuer "https://sts.windows.net/{tid}/";' ],
    [ 'a relative path of the keys', 'jwks file=keys.json;' ],
    [ 'the shortest prefix', 'header_prefix e-;' ],
    [ 'off where nothing is on', '', 'entra_mdm off;' ],
    [ 'no tenant', '# no tenant', undef,
        qr/"fleet" can accept nobody: it has no "tenant_id"/,
        'entra_mdm_policy' ],
    [ 'neither audience', '# no client', undef,
        qr/"fleet" can accept nobody: .*"client_id".*"server_url"/,
        'entra_mdm_policy' ],
    [ 'a URL alone', "server_url https://a;\n# no client" ],
    [ 'a GUID twice', "client_id $guid\n" . uc($guid) . ';', undef,
        qr/"\U$guid\E" is repeated in "client_id"/, uc $guid ],
    [ 'a GUID in two lines', "client_id $guid;\nclient_id $guid; # here",
        undef, qr/"$guid" is repeated in "client_id"/, '# here' ],
    [ 'client_max_body_size below max_body', 'max_body 4097k;',
        "location /narrow {\nentra_mdm fleet; }",
        qr/location "\/narrow" .*4194304 .*"fleet" 4195328.* 413/,
        'entra_mdm fleet' ],
    [ 'the same for bearer alone', 'max_body 4097k;',
        'location /narrow { entra_mdm fleet token=bearer; }' ],
    [ 'the API', $redis, api('entra_mdm_api_role $role;') ],
    [ 'the API in a location without a slash', $redis,
        'location /api { entra_mdm_api fleet; entra_mdm_api_role $role; }' ],
    [ 'the API, its role above', $redis, 'entra_mdm_api_role $role;'
        . api('entra_mdm_api_gitops on;') ],
    [ 'the API with nothing else', "client_id $guid;", api('entra_mdm_api_role '
        . '$role;'), qr/"fleet" is changed by "entra_mdm_api" and has neither /,
        'entra_mdm_policy' ],
    [ 'the API of an empty policy', "# no tenant\nstate state/a;",
        api('entra_mdm_api_role $role;') ],
    [ 'the role of everybody', $redis, api("\nentra_mdm_api_role admin;"),
        qr/"entra_mdm_api_role admin" is the role of everybody: use a variable/,
        'entra_mdm_api_role admin' ],
    [ 'a role from a header', $redis, api("\nentra_mdm_api_role \$http_x;"),
        qr/"entra_mdm_api_role \$http_x" is what the client says: use a/,
        'entra_mdm_api_role $http_x' ],
    [ 'from a header in a text', $redis,
        api("\nentra_mdm_api_role \"a\${http_x}\";"),
        qr/"entra_mdm_api_role a\$\{http_x\}" is what the client says/,
        'entra_mdm_api_role "a' ],
    [ 'an actor from a header', $redis,
        api("\nentra_mdm_api_role \$role actor=\$http_x;"),
        qr/"entra_mdm_api_role \$http_x" is what the client says: use a/,
        'entra_mdm_api_role $role' ],
    [ 'an actor that is a user', $redis,
        api('entra_mdm_api_role $role actor=$ssl_client_s_dn;') ],
    [ 'from an argument', $redis, api("\nentra_mdm_api_role \$ARG_x;"),
        qr/"entra_mdm_api_role \$ARG_x" is what the client says/,
        'entra_mdm_api_role $ARG_x' ],
    [ 'from a cookie', $redis, api("\nentra_mdm_api_role \$cookie_x;"),
        qr/"entra_mdm_api_role \$cookie_x" is what the client says/,
        'entra_mdm_api_role $cookie_x' ],
    [ 'an API that "allow" opens', $redis,
        "location /api/ {\nentra_mdm_api fleet; entra_mdm_api_role \$role;"
        . ' satisfy any; }',
        qr/"satisfy any" beside "entra_mdm_api": .* any \$remote_user; use "/,
        'entra_mdm_api fleet' ],
    [ 'an unusable key among usable ones', 'jwks file=%%DIR%%/mixed.json;',
        undef, qr/key "enc" in "\S+mixed\.json" may not be used: /, 'jwks' ],
    [ 'keys without a kid', 'jwks file=%%DIR%%/nameless.json;', undef,
        qr/2 entries of "\S+nameless\.json" may not be used: .* no kid/, 'jwks' ],
) {
    my ($name, $policy, $server, $warns, $at) = @$_;
    my ($code, $text) = $t->nginx_t(http => conf($policy, $server) . $map);
    my ($warning) = $text =~ /(\[warn\].*)/;

    is($code, 0, "accepted: $name") or diag($text);
    if (!$warns) {
        is($warning, undef, "no warning: $name");
        next;
    }
    my $line = line_of($at);
    like($warning // '', $warns, "warned of: $name");
    like($warning // '', qr{ in \S+/tried\.conf:$line$}, "$name: where");
}

# Each repeated GUID is named as it is written and where, among however many,
# and one list is not the other.

my @many = map { sprintf '%08x%s', $_ * 2654435761 % 2 ** 32, substr $guid, 8 }
           1 .. 25_000;
my @twice = map { uc $_ } @many[0, 12_345, 24_999];
my $lines = join '', map { "client_id $_;\n" } @many, @twice, $twice[0];

$t->write_file('many.inc', $lines . 'tenant_id ' . $many[0] . ";\n");

my ($code, $text) = $t->nginx_t(http => conf("zone 8m;\ninclude many.inc;"));
is($code, 0, '25,000 IDs in a file') or diag($text);
is(join(' ', $text =~ /"([^"]*)" is repeated in "client_id"/g),
    "@twice $twice[0]", 'each repeated one is named');
is(join(' ', $text =~ /is repeated .*many\.inc:(\d+)/g),
    '25001 25002 25003 25004', 'and where');

is(join(' ', glob $t->dir . '/san*'), '', 'no sanitizer reports');
done_testing();
