#!/usr/bin/perl

# What a device is told when it is refused: a SOAP fault of the right status,
# code and text, whole, in one piece, uncoded, and saying which request it
# answers.  error_page replaces it only where it was written for it.

use strict;
use warnings;
use utf8;

use Encode qw(encode);
use FindBin;
use lib "$FindBin::Bin/lib";

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

    entra_mdm_policy fleet  { $policy require_upn on; max_body 40k; }
    entra_mdm_policy as_200 { $policy soap_fault_status 200; }
    entra_mdm_policy as_403 { $policy soap_fault_status 403; }
    entra_mdm_policy as_503 { $policy soap_fault_status 503; }

    client_max_body_size 2m;
    error_page 400 403 413 500 503 /inherited;

    add_header X-Result \$entra_mdm_result always;
    add_header X-Action \$entra_mdm_action always;
    add_header X-Request \$request_id always;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;

        error_page 400 403 413 500 503 /inherited;
        entra_mdm fleet;

        location /       { proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /soap   { entra_mdm fleet token=soap;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /as-200 { entra_mdm as_200;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /as-403 { entra_mdm as_403;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /as-503 { entra_mdm as_503;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }

        location /own    { error_page 400 500 /page;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /own/inner   { proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /outer/ { error_page 500 /page;
            location /outer/inner {
                proxy_pass http://127.0.0.1:%%PORT_backend%%;
            }
        }
        location /own-200 { entra_mdm as_200; error_page 500 /page;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /own-503 { entra_mdm as_503; error_page 503 =429 /page;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /own-if { error_page 500 /page; set \$one 1;
            if (\$one) { add_header X-Result \$entra_mdm_result always; }
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
        location /in-if  { set \$one 1;
            if (\$one) { error_page 500 /page; }
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
        location /not-if { set \$one 1;
            if (\$one) { add_header X-Result \$entra_mdm_result always; }
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
        location /own-limit { error_page 500 /page;
            limit_except GET { allow all; }
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
        location /not-limit {
            limit_except GET { allow all; }
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
        location /page      { entra_mdm off; root %%DIR%%; }
        location /inherited { entra_mdm off; root %%DIR%%; }
    }

    # what filters would like to do to an answer
    charset_map koi8-r utf-8 { C0 D18E; }

    server {
        listen 127.0.0.1:%%PORT_filters%%;
        listen 127.0.0.1:%%PORT_h2filters%% http2;

        gzip on; gzip_min_length 1; gzip_proxied any; gzip_http_version 1.0;
        gzip_types *;
        charset utf-8;
        charset_types *;
        expires 1h;
        etag on;
        sub_filter Envelope Antelope;
        sub_filter_types application/soap+xml;
        ssi on; ssi_types application/soap+xml;

        location /as-200 { entra_mdm as_200;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /as-403 { entra_mdm as_403;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /       { entra_mdm fleet;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /koi8   { entra_mdm fleet;
                           charset koi8-r; override_charset on;
                           proxy_pass http://127.0.0.1:%%PORT_backend%%; }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my ($key, $other, $small) = (new_key(), new_key(), new_key(bits => 1024));
my $any = new_key();

$t->write_file('keys.json', jwks($key, $small, $any->jwk(issuer => undef)));
$t->write_file($_, "$_\n") for qw(page inherited);
$t->start;

my $good = mint($key, claims_v2());
my $bad = enroll_message(mint($key, claims_v2(aud => 'urn:other')));
my $scp = mint($key, claims_v2(scp => 'other'));
my $id = 'urn:uuid:0d5a1441-5891-453b-becf-a2e5f6ea3749';
my $rstrc = 'http://schemas.microsoft.com/windows/pki/2009/01/enrollment/'
          . 'RSTRC/wstep';
my $addressing = 'http://www.w3.org/2005/08/addressing/fault';

sub claims { return enroll_message(mint($key, claims_v2(@_))) }
sub header { return enroll_message(mint($key, claims_v2(), header => {@_})) }


# Every reason that a configuration without live sources can give.  HTTP/2
# without a length, since curl gives up where it is answered before its end.

my @unsized = (port => $t->port('h2'),
    headers => [ 'Transfer-Encoding' => 'chunked' ]);

my $device = enroll_message('{"type":1}', value_type => 'http://schemas.'
    . 'microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/'
    . 'DeviceEnrollmentUserToken');
my $password = enroll_message('', security =>
    '<wsse:Security><wsse:UsernameToken/></wsse:Security>');

my @reasons = (
    # key, status, code, subcode, ErrorType, text; message
    [ 'no_token', 500, 's:Receiver', 's:Authentication', undef,
      'The request carries no access token.',
      enroll_message('', security => '') ],
    [ 'username_token', 500, 's:Receiver', 's:Authentication', undef,
      'Enrollment with a user name and password is not supported. '
      . 'Add a work or school account of Microsoft Entra ID instead.',
      $password ],
    [ 'token_malformed', 500, 's:Receiver', 's:Authentication', undef,
      'The access token is not a well-formed signed token.',
      enroll_message('a.b.c') ],
    [ 'algorithm_not_allowed', 500, 's:Receiver', 's:Authentication', undef,
      'The access token is not signed with RS256.',
      enroll_message(mint($key, claims_v2(), alg => 'HS256')) ],
    [ 'key_unknown', 500, 's:Receiver', 's:Authentication', undef,
      'The access token is signed with an unknown key.',
      enroll_message(mint($other, claims_v2())) ],
    [ 'key_not_allowed', 500, 's:Receiver', 's:Authentication', undef,
      'The key that signed the access token may not be used for it.',
      enroll_message(mint($small, claims_v2())) ],
    [ 'signature_invalid', 500, 's:Receiver', 's:Authentication', undef,
      'The signature of the access token is not valid.',
      enroll_message(mint($other, claims_v2(),
        header => { kid => $key->kid })) ],
    [ 'token_expired', 500, 's:Receiver', 's:Authentication', undef,
      'The access token has expired.', claims(exp => time - 61) ],
    [ 'token_not_yet_valid', 500, 's:Receiver', 's:Authentication', undef,
      'The access token is not valid yet.', claims(nbf => time + 300) ],
    [ 'claim_invalid', 500, 's:Receiver', 's:Authentication', undef,
      'The access token lacks a required claim or has a malformed one.',
      claims(scp => undef) ],
    [ 'issuer_not_allowed', 500, 's:Receiver', 's:Authentication', undef,
      'The issuer of the access token is not trusted.',
      enroll_message(mint($any, claims_v2(
        iss => 'https://sts.windows.net/' . TENANT))) ],
    [ 'scope_not_allowed', 500, 's:Receiver', 's:Authorization', undef,
      'The access token was not issued for device enrollment.',
      enroll_message($scp) ],
    [ 'audience_not_allowed', 500, 's:Receiver', 's:Authorization', undef,
      'The access token was issued for another application.', $bad ],
    [ 'tenant_not_allowed', 500, 's:Receiver', 's:Authorization', undef,
      'Your organization is not allowed to enroll devices here.',
      claims(tid => CLIENT_V2, iss => 'https://login.microsoftonline.com/'
        . CLIENT_V2 . '/v2.0') ],
    [ 'upn_missing', 500, 's:Receiver', 's:Authorization', undef,
      'The access token names no user.', claims(preferred_username => undef) ],
    [ 'upn_invalid', 500, 's:Receiver', 's:Authorization', undef,
      'The user name in the access token has characters it must not have.',
      claims(upn => "ann\r\nX-Entra-UPN: eve") ],
    [ 'device_token_denied', 500, 's:Receiver', 's:Authorization',
      'NotSupported', 'Enrollment with a device token is not allowed here.',
      $device ],
    [ 'message_malformed', 400, 's:Sender', 's:MessageFormat', undef,
      'The enrollment message is malformed.',
      enroll_message($good, edit => sub { s{</s:Header>\K}{<s:Header/>} }) ],
    [ 'security_malformed', 400, 's:Sender', 'a:InvalidSecurity', undef,
      'The security header of the message is malformed.',
      enroll_message($good, value_type => 'urn:x') ],
    [ 'body_too_large', 413, 's:Sender', 's:MessageFormat', undef,
      'The enrollment message is too large.',
      enroll_message('A' x 40_000) ],
);

for my $row (@reasons) {
    my ($reason, $status, $code, $subcode, $type, $text, $message) = @$row;
    my $unread = $reason eq 'body_too_large';

    for my $h2 (0, 1) {
        my $r = $h2 ? http2(POST => '/', body => $message, @unsized)
                    : http_post('/', $message);
        my $name = $reason . ($h2 ? ', HTTP/2' : '');

        is(join(' ', map { $r->header($_) // '-' } qw(X-Result X-Action)),
            "$reason refused", "$name: reason");
        is($r->status, $status, "$name: status");
        is_deeply(fault($r), {
            code => $code, subcode => $subcode, text => $text,
            lang => 'en-US', message => $text, error_type => $type,
            trace_id => $r->header('X-Request'),
            relates_to => $unread ? 'invalid_message_id' : $id,
            action => $unread ? $addressing : $rstrc,
        }, "$name: fault");
        is($r->header('WWW-Authenticate'), undef, "$name: no challenge");
    }
}
is($backend->requests, 0, 'refused: nothing has reached the backend');

my $graph = fault(http_post('/', header(nonce => 'x')));
like($graph->{text}, qr/^The signature of the access token.*Graph/,
    'a token for Microsoft Graph: the text says so');
is($graph->{message}, 'The signature of the access token is not valid.',
    'a token for Microsoft Graph: the message is of the table');

my $leaky = mint($key, claims_v2(aud => 'urn:other', name => 'Ann Secret',
    preferred_username => 'ann@secret.example'));
my $said = http_post('/', enroll_message($leaky))->raw;
unlike($said, qr/secret|urn:other|\Q@{[ CLIENT_V2 ]}\E|\Q@{[ TENANT ]}\E/i,
    'nothing of a token, nor of what is configured, is told');

# which request is answered

my @ids = (
    [ 'as it is',            'urn:1',            'urn:1' ],
    [ 'escaped',             '&lt;/a:RelatesTo&gt;&amp;"\']]&gt;',
                             '</a:RelatesTo>&"\']]>' ],
    [ 'a reference in it',   '&#38;lt;x',        '&lt;x' ],
    [ 'CDATA in it',         '<![CDATA[<&>]]>',  '<&>' ],
    [ 'not ASCII',           encode('UTF-8', "ü\x{1f600}"), "ü\x{1f600}" ],
    [ 'line breaks',         'a&#13;&#10;b',     "a\r\nb" ],
    [ 'empty',               '',                 'invalid_message_id' ],
    [ '1024 bytes',          'x' x 1024,         'x' x 1024 ],
    [ '1025 bytes',          'x' x 1025,         'invalid_message_id' ],
    [ '1024 references',     '&amp;' x 1024,     '&' x 1024 ],
    [ '512 of two bytes',    encode('UTF-8', 'ü' x 512), 'ü' x 512 ],
    [ '513 of two bytes',    encode('UTF-8', 'ü' x 513), 'invalid_message_id' ],
    [ 'a megabyte',          'x' x 1_000_000,    'invalid_message_id' ],
);
for (@ids) {
    my ($name, $message_id, $expected) = @$_;
    my $message = $bad =~ s/\Q$id/$message_id/r;
    is(fault(http_post('/as-403', $message))->{relates_to}, $expected,
        "MessageID $name");
}

my @edits = (
    [ 'missing',           sub { s{<a:MessageID>.*?</a:MessageID>}{} } ],
    [ 'twice',             sub { s{(<a:MessageID>.*?</a:MessageID>)}{$1$1} } ],
    [ 'of another ns',     sub { s/a:MessageID/u:MessageID/g } ],
    [ 'in the Body',       sub { s{(<a:MessageID>.*?</a:MessageID>)}{};
                                 s{(<s:Body[^>]*>)}
                                  {$1<a:MessageID>urn:1</a:MessageID>} } ],
    [ 'behind a malformed Header', sub { s{<s:Header>}{<s:Header>&none;} } ],
);
for (@edits) {
    my ($name, $edit) = @$_;
    my $message = enroll_message('a.b.c', edit => $edit);
    is(fault(http_post('/', $message))->{relates_to}, 'invalid_message_id',
        "MessageID $name");
}
is(fault(http_post('/', enroll_message('', edit => sub {
    s{(<a:MessageID>.*</a:MessageID>)(.*)(?=</s:Header>)}{$2$1} })))
    ->{relates_to}, $id, 'MessageID behind Security');

# the action of the answer

my $base = 'http://schemas.microsoft.com/windows';
my @actions = (
    [ 'policy', policy_message(''),
      "$base/pki/2009/01/enrollmentpolicy/IPolicy/GetPoliciesResponse" ],
    [ 'enroll', enroll_message(''), $rstrc ],
    [ 'discovery', discover_message(),
      "$base/management/2012/01/enrollment/IDiscoveryService/DiscoverResponse" ],
    [ 'unknown', enroll_message('', edit => sub { s{RST/wstep}{RST/other} }),
      $addressing ],
    [ 'missing', enroll_message('', edit => sub {
        s{<a:Action.*?</a:Action>}{} }), $addressing ],
    [ 'in other case', enroll_message('', edit => sub { s{RST/wstep}{rst/wstep} }),
      $addressing ],
    [ 'hostile', enroll_message('', edit => sub {
        s{RST/wstep}{RST/wstep&lt;/a:Action&gt;} }), $addressing ],
    [ 'not XML', 'rubbish', $addressing ],
);
for (@actions) {
    my ($name, $message, $action) = @$_;
    is(fault(http_post('/', $message))->{action}, $action, "action: $name");
}

# one message with its length, whatever nginx is told to do to answers

my @accept = ('Accept-Encoding' => 'gzip', Range => 'bytes=0-9',
    'If-None-Match' => '*',
    'If-Modified-Since' => 'Mon, 01 Jan 2035 00:00:00 GMT');

for ([ '/' => 500 ], [ '/as-200' => 200 ], [ '/as-403' => 403 ],
     [ '/koi8' => 500 ])
{
    my ($uri, $status) = @$_;
    my @port = (port => $t->port('filters'));
    my %answers = (
        'HTTP/1.1' => http_post($uri, $bad, headers => \@accept, @port),
        'HTTP/1.0' => http_raw("POST $uri HTTP/1.0\r\nAccept-Encoding: gzip\r\n"
            . 'Content-Length: ' . length($bad) . "\r\n\r\n$bad", @port),
        'HTTP/2'   => http2(POST => $uri, body => $bad, headers => \@accept,
            port => $t->port('h2filters')),
    );
    for my $version (sort keys %answers) {
        my $r = $answers{$version};
        is($r->status, $status, "filters, $uri, $version: status");
        is(fault($r)->{subcode}, 's:Authorization',
            "filters, $uri, $version: whole");
        is($r->header('Accept-Ranges') // $r->header('ETag'), undef,
            "filters, $uri, $version: no parts of it to be had");
    }
}

my $c = http_connect();
my $r = $c->request(HEAD => '/soap', body => $bad);
my $get = http_request(GET => '/soap', body => $bad);
is(join(' ', $r->status, $r->header('X-Result'), $r->header('Content-Type'),
    $r->header('Content-Length')), '500 audience_not_allowed '
    . 'application/soap+xml; charset=utf-8 ' . length $get->body, 'HEAD');
is($c->request(POST => '/', body => enroll_message($good))->status, 200,
    'HEAD: no body follows');
is($backend->requests, 1, 'HEAD: nothing has reached the backend');

# the status an administrator chose

for ([ '/as-200' => 200 ], [ '/as-403' => 403 ], [ '/as-503' => 503 ]) {
    my ($uri, $status) = @$_;
    for my $message ($bad, $device, 'rubbish') {
        my $r = http_post($uri, $message);
        is($r->status, $status, "soap_fault_status $status: "
            . $r->header('X-Result'));
        isnt(fault($r)->{code}, undef, "soap_fault_status $status: a fault");
    }
    my $r = http_get($uri, bearer => $scp);
    is($r->status, 403, "soap_fault_status $status: not for a bearer");
}

# an error page replaces a fault only where it stands in that very location

my %fault = map { $_ => 500 } qw(/ /outer/inner /not-if /not-limit);
my %page = map { $_ => 500 } qw(/own /own-if /in-if /own-limit);
@fault{qw(/as-200 /as-403 /as-503 /own-200)} = (200, 403, 503, 200);
@page{qw(/own-503 /outer/)} = (429, 500);

for my $uri (sort keys %fault) {
    my $r = http_post($uri, $bad);
    is($r->status, $fault{$uri}, "$uri: no error page of its own: status");
    is(fault($r)->{subcode}, 's:Authorization', "$uri: a fault");
}
for my $uri (sort keys %page) {
    my $r = http_post($uri, $bad);
    is($r->status, $page{$uri}, "$uri: an error page of its own: status");
    is($r->body, "page\n", "$uri: the page");
}
is(http_post('/own', 'rubbish')->body, "page\n", '/own: a page for 400 too');
is(http_post('/own/inner', $bad)->body =~ /Fault/ ? 'fault' : 'page', 'fault',
    'a neighbour has no error page');
is(http_get('/as-403', bearer => $scp)->body, "inherited\n",
    'a bearer refusal takes an inherited error page');
is($backend->requests, 0, 'error pages: nothing has reached the backend');

$t->done;
