#!/usr/bin/perl

# The cases that Fleet itself tests, with the same verdicts: whom the backend
# would refuse the gate refuses, whom it accepts the gate accepts.

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

use constant {
    C      => 'cccccccc-1111-4111-8111-111111111111',
    D      => 'dddddddd-2222-4222-8222-222222222222',
    NOBODY => '99999999-9999-4999-8999-999999999999',
    A      => 'aaaaaaaa-1111-4111-8111-111111111111',
    B      => 'bbbbbbbb-2222-4222-8222-222222222222',
};

# Policies by what Fleet would be configured with; a location of each name.

my ($host, $urn) = ('https://fleet.example.com', 'urn:something');
my ($server, $tenant) = ("server_url $host;", 'tenant_id ' . A . ';');

my %policy = (
    none      => "$server $tenant",
    c         => "$server $tenant client_id @{[C]};",
    cd        => "$server $tenant client_id @{[C, D]};",
    hostless  => $tenant,
    ab        => "$server tenant_id @{[A, B]};",
    b         => "$server tenant_id @{[B]};",
    upper_b   => "$server tenant_id @{[uc B]};",
    no_tenant => $server,
);

my $policies = join '', map { <<EOC } sort keys %policy;
    entra_mdm_policy $_ {
        $policy{$_}
        jwks file=%%DIR%%/keys.json;
    }
EOC

my $locations = join '', map { <<EOC } sort keys %policy;
        location /$_ {
            entra_mdm $_;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
EOC

my $t = EntraMDM::Nginx->new(http => <<"EOC");

    add_header X-Result \$entra_mdm_result always;

    $policies
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        client_max_body_size 2m;
        $locations
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

# audience

my ($ok, $no) = ('ok', 'audience_not_allowed');

for (
    [ $host,                             'none', $ok ],
    [ "$host/some/path",                 'none', $ok ],
    [ 'https://Fleet.Example.COM',       'none', $ok ],
    [ "$host:8443",                      'none', $no ],
    [ 'https://evil.example.com',        'none', $no ],
    [ C,                                 'c',    $ok ],
    [ D,                                 'cd',   $ok ],
    [ uc C,                              'c',    $ok ],
    [ '  ' . C . '  ',                   'c',    $ok ],
    [ NOBODY,                            'c',    $no ],
    [ C,                                 'none', $no ],
    [ [ $urn, C ],                       'c',    $ok ],
    [ [ $urn, $host ],                   'c',    $ok ],
    [ [ $urn, 'https://other.example.com' ], 'c', $no ],
    [ [],                                'c',    $no ],
    [ [],                                'none', $no ],
    [ undef,                             'c',    'claim_invalid' ],
    [ undef,                             'none', 'claim_invalid' ],
    [ C,                                 'hostless', $no ],
    # how Go reads a URL, and how it compares hosts
    [ '',                                'hostless', $no ],
    [ 'https://',                        'hostless', $no ],
    [ 'https:///path',                   'hostless', $no ],
    [ '',                                'none', $no ],
    [ "$host:443",                       'none', $no ],
    [ "$host:",                          'none', $no ],
    [ "$host/",                          'none', $ok ],
    [ "$host?a=b#c",                     'none', $ok ],
    [ 'http://fleet.example.com',        'none', $ok ],
    [ 'HTTPS://fleet.example.com',       'none', $ok ],
    [ 'api://fleet.example.com/x',       'none', $ok ],
    [ 'https://user:pass@fleet.example.com', 'none', $ok ],
    [ " $host",                          'none', $no ],
    [ "$host ",                          'none', $no ],
    [ "$host/a b",                       'none', $no ],
    [ "$host/%zz",                       'none', $no ],
    [ "$host\n",                         'none', $no ],
    [ "$host.",                          'none', $no ],
    [ 'fleet.example.com',               'none', $no ],
    [ '//fleet.example.com',             'none', $no ],
    [ 'https:fleet.example.com',         'none', $no ],
    [ 'https:/fleet.example.com',        'none', $no ],
    [ 'https:\\\\fleet.example.com',     'none', $no ],
    [ 'https://evil.example\\@fleet.example.com', 'none', $no ],
    [ 'https://fleet.example.com@evil.example', 'none', $no ],
    [ "https://fleet.example.com\0.evil.example", 'none', 'token_malformed' ],
    [ "https://fl\x{e9}et.example.com",  'none', $no ],
    [ "https://FLEET.example.\x{212a}om", 'none', $no ],
    [ "\x{a0}" . C,                      'c',    $no ],
    [ '{' . C . '}',                     'c',    $no ],
    [ 'urn:uuid:' . C,                   'c',    $no ],
    [ C . ',' . D,                       'cd',   $no ],
    [ [ $urn, " \t" . D . "\r\n" ],      'cd',   $ok ],
) {
    my ($aud, $policy, $result) = @$_;
    my $name = 'audience ' . (ref $aud ? "[@$aud]" : $aud // 'none')
        . " under $policy";
    $name =~ s/([^ -~])/sprintf '\\x{%x}', ord $1/ge;
    decided($policy, $result, $name, aud => $aud);
}

# tenant

$no = 'tenant_not_allowed';

for (
    [ A,            'none',      $ok ],
    [ B,            'ab',        $ok ],
    [ B,            'upper_b',   $ok ],
    [ uc B,         'b',         $ok ],
    [ B,            'none',      $no ],
    [ A,            'no_tenant', $no ],
    [ '',           'none',      'claim_invalid' ],
    [ '   ',        'none',      'claim_invalid' ],
    [ undef,        'none',      'claim_invalid' ],
) {
    my ($tid, $policy, $result) = @$_;
    decided($policy, $result, 'tenant ' . ($tid // 'none') . " under $policy",
        aud => $host, tid => $tid);
}

# Fleet trims the IDs it is configured with; here a blank is a typing error,
# told at once.  That holds for both lists, and for what looks like an ID.

for my $directive (qw(tenant_id client_id)) {
    for my $id ('  ' . A . '  ', A . ' ', '', '   ', A =~ tr/-//dr,
        '{' . A . '}', 'urn:uuid:' . A, A . 'a', A =~ s/1$/g/r, 'common')
    {
        my ($code, $said) = $t->nginx_t(http => <<"EOC");
            entra_mdm_policy fleet {
                $directive "$id";
                jwks file=%%DIR%%/keys.json;
            }
EOC
        isnt($code, 0, "$directive '$id' is refused");
        like($said, qr/\[emerg\] .*"\Q$id\E".*"$directive".*:\d+$/m,
            "$directive '$id': by name, value and line");
    }
}

# whom a token names, and what is no token

for (
    [ 'upn and preferred_username', 'ann@example.com',
      { upn => 'ann@example.com', preferred_username => 'bob@example.com' } ],
    [ 'preferred_username', 'bob@example.com',
      { preferred_username => 'bob@example.com' } ],
    [ 'empty upn and preferred_username', 'bob@example.com',
      { upn => '', preferred_username => 'bob@example.com' } ],
    [ 'upn of another type and preferred_username', 'bob@example.com',
      { upn => 1, preferred_username => 'bob@example.com' } ],
    [ 'neither', undef, {} ],
    [ 'unique_name alone', undef, { unique_name => 'eve@example.com' } ],
    [ 'upn without unique_name', 'ann@example.com',
      { upn => 'ann@example.com' } ],
) {
    my ($name, $user, $claims) = @$_;
    for my $version (1, 2) {
        my $token = token($version, preferred_username => undef,
            upn => undef, unique_name => undef, %$claims);
        for my $ask (sub { http_get('/c', bearer => $token) },
            sub { http_post('/c', enroll_message($token)) })
        {
            my $r = $ask->();
            is($r->header('X-Result'), 'ok', "user: v$version: $name");
            is($backend->last->header('X-Entra-UPN'), $user,
                "user: v$version: $name: as the backend sees it");
        }
    }
}

for my $version (1, 2) {
    for my $n (1 .. 3) {
        my $r = http_post('/c', policy_message(token($version)));
        is($r->header('X-Result'), 'ok', "token $n of v$version");
    }
}

$backend->requests;
my $good = token(2);

for (
    [ 'an empty one',              '',         'no_token' ],
    [ 'of an unknown key',         token(2, kid => 'x'), 'key_unknown' ],
    [ 'with a byte appended',      "${good}A", 'signature_invalid' ],
    [ 'with another byte appended', "${good}B", 'token_malformed' ],
    [ 'with a dot appended',       "$good.",   'token_malformed' ],
    [ 'with a line break appended', "$good\n", 'token_malformed' ],
    [ 'by HS256, the public key for a secret', token(2, alg => 'HS256'),
                                   'algorithm_not_allowed' ],
    [ 'by no algorithm',           token(2, alg => 'none'),
                                   'algorithm_not_allowed' ],
) {
    my ($name, $token, $result) = @$_;
    my $r = http_post('/c', policy_message($token));
    is($r->header('X-Result'), $result, "token $name");
    is($backend->requests, 0, "token $name: nothing has reached the backend");
}

# Left out: how often Fleet fetches its keys, since these come from a file; its
# key manager that may be missing; and the tokens it issues itself, which it
# reads by keys of its own behind the gate (t/device_token.t).

$t->done;


sub token {
    my ($version, %o) = @_;
    my ($alg, $kid) = delete @o{qw(alg kid)};
    my $tid = exists $o{tid} ? $o{tid} : A;
    my %claims = (aud => $version == 1 ? $host : C, tid => $tid, iss =>
        $version == 1 ? 'https://sts.windows.net/' . ($tid // '') . '/'
        : 'https://login.microsoftonline.com/' . ($tid // '') . '/v2.0', %o);

    return mint($key, $version == 1 ? claims_v1(%claims) : claims_v2(%claims),
        alg => $alg, $kid ? (header => { kid => $kid }) : ());
}

# As the token of a header and of a message, of either version.

sub decided {
    my ($policy, $result, $name, @claims) = @_;
    my $forwarded = $result eq 'ok' ? 1 : 0;

    for my $version (1, 2) {
        my $token = token($version, @claims);
        for my $ask (sub { http_get("/$policy", bearer => $token) },
            sub { http_post("/$policy", enroll_message($token)) })
        {
            my $r = $ask->();
            is(($r->header('X-Result') // $r->status) . ', '
                . $backend->requests . ' forwarded',
                "$result, $forwarded forwarded", "$name: v$version");
        }
    }
}
