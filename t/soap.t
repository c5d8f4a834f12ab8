#!/usr/bin/perl

# Enrollment over SOAP that is well: however a message arrives, its token is
# found, and the backend gets the very bytes the device sent.  What is refused
# before or while it is read leaves the connection usable.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 ();
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(http => <<'EOC');

    entra_mdm_policy fleet {
        server_url https://fleet.example.com;
        tenant_id  6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id  1b1b1111-2222-3333-4444-5555555555c1;
        jwks       file=%%DIR%%/keys.json;
    }

    log_format device "$uri $status result=$entra_mdm_result "
                      "device=$entra_mdm_context_DeviceName "
                      "hardware=$entra_mdm_context_HWDevID";

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;

        access_log %%DIR%%/device.log device;
        client_max_body_size 3m;
        underscores_in_headers on;
        ignore_invalid_headers off;
        entra_mdm fleet;

        add_header X-Result $entra_mdm_result always;
        add_header X-Action $entra_mdm_action always;

        proxy_http_version 1.1;
        set $backend 127.0.0.1:%%PORT_backend%%;

        location /            { proxy_pass http://$backend; }
        location /soap        { entra_mdm fleet token=soap;
                                proxy_pass http://$backend; }
        location /to-file     { client_body_buffer_size 1k;
                                proxy_pass http://$backend; }
        location /in-file     { client_body_in_file_only on;
                                proxy_pass http://$backend; }
        location /clean-file  { client_body_in_file_only clean;
                                proxy_pass http://$backend; }
        location /single      { client_body_in_single_buffer on;
                                client_body_buffer_size 16k;
                                proxy_pass http://$backend; }
        location /unbuffered  { proxy_request_buffering off;
                                proxy_pass http://$backend; }
        location /mirror      { mirror /mirrored;
                                proxy_pass http://$backend; }
        location /mirrored    { internal; proxy_pass http://$backend; }
        location /own-page    { error_page 400 413 /page;
                                proxy_pass http://$backend; }
        location /page        { entra_mdm off; root %%DIR%%; }
        location /4k          { client_max_body_size 4k;
                                proxy_pass http://$backend; }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->write_file('page', "page\n");
$t->start;

my $v1 = mint($key, claims_v1());
my $v2 = mint($key, claims_v2());
my $expired = mint($key, claims_v2(exp => time - 3600));
my $message = enroll_message($v2);

my $max = 2 * 1024 * 1024;
my @ok = (200, 'ok', 'accepted');


# What became of a request, in a line: status, result, action, and what the
# backend has seen.

sub outcome {
    my ($r, $sent) = @_;
    my @seen = $backend->requests;
    my $seen = @seen == 0 ? 'nothing'
             : @seen > 1 ? scalar(@seen) . ' requests'
             : ($sent // '') ne $seen[0]->body ? 'another body'
             : $seen[0]->header('Transfer-Encoding') ? 'chunks' : 'the body';

    return join ' ', $r->status, $r->header('X-Result') // '-',
        $r->header('X-Action') // '-', "backend: $seen";
}

sub accepted {
    my ($r, $sent, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(outcome($r, $sent), "@ok backend: the body", "$name: accepted");
}

sub refused {
    my ($r, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(outcome($r), "$expected refused backend: nothing", "$name: refused");
}


# every way of arrival, into every way of keeping a body

my %messages = (
    'enroll, v1' => enroll_message($v1), 'policy, v1' => policy_message($v1),
    'enroll, v2' => enroll_message($v2), 'policy, v2' => policy_message($v2),
    'enroll, v2, token in lines' => enroll_message($v2, edit => sub {
        s{(base64binary">)([^<]+)}{ "$1\r\n" . $2 =~ s/(.{76})/$1\r\n/gr }e }),
);

my @arrivals = (
    [ 'in one piece' ],
    [ 'in pieces',                   pieces => 700 ],
    [ 'chunked',                     chunked => 1000 ],
    [ 'chunked, byte by byte',       chunked => 1 ],
    [ '100-continue',                expect => 1 ],
    [ '100-continue, chunked',       expect => 1, chunked => 300 ],
);

for my $name (sort keys %messages) {
    for my $arrival (@arrivals) {
        my ($how, @how) = @$arrival;
        my $r = http_post('/enroll', $messages{$name}, @how);
        accepted($r, $messages{$name}, "$name, $how");
    }
    my $r = http2(POST => '/enroll', port => $t->port('h2'),
        body => $messages{$name});
    accepted($r, $messages{$name}, "$name, HTTP/2");
}

for my $uri (qw(/soap /to-file /in-file /clean-file /single /unbuffered)) {
    for my $arrival (@arrivals) {
        my ($how, @how) = @$arrival;
        accepted(http_post($uri, $message, @how), $message, "$uri, $how");
    }
    my $r = http2(POST => $uri, port => $t->port('h2'), body => $message);
    accepted($r, $message, "$uri, HTTP/2");
}

accepted(http_raw(["POST / HTTP/1.0\r\nHost: a\r\nContent-Length: "
    . length($message) . "\r\n\r\n$message"]), $message, 'HTTP/1.0');
accepted(http_post('/', $message, headers => [ 'Content-Type' => $_ ]),
    $message, "Content-Type $_") for 'text/plain', 'application/json';
accepted(http_request(GET => '/soap', body => $message), $message,
    'GET where token=soap');

my @twins;
is(http_post('/mirror', $message, chunked => 99)->status, 200, 'mirrored');
wait_for { push @twins, $backend->requests; @twins == 2 };
is_deeply([ map { $_->body eq $message } @twins ], [ 1, 1 ],
    'mirrored: both get the body');

# the certificate request is a BinarySecurityToken as well, and no credential

my $swapped = enroll_message('', text => '', edit => sub {
    my $entra = MIME::Base64::encode_base64($v2, '');
    s{(#PKCS10"[^>]*>)[^<]+}{$1$entra} });
refused(http_post('/', $swapped), '500 no_token', 'a token only in the Body');
refused(http_post('/', $swapped =~ s/(<wst:RequestSec.*)ValueType="[^"]*"
    /$1ValueType="urn:ietf:params:oauth:token-type:jwt"/xsr),
    '500 no_token', 'a token only in the Body, as a JWT');
refused(http_post('/', enroll_message($expired, edit => sub {
    my $entra = MIME::Base64::encode_base64($v2, '');
    s{(#PKCS10"[^>]*>)[^<]+}{$1$entra} })),
    '500 token_expired', 'a better token in the Body');

# how large a message may be

sub padded {
    my ($size) = @_;
    return $message =~ s{(?=</wst:RequestSecurityToken>)}
        { '<x>' . 'A' x ($size - length($message) - 7) . '</x>' }er;
}

my @unsized = (port => $t->port('h2'),          # curl leaves out the length
    headers => [ 'Transfer-Encoding' => 'chunked' ]);

accepted(http_post('/', padded($max)), padded($max), '2 MB, by length');
accepted(http_post('/unbuffered', padded($max), chunked => 65536),
    padded($max), '2 MB, chunked, unbuffered');
accepted(http2(POST => '/', body => padded($max), @unsized), padded($max),
    '2 MB, HTTP/2 without a length');

for my $uri (qw(/ /to-file /single /unbuffered)) {
    refused(http_post($uri, padded($max + 1), chunked => 65536),
        '413 body_too_large', "2 MB and a byte to $uri, chunked");
}
refused(http2(POST => '/', body => padded($max + 1), @unsized),
    '413 body_too_large', '2 MB and a byte, HTTP/2 without a length');

my $too_large = "POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: "
    . ($max + 1) . "\r\n";
refused(http_raw("$too_large\r\n"), '413 body_too_large',
    '2 MB and a byte, announced, none of it sent');

# nginx has limits of its own, and the gate no part in them

for my $arrival ([ 'by length' ], [ 'chunked', chunked => 500 ]) {
    my ($how, @how) = @$arrival;
    my $r = http_post('/4k', $message, @how);
    is(outcome($r), '413 - - backend: nothing', "client_max_body_size, $how");
    like($r->body, qr/<html>/, "client_max_body_size, $how: nginx's page");
}

# 100 Continue: once for a body that is wanted, never for one that is not

my $head = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    . "Expect: 100-continue\r\n";
my $c = http_connect();
$c->send(["POST / ${head}Content-Length: " . length($message) . "\r\n\r\n"]);
is($c->message->status, 100, 'Expect: asked to go on');
$c->send([$message]);
accepted($c->message, $message, 'Expect: and not asked again');

for (
    [ "Content-Length: " . ($max + 1), '413 body_too_large' ],
    [ "Content-Encoding: gzip\r\nContent-Length: 10", '400 message_malformed' ],
    [ "Content-Length: 0", '400 message_malformed' ],
) {
    my ($headers, $expected) = @$_;
    for my $uri ('/', '/own-page') {
        my $name = "Expect, and $headers, $uri";
        my $c = http_connect();
        $c->send(["POST $uri $head$headers\r\n\r\n"]);
        my $r = $c->message;
        refused($r, $expected, $name);
        shutdown $c->{socket}, 1;
        ok($c->closed, "$name: nothing else is said");
    }
}

# no body, and coded ones

for (
    [ 'no body at all',         'POST', '/', [] ],
    [ 'Content-Length 0',       'POST', '/', [ 'Content-Length' => 0 ] ],
    [ 'token=soap, GET',        'GET', '/soap', [] ],
    [ 'token=soap, DELETE',     'DELETE', '/soap', [] ],
    [ 'token=soap, a bearer',   'GET', '/soap',
                                [ Authorization => "Bearer $v2" ] ],
    [ 'POST, a bearer',         'POST', '/',
                                [ Authorization => "Bearer $v2" ] ],
) {
    my ($name, $method, $uri, $headers) = @$_;
    my $r = http_request($method, $uri, headers => $headers);
    refused($r, '400 message_malformed', $name);
}
refused(http_post('/', '', chunked => 1), '400 message_malformed',
    'no chunk but the last');
refused(http2(POST => '/', port => $t->port('h2'), body => ''),
    '400 message_malformed', 'no body, HTTP/2');
for my $name ('Content-Encoding', 'content-encoding',
    'Content_Encoding', 'content.encoding')     # as FastCGI may read it
{
    refused(http_post('/', $message, headers => [ $name => $_ ]),
        '400 message_malformed', "$name: $_") for qw(gzip identity);
}

# a message with a token is judged by it, whatever else the request carries

refused(http_post('/', enroll_message($expired), bearer => $v2),
    '500 token_expired', 'a better token in Authorization');
accepted(http_post('/', $message, bearer => $expired), $message,
    'a worse token in Authorization');

# After a refusal of any kind the connection goes on; but a body that is found
# too large while it comes in is not read to its end.

my $length = length $message;
my $good = "POST /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    . "Content-Length: $length\r\n\r\n$message";
my %first = (
    'refused by its token'  => [ enroll_message($expired), '' ],
    'refused by its form'   => [ '<a>' x 3000, '' ],
    'no token'              => [ enroll_message('', security => ''), '' ],
    'coded'                 => [ $message, "Content-Encoding: gzip\r\n" ],
    'too large'             => [ 'x' x ($max + 1), '' ],
    'accepted'              => [ $message, '' ],
);
for my $name (sort keys %first) {
    my ($body, $headers) = @{ $first{$name} };
    for my $form ('by length', 'chunked') {
        my $sent = $form eq 'chunked'
            ? "Transfer-Encoding: chunked\r\n\r\n"
                . join('', EntraMDM::HTTP::chunks($body, 30000))
            : "Content-Length: " . length($body) . "\r\n\r\n$body";
        my $bad = "POST /first HTTP/1.1\r\nHost: a\r\n$headers$sent";

        for my $writes ([ $bad, $good ], [ $bad . $good ]) {
            my $how = "$name, $form, " . (@$writes > 1 ? 'keepalive'
                                                       : 'pipelined');
            my $c = http_connect();
            $c->send($writes);
            my $r = $c->response;
            isnt($r->status, 0, "$how: an answer");
            is($r->truncated, 0, "$how: a whole one");
            my $next = $c->response;
            my @seen = $backend->requests;

            if ($name eq 'too large' && $form eq 'chunked') {
                is($r->header('Connection'), 'close', "$how: the last one");
                is(scalar(@seen), 0, "$how: nothing has passed");
                ok($c->closed, "$how: closed");
                next;
            }

            is(join(' ', $next->status, $next->header('X-Result') // '-',
                    map { $_->uri } @seen),
                '200 ok ' . ($name eq 'accepted' ? '/first /next' : '/next'),
                "$how: the next is judged by itself");
            is($seen[-1] && $seen[-1]->body, $message, "$how: and whole");
        }
    }
}

# a client that goes away in the middle

for ([ 'by length', "Content-Length: $length\r\n\r\n" ],
     [ 'chunked', "Transfer-Encoding: chunked\r\n\r\nfff\r\n" ])
{
    my ($how, $headers) = @$_;
    my $uri = '/gone-' . ($how =~ s/ /-/r);
    my $c = http_connect();
    $c->send(["POST $uri HTTP/1.1\r\nHost: a\r\n$headers"
        . substr $message, 0, 2000]);
    $c->close;
    is($t->wait_for_log(qr/^$uri/, 'device.log'),
        "$uri 400 result=- device=- hardware=-",
        "gone in the middle, $how: not judged");
}
is($backend->requests, 0, 'gone in the middle: nothing reaches the backend');
accepted(http_post('/', $message), $message, 'and nginx is well');

# what the message says of its device

http_post('/logged', $message);
is($t->wait_for_log(qr{^/logged}, 'device.log'), '/logged 200 result=ok '
    . 'device=DESKTOP-0VQ7P2R hardware=BCB8C6F2A4D14F57AAE0D84C7F6EE2E0',
    'context of an enroll message in the log');

$t->done;
