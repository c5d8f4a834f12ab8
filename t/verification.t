#!/usr/bin/perl

# Is this a token, and did Entra sign it?  Form, algorithm, key and signature,
# and that of several faults the one judged first is the reason.  What the
# claims of a verified token must say is in claims.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Crypt::PK::ECC;
use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

use constant {
    OTHER    => '0d0d0d0d-1111-4222-8333-444444444444',     # listed as well
    STRANGER => 'ffffffff-1111-4222-8333-444444444444',
    CONSUMER => '9188040d-6c67-4c5b-b112-36a304b66dad',
};

my $t = EntraMDM::Nginx->new(http => <<'EOC');

    large_client_header_buffers 4 32k;

    add_header X-Result $entra_mdm_result always;
    add_header X-Action $entra_mdm_action always;

    entra_mdm_policy fleet {
        server_url https://fleet.example.com;
        tenant_id  6d8769e6-0f8b-418d-b385-1a53968781c9
                   0d0d0d0d-1111-4222-8333-444444444444
                   9188040d-6c67-4c5b-b112-36a304b66dad;
        client_id  1b1b1111-2222-3333-4444-5555555555c1;
        jwks       file=%%DIR%%/keys.json;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        client_max_body_size 2m;
        entra_mdm fleet;

        location / {
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
    }

EOC

# Keys.  The first one is bound to Entra's v2 issuer of any tenant, as most
# of theirs are; the free one is bound to nothing.

my $key = new_key();
my $free = new_key();
my $weak = new_key(bits => 1024);
my $foreign = new_key();                                # in no set

sub bound {
    my ($kid, %member) = @_;
    return $key->jwk(kid => $kid, x5t => undef, %member);
}

my $ec = Crypt::PK::ECC->new->generate_key('secp256r1')
    ->export_key_jwk('public', 1);

my $backend = EntraMDM::Backend->new($t);

$t->write_file('keys.json', jwks($key, $weak,
    $free->jwk(issuer => undef),
    bound('consumer', issuer => issuer(v2 => CONSUMER)),
    bound('tenant', issuer => issuer(v2 => TENANT)),
    bound('other', issuer => issuer(v2 => OTHER)),
    bound('v1', issuer => 'https://sts.windows.net/{tenantid}/'),
    bound('usgov',
        issuer => 'https://login.microsoftonline.us/{tenantid}/v2.0'),
    bound('number', issuer => 1),
    bound('enc', use => 'enc'),
    bound('no use', use => undef),
    bound('RS256', alg => 'RS256'),
    bound('RS512', alg => 'RS512'),
    bound('broken', n => 'AQAB'),
    bound('unknown members', cloud_instance_name => 'x', x5c => [ 'no' ]),
    { %$ec, kid => 'ec', use => 'sig' },
    { %$ec, kid => 'twice', use => 'sig' }, bound('twice'),
));
$t->start;

sub issuer {
    my ($version, $tenant) = @_;
    return $version eq 'v1' ? "https://sts.windows.net/$tenant/"
                            : "https://login.microsoftonline.com/$tenant/v2.0";
}

# form

my $good = mint($key, claims_v2());
my ($header, $payload, $signature) = split /\./, $good;
my $signed = '{"alg":"RS256","kid":"' . $key->kid . '"';
my ($padded, @rest) = split /\./, raw("$signed     }", '{}');

for (
    [ 'as minted',                    $good, 'ok' ],
    [ 'one part',                     $header ],
    [ 'two parts',                    "$header.$payload" ],
    [ 'four parts',                   "$good.x" ],
    [ 'a dot at the end',             "$good." ],
    [ 'five parts, as if encrypted',  "$good.x.x" ],
    [ 'no header',                    ".$payload.$signature" ],
    [ 'no payload',                   "$header..$signature" ],
    [ 'only dots',                    '..' ],
    [ 'padded header',                "$header=.$payload.$signature" ],
    [ 'padded payload',               "$header.$payload==.$signature" ],
    [ 'padded signature',             "$good==" ],
    [ 'standard alphabet',            "$header.$payload.+$signature" ],
    [ 'a stray byte',                 "$header.$payload.$signature*" ],
    [ 'a lone last character',        "$header.$payload." . 'A' x 341 ],
    [ 'last bits of the signature not zero',
                                      "$header.$payload." . stray($signature) ],
    [ 'last bits of the header not zero', join('.', stray($padded), @rest) ],
    [ 'header not JSON',              raw('{"alg":', '{}') ],
    [ 'header an array',              raw('["RS256"]', '{}') ],
    [ 'header a string',              raw('"RS256"', '{}') ],
    [ 'header followed by more',      raw("$signed}{}", '{}') ],
    [ 'header not UTF-8',             raw("$signed,\"x\":\"\xff\"}", '{}') ],
    [ 'header in UTF-16',             raw("\xff\xfe{\0}\0", '{}') ],
    [ 'alg twice',                    raw("$signed,\"alg\":\"none\"}", '{}') ],
    [ 'kid twice, once escaped',      raw("$signed,\"\\u006bid\":\"x\"}",
                                          '{}') ],
    [ 'no alg',                       raw('{"kid":"x"}', '{}') ],
    [ 'alg a number',                 raw('{"alg":256,"kid":"x"}', '{}') ],
    [ 'alg null',                     raw('{"alg":null,"kid":"x"}', '{}') ],
    [ 'alg an array',                 raw('{"alg":["RS256"],"kid":"x"}',
                                          '{}') ],
    [ 'no kid',                       raw('{"alg":"RS256"}', '{}') ],
    [ 'kid a number',                 raw('{"alg":"RS256","kid":1}', '{}') ],
    [ 'kid null',                     raw('{"alg":"RS256","kid":null}', '{}') ],
    [ 'payload not JSON',             mint($key, 'ann@example.com') ],
    [ 'payload an array',             mint($key, '[{}]') ],
    [ 'payload a number',             mint($key, '1') ],
    [ 'payload null',                 mint($key, 'null') ],
    [ 'payload cut off',              mint($key, '{"aud":"x"') ],
    [ 'payload followed by more',     mint($key, '{} {}') ],
    [ 'payload not UTF-8',            mint($key, "{\"upn\":\"\xe4\"}") ],
    [ 'payload with an overlong NUL', mint($key, "{\"upn\":\"\xc0\x80\"}") ],
    [ 'payload with half a surrogate pair', mint($key, '{"upn":"\ud800"}') ],
    [ 'a claim twice',                mint($key, '{"tid":"1","tid":"2"}') ],
    [ 'a claim twice, once escaped',  mint($key,
                                          '{"tid":"1","\u0074id":"2"}') ],
    [ 'a claim twice inside another', mint($key, '{"x":{"y":1,"y":2}}') ],
    [ 'payload nested deeply',        mint($key, '[' x 5000 . ']' x 5000) ],
) {
    my ($name, $token, $result) = @$_;
    decided($token, $result // 'token_malformed', "form: $name");
}

# the same last character with the bits set that no byte takes

sub stray {
    my ($text) = @_;
    my $set = join '', 'A' .. 'Z', 'a' .. 'z', 0 .. 9, '-_';
    my $bits = index $set, substr $text, -1;
    return substr($text, 0, -1) . substr $set, $bits | 1, 1;
}

sub raw { return mint($key, $_[1], header => $_[0]) }

# algorithm

for my $alg (qw(none HS256 HS512 PS256 RS384 RS512)) {
    decided(mint($key, claims_v2(), alg => $alg), 'algorithm_not_allowed',
        "algorithm: $alg, rightly signed");
}

for my $alg ('', 'rs256', 'RS256 ', 'NONE', 'ES256', 'EdDSA', 'dir') {
    decided(mint($key, claims_v2(), header => { alg => $alg }),
        'algorithm_not_allowed', "algorithm: called '$alg'");
}

for my $crit ([], ['exp'], 'exp') {
    decided(mint($key, claims_v2(), header => { crit => $crit }),
        'algorithm_not_allowed', 'algorithm: crit');
}

# key

my %evil = (jwk => $foreign->jwk, jku => 'https://evil.example/keys',
    x5u => 'https://evil.example/cert', x5c => ['MIIB']);

for (
    [ 'chosen by kid',           'ok', $free ],
    [ 'unknown',                 'key_unknown', $foreign ],
    [ 'unknown, brought along',  'key_unknown', $foreign, %evil ],
    [ 'known, others brought along, which nobody reads', 'ok', $key, %evil ],
    [ 'an empty kid',            'key_unknown', $key, kid => '' ],
    [ 'a kid of another case',   'key_unknown', $key, kid => 'ENC' ],
    [ 'x5t is no kid',           'key_unknown', $key, kid => 'x',
                                 x5t => $key->kid ],
    [ '1024 bits',               'key_not_allowed', $weak ],
    [ 'for encryption',          'key_not_allowed', $key, kid => 'enc' ],
    [ 'of no declared use',      'ok', $key, kid => 'no use' ],
    [ 'for RS256',               'ok', $key, kid => 'RS256' ],
    [ 'for another algorithm',   'key_not_allowed', $key, kid => 'RS512' ],
    [ 'an elliptic curve',       'key_not_allowed', $key, kid => 'ec' ],
    [ 'a modulus of 3 bytes',    'key_not_allowed', $key, kid => 'broken' ],
    [ 'an issuer that is none',  'key_not_allowed', $key, kid => 'number' ],
    [ 'with members unknown',    'ok', $key, kid => 'unknown members' ],
    [ 'one of two of that kid',  'ok', $key, kid => 'twice' ],
) {
    my ($name, $result, $by, %header) = @$_;
    decided(mint($by, claims_v2(), header => \%header), $result,
        "key: $name");
}

# the issuer a key is bound to: name, kid, version, tenant

for (
    [ 'any tenant, v2',               $key->kid,  'v2', TENANT, 'ok' ],
    [ 'any tenant, v1',               $key->kid,  'v1', TENANT, 'ok' ],
    [ 'any tenant, another one',      $key->kid,  'v2', OTHER, 'ok' ],
    [ 'one tenant, v2',               'tenant',   'v2', TENANT, 'ok' ],
    [ 'one tenant, v1',               'tenant',   'v1', TENANT, 'ok' ],
    [ 'another tenant, v2',           'other',    'v2', TENANT ],
    [ 'another tenant, v1',           'other',    'v1', TENANT ],
    [ 'consumers, v2',                'consumer', 'v2', TENANT ],
    [ 'consumers, v1',                'consumer', 'v1', TENANT ],
    [ 'consumers, their own',         'consumer', 'v2', CONSUMER, 'ok' ],
    [ 'v1, v1',                       'v1',       'v1', TENANT, 'ok' ],
    [ 'v1, v2',                       'v1',       'v2', TENANT ],
    [ 'another cloud, v2',            'usgov',    'v2', TENANT ],
) {
    my ($name, $kid, $version, $tenant, $result) = @$_;
    decided(mint($key, of($version, $tenant), header => { kid => $kid }),
        $result // 'key_not_allowed', "key bound to $name");
}

decided(mint($key, claims_v2(iss => issuer(v2 => OTHER))), 'key_not_allowed',
    'key bound to any tenant: iss and tid of two tenants, v2');
decided(mint($key, claims_v1(iss => issuer(v1 => OTHER))), 'key_not_allowed',
    'key bound to any tenant: iss and tid of two tenants, v1');
decided(mint($key, claims_v2(iss => 1)), 'claim_invalid',
    'key bound to any tenant: iss not a string');
decided(mint($key, claims_v2(tid => 'x')), 'claim_invalid',
    'key bound to any tenant: tid not a GUID');
decided(mint($foreign, claims_v2(iss => 1), header => { kid => $key->kid }),
    'signature_invalid', 'which counts only when the signature is right');

sub of {
    my ($version, $tenant) = @_;
    my %claims = (iss => issuer($version, $tenant), tid => $tenant);
    return $version eq 'v1' ? claims_v1(%claims) : claims_v2(%claims);
}

# signature

my $other = mint($key, claims_v2(upn => 'eve@example.com'));

for (
    [ 'by another key',           mint($foreign, claims_v2(),
                                      header => { kid => $key->kid }) ],
    [ 'by a key brought along',   mint($foreign, claims_v2(),
                                      header => { kid => $key->kid, %evil }) ],
    [ 'by another key of the set', mint($free, claims_v2(),
                                      header => { kid => $key->kid }) ],
    [ 'none',                     "$header.$payload." ],
    [ 'of another token',         "$header.$payload."
                                  . (split /\./, $other)[2] ],
    [ 'of the claims before they were changed',
          join('.', $header, (split /\./, $other)[1], $signature) ],
    [ 'by another algorithm than named',
          mint($key, claims_v2(), alg => 'PS256',
              header => { alg => 'RS256' }) ],
    [ 'all zero',                 "$header.$payload." . b64url("\0" x 256) ],
    [ 'one byte',                 "$header.$payload." . b64url('x') ],
    [ 'one byte more',            "$header.$payload.${signature}A" ],
    [ 'of a Microsoft Graph token', mint($key, claims_v2(),
                                      header => { nonce => 'x' }) ],
) {
    my ($name, $token) = @$_;
    decided($token, 'signature_invalid', "signature: $name");
}

my $graph = mint($key, claims_v2(), header => { nonce => 'x' });

like(http_get('/', bearer => $graph)->header('WWW-Authenticate'),
    qr/error="invalid_token".*Microsoft Graph/, 'Microsoft Graph: says so');
like(fault(http_post('/', enroll_message($graph)))->{text},
    qr/Microsoft Graph/, 'Microsoft Graph: in a fault as well');
unlike(http_get('/', bearer => mint($foreign, claims_v2(), header =>
    { kid => $key->kid }))->raw, qr/Graph/, 'and of no other');
$backend->requests;

# Faults in the order of judgement, each of which spoils a token in its own
# way, and what a device is told of them.

my $authentication = [ 's:Receiver', 's:Authentication' ];
my $authorization = [ 's:Receiver', 's:Authorization' ];

my @faults = (
    [ token_malformed       => $authentication, end => '=' ],
    [ algorithm_not_allowed => $authentication, alg => 'RS384' ],
    [ key_unknown           => $authentication, kid => 'unknown' ],
    [ key_not_allowed       => $authentication, kid => 'enc' ],
    [ signature_invalid     => $authentication, by => $foreign ],
    [ token_expired         => $authentication, exp => 1 ],
    [ token_not_yet_valid   => $authentication, nbf => 4102444800 ],
    [ claim_invalid         => $authentication, iat => 'now' ],
    [ issuer_not_allowed    => $authentication, iss => 'https://x.example' ],
    [ scope_not_allowed     => $authorization,  scp => 'x' ],
    [ audience_not_allowed  => $authorization,  aud => 'x' ],
    [ tenant_not_allowed    => $authorization,  tid => STRANGER,
                               iss => issuer(v2 => STRANGER) ],
    [ upn_invalid           => $authorization,  upn => "\n" ],
);

# A token with these faults; of two that concern one member, the first.

sub spoiled {
    my %faults = map { my (undef, undef, %f) = @$_; %f } reverse @_;
    my ($by, $alg, $kid, $end) = delete @faults{qw(by alg kid end)};

    return mint($by // $free, claims_v2(%faults), alg => $alg,
        header => { kid => $kid // $free->kid }) . ($end // '');
}

for my $i (0 .. $#faults) {
    my ($result, $codes) = @{ $faults[$i] };
    my $r = http_post('/', enroll_message(spoiled($faults[$i])));

    is_deeply([ $r->header('X-Result'), $r->status,
        @{ fault($r) }{qw(code subcode)} ], [ $result, 500, @$codes ],
        "message: $result");

    decided(spoiled(@faults[ $i, $_ ]), $result,
        "order: $result before $faults[$_][0]") for $i + 1 .. $#faults;
    decided(spoiled(@faults[ $i .. $#faults ]), $result,
        "order: $result before all that follow");
}

is($backend->requests, 0, 'no spoiled message has reached the backend');
is(http_post('/', enroll_message($good))->header('X-Result'), 'ok',
    'message: good');

$t->done;


# The reason, the action that goes with it, and what the backend saw.

sub decided {
    my ($token, $result, $name) = @_;
    my $r = http_get('/', bearer => $token);
    my $action = $result eq 'ok' ? 'accepted' : 'refused';

    is(($r->header('X-Result') // $r->status) . ', '
        . ($r->header('X-Action') // 'none') . ', '
        . $backend->requests . ' forwarded',
        "$result, $action, " . ($result eq 'ok' ? 1 : 0) . ' forwarded',
        $name);
}
