#!/usr/bin/perl

# entra-mdmctl and the API: what it prints, what it sends, how it ends.  The
# API is the real one, with a recorder before it, which now and then answers in
# its place; nginx stands before both with TLS and passwords.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use IPC::Open2 qw(open2);
use JSON::PP qw(decode_json encode_json);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::Ctl;
use EntraMDM::File qw(root slurp);
use EntraMDM::Nginx;
use EntraMDM::Recorder;
use EntraMDM::Token qw(jwks new_key);

use constant {
    A => 'aaaaaaaa-1111-4222-8333-444444444444',
    B => 'bbbbbbbb-1111-4222-8333-444444444444',
    C => 'cccccccc-1111-4222-8333-444444444444',
    T => '6d8769e6-0f8b-418d-b385-1a53968781c9',
};

# "fixed" has two IDs in nginx's configuration

my $t = EntraMDM::Nginx->new(http => <<'EOC' . recorded('gate', 'fixed'));
    entra_mdm_policy gate {
        jwks file=%%DIR%%/keys.json;
    }

    entra_mdm_policy fixed {
        client_id bbbbbbbb-1111-4222-8333-444444444444
                  cccccccc-1111-4222-8333-444444444444;
        jwks file=%%DIR%%/keys.json;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen unix:%%DIR%%/api.sock;

        location / {
            proxy_set_header Host $http_host;
            proxy_set_header X-User $remote_user;
            proxy_pass http://127.0.0.1:%%PORT_api%%;
        }
        location /basic/ {
            auth_basic gate;
            auth_basic_user_file %%DIR%%/users;
            proxy_set_header X-User $remote_user;
            proxy_pass http://127.0.0.1:%%PORT_api%%/api/;
        }
        location = /large/config {
            alias %%DIR%%/large;
        }
        location /moved/ {
            return 301 https://elsewhere.example.com/api/;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        ssl_certificate %%DIR%%/localhost.crt;
        ssl_certificate_key %%DIR%%/localhost.key;
        ssl_client_certificate %%DIR%%/ca.crt;
        ssl_verify_client optional;

        location / {
            if ($ssl_client_verify != SUCCESS) { return 403; }
            proxy_set_header X-User $ssl_client_s_dn;
            proxy_pass http://127.0.0.1:%%PORT_api%%;
        }
        location /open/ {
            proxy_pass http://127.0.0.1:%%PORT_api%%/api/;
        }
    }
EOC


# certificates

sub openssl {
    my $dir = $t->dir;
    system("cd $dir && openssl @_ >openssl.log 2>&1") == 0
        or die $t->file('openssl.log');
}

sub certificate {
    my ($name, $subject, $extension) = @_;

    openssl("req -new -newkey rsa:2048 -nodes -subj '$subject'"
        . " -keyout $name.key -out $name.csr");
    $t->write_file("$name.ext", "$extension\n");
    openssl("x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial"
        . " -days 2 -extfile $name.ext -out $name.crt");
}

openssl('req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=ca"'
    . ' -keyout ca.key -out ca.crt');
openssl('req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=other"'
    . ' -keyout other.key -out other.crt');
certificate('localhost', '/CN=gate', 'subjectAltName=DNS:localhost');
certificate('admin', '/CN=admin', 'extendedKeyUsage=clientAuth');
$t->write_file('users', "ann:{PLAIN}open sesame\n");
$t->write_file('password', "open sesame\n");

my $api = EntraMDM::Recorder->new($t, 'api');
my $fleet = EntraMDM::Backend->new($t, 'fleet');
$t->write_file('keys.json', jwks(new_key()));
$t->start;

my $plain = 'http://127.0.0.1:' . $t->port(8080) . '/api/';
my $tls = 'https://localhost:' . $t->port('tls') . '/api/';
my @url = ('--url', $plain);
my $fixed = $plain =~ s{api/}{fixed/}r;
my @fixed = ('--url', $fixed);
my $see = qr/"entra-mdmctl --help" tells the usage/;

sub requests { return join ' ', map { $_->method } $api->requests }


# the command line

my $help = ctl($t, '--help');
my @commands = $help->{out} =~ /^  ([a-z-]+)  /mg;

says('--help', $help, 0, qr/^usage: entra-mdmctl COMMAND/, '');
is("@commands", 'get add remove generate-gitops gitops sync-fleet explain',
    'the commands');

my %options;
for my $command (@commands) {
    my $run = ctl($t, $command, '--help');
    says("$command --help", $run, 0, qr/^usage: entra-mdmctl $command /, '');
    $options{$_} = 1 for $run->{out} =~ /^  .{4}(--[a-z-]+)/mg;
}

my ($top) = slurp(root() . '/CHANGES') =~ /ngx_http_entra_mdm_module (\S+)/;
says('--version, as the top of CHANGES', ctl($t, '--version'), 0,
    "entra-mdmctl $top\n", '');

for my $wrong (
    [ 'no command', qr/which command\?/ ],
    [ 'a command nobody knows', qr/unknown command "destroy"/, 'destroy' ],
    [ 'an option nobody knows', qr/unknown option --force/, 'get', '--force' ],
    [ 'no option for passwords, and none is repeated',
      qr/unknown option --password\n/, 'get', '--password=hunter2' ],
    [ 'an option cut short', qr/unknown option --js\n/, 'get', '--js' ],
    [ "another command's option", qr/--json is no option of "add"/,
      'add', '--json' ],
    [ 'a value that lacks', qr/--url needs a value: URL/, 'get', '--url' ],
    [ 'a value too many', qr/--json takes no value/, 'get', '--json=yes' ],
)
{
    my ($name, $says, @arguments) = @$wrong;
    my $run = ctl($t, @arguments);
    says($name, $run, 2, '', $says);
    like($run->{err}, $see, "$name: the way out");
}

for my $wrong (
    [ 'no URL', qr/--url or ENTRA_MDM_URL must name/, 'get' ],
    [ 'no URL with a host', qr/--url must be a URL with a host/,
      'get', '--url', 'gate' ],
    [ 'another scheme', qr/--url must be a URL/, 'get', '--url', 'file:///x' ],
    [ 'a query', qr/--url must end with its path/, 'get', '--url', "$plain?a" ],
    [ 'a list nobody knows', qr/get takes client-ids/, 'get', 'keys', @url ],
    [ 'add nothing', qr/add takes client-id or tenant-id, and GUIDs/,
      'add', 'client-id', @url ],
    [ 'add to no list', qr/add takes/, 'add', A, @url ],
    [ 'add no GUID', qr/"abc" is no client ID: it must be 8-4-4-4-12/,
      'add', 'client-id', A, 'abc', @url ],
    [ 'add in braces', qr/is no tenant ID/, 'add', 'tenant-id', '{' . A . '}',
      @url ],
    [ 'gitops of nothing', qr/gitops needs -f FILE/, 'gitops', @url ],
    [ 'generate-gitops of something', qr/takes no argument: "x"/,
      'generate-gitops', 'x', @url ],
    [ 'a key alone', qr/--key needs --cert/, 'get', '--key', 'x', @url ],
    [ 'a password for nobody', qr/--password-file needs --user/,
      'get', '--password-file', 'password', @url ],
    [ 'a password nowhere', qr/--user needs ENTRA_MDM_PASSWORD or/,
      'get', '--user', 'ann', @url ],
    [ 'a password with the user', qr/--user has a colon, which no user has\n/,
      'get', '--user', 'ann:hunter2', @url ],
    [ 'no timeout', qr/--timeout must be 1 to 3600 seconds: "0"/,
      'get', '--timeout', '0', @url ],
)
{
    my ($name, $says, @arguments) = @$wrong;
    says($name, ctl($t, @arguments), 2, '', $says);
}

my $run = ctl($t, 'get', '--url', 'http://ann:hunter2@127.0.0.1/');
says('a password in the URL', $run, 2, '', qr/--user names the user/);
unlike($run->{err}, qr/hunter2/, 'is not repeated');
is(requests(), '', 'for none of these anything was sent');


# get

$api->set(at => 'fixed', client_ids => [ A, uc B ], tenant_ids => [T]);

says('both lists', ctl($t, 'get', @fixed), 0, join("\n", "client-id ${\A}",
    "client-id ${\uc B} static too", "client-id ${\C} static",
    "tenant-id ${\T}", ''), '');
says('one list', ctl($t, 'get', 'client-ids', @fixed), 0,
    "${\A}\n${\uc B} static too\n${\C} static\n", '');
says('the other one', ctl($t, 'get', 'tenant-ids', @fixed), 0, "${\T}\n", '');
says('the URL from the environment', ctl($t, 'get', 'tenant-ids',
    { env => { ENTRA_MDM_URL => $fixed =~ s{/$}{}r } }), 0, "${\T}\n", '');

$run = ctl($t, 'get', '--json', @fixed);
is_deeply(decode_json($run->{out}), {
    mdm => { windows_entra_client_ids => [ A, uc B ],
             windows_entra_tenant_ids => [T] },
    static => { windows_entra_client_ids => [ B, C ],
                windows_entra_tenant_ids => [] },
    generation => 1, gitops_mode => JSON::PP::false, source => 'state',
}, 'both lists as JSON');

$run = ctl($t, 'get', 'tenant-ids', '--json', @fixed);
is_deeply(decode_json($run->{out})->{mdm},
    { windows_entra_tenant_ids => [T] }, 'one list as JSON');

$api->set;
says('empty lists', ctl($t, 'get', @url), 0, '', '');
is_deeply(decode_json(ctl($t, 'get', '--json', @url)->{out})->{mdm},
    { windows_entra_client_ids => [], windows_entra_tenant_ids => [] },
    'are empty lists in JSON');

$api->set(tenant_ids => [T]);
$api->says(source => 'lost');
says('lists that Redis has lost', ctl($t, 'get', 'tenant-ids', @url), 0,
    "${\T}\n", qr/Redis has lost its data/);
$api->says(source => 'redis', in_force => JSON::PP::false);
says('lists that are too old', ctl($t, 'get', 'tenant-ids', @url), 0,
    "${\T}\n", qr/not in force on this node/);
is(decode_json(ctl($t, 'get', '--json', @url)->{out})->{in_force},
    JSON::PP::false, 'which JSON says as well');
$api->says(source => "\e[31m\"");
is(decode_json(ctl($t, 'get', '--json', @url)->{out})->{source}, 'unknown',
    'a source of no known form');
$api->answer(GET => undef);

SKIP: {
    skip '/dev/full is not there', 1 if !-e '/dev/full';
    $api->set(client_ids => [A]);
    says('a full disk', ctl($t, 'get', @url, { stdout => '/dev/full' }), 1,
        '', qr/standard output: No space left/);
}


# add and remove

$api->set;
requests();

says('add', ctl($t, 'add', 'client-id', uc A, @url), 0,
    "client ID ${\uc A} is added\n", '');
is_deeply($api->lists, { client_ids => [ uc A ], tenant_ids => [] },
    'as it was typed');
my @sent = $api->requests;
is(join(' ', map { $_->method } @sent), 'GET PATCH', 'in two requests');
like($sent[1]->header('If-Match'), qr/^"[0-9a-f]{64}"$/,
    'on the condition that nobody else was faster');
is_deeply(decode_json($sent[1]->body),
    { mdm => { windows_entra_client_ids => [ uc A ] } },
    'naming the one list only');

says('add again', ctl($t, 'add', 'client-id', A, @url), 0,
    "client ID ${\A} is listed already\n", '');
says('add one of nginx', ctl($t, 'add', 'client-id', C, @fixed), 0,
    "client ID ${\C} is listed already, by client_id in nginx's"
    . " configuration\n", '');
is(requests(), 'GET GET', 'sends nothing');

says('add some', ctl($t, 'add', 'client-id', A, B, @url), 0,
    "client ID ${\A} is listed already\nclient ID ${\B} is added\n", '');
is_deeply($api->lists->{client_ids}, [ uc A, B ], 'adds those that lacked');
says('add a tenant, quietly', ctl($t, 'add', 'tenant-id', T, '-q', @url), 0,
    '', '');
is_deeply($api->lists, { client_ids => [ uc A, B ], tenant_ids => [T] },
    'which leaves the other list alone');

says('remove', ctl($t, 'remove', 'client-id', A, @url), 0,
    "client ID ${\A} is removed\n", '');
is_deeply($api->lists->{client_ids}, [B], 'in any case of its letters');
requests();
says('remove again', ctl($t, 'remove', 'client-id', A, @url), 0,
    "client ID ${\A} is not listed\n", '');
says('remove one of nginx', ctl($t, 'remove', 'client-id', A, C, @fixed), 1, '',
    qr/^entra-mdmctl:\ client\ ID\ ${\C}\ is\ listed\ by\ client_id\ in\ nginx's
       \ configuration.*\n.*nothing\ has\ changed/x);
is(requests(), 'GET GET', 'sends nothing');
is_deeply($api->lists('fixed')->{client_ids}, [ A, uc B ],
    'and changes nothing');


# others change the lists at the same time

$api->set(tenant_ids => [T]);
$api->race(2);
says('somebody else is faster, twice', ctl($t, 'add', 'tenant-id', A, @url),
    0, "tenant ID ${\A} is added\n", '');
is(requests(), 'GET PATCH GET PATCH GET PATCH', 'it is tried again');
is_deeply($api->lists->{tenant_ids}, [
    (map { sprintf '%08x-ffff-4fff-8fff-ffffffffffff', $_ } 1, 2), T, A ],
    'and nobody is overwritten');

$api->set;
$api->race(100);
says('always', ctl($t, 'add', 'tenant-id', A, @url), 3, '',
    qr/HTTP 412, 5 times.*\n.*nothing has changed/);
$api->race(0);
$api->set;

for my $etag (undef, 'W/"1"', '"a"b"', 'abc', '"' . 'a' x 300 . '"') {
    $api->answer(GET => { %{ $api->config },
        headers => [ defined $etag ? (ETag => $etag) : () ] });
    requests();
    says('ETag: ' . substr($etag // 'none', 0, 10),
        ctl($t, 'add', 'tenant-id', A, @url), 1, '',
        qr/comes without a strong ETag/);
    is(requests(), 'GET', 'so nothing is sent');
}
$api->answer(GET => undef);


# what the API refuses

my $error = '{"message":"Validation Failed","errors":[{"name":"mdm.x",'
    . '"reason":"Invalid \u001b[31m \u202e \u00e9"},{"reason":"and more"}]}';

for my $refused (
    [ 401, 3, qr/HTTP 401.*\n.*nginx asks who you are/ ],
    [ 403, 3, qr/HTTP 403.*\n.*only the role gitops may/ ],
    [ 404, 1, qr/HTTP 404.*\n.*is --url the location/ ],
    [ 409, 3, qr/HTTP 409/ ],
    [ 413, 3, qr/HTTP 413.*\n.*belong into Redis/ ],
    [ 422, 3, qr/HTTP\ 422:\ Validation\ Failed:\ Invalid\ \\x1B\[31m
        \ \\xE2\\x80\\xAE\ \\xC3\\xA9\ \(mdm.x\):\ and\ more$/mx, $error ],
    [ 500, 1, qr/HTTP 500$/m ],
    map({ [ 503, 4, qr/^entra-mdmctl:\ PATCH\ \S+\ HTTP\ 503:\ \Q$_\E\n
        entra-mdmctl:\ unless\ that\ says\ that\ nothing\ was\ changed,
        \ "entra-mdmctl\ get"\ shows\ what\ the\ lists\ are$/mx,
        encode_json({ message => $_ }) ]
    } 'outcome unknown', 'Redis has these lists now', 'nothing was changed'),
)
{
    my ($status, $code, $says, $body) = @$refused;
    $api->answer(PATCH => { status => $status,
        body => $body // '<html>nginx</html>' });
    $run = ctl($t, 'add', 'tenant-id', A, @url);
    says("HTTP $status", $run, $code, '', $says);
    like($run->{err}, qr{PATCH \Q${plain}\Econfig}, "what was sent where");
    unlike($run->{err}, qr/html/, 'and no page');
}

$api->answer(PATCH => { %{ $api->config } });
says('a change that was not made', ctl($t, 'add', 'tenant-id', A, @url), 1,
    '', qr/the answer's tenant-ids are not what was asked for/);
$api->answer(PATCH => { close => 1 });
says('an answer that does not come', ctl($t, 'add', 'tenant-id', A, '--url',
    'http://127.0.0.1:' . $t->port('api') . '/api/'), 4, '',
    qr/the outcome is unknown: "entra-mdmctl get" shows/);
$api->answer(PATCH => undef);


# answers that are none

my %none = (
    'no JSON' => [ 'backend', qr/the answer is not a JSON object/ ],
    'an array' => [ '[]', qr/not a JSON object/ ],
    'no lists' => [ '{}', qr/no list mdm\.windows_entra_client_ids/ ],
    'null' => [ '{"mdm":{"windows_entra_client_ids":null}}', qr/no list mdm/ ],
    'no static lists' => [ '{"mdm":{"windows_entra_client_ids":[],'
        . '"windows_entra_tenant_ids":[]}}', qr/no list static/ ],
    'a list of numbers' => [ '{"mdm":{"windows_entra_client_ids":[1]}}',
        qr/a value that is no GUID: "\?"/ ],
    'a list of words' => [ '{"mdm":{"windows_entra_client_ids":["\u001b"]}}',
        qr/a value that is no GUID: "\\x1B"/ ],
    'a name twice' => [ '{"mdm":{},"mdm":{}}', qr/not a JSON object/ ],
);

for my $name (sort keys %none) {
    my ($body, $says) = @{ $none{$name} };
    $api->answer(GET => { body => $body });
    says($name, ctl($t, 'get', @url), 1, '', $says);
}

open my $large, '>', $t->dir . '/large';
truncate $large, (16 << 20) + 1;
says('too much', ctl($t, 'get', '--url', $plain =~ s{api/}{large/}r), 1, '',
    qr/the answer has more than 16777216 bytes/);

$api->answer(GET => { delay => 3 });
says('nothing in time', ctl($t, 'get', '--timeout', 1, @url), 4, '',
    qr{GET \Q${plain}\Econfig: .*timed out});
$api->answer(GET => undef);

says('a redirect', ctl($t, 'get', '--url', $plain =~ s{api/}{moved/}r), 1, '',
    qr{HTTP\ 301:\ it\ sends\ on\ to\ https://elsewhere.example.com/api/\n
       .*not\ followed}x);
says('nobody there', ctl($t, 'get', '--url',
    'http://127.0.0.1:' . $t->port('nobody') . '/'), 4, '',
    qr/is the server running/);
says('no API', ctl($t, 'get', '--url', $plain =~ s{api/}{other/}r), 1, '',
    qr/HTTP 404/);


# who asks, and whom

sub user { return ($api->requests)[-1]->header('X-User') // '' }

my @basic = ('--url', $plain =~ s{api/}{basic/}r);
my @user = (@basic, '--user', 'ann');

says('no password', ctl($t, 'get', @basic), 3, '', qr/HTTP 401/);
says('a wrong one', ctl($t, 'get', @user,
    { env => { ENTRA_MDM_PASSWORD => 'hunter2' } }), 3, '', qr/HTTP 401/);
$api->requests;
says('from the environment', ctl($t, 'get', @user,
    { env => { ENTRA_MDM_PASSWORD => 'open sesame' } }), 0, '', '');
is(user(), 'ann', 'as that user');
says('from a file', ctl($t, 'get', @user, '--password-file', 'password'), 0,
    '', '');
$t->write_file('empty', "\n");
says('from an empty file', ctl($t, 'get', @user, '--password-file', 'empty'),
    1, '', qr/empty: its first line is not a secret/);

SKIP: {
    my $script = (grep { -x } qw(/usr/bin/script))[0];
    skip 'there is no script(1)', 2 if !$script;

    my %env = (ctl_environment($t));
    local @ENV{ keys %env } = values %env;
    my $pid = open2(my $out, my $in, $script, '-qec',
        join(' ', ctl_binary(), 'get', @user), '/dev/null');
    my $said = '';
    while (sysread $out, $said, 4096, length $said) {
        last if $said =~ /Password of ann: /;
    }
    print {$in} "open sesame\n";
    close $in;
    while (sysread $out, $said, 4096, length $said) { }
    waitpid $pid, 0;
    is($? >> 8, 0, 'from the terminal') or diag $said;
    unlike($said, qr/sesame/, 'without an echo');
}

says('a password in plain sight', ctl($t, 'get', '--user', 'ann', '--url',
    'http://gate.example.com/api/'), 1, '',
    qr/the\ password\ would\ go\ unencrypted\ to\ http:..gate.example.com
       .api.\n.*use\ https/x);
says('to a host that looks like this one', ctl($t, 'get', '--user', 'ann',
    '--url', 'http://127.0.0.1.example.com/api/'), 1, '', qr/unencrypted/);
says('to a socket', ctl($t, 'get', '--user', 'ann', '--url',
    'http://gate.example.com/basic/', '--unix-socket', 'api.sock',
    '--password-file', 'password'), 0, '', '');
is(user(), 'ann', 'which is nginx');
says('a proxy is not asked for this machine', ctl($t, 'get', @url,
    { env => { http_proxy => 'http://127.0.0.1:' . $t->port('nobody') } }),
    0, '', '');


# TLS

my @tls = ('--url', $tls);
my @ca = (@tls, '--cacert', 'ca.crt');
my @admin = ('--cert', 'admin.crt', '--key', 'admin.key');

says('an authority nobody knows', ctl($t, 'get', @tls), 1, '',
    qr/certificate.*\n.*belongs into the file of --cacert/);
says('another authority', ctl($t, 'get', @tls, '--cacert', 'other.crt'), 1,
    '', qr/certificate/);
says('another name', ctl($t, 'get', '--url', $tls =~ s/localhost/127.0.0.1/r,
    '--cacert', 'ca.crt'), 1, '', qr/127\.0\.0\.1/);
says('no such file', ctl($t, 'get', @tls, '--cacert', 'none.crt'), 1, '',
    qr/none\.crt/);
requests();
says('the right one', ctl($t, 'get', '--url', $tls =~ s{api/}{open/}r,
    '--cacert', 'ca.crt'), 0, '', '');
is(requests(), 'GET', 'is asked');
says('no client certificate', ctl($t, 'get', @ca), 3, '', qr/HTTP 403/);
says('a client certificate', ctl($t, 'get', @ca, @admin), 0, '', '');
is(user(), 'CN=admin', 'which nginx has verified');
says("another's key", ctl($t, 'get', @ca, '--cert', 'admin.crt', '--key',
    'ca.key'), 1, '', qr/--cert and --key name PEM files/);


# Fleet

my %config = (
    windows_entra_client_ids => [ A, B ],
    windows_entra_tenant_ids => [T],
    apple_bm_enabled_and_configured => JSON::PP::false,
);
my $path = '/api/latest/fleet/config';
my @fleet = (@url, '--fleet', 'http://127.0.0.1:' . $t->port('fleet'));
my %token = (env => { FLEET_TOKEN => 'sesame' });

sub fleet_says {
    my ($mdm) = @_;
    $fleet->answer($path => { body => JSON::PP->new->encode({
        org_info => { org_name => "\x{1b}" }, mdm => $mdm }) });
}

fleet_says(\%config);
$api->set(client_ids => [ B, C ], tenant_ids => []);
my $difference = "- client-id ${\C}\n+ client-id ${\A}\n+ tenant-id ${\T}\n";

says('Fleet without a token', ctl($t, 'sync-fleet', @fleet), 2, '',
    qr/FLEET_TOKEN or --fleet-token-file/);
says('no Fleet', ctl($t, 'sync-fleet', @url, \%token), 2, '',
    qr/needs --fleet URL/);
says('a token that is none', ctl($t, 'sync-fleet', @fleet,
    { env => { FLEET_TOKEN => "a\r\nb" } }), 1, '', qr/no token has/);
says('a token in plain sight', ctl($t, 'sync-fleet', @url, '--fleet',
    'http://fleet.example.com', \%token), 1, '',
    qr/the token would go unencrypted/);
is(scalar $fleet->requests, 0, 'nothing was sent');

requests();
says('a dry run', ctl($t, 'sync-fleet', '--dry-run', @fleet, \%token), 0,
    "${difference}a dry run: nothing has changed\n", '');
says('that counts', ctl($t, 'sync-fleet', '--dry-run', '--exit-code', '-q',
    @fleet, \%token), 6, $difference, '');
is(requests(), 'GET GET', 'sends nothing to the gate');
is(($fleet->requests)[0]->header('Authorization'), 'Bearer sesame',
    "Fleet's token goes to Fleet");
says('the lists of Fleet', ctl($t, 'sync-fleet', @fleet, \%token), 0,
    $difference, '');
is_deeply($api->lists, { client_ids => [ A, B ], tenant_ids => [T] },
    'are those of the gate');
is((grep { defined $_->header('Authorization') } $api->requests), 0,
    'and the token does not go there');
says('again', ctl($t, 'sync-fleet', '--dry-run', '--exit-code', @fleet,
    \%token), 0, "nothing to change\n", '');
$t->write_file('token', "sesame\n");
says('a token from a file', ctl($t, 'sync-fleet', @fleet,
    '--fleet-token-file', 'token'), 0, "nothing to change\n", '');

my %broken = (
    'an older Fleet' => { apple_bm_enabled_and_configured => \0 },
    'half of it' => { windows_entra_client_ids => [] },
    'null' => { %config, windows_entra_tenant_ids => undef },
    'no GUID' => { %config, windows_entra_tenant_ids => ['x'] },
    'a blank' => { %config, windows_entra_tenant_ids => [ ' ' . T ] },
    'no mdm' => undef,
);

for my $name (sort keys %broken) {
    fleet_says($broken{$name});
    says($name, ctl($t, 'sync-fleet', @fleet, \%token), 1, '',
        qr/no list mdm\.windows_entra.*\n.*too old|no GUID: "/);
}
$fleet->answer($path => { status => 401 });
says('a token Fleet does not know', ctl($t, 'sync-fleet', @fleet, \%token),
    3, '', qr/HTTP 401\n.*Fleet does not take the API token/);
$fleet->answer($path => { status => 302, headers => [ Location => '/login' ] });
says('no Fleet', ctl($t, 'sync-fleet', @fleet, \%token), 1, '',
    qr/it sends on to \/login\n.*redirects are not followed/);
is_deeply($api->lists, { client_ids => [ A, B ], tenant_ids => [T] },
    'all of which changes nothing');


# many

my @many = map { sprintf '%08x-1111-4222-8333-444444444444', $_ } 1 .. 5_000;
$api->set(client_ids => \@many);
$run = ctl($t, 'get', 'client-ids', @url);
is($run->{out}, join('', map { "$_\n" } @many), 'a list of thousands');
says('and one more', ctl($t, 'add', 'client-id', A, @url), 0,
    "client ID ${\A} is added\n", '');
is(scalar @{ $api->lists->{client_ids} }, 5_001, 'with none lost');


# manual page, completion, installation

my $source = root() . '/entra-mdmctl';
my $manual = slurp("$source/entra-mdmctl.1");
my $completion = slurp("$source/entra-mdmctl.bash");

$manual =~ s/ , Fl / Fl /g;
is(join(' ', sort grep { my $o = $_ =~ s/^-//r; $manual !~ /Fl \Q$o\E\b/ }
    keys %options), '', 'every option is in the manual page');
is(join(' ', sort grep { $completion !~ /\Q$_\E\b/ } keys %options), '',
    'and in the completion');
is(join(' ', grep { $manual !~ /^\.(?:It )?Cm .*\b\Q$_\E\b/m } @commands), '',
    'every command too');
is(`LC_ALL=C MANROFFSEQ= MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z \\
    $source/entra-mdmctl.1 2>&1 >/dev/null`, '', 'man has no warning');

sub completed {
    my (@words) = @_;
    my $words = join ' ', map { quotemeta || "''" } @words;
    return join ' ', sort split /\n/, `bash -c '. $source/entra-mdmctl.bash
        COMP_WORDS=($words) COMP_CWORD=$#words
        _entra_mdmctl; printf "%s\\n" "\${COMPREPLY[\@]}"'`;
}
is(completed('entra-mdmctl', 'ge'), 'generate-gitops get', 'commands');
is(completed('entra-mdmctl', '--url', 'x', 'get', 'cl'), 'client-ids',
    'arguments');
is(completed('entra-mdmctl', 'gitops', '--d'), '--dry-run', 'options');
is(completed('entra-mdmctl', 'explain', '--cloud', 'u'), 'usgov', 'values');

SKIP: {
    skip 'installed once is enough', 4 if $ENV{ENTRA_MDM_SANITIZED};
    my $to = tempdir(CLEANUP => 1);
    delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
    my $said = `make -s -C ${\root()} install-command DESTDIR=$to 2>&1`;
    is($?, 0, 'make install-command') or diag $said;
    is(join(' ', grep { !-s "$to/usr/local/$_" } 'bin/entra-mdmctl',
        'share/man/man1/entra-mdmctl.1',
        'share/bash-completion/completions/entra-mdmctl'), '',
        'puts all in place');

    $t->write_file('cc', "#!/bin/sh\nexit 1\n");
    chmod 0755, $t->dir . '/cc';
    like(`make -s -C ${\root()} command BUILD=$to CC=$t->{dir}/cc 2>&1`,
        qr/takes libcurl and libyaml.*make module builds without/s,
        'where the libraries are missing');
    unlike(`make -n -C ${\root()} module`, qr/curl|yaml/, 'make module');
}

$t->done;
