#!/usr/bin/perl

# The harness itself, with a plain nginx: what it says it sends is what
# arrives, what it mints others verify, and what it is to detect it detects.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Crypt::JWT qw(decode_jwt);
use JSON::PP qw(decode_json);
use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(module => 0, workers => 2, http => <<'EOC');

    log_format who "who=$http_x_who";
    client_max_body_size 1m;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;

        location / {
            access_log %%DIR%%/who.log who;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /stream {
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /file   { root %%DIR%%; }
        location /answer { return 403 "v1\n"; }
        location /fault  { default_type "application/soap+xml; charset=utf-8";
                           root %%DIR%%; }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();
my $token = mint($key, claims_v2());
my $message = enroll_message($token);

$t->write_file('file', "from the file\n");
$t->start;

# requests and answers

my $r = http_get('/file');
is($r->status, 200, 'get');
is($r->body, "from the file\n", 'get body');
is($r->header('content-length'), 14, 'get header');
is($r->raw, "HTTP/1.1 200 OK\r\n" . join('', map { "$_->[0]: $_->[1]\r\n" }
    @{ $r->{list} }) . "\r\nfrom the file\n", 'get raw');
is(http_request(HEAD => '/file')->body, '', 'head has no body');
is(http_raw(["GET /fi", "le HT", "TP/1.1\r\nHost: a\r\n\r\n"],
    pause => 0.01)->status, 200, 'raw in three writes');
is(http_raw("nonsense\r\n\r\n")->status, 400, 'raw nonsense');
is($backend->requests, 0, 'nothing has reached the backend');

$r = http_post('/a?b=c', "\0\xff\r\n", headers => [ 'X-Who' => 'ann',
    'x-Two' => 1, 'X-Two' => 2 ], bearer => 'secret');
is($r->body, "backend\n", 'post');
my $seen = $backend->last;
is($seen->method . ' ' . $seen->uri, 'POST /a?b=c', 'backend: request line');
is($seen->body, "\0\xff\r\n", 'backend: body is bytes');
is($seen->header('X-Two'), '1, 2', 'backend: a header twice');
is($seen->header('Authorization'), 'Bearer secret', 'backend: bearer');
is(join(' ', grep { /two/i } $seen->names), 'x-Two X-Two',
    'backend: names as sent');

# bodies in every form

my %form = (
    'by length'             => [],
    'chunked'               => [ chunked => 1000 ],
    'chunked, byte by byte' => [ chunked => 1 ],
    'one byte a write'      => [ pieces => 1 ],
    '100-continue'          => [ expect => 1 ],
    '100-continue, chunked' => [ expect => 1, chunked => 7 ],
);

for my $form (sort keys %form) {
    for my $uri ('/', '/stream') {
        $r = http_post($uri, $message, @{ $form{$form} });
        is($r->status, 200, "$form: answered on $uri");
        is(!!$r->continued, !!($form =~ /100/), "$form: continued on $uri");
        is($backend->last->body, $message, "$form: body on $uri");
    }
}

is(http_post('/', 'x' x 2_000_000)->status, 413, 'early answer is read');
is($backend->requests, 0, 'refused early');

# keepalive

my $c = http_connect();
is($c->request(GET => '/file')->status, 200, 'first on a connection');
is($c->request(POST => '/', body => 'again', chunked => 2)->status, 200,
    'second on a connection');
is($c->request(GET => '/answer', close => 1)->body, "v1\n",
    'third on a connection');
ok($c->closed, 'closed then');
is($backend->last->body, 'again', 'keepalive body');

# HTTP/2

$r = http2(POST => '/?h2', port => $t->port('h2'), body => $message);
is($r->status, 200, 'http2');
is($r->version, 'HTTP/2', 'http2 version');
is($r->body, "backend\n", 'http2 answer');
is($backend->last->body, $message, 'http2 body');
is(http2(GET => '/file', port => $t->port('h2'))->header('Content-Length'),
    14, 'http2 header');

# what the backend is told to do

$backend->answer('/gone' => { status => 404, body => "\xe4gone" },
    '/inside' => { headers => [ 'X-Accel-Redirect' => '/file' ] },
    '/cut' => { close => 1 }, '/slow' => { delay => 0.3 },
    '/raw' => { raw => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort" });
is(http_get('/gone?x')->status, 404, 'backend answers 404');
is(http_get('/gone')->body, "\xe4gone", 'backend answers bytes');
is(http_get('/inside')->body, "from the file\n", 'backend redirects inside');
is(http_get('/cut')->status, 502, 'backend closes');
ok(http_get('/raw')->truncated, 'a short answer is truncated');
is(http_get('/slow', timeout => 0.1)->status, 0, 'no answer in time');
is(http_get('/file')->status, 200, 'nginx is alive');

# logs, workers, reload

like($t->wait_for_log(qr/who=ann/, 'who.log'), qr/^who=ann$/, 'own log');
http_get('/file-earlier');
ok($t->wait_for_log(qr/file-earlier/), 'waiting for a line');
$t->mark;
is(http_get('/file-missing')->status, 404, 'missing');
like($t->wait_for_log(qr/failed \(2:/), qr/missing/, 'error log');
unlike($t->new_log, qr/earlier/, 'only what is new');

my @workers = $t->workers;
is(@workers, 2, 'two workers');
like($t->{http}, qr/v1/, 'before reload');
my $newer = $t->{http} =~ s/v1/v2/r;
ok($t->reload(http => $newer), 'reload');
is(http_get('/answer')->body, "v2\n", 'new configuration') for 1 .. 5;
ok(!(grep { my $pid = $_; grep { $_ == $pid } @workers } $t->workers),
    'new workers');

$t->expect_log(qr/unknown directive "nonsense"/);
ok(!$t->reload(http => "nonsense;"), 'a broken configuration is refused');
is(http_get('/answer')->body, "v2\n", 'old configuration');
$t->change(http => $newer);

my ($code, $said) = $t->nginx_t(http => "server {\n nonsense; }");
isnt($code, 0, 'nginx -t: broken');
like($said, qr/\[emerg\].*"nonsense" in \S+:\d+/, 'nginx -t: says why');
($code, $said) = $t->nginx_t();
is($code, 0, 'nginx -t: good') or diag($said);
is(http_get('/answer')->body, "v2\n", 'nginx -t changed nothing');

# ports

my $other = EntraMDM::Nginx->new(module => 0, http => <<'EOC')->start;
    server { listen 127.0.0.1:%%PORT_8080%%; return 200 other; }
EOC
isnt($other->port(8080), $t->port(8080), 'two servers, two ports');
is(http_get('/')->body, 'other', 'the newest by default');
is(http_get('/answer', port => $t->port(8080))->body, "v2\n", 'any by port');
ok($other->stop, 'stop');
ok(!eval { http_get('/') }, 'stopped');
is($other->start && http_get('/')->body, 'other', 'and started again');
$other->settle;

# tokens: verified by others

my $odd = new_key(kid => 'odd', issuer => undef, x5c => 1);
my $keys = jwks($key, $odd);

is_deeply([ sort keys %{ $key->jwk } ], [ qw(e issuer kid kty n use x5t) ],
    'members as Entra has them');
like($key->kid, qr/^[\w-]{27}$/, 'kid is a thumbprint');
is($odd->jwk->{issuer}, undef, 'a key without issuer');
is(length $key->{pk}->key2hash->{N}, 512, '2048 bits');

for ([ $key, claims_v1(), 'v1' ], [ $key, claims_v2(), 'v2' ],
     [ $odd, claims_v2(upn => 'ann@example.com', scp => undef), 'changed' ])
{
    my ($by, $claims, $name) = @$_;
    my $jwt = mint($by, $claims);
    is_deeply(decode_jwt(token => $jwt, kid_keys => $keys, verify_exp => 1,
        verify_iat => 1, verify_nbf => 1), $claims, "Crypt::JWT reads $name");
    is_deeply(decode_json(python($jwt, $keys)), $claims,
        "PyJWT reads $name");
}

sub python {
    open my $out, '-|', '/usr/bin/python3', '-c', <<'EOP', @_ or die;
import json, jwt, sys
token, keys = sys.argv[1:]
kid = jwt.get_unverified_header(token)["kid"]
key = {k.key_id: k for k in jwt.PyJWKSet.from_json(keys).keys}[kid].key
print(json.dumps(jwt.decode(token, key, algorithms=["RS256"],
                            options={"verify_aud": False})))
EOP
    local $/;
    return <$out>;
}

is(decode_jwt(token => mint($key, 'x', alg => 'HS256'), key => $key->pem,
    decode_payload => 0), 'x', 'HS256 by the public key');
is(decode_jwt(token => mint($key, 'x', alg => $_), kid_keys => $keys,
    decode_payload => 0), 'x', $_) for qw(RS384 RS512 PS256);
is(mint($key, '{}', alg => 'none', header => { kid => undef, typ => undef }),
    b64url('{"alg":"none"}') . '.' . b64url('{}') . '.', 'none');
like(mint($key, '', header => '{}'), qr/^e30\.\.[\w-]{342}$/, 'raw parts');

# messages and faults

like($message, qr/^<s:Envelope [^>]*><s:Header><a:Action/, 'no indentation');
is(index($message, encode_base64($token, '')) > 0, 1, 'holds the token');
like(policy_message($token, indented => 1, value_type => 'urn:x',
    text => 'abc'), qr/\n +<wsse:B\S+ ValueType="urn:x" [^>]*>abc<\//,
    'a changed message');
unlike(policy_message($token, security => ''), qr/Security/, 'no Security');
like(enroll_message($token, value_type => 'urn:x'), qr/#PKCS10"/,
    'the request keeps its type');
like(discover_message(edit => sub { s/Discover/Other/g }), qr/<Other /,
    'edited');

my $fault = <<'EOX';
<q:Envelope xmlns:q="http://www.w3.org/2003/05/soap-envelope"
 xmlns:w="http://www.w3.org/2005/08/addressing"><q:Header>
 <w:Action>act</w:Action><w:RelatesTo>urn:1&amp;2</w:RelatesTo></q:Header>
 <q:Body><q:Fault><q:Code><q:Value>q:Receiver</q:Value><q:Subcode>
 <q:Value>w:InvalidSecurity</q:Value></q:Subcode></q:Code>
 <q:Reason><q:Text xml:lang="en">No.</q:Text></q:Reason>
 <q:Detail><DeviceEnrollmentServiceError
 xmlns="http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
 ><Message>Why</Message><TraceId>1f</TraceId></DeviceEnrollmentServiceError>
 </q:Detail></q:Fault></q:Body></q:Envelope>
EOX

is_deeply(fault_of($fault), {
    code => 's:Receiver', subcode => 'a:InvalidSecurity', text => 'No.',
    lang => 'en', action => 'act', relates_to => 'urn:1&2',
    error_type => undef, message => 'Why', trace_id => '1f',
}, 'fault');

{
    no warnings 'redefine';
    local *Test::More::diag = sub { };
    like(fault_of($fault =~ s/w:Inv/v:Inv/r)->{broken}, qr/prefix v/,
        'fault: prefix not declared');
    like(fault_of($fault =~ s/q:Fault/q:fault/gr)->{broken}, qr/0 of/,
        'fault: wrong case');
    like(fault_of('<a>')->{broken}, qr/./, 'fault: not XML');
    like(fault(http_get('/answer', port => $t->port(8080)))->{broken},
        qr/Content-Type/, 'fault: wrong type');
}

sub fault_of {
    $t->write_file('fault', $_[0]);
    return fault(http_get('/fault', port => $t->port(8080)));
}

# detectors detect

my $bad = EntraMDM::Nginx->new(module => 0);
$bad->write_file("$_", '') for qw(error.log access.log error.out);
is($bad->alerts + $bad->sanitizer_reports + $bad->secrets_logged, 0,
    'nothing found where nothing is');
$bad->write_file('error.log', join "\n", 'd t [alert] 2#2: worker process died',
    'd t [emerg] 2#2: bind()', 'd t [warn] 2#2: fine "x [alert] y"',
    "d t [info] 2#2: $token");
is($bad->alerts, 2, 'alerts found');
$bad->expect_log(qr/died/);
is_deeply([ $bad->alerts ], [ 'd t [emerg] 2#2: bind()' ], 'one expected');
is($bad->secrets_logged, 2, 'token found');
$bad->write_file('error.log', encode_base64($token, ''));
is($bad->secrets_logged, 1, 'token in base64 found');
$bad->write_file('error.log', 'a.c:1:2: runtime error: overflow');
is($bad->sanitizer_reports, 1, 'report in the log found');
$bad->write_file('san.123', '');
is($bad->sanitizer_reports, 2, 'report in a file found');

$t->done;
