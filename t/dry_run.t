#!/usr/bin/perl

# A dry run decides, logs and tells, and refuses nobody: who would be refused
# goes on without identity, whatever the request's size or form.

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
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(http => $Headers
    . fleet_policy('require_upn on; max_body 64k;')
    . fleet_policy('', 'school') . fleet_policy('', 'strict') . <<'EOC');

    log_format who "$uri upn=$entra_mdm_upn name=$entra_mdm_claim_name";
    client_max_body_size 256k;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        access_log %%DIR%%/who.log who;
        error_page 400 401 403 500 /page;
        entra_mdm fleet;
        entra_mdm_dry_run on;
        entra_mdm_tou_redirect on;

        proxy_set_header X-User "$entra_mdm_upn";
        proxy_set_header X-Name "$entra_mdm_claim_name";
        proxy_set_header Authorization "";

        location / { PROXY }
        location /soap {
            entra_mdm fleet token=soap;
            limit_except GET { allow all; }
            if ($arg_x) { set $y 1; }
            PROXY
        }
        location /strict { entra_mdm_dry_run off; PROXY
            location /strict/dry { entra_mdm_dry_run on; PROXY }
        }
        location /off    { entra_mdm off; PROXY }
        location /school { entra_mdm school; PROXY }
    }

    server {
        listen 127.0.0.1:%%PORT_other%%;
        location / { entra_mdm strict; PROXY }
    }

EOC

$t->{http} =~ s{PROXY}{proxy_pass http://127.0.0.1:%%PORT_fleet%%;}g;

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();
my $encrypting = new_key(kid => 'encrypting');
my $any = new_key();

$t->write_file('keys.json', jwks($key, $any->jwk(issuer => undef),
    $encrypting->jwk(use => 'enc')));
$t->start;

# [ reason, token ]: once as bearer, once in a message

my $good = mint($key, claims_v2());
my $alien = mint($key, claims_v2(aud => 'https://elsewhere.example.com'));
my $guid = '99999999-8888-7777-6666-555555555555';

for (
    [ 'token_malformed',       'not.a.token' ],
    [ 'algorithm_not_allowed', mint($key, claims_v2(), alg => 'RS512') ],
    [ 'key_unknown',           mint(new_key(), claims_v2()) ],
    [ 'key_not_allowed',       mint($encrypting, claims_v2()) ],
    [ 'signature_invalid',     mint(new_key(kid => $key->kid), claims_v2()) ],
    [ 'token_expired',         mint($key, claims_v2(exp => time - 300)) ],
    [ 'token_not_yet_valid',   mint($key, claims_v2(nbf => time + 300)) ],
    [ 'claim_invalid',         mint($key, claims_v2(scp => undef)) ],
    [ 'issuer_not_allowed',    mint($any, claims_v2(iss => 'https://x/')) ],
    [ 'scope_not_allowed',     mint($key, claims_v2(scp => 'openid')) ],
    [ 'audience_not_allowed',  $alien ],
    [ 'tenant_not_allowed',    mint($key, claims_v2(tid => $guid, iss =>
        "https://login.microsoftonline.com/$guid/v2.0")) ],
    [ 'upn_missing',           mint($key, claims_v2(
        preferred_username => undef)) ],
    [ 'upn_invalid',           mint($key, claims_v2(
        preferred_username => "a\tb")) ],
) {
    my ($reason, $token) = @$_;

    would_refuse("$reason, bearer", $reason, '',
        GET => '/tos?redirect_uri=ms-appx-web://x', bearer => $token);
    would_refuse("$reason, SOAP", $reason, enroll_message($token),
        POST => '/enroll', body => enroll_message($token));
}

# [ what is sent, reason, method and path, body, more ]

my $fleets = 'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/'
    . 'Enrollment/DeviceEnrollmentUserToken';
my $password = '<wsse:Security><wsse:UsernameToken><wsse:Username>ann'
    . '</wsse:Username></wsse:UsernameToken></wsse:Security>';
my $message = enroll_message($good);

for (
    [ 'no token', 'no_token', 'GET /' ],
    [ 'another scheme', 'no_token', 'GET /', undef,
        headers => [ Authorization => 'Basic YTpi' ] ],
    [ 'no body', 'message_malformed', 'POST /', '' ],
    [ 'GET for SOAP', 'message_malformed', 'GET /soap', undef,
        bearer => $good ],
    [ 'PUT with a body', 'message_malformed', 'PUT /', 'x', bearer => $good ],
    [ 'not XML', 'message_malformed', 'POST /', "\0\xff<" ],
    [ 'half a message', 'message_malformed', 'POST /',
        substr $message, 0, -9 ],
    [ 'a coded message', 'message_malformed', 'POST /', $message,
        headers => [ 'Content-Encoding' => 'gzip' ] ],
    [ 'a message without a token', 'no_token', 'POST /', discover_message() ],
    [ 'a password', 'username_token', 'POST /',
        enroll_message($good, security => $password) ],
    [ 'a token of another kind', 'security_malformed', 'POST /',
        enroll_message($good, value_type => 'urn:x') ],
    [ 'a device token', 'device_token_denied', 'POST /',
        enroll_message('{"type":1}', value_type => $fleets) ],
    [ 'a large body', 'body_too_large', 'POST /', $message . ' ' x 70_000 ],
    [ 'a large body in chunks', 'body_too_large', 'POST /',
        $message . ' ' x 70_000, chunked => 9000 ],
    [ 'a large body, after "Continue"', 'body_too_large', 'POST /',
        $message . ' ' x 70_000, expect => 1 ],
    [ 'a large body that is no message', 'body_too_large', 'POST /soap',
        'x' x 200_000 ],
) {
    my ($name, $reason, $what, $body, @more) = @$_;

    push @more, body => $body if defined $body;
    would_refuse($name, $reason, $body // '', split(/ /, $what), @more);
}

sub would_refuse {
    my ($name, $reason, $body, $method, $uri, @o) = @_;
    my @forged = ('X-Entra-UPN' => 'eve', @{ { @o }->{headers} // [] });

    $t->mark;
    my $r = http_request($method, $uri, @o, headers => \@forged);
    my $seen = verdict($name, $r, $fleet, "200 $reason would_refuse 1")
        // return;
    my @lines = grep { /entra_mdm: / } split /\n/, $t->new_log;

    is($seen->body, $body, "$name: body");
    is(identity($seen), '', "$name: no identity");
    is(($seen->header('X-User') // '') . ($seen->header('X-Name') // ''), '',
        "$name: no claim in a variable");
    is($r->header('WWW-Authenticate'), undef, "$name: no challenge");
    is(scalar @lines, 1, "$name: logged once");
    like($lines[0], qr/\[warn\].* policy "fleet" would refuse, $reason: /,
        "$name: logged");
}

# the access log has the claims of the token whose signature verified

http_get('/known', bearer => $alien);
like($t->wait_for_log('/known', 'who.log'),
    qr/upn=bob\@example\.com name=Bob Roe$/, 'claims in the access log');

# who is accepted is accepted

$fleet->requests;
for ([ bearer => GET => '/', bearer => $good ],
     [ SOAP => POST => '/', body => $message ],
     [ chunked => POST => '/soap', body => $message, chunked => 700 ])
{
    my ($name, @request) = @$_;
    my $seen = verdict("accepted, $name", http_request(@request), $fleet,
        '200 ok accepted 1');
    like(identity($seen), qr/^upn=bob\@example.com /, "$name: identity");
    is($seen->header('X-User'), 'bob@example.com', "$name: variable");
}

my $r = http2(POST => '/', body => $message, port => $t->port('h2'));
verdict('accepted, HTTP/2', $r, $fleet, '200 ok accepted 1');
$r = http2(POST => '/', body => 'x' x 70_000, port => $t->port('h2'));
verdict('HTTP/2', $r, $fleet, '200 body_too_large would_refuse 1');

# where it is off, and where nginx itself refuses

verdict('strict below dry', http_get('/strict'), $fleet,
    '401 no_token refused 0');
verdict('dry below strict', http_get('/strict/dry'), $fleet,
    '200 no_token would_refuse 1');
verdict('off', http_get('/off'), $fleet, '200 - - 1');
verdict('nginx\'s own limit', http_post('/', 'x' x 300_000), $fleet,
    '413 - - 0');
verdict('another server', http_get('/', port => $t->port('other')), $fleet,
    '401 no_token refused 0');

# told at every start, once per policy: which, and in how many locations

my $said = qr/\[warn\].* policy "(\w+)" refuses nobody in (\d+) location/;

is_deeply({ $t->error_log =~ /$said/g }, { fleet => 3, school => 1 },
    'warned at start');
is(() = $t->error_log =~ /$said/g, 4, 'once per policy');
$t->mark;
$t->reload;
is_deeply({ $t->new_log =~ /$said/g }, { fleet => 3, school => 1 },
    'warned at reload');
$t->mark;
$t->reload(http => $t->{http} =~ s/dry_run on/dry_run off/gr);
unlike($t->new_log, qr/refuses nobody/, 'no dry run, no warning');
verdict('no dry run any more', http_post('/', 'x'), $fleet,
    '400 message_malformed refused 0');

$t->done;
