#!/usr/bin/perl

# entra-mdmctl explain: the verdict of the gate, offline.  Tokens and messages
# are sent to a gate as well, and both must say the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Basename qw(basename);
use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::Ctl;
use EntraMDM::File qw(root slurp);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Recorder;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant STRANGER => 'ffffffff-1111-4222-8333-444444444444';

my $t = EntraMDM::Nginx->new(http => $Headers . fleet_policy()
    . fleet_policy('device_token pass; require_upn on; scope off;'
        . ' cloud usgov; max_token 1k; leeway 5m;', 'other')
    . 'entra_mdm_policy listed { tenant_id ' . TENANT
    . '; jwks file=%%DIR%%/keys.json; }' . recorded('listed') . <<'EOC');

    large_client_header_buffers 4 32k;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        client_max_body_size 4m;

        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
        location /other {
            entra_mdm other;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
        location /api/ {
            proxy_pass http://127.0.0.1:%%PORT_api%%;
        }
    }
EOC

my $key = new_key();
my $free = new_key(issuer => undef);
my $foreign = new_key();
my $bound = new_key(issuer => 'https://login.microsoftonline.com/'
    . STRANGER . '/v2.0');

$t->write_file('keys.json', jwks($key, $bound, $free));
my $backend = EntraMDM::Backend->new($t, 'backend');
my $api = EntraMDM::Recorder->new($t, 'api');
$t->start;

my $warning = "entra-mdmctl: a token is a secret: whoever has it can use it"
    . " until it expires.  It belongs in no ticket and no chat.\n";
my @keys = (qw(--jwks keys.json));
my @lists = ('--server-url', 'https://' . HOST, '--client-id', CLIENT_V2,
    '--tenant-id', TENANT);
my @fleet = (@keys, @lists);
my @other = (@fleet, qw(--device-token pass --require-upn --scope off
    --cloud usgov --max-token 1k --leeway 5m));

sub judged {
    my ($in, @options) = @_;
    return ctl($t, 'explain', @options, { in => $in });
}

# key and exit code of a verdict, in short

sub verdict_of {
    my ($run) = @_;
    my ($key) = $run->{out} =~ /^verdict: (?:\w+), (\w+)$/m;
    return ($key // 'none') . ' ' . $run->{code};
}


# the gate says the same

my %token = (
    'v1' => mint($key, claims_v1()),
    'v2' => mint($key, claims_v2()),
    'expired' => mint($key, claims_v2(exp => time - 90)),
    'expired within the leeway' => mint($key, claims_v2(exp => time - 20)),
    'not yet valid' => mint($key, claims_v2(nbf => time + 90)),
    'from the future' => mint($key, claims_v2(iat => time + 90)),
    'no exp' => mint($key, claims_v2(exp => undef)),
    'exp a string' => mint($key, claims_v2(exp => '' . time)),
    'an audience of others' => mint($key, claims_v2(aud => STRANGER)),
    'an audience among others' => mint($key,
        claims_v2(aud => [ STRANGER, uc CLIENT_V2 ])),
    'a host of others' => mint($key, claims_v1(aud => 'https://evil.example')),
    'a port' => mint($key, claims_v1(aud => 'https://' . HOST . ':443')),
    'a tenant of others' => mint($key, claims_v2(tid => STRANGER,
        iss => 'https://login.microsoftonline.com/' . STRANGER . '/v2.0')),
    'an issuer of others' => mint($free, claims_v2(
        iss => 'https://login.microsoftonline.com/' . TENANT . '/v2.0/')),
    'an issuer of the government' => mint($free, claims_v2(
        iss => 'https://login.microsoftonline.us/' . TENANT . '/v2.0')),
    'another scope' => mint($key, claims_v2(scp => 'User.Read')),
    'no user' => mint($key, claims_v2(preferred_username => undef)),
    'a user with an escape' => mint($key,
        claims_v2(preferred_username => "\x{1b}[31m")),
    'tid no GUID' => mint($key, claims_v2(tid => 'x')),
    'a foreign key' => mint($foreign, claims_v2()),
    'a foreign signature' => mint($foreign, claims_v2(),
        header => { kid => $key->kid }),
    "a key of another tenant" => mint($bound, claims_v2()),
    'of Graph' => mint($key, claims_v2(), header => { nonce => 'x' }),
    'another algorithm' => mint($key, claims_v2(), alg => 'RS384'),
    'none' => mint($key, claims_v2(), alg => 'none'),
    'crit' => mint($key, claims_v2(), header => { crit => ['x'] }),
    'a name twice' => mint($key, '{"aud":"a","aud":"b"}'),
    'no JSON' => mint($key, 'claims'),
    'two parts' => b64url('{}') . '.' . b64url('{}'),
    'a blank inside' => 'a.b c.d',
    'long' => mint($key, claims_v2(groups => [ ('a' x 36) x 400 ])),
);

for my $name (sort keys %token) {
    my $token = $token{$name};
    my $message = enroll_message($token);

    for my $policy ([ '/', @fleet ], [ '/other', @other ]) {
        my ($uri, @options) = @$policy;
        my $bearer = http_get($uri, bearer => $token)->header('X-Result');
        my $soap = http_post($uri, $message)->header('X-Result');

        is(verdict_of(judged("Authorization: Bearer $token\r\n", @options)),
            $bearer . ($bearer eq 'ok' ? ' 0' : ' 5'),
            "$name: $bearer at $uri, in Authorization");
        is(verdict_of(judged($message, @options)),
            $soap . ($soap eq 'ok' ? ' 0' : ' 5'), '... in SOAP');
        is(verdict_of(judged("$token\n", @options)),
            $soap . ($soap eq 'ok' ? ' 0' : ' 5'), '... alone');
    }
}


# messages, of which the file's name says the reason

my $good = encode_base64($token{v2}, '');

for my $file (sort glob root() . '/t/core/data/soap/invalid/*.xml') {
    my ($reason) = basename($file) =~ /^([a-z_]+)-/;
    my $message = slurp($file) =~ s/\{\{TOKEN\}\}/$good/gr;

    next if $message !~ /^(?:\xef\xbb\xbf)?\s*<|^(?:\xff\xfe|\xfe\xff|\0<)/;
    is(verdict_of(judged($message, @fleet)), "$reason 5", basename($file));
}

for my $file (sort glob root() . '/t/core/data/soap/valid/policy*.xml') {
    my $message = slurp($file) =~ s/\{\{TOKEN\}\}/$good/gr;

    is(verdict_of(judged($message, @fleet)), 'ok 0', basename($file));
}

my $device = encode_base64('{"type":1,"payload":{"orbit_node_key":"x"}}', '');
my $fleetd = 'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/'
    . 'Enrollment/DeviceEnrollmentUserToken';
my $enrolled = enroll_message('', text => $device, value_type => $fleetd);

says("Fleet's own token", judged($enrolled, @fleet), 5,
    qr/^verdict: refused, device_token_denied$/m);
says("let through", judged($enrolled, @other), 0,
    qr/^verdict: passed, device_token$/m);
says("Entra's as Fleet's", judged(enroll_message($token{v2},
    value_type => $fleetd), @fleet, qw(--device-token pass)), 5,
    qr/^verdict: refused, token_malformed\n.*\n  why +a device token that/m);
says('more than one piece', judged(enroll_message($token{v2},
    edit => sub { s{</s:Body>}{'<!--' . 'x' x 50_000 . '--></s:Body>'}e }),
    @fleet), 0, qr/^verdict: accepted, ok$/m);
says('malformed behind a good token', judged(enroll_message($token{v2},
    edit => sub { s{</s:Body>}{} }), @fleet), 5,
    qr/^verdict: refused, message_malformed$/m);
says('too large', judged(enroll_message($token{v2},
    edit => sub { s{</s:Body>}{' ' x (2 << 20) . '</s:Body>'}e }), @fleet), 5,
    qr/^verdict: refused, body_too_large$/m);
says('not if it may be', judged(enroll_message($token{v2},
    edit => sub { s{</s:Body>}{' ' x (2 << 20) . '</s:Body>'}e }), @fleet,
    '--max-body', '3M'), 0, qr/^verdict: accepted, ok$/m);


# what is shown

my $now = 1_800_000_000;
my @then = (@fleet, '--now', $now);
my $claims = { %{ claims_v1() }, nbf => $now - 3600, iat => $now - 3600,
    exp => $now + 4500 };

my $run = judged(mint($key, $claims), @then);
says('accepted', $run, 0, qr/^verdict:\ accepted,\ ok\n
    \ \ user\ +ann\@example\.com\n
    \ \ audience\ +https:..fleet\.example\.com\n\z/mx, $warning);
like($run->{out}, qr/^header\n  alg +"RS256"\n  kid +"\Q@{[$key->kid]}\E"/m,
    'the header');
like($run->{out}, qr/^claims \(the signature is valid\)\n/m, 'the claims');
like($run->{out}, qr/^  amr +\["pwd","mfa"\]\n/m, 'of any type');
like($run->{out}, qr/^\ \ exp\ +1800004500:\ 2027-01-15T09:15:00Z,
    \ expires\ in\ 1\ hour\ 15\ minutes$/mx, 'when it expires');
like($run->{out}, qr/^  iat +\d+: 2027-01-15T07:00:00Z, 1 hour ago$/m,
    'when it was issued');
unlike($run->{out}, qr/\Q@{[ substr mint($key, $claims), -40 ]}\E/,
    'not the token');

says('quiet', judged(mint($key, $claims), @then, '-q'), 0, qr/^token of/, '');

for my $time (
    [ exp => -200, token_expired => 'expired 3 minutes ago$' ],
    [ exp => -60, token_expired => 'expired 1 minute ago$' ],
    [ exp => -30, ok => 'expired 30 seconds ago, within the leeway of 60s$' ],
    [ exp => 1, ok => 'expires in 1 second$' ],
    [ exp => 2 * 86400 + 3 * 3600, ok => 'expires in 2 days 3 hours$' ],
    [ exp => 400 * 86400, ok => 'expires in 400 days$' ],
    [ exp => 1e15, claim_invalid => 'no date, expires in' ],
    [ nbf => 30, ok => '30 seconds from now, within the leeway of 60s$' ],
    [ nbf => 61, token_not_yet_valid => '1 minute from now$' ],
    [ iat => 3700, token_not_yet_valid => '1 hour 1 minute from now$' ],
)
{
    my ($claim, $offset, $reason, $says) = @$time;
    my $run = judged(mint($key, { %$claims, $claim => $now + $offset }),
        @then);

    like($run->{out}, qr/^  $claim +.*, ?$says|^  $claim +[\de.+]+: $says/m,
        "$claim at $offset seconds");
    is(verdict_of($run) =~ s/ .*//r, $reason, '... and the verdict');
}

says('a date', judged(mint($key, $claims), @fleet, '--now',
    '2027-01-15T09:17:00Z'), 5, qr/expired 2 minutes ago.*token_expired/s);

# the answer, and what to do

for my $refused (
    [ 'an audience of others', qr/^verdict:\ refused,\ audience_not_allowed\n
        \ +The\ access\ token\ was\ issued\ for\ another\ application\.\n
        \ \ client\ IDs\ +${\CLIENT_V2}\n
        \ \ hosts\ +\Q${\HOST}\E\n
        \ \ bearer\ +HTTP\ 403,\ insufficient_scope\n
        \ \ SOAP\ +HTTP\ 500,\ s:Receiver\ s:Authorization,\ on\ Windows
        \ 0x80180003\n
        \ \ remedy\ +Add\ the\ token's\ audience\ to\ .*\n\z/mx ],
    [ 'a tenant of others', qr/^  tenant IDs +${\TENANT}$/m ],
    [ 'an issuer of others', qr{^\ \ issuers\ +https://sts.windows.net/\{tid\}/,
        \ https://login.microsoftonline.com/\{tid\}/v2.0$}mx ],
    [ 'another scope', qr/^  scope +mdm_delegation$/m ],
    [ 'a foreign key', qr/^  keys +(?:\S+, ){2}\S+$/m ],
    [ 'of Graph', qr/^  why +it is a token for Microsoft Graph/m ],
    [ 'no exp', qr/^  why +exp is missing or not a date$/m ],
    [ 'no JSON', qr/^claims: not readable$/m ],
    [ 'two parts', qr/^verdict: refused, token_malformed$/m ],
    [ 'a blank inside', qr/^ +there is a blank or a line end in it/m ],
)
{
    my ($name, $says) = @$refused;
    says("$name: what would do", judged($token{$name}, @fleet), 5, $says,
        $warning);
}

my @many = map { ('--client-id', sprintf '%08x-1111-4222-8333-444444444444',
    $_) } 1 .. 23;
says('many client IDs', judged($token{v2}, @keys, '--tenant-id', TENANT,
    @many), 5, qr/^  client IDs +(?:\S+, ){19}\S+ and 3 more$/m);

says('two faults', judged(mint($foreign, claims_v2(aud => STRANGER)),
    @fleet), 5, qr/refused, key_unknown.*^  besides +audience_not_allowed: /ms);

says('a SOAP answer', judged(policy_message('', security => ''), @fleet), 5,
    qr/^SOAP\ message\n
    \ \ Action\ +http.*GetPolicies\n
    \ \ MessageID\ +urn:uuid:.*\n
    verdict:\ refused,\ no_token\n
    (?:\ \ .*\n)+?
    \ \ SOAP\ +HTTP\ 500,\ s:Receiver\ s:Authentication,\ on\ Windows
    \ 0x80180002\n
    \ \ remedy\ /mx);
says('context of an enrollment', judged(enroll_message($token{v2}), @fleet),
    0, qr/^  HWDevID +\S/m);
says('an Authorization line', judged('bearer ' . $token{v2}, @fleet), 0,
    qr/accepted/);
says('one without a token', judged('Authorization: Bearer', @fleet), 5,
    qr/no_token\n.*\n  why +Bearer without a token$/m);
says('another scheme', judged('Authorization: Basic YTpi', @fleet), 5,
    qr/no_token\n.*\n  why +Authorization has another scheme/m);
says('an escape in a claim', judged($token{'a user with an escape'}, @fleet),
    5, qr/^  preferred_username "\\u001B\[31m"$/m);
says('in what is no token', judged("\x{1b}]0;x\x07\x00.\xff.\x80", @fleet),
    5, qr/token_malformed/);
says('in a SOAP message', judged(policy_message($token{v2},
    message_id => "\xc2\x9b31m&#x202e;"), @fleet), 0,
    qr/^  MessageID +\\xC2\\x9B31m\\xE2\\x80\\xAE$/m);


# without keys nothing is accepted

says('no keys', judged($token{v2}, @lists), 7,
    qr/^claims\ \(the\ signature\ was\ not\ checked.*^verdict:\ nothing\ to
       \ refuse,\ but\ the\ signature\ was\ not\ checked$/msx);
says('a forged one', judged($token{'a foreign signature'}, @lists), 7,
    qr/was not checked/);
says('in a message', judged(enroll_message($token{v2}), @lists), 7,
    qr/was not checked/);
says('a message that is malformed', judged(enroll_message($token{v2},
    edit => sub { s{</s:Body>}{} }), @lists), 5, qr/message_malformed/);
says('claims can be refused', judged($token{'a tenant of others'}, @lists),
    5, qr/was not checked.*refused, tenant_not_allowed/s);
says('and a token of Graph', judged($token{'of Graph'}, @lists), 5,
    qr/signature_invalid/);
says('no lists', judged($token{v2}, @keys), 5,
    qr/audience_not_allowed\n.*\n  client IDs +none\n  hosts +none$/m);


# the lists of a gate

my @from = ('--from-api', '--url', 'http://127.0.0.1:' . $t->port(8080)
    . '/api/');

$api->set(client_ids => [ uc CLIENT_V2 ]);
says('its lists, live and static', judged($token{v2}, @keys, @from), 0,
    qr/accepted/);
$api->set(client_ids => [STRANGER]);
says('are shown', judged($token{v2}, @keys, @from), 5,
    qr/audience_not_allowed\n.*\n  client IDs +${\STRANGER}$/m);
says('beside those of the options', judged($token{v2}, @fleet, @from), 0,
    qr/accepted/);
$api->answer(GET => { status => 503 });
says('an API that is away', judged($token{v2}, @keys, @from), 4, '',
    qr/HTTP 503\n.*try again/);


# mistakes

for my $wrong (
    [ 'no such cloud', qr/--cloud must be public, usgov or china: "mars"/,
      qw(--cloud mars) ],
    [ 'too much leeway', qr/--leeway must be a number of at most 300/,
      qw(--leeway 6m) ],
    [ 'a leeway that is none', qr/--leeway must be/, qw(--leeway -1) ],
    [ 'a size that is none', qr/--max-token must be/, qw(--max-token 1x) ],
    [ 'a size too large', qr/--max-token must be.*1048576/,
      qw(--max-token 2m) ],
    [ 'a time that is none', qr/--now must be seconds/, qw(--now noon) ],
    [ 'a client ID that is none', qr/--client-id must be 8-4-4-4-12.*"x"/,
      qw(--client-id x) ],
    [ 'a server without a host', qr/--server-url must be a URL with a host/,
      qw(--server-url fleet) ],
    [ 'deny, pass, or', qr/--device-token must be deny or pass: "let"/,
      qw(--device-token let) ],
    [ 'two files', qr/explain takes one file/, qw(a b) ],
)
{
    my ($name, $says, @options) = @$wrong;
    says($name, judged($token{v2}, @options), 2, '', $says);
}

says('no leeway', judged($token{v2}, @fleet, qw(--leeway 0)), 0, qr/accepted/);
says('nothing to explain', judged(" \n", @fleet), 1, '',
    qr/standard input is empty\n.*it takes a token/);
says('no file', judged('', @fleet, 'none'), 1, '', qr/none: No such file/);
says('no key set', judged($token{v2}, qw(--jwks none.json)), 1, '',
    qr/none\.json: No such file/);
$t->write_file('broken.json', '{"keys":[]}');
says('a broken one', judged($token{v2}, qw(--jwks broken.json)), 1, '',
    qr/broken\.json: .*\n.*a key set is what https:/);

$t->done;
