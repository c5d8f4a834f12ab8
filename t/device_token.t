#!/usr/bin/perl

# Tokens that are not Entra's but the backend's own, told by their ValueType:
# denied, or passed on unjudged and without an identity, as the policy says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $policy = <<'EOC';
        tenant_id    6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id    1b1b1111-2222-3333-4444-5555555555c1;
        jwks         file=%%DIR%%/keys.json;
EOC

my $t = EntraMDM::Nginx->new(http => <<"EOC");

    entra_mdm_policy default { $policy }
    entra_mdm_policy deny    { $policy device_token deny; }
    entra_mdm_policy pass    { $policy device_token pass; max_token 4k; }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        client_max_body_size 2m;
        add_header X-Result \$entra_mdm_result always;
        add_header X-Action \$entra_mdm_action always;
        proxy_set_header X-Claims "\$entra_mdm_upn\$entra_mdm_tid\$entra_mdm_kid";

        location /default { entra_mdm default;
                            proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /deny    { entra_mdm deny;
                            proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /pass    { entra_mdm pass;
                            proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /dry     { entra_mdm deny; entra_mdm_dry_run on;
                            proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /tried   { entra_mdm pass; entra_mdm_dry_run on;
                            proxy_pass http://127.0.0.1:%%PORT_backend%%; }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

my $entra = mint($key, claims_v2());
my $type = 'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/'
         . 'Enrollment/DeviceEnrollmentUserToken';
my $node_key = secret('orbit-node-key-kept-secret');
my $programmatic = "{\"type\":1,\"payload\":{\"orbit_node_key\":\"$node_key\","
    . '"auth_token":""}}';
my $automatic = "{\"type\":2,\"payload\":{\"auth_token\":\"$entra\"}}";

secret(encode_base64($programmatic, ''));

sub device {
    my ($token, %o) = @_;
    return enroll_message($token, value_type => $type, %o);
}

# status, result, action, and how many requests the backend has seen; none
# of them may bear an identity

sub outcome {
    my ($uri, $message) = @_;
    my $r = http_post($uri, $message, headers => [ 'X-Entra-UPN' => 'eve' ]);
    my @seen = $backend->requests;

    return 'identity' if grep { /^x-entra/i } map { $_->names } @seen;
    return 'claims' if grep { defined $_->header('X-Claims') } @seen;
    return 'another body' if grep { $_->body ne $message } @seen;
    return join ' ', $r->status, map({ $r->header($_) // '-' }
        qw(X-Result X-Action)), scalar @seen;
}


# what the policy says

my $passed = '200 device_token passed 1';
my $denied = '500 device_token_denied refused 0';

for my $message (device($programmatic), device($automatic),
    policy_message($programmatic, value_type => $type))
{
    is(outcome('/pass', $message), $passed, 'pass');
    is(outcome('/deny', $message), $denied, 'deny');
    is(outcome('/default', $message), $denied, 'denied by default');
    is(outcome('/dry', $message), '200 device_token_denied would_refuse 1',
        'deny, dry run');
    is(outcome('/tried', $message), $passed, 'pass, dry run');
}

my $fault = fault(http_post('/deny', device($programmatic)));
is($fault->{error_type}, 'NotSupported', 'deny: error type');
is($fault->{text}, 'Enrollment with a device token is not allowed here.',
    'deny: text');
unlike(http_post('/pass', device('{"type":"1","k":"value"}'))->raw,
    qr/value|eyJ/, 'a token is not echoed');

# Entra's tokens are judged as ever, and their identity is told

is(http_post('/pass', enroll_message($entra))->status, 200, 'Entra: accepted');
is($backend->last->header('X-Entra-UPN'), 'bob@example.com', 'Entra: identity');
is(outcome('/pass', enroll_message(mint($key, claims_v2(aud => 'urn:x')))),
    '500 audience_not_allowed refused 0', 'Entra: refused');
is(http_get('/pass', bearer => encode_base64($programmatic, ''))
    ->header('X-Result'), 'token_malformed', 'as a bearer: refused');
is($backend->requests, 0, 'as a bearer: nothing has reached the backend');

# The ValueType alone opens nothing: what is passed is a JSON object with a
# numeric type, in standard base64.

my @forms = (
    [ 'an Entra token under that type', device($entra), 'token_malformed' ],
    [ 'a forged Entra token',     device("$entra.x"),   'token_malformed' ],
    [ 'a type that is a string',  device('{"type":"1"}'), 'token_malformed' ],
    [ 'a type that is true',      device('{"type":true}'), 'token_malformed' ],
    [ 'a type that is null',      device('{"type":null}'), 'token_malformed' ],
    [ 'a type that is an object', device('{"type":{"type":1}}'),
        'token_malformed' ],
    [ 'no type',                  device('{}'),         'token_malformed' ],
    [ 'Type',                     device('{"Type":1}'), 'token_malformed' ],
    [ 'a type further down',      device('{"a":{"type":1}}'),
        'token_malformed' ],
    [ 'two types',                device('{"type":1,"type":2}'),
        'token_malformed' ],
    [ 'an array',                 device('[{"type":1}]'), 'token_malformed' ],
    [ 'a number',                 device('1'),          'token_malformed' ],
    [ 'not JSON',                 device('type=1'),     'token_malformed' ],
    [ 'more than JSON',           device('{"type":1}x'), 'token_malformed' ],
    [ 'not UTF-8',                device("{\"type\":1,\"a\":\"\xff\"}"),
        'token_malformed' ],
    [ 'not base64',               device('', text => $programmatic),
        'token_malformed' ],
    [ 'base64 with blanks',       device('', text => ' '
        . encode_base64($programmatic, '')), 'token_malformed' ],
    [ 'over max_token',           device('{"type":1,"a":"' . 'x' x 4096 . '"}'),
        'token_malformed' ],
    [ 'empty',                    device('', text => ''), 'no_token' ],
    [ 'CR and LF',                device('', text => "\r\n"), 'no_token' ],
    [ 'the type in capitals',     enroll_message($programmatic,
        value_type => uc $type), 'security_malformed' ],
    [ 'the type and more',        enroll_message($programmatic,
        value_type => "$type#1"), 'security_malformed' ],
    [ 'a wrong encoding',         device($programmatic,
        encoding_type => 'urn:hex'), 'security_malformed' ],
);
for (@forms) {
    my ($name, $message, $reason) = @$_;
    my $status = $reason eq 'security_malformed' ? 400 : 500;
    is(outcome('/pass', $message), "$status $reason refused 0",
        "pass, $name: $reason");
    is(outcome('/tried', $message), "200 $reason would_refuse 1",
        "pass, dry run, $name: $reason");
}

for my $token ('{"type":1}', '{"type":-1.5}', '{"type":1e2}', " {\"type\":3}\n",
    '{"TYPE":"x","type":4,"payload":null}')
{
    is(outcome('/pass', device($token)), $passed, "pass: $token");
}
is(outcome('/pass', device('', text => encode_base64($programmatic, "\r\n"))),
    $passed, 'pass: base64 in lines');

# the rest of the message must be well-formed all the same

my %edits = (
    'cut off'              => sub { s{</s:Body>.*}{}s },
    'a second Header'      => sub { s{(?=</s:Envelope>)}{<s:Header/>} },
    'something behind it'  => sub { $_ .= '<x/>' },
    'not UTF-8 further on' => sub { s/DESKTOP/\xff/ },
);
for my $name (sort keys %edits) {
    is(outcome('/pass', device($programmatic, edit => $edits{$name})),
        '400 message_malformed refused 0', "pass, $name: message_malformed");
    is(outcome('/deny', device($programmatic, edit => $edits{$name})), $denied,
        "deny, $name: denied before that");
}

my $twin = device($programmatic, edit => sub {
    s{(<wsse:BinarySecurityToken ValueType="\Q$type\E".*?</wsse:Bin\w+>)}
     {my $own = $1; $own . $own =~ s/\Q$type/urn:ietf:params:oauth:token-type:jwt/r}e });
is(outcome('/pass', $twin), '400 security_malformed refused 0',
    'a device token and another one: security_malformed');

$t->done;
