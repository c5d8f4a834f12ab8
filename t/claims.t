#!/usr/bin/perl

# What the claims of a verified token must say: time, types, issuer, scope,
# audience, tenant and user, each by the policy's own rules.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(encode_json);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;

use constant {
    OTHER    => '0d0d0d0d-1111-4222-8333-444444444444',     # listed as well
    STRANGER => 'ffffffff-1111-4222-8333-444444444444',
    CLIENT_B => '2c2c2222-2222-3333-4444-5555555555c2',
};

# a policy each, and a location of its name

my $ids = <<'EOC';
tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9
          0d0d0d0d-1111-4222-8333-444444444444;
client_id 1b1b1111-2222-3333-4444-5555555555c1;
EOC

my %policy = (
    fleet    => $ids,
    usgov    => "$ids cloud usgov;",
    china    => "$ids cloud china;",
    own      => $ids . 'issuer "https://idp.example/{tid}/{tid}" '
                     . '"https://one.example";',
    anyscope => "$ids scope off;",
    scope    => "$ids scope Device.Enroll;",
    strict   => "$ids leeway 0;",
    lenient  => "$ids leeway 300s;",
    upn      => "$ids require_upn on;",
    nobody   => '',
);

my $policies = join '', map { <<EOC } sort keys %policy;
    entra_mdm_policy $_ {
        server_url https://fleet.example.com;
        jwks       file=%%DIR%%/keys.json;
        $policy{$_}
    }
EOC

my $locations = join '', map { <<EOC } sort keys %policy;
        location /$_ {
            entra_mdm $_ token=bearer;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
EOC

my $t = EntraMDM::Nginx->new(http => <<"EOC");

    add_header X-Result \$entra_mdm_result always;
    add_header X-Action \$entra_mdm_action always;

    $policies
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        $locations
    }

EOC

# A key bound to Entra's v2 issuer of any tenant, as most of theirs are, and
# one bound to nothing, under which every issuer can be looked at.

my $key = new_key();
my $free = new_key();

my $backend = EntraMDM::Backend->new($t);
$t->write_file('keys.json', jwks($key, $free->jwk(issuer => undef),
    $key->jwk(kid => 'usgov',
        issuer => 'https://login.microsoftonline.us/{tenantid}/v2.0'),
    $key->jwk(kid => 'china',
        issuer => 'https://login.partner.microsoftonline.cn/{tenantid}/v2.0')));
$t->start;

my $ok = 'ok';

# time, with margins wide enough for a slow machine

my ($late, $early) = qw(token_expired token_not_yet_valid);

for (
    [ 'expired within the leeway',   'fleet',   exp => -40,     $ok ],
    [ 'expired beyond it',           'fleet',   exp => -61,     $late ],
    [ 'expired without a leeway',    'strict',  exp => -1,      $late ],
    [ 'expired within the widest',   'lenient', exp => -270,    $ok ],
    [ 'expired beyond the widest',   'lenient', exp => -301,    $late ],
    [ 'not yet within the leeway',   'fleet',   nbf => 59,      $ok ],
    [ 'not yet beyond it',           'fleet',   nbf => 120,     $early ],
    [ 'not yet without a leeway',    'strict',  nbf => 30,      $early ],
    [ 'not yet within the widest',   'lenient', nbf => 299,     $ok ],
    [ 'not yet beyond the widest',   'lenient', nbf => 400,     $early ],
    [ 'issued in the near future',   'fleet',   iat => 59,      $ok ],
    [ 'issued in the future',        'fleet',   iat => 120,     $early ],
    [ 'fractional',                  'fleet',   exp => 3600.5,  $ok ],
    [ 'fractional and expired',      'fleet',   exp => -99.5,   $late ],
) {
    my ($name, $policy, $claim, $offset, $result) = @$_;
    decided(mint($key, claims_v2($claim => time + $offset)), $result,
        "time: $name", $policy);
}

# types, with values as raw JSON

for (
    [ 'exp missing',            exp => undef ],
    [ 'exp null',               exp => 'null' ],
    [ 'exp a string',           exp => '"4102444800"' ],
    [ 'exp true',               exp => 'true' ],
    [ 'exp an array',           exp => '[4102444800]' ],
    [ 'exp of 20 digits',       exp => '18446744073709551617' ],
    [ 'exp far beyond any date', exp => '1e300' ],
    [ 'exp beyond all numbers', exp => '1e400', 'token_malformed' ],
    [ 'exp negative',           exp => '-1', 'token_expired' ],
    [ 'exp 0',                  exp => '0', 'token_expired' ],
    [ 'exp far below any date', exp => '-18446744073709551617',
                                'token_expired' ],
    [ 'exp as a float',         exp => '4.102444800e9', $ok ],
    [ 'nbf missing',            nbf => undef, $ok ],
    [ 'nbf a string',           nbf => '"0"' ],
    [ 'nbf null',               nbf => 'null' ],
    [ 'nbf of 20 digits',       nbf => '18446744073709551617',
                                'token_not_yet_valid' ],
    [ 'iat missing',            iat => undef, $ok ],
    [ 'iat a string',           iat => '"0"' ],
    [ 'iat an object',          iat => '{}' ],
    [ 'iss missing',            iss => undef ],
    [ 'iss null',               iss => 'null' ],
    [ 'iss a number',           iss => '1' ],
    [ 'iss an array',           iss => '["' . issuer(v2 => TENANT) . '"]' ],
    [ 'tid missing',            tid => undef ],
    [ 'tid null',               tid => 'null' ],
    [ 'tid an array',           tid => '["' . TENANT . '"]' ],
    [ 'tid empty',              tid => '""' ],
    [ 'tid not a GUID',         tid => '"common"' ],
    [ 'tid in braces',          tid => '"{' . TENANT . '}"' ],
    [ 'tid as a URN',           tid => '"urn:uuid:' . TENANT . '"' ],
    [ 'tid without hyphens',    tid => '"' . (TENANT =~ tr/-//dr) . '"' ],
    [ 'tid with a blank',       tid => '" ' . TENANT . '"' ],
    [ 'aud missing',            aud => undef ],
    [ 'aud null',               aud => 'null' ],
    [ 'aud a number',           aud => '1' ],
    [ 'aud an object',          aud => '{"0":"' . CLIENT_V2 . '"}' ],
    [ 'aud an array with a number', aud => '["' . CLIENT_V2 . '",1]' ],
    [ 'aud an array in an array', aud => '[["' . CLIENT_V2 . '"]]' ],
    [ 'aud an array of none',   aud => '[]', 'audience_not_allowed' ],
    [ 'aud an array of one',    aud => '["' . CLIENT_V2 . '"]', $ok ],
    [ 'scp missing',            scp => undef ],
    [ 'scp null',               scp => 'null' ],
    [ 'scp an array',           scp => '["mdm_delegation"]' ],
    [ 'ver of another type',    ver => '2.0', $ok ],
    [ 'oid of another type',    oid => '[]', $ok ],
) {
    my ($name, $claim, $value, $result) = @$_;
    my $json = encode_json(claims_v2($claim => undef));
    $json =~ s/\}$/,"$claim":$value}/ if defined $value;
    decided(mint($key, $json), $result // 'claim_invalid', "claim: $name");
}

# issuer, under a key that is bound to none

my $t1 = TENANT;
my ($com, $us) = map { "https://login.microsoftonline.$_" } qw(com us);

for (
    [ 'v1',                      "https://sts.windows.net/$t1/", $ok ],
    [ 'v2',                      "$com/$t1/v2.0", $ok ],
    [ 'v1 of another tenant',    issuer(v1 => OTHER) ],
    [ 'v2 of another tenant',    issuer(v2 => OTHER) ],
    [ 'v1 without the slash',    "https://sts.windows.net/$t1" ],
    [ 'v2 with a slash',         "$com/$t1/v2.0/" ],
    [ 'v2 without a version',    "$com/$t1/" ],
    [ 'v2 of any tenant',        "$com/common/v2.0" ],
    [ 'the template itself',     "$com/{tid}/v2.0" ],
    [ 'by http',                 "http://sts.windows.net/$t1/" ],
    [ 'in upper case',           "https://STS.windows.net/$t1/" ],
    [ 'the tenant in upper case', 'https://sts.windows.net/' . uc($t1) . '/' ],
    [ 'followed by more',        "https://sts.windows.net/$t1/x" ],
    [ 'with a port',             "https://sts.windows.net:443/$t1/" ],
    [ 'of a host that begins so', "https://sts.windows.net.evil.example/$t1/" ],
    [ 'of a host in userinfo',   "https://sts.windows.net\@evil.example/$t1/" ],
    [ 'with a blank',            " https://sts.windows.net/$t1/" ],
    [ 'empty',                   '' ],
    [ 'usgov',                   "$us/$t1/v2.0" ],
    [ 'china',                   "https://sts.chinacloudapi.cn/$t1/" ],
    [ 'of usgov, v1',            "https://sts.windows.net/$t1/", $ok, 'usgov' ],
    [ 'of usgov, v2',            "$us/$t1/v2.0", $ok, 'usgov' ],
    [ 'public in usgov',         "$com/$t1/v2.0", undef, 'usgov' ],
    [ 'of china, v1',            "https://sts.chinacloudapi.cn/$t1/", $ok,
                                 'china' ],
    [ 'of china, v2',            'https://login.partner.microsoftonline.cn/'
                                 . "$t1/v2.0", $ok, 'china' ],
    [ 'of china, v2, older',     "https://login.chinacloudapi.cn/$t1/v2.0",
                                 $ok, 'china' ],
    [ 'public in china',         "https://sts.windows.net/$t1/", undef,
                                 'china' ],
    [ 'own, with the tenant twice', "https://idp.example/$t1/$t1", $ok, 'own' ],
    [ 'own, without a tenant',   'https://one.example', $ok, 'own' ],
    [ 'own, of two tenants',     "https://idp.example/$t1/" . OTHER, undef,
                                 'own' ],
    [ 'public instead of own',   "$com/$t1/v2.0", undef, 'own' ],
) {
    my ($name, $iss, $result, $policy) = @$_;
    decided(mint($free, claims_v2(iss => $iss)),
        $result // 'issuer_not_allowed', "issuer: $name", $policy);
}

decided(mint($key, claims_v2(iss => "https://sts.windows.net/$t1")),
    'key_not_allowed', 'issuer: under a bound key the key is what is wrong');
decided(mint($key, claims_v2(iss => "$us/$t1/v2.0"),
    header => { kid => 'usgov' }), 'ok', 'issuer: usgov and its key', 'usgov');
decided(mint($key, claims_v2(iss => "https://sts.chinacloudapi.cn/$t1/"),
    header => { kid => 'china' }), 'ok', 'issuer: china, v1, and its key',
    'china');

# the rest of the claims

my ($C, $no_scope, $no_aud, $no_tenant) = (CLIENT_V2, map { "${_}_not_allowed" }
    qw(scope audience tenant));

for (
    [ 'scope: another',           $no_scope, { scp => 'User.Read' } ],
    [ 'scope: a list with it',    $no_scope, { scp => 'mdm_delegation x' } ],
    [ 'scope: in upper case',     $no_scope, { scp => 'MDM_DELEGATION' } ],
    [ 'scope: with a blank',      $no_scope, { scp => 'mdm_delegation ' } ],
    [ 'scope: empty',             $no_scope, { scp => '' } ],
    [ 'scope: off, another',      $ok,       { scp => 'x' }, 'anyscope' ],
    [ 'scope: off, missing',      $ok,       { scp => undef }, 'anyscope' ],
    [ 'scope: off, a number',     $ok,       { scp => 1 }, 'anyscope' ],
    [ 'scope: own',               $ok,       { scp => 'Device.Enroll' },
                                  'scope' ],
    [ 'scope: own, another',      $no_scope, {}, 'scope' ],
    [ 'audience: another client', $no_aud,   { aud => CLIENT_B } ],
    [ 'audience: the authorized party', $no_aud,
                                  { aud => CLIENT_B, azp => $C, appid => $C } ],
    [ 'audience: as api://',      $no_aud,   { aud => "api://$C" } ],
    [ 'audience: in braces',      $no_aud,   { aud => "{$C}" } ],
    [ 'audience: a host alone',   $no_aud,   { aud => 'fleet.example.com' } ],
    [ 'audience: empty',          $no_aud,   { aud => '' } ],
    [ 'audience: a v1 GUID',      $ok,       { ver => '1.0',
                                  iss => issuer(v1 => TENANT) } ],
    [ 'audience: a v2 URL',       $ok,
                                  { aud => 'https://fleet.example.com/x' } ],
    [ 'tenant: another',          $no_tenant, of(STRANGER) ],
    [ 'tenant: in upper case',    $ok,       of(uc OTHER) ],
    [ 'tenant: none configured',  $no_tenant,
                                  { aud => 'https://fleet.example.com' },
                                  'nobody' ],
    [ 'user: none',               $ok, { preferred_username => undef } ],
    [ 'user: none where one must be', 'upn_missing',
                                  { preferred_username => undef }, 'upn' ],
    [ 'user: empty where one must be', 'upn_missing',
                                  { preferred_username => '', upn => '' },
                                  'upn' ],
    [ 'user: of another type where one must be', 'upn_missing',
                                  { preferred_username => ['x'], upn => 1 },
                                  'upn' ],
    [ 'user: preferred_username where one must be', $ok, {}, 'upn' ],
    [ 'user: letters of the world', $ok, { upn => "J\x{f6}rg\x{4e2d}" } ],
    (map { [ sprintf('user: control character %02x', $_), 'upn_invalid',
             { upn => 'a' . chr($_) . 'b' } ] } 1, 9, 10, 13, 27, 127, 0x85),
    [ 'user: a line break in preferred_username', 'upn_invalid',
                                  { preferred_username => "a\r\nX-Evil: 1" } ],
    [ 'user: which does not count beside upn', $ok,
                                  { upn => 'a', preferred_username => "b\n" } ],
    [ 'user: NUL, which no string may hold', 'token_malformed',
                                  { upn => "a\0b" } ],
) {
    my ($name, $result, $claims, $policy) = @$_;
    decided(mint($free, claims_v2(%$claims)), $result, $name, $policy);
}

$t->done;


# The reason, the action that goes with it, and what the backend saw.

sub decided {
    my ($token, $result, $name, $policy) = @_;
    my $r = http_get('/' . ($policy // 'fleet'), bearer => $token);
    my $action = $result eq 'ok' ? 'accepted' : 'refused';

    is(($r->header('X-Result') // $r->status) . ', '
        . ($r->header('X-Action') // 'none') . ', '
        . $backend->requests . ' forwarded',
        "$result, $action, " . ($result eq 'ok' ? 1 : 0) . ' forwarded',
        $name);
}

sub of {
    my ($tenant) = @_;
    return { iss => issuer(v2 => $tenant), tid => $tenant };
}

sub issuer {
    my ($version, $tenant) = @_;
    return $version eq 'v1' ? "https://sts.windows.net/$tenant/"
                            : "https://login.microsoftonline.com/$tenant/v2.0";
}
