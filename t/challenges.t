#!/usr/bin/perl

# What a client hears that is refused by its Authorization header: for every
# reason there, the status and the text of README's table, in the words of RFC
# 6750.  What a device hears is in faults.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::Document;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(http => $Headers
    . fleet_policy('require_upn on;') . <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        client_max_body_size 2m;
        entra_mdm fleet;
        location / { proxy_pass http://127.0.0.1:%%PORT_fleet%%; }
    }
EOC

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my ($key, $free, $small, $foreign) = (new_key(), new_key(),
    new_key(bits => 1024), new_key());

$t->write_file('keys.json', jwks($key, $small, $free->jwk(issuer => undef)));
$t->start;

sub claims { return mint($key, claims_v2(@_)) }

my $stranger = 'ffffffff-1111-4222-8333-444444444444';
my %refused = (
    no_token              => undef,
    token_malformed       => 'a.b.c',
    algorithm_not_allowed => mint($key, claims_v2(), alg => 'PS256'),
    key_unknown           => mint($foreign, claims_v2()),
    key_not_allowed       => mint($small, claims_v2()),
    signature_invalid     => mint($foreign, claims_v2(),
                                header => { kid => $key->kid }),
    token_expired         => claims(exp => time - 61),
    token_not_yet_valid   => claims(nbf => time + 300),
    claim_invalid         => claims(scp => [ 'mdm_delegation' ]),
    issuer_not_allowed    => mint($free, claims_v2(iss => 'https://x/')),
    scope_not_allowed     => claims(scp => 'mdm_delegation x'),
    audience_not_allowed  => claims(aud => $stranger),
    tenant_not_allowed    => claims(tid => $stranger, iss =>
                                'https://login.microsoftonline.com/'
                                . "$stranger/v2.0"),
    upn_missing           => claims(preferred_username => ''),
    upn_invalid           => claims(upn => "ann\x7f"),
    message_malformed     => claims(),          # and a body
);

# a message alone can be refused for these, and nothing here for those

my %elsewhere = map { $_ => 1 } qw(username_token device_token_denied
    security_malformed body_too_large keys_unavailable lists_unavailable
    internal);

my %error = (400 => 'invalid_request', 401 => 'invalid_token',
    403 => 'insufficient_scope');
my @rows = map { [ $_->[0] =~ tr/`//dr, @$_[1, 4] ] }
           EntraMDM::Document->new('README.md')->table('reason');

is_deeply([ sort map { $_->[0] } @rows ],
    [ sort keys %refused, keys %elsewhere ], 'every reason of the table');

for my $row (grep { !$elsewhere{$_->[0]} } @rows) {
    my ($reason, $status, $text) = @$row;
    my @how = (bearer => $refused{$reason});
    my $challenge = $reason eq 'no_token' ? 'Bearer'
        : "Bearer error=\"$error{$status}\", error_description=\"$text\"";

    push @how, body => 'x' if $reason eq 'message_malformed';
    for my $r (http_request(GET => '/', @how), $reason eq 'message_malformed'
        ? () : http2(GET => '/', @how, port => $t->port('h2')))
    {
        my $name = "$reason, " . $r->version;
        verdict($name, $r, $fleet, "$status $reason refused 0");
        is($r->header('WWW-Authenticate'), $challenge, "$name: the challenge");
        is($r->header('Retry-After'), undef, "$name: no use in waiting");
        cmp_ok(length $r->body, '<', 500, "$name: a short body");
    }
}

# one, and only one, tells why the signature can never verify

my $r = http_get('/', bearer => mint($key, claims_v2(),
    header => { nonce => 'x' }));
verdict('a token for Microsoft Graph', $r, $fleet,
    '401 signature_invalid refused 0');
like($r->header('WWW-Authenticate'), qr/error="invalid_token".*Graph/,
    'a token for Microsoft Graph: the text says so');

verdict('and who is accepted', http_get('/', bearer => claims()), $fleet,
    '200 ok accepted 1');

$t->done;
