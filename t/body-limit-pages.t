#!/usr/bin/perl

# Where an error page leads on with a request whose body was too large: as far
# as anyone can tell it has none.  No byte of it, no length, no file.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;

use EntraMDM::Backend;
use EntraMDM::Body;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(http => $Policies
    . fleet_policy('max_body 2m;', 'large') . <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        entra_mdm fleet;

        location /            { proxy_pass http://fleet; }
        location /page/off    { error_page 413 /off; }
        location /page/named  { error_page 413 @off; }
        location /page/early  { error_page 400 413 /off; }
        location /page/file   { error_page 413 /off;
                                client_body_buffer_size 1k; }
        location /page/kept   { error_page 413 /off;
                                client_body_in_file_only on;
                                client_body_buffer_size 1k; }
        location /page/asked  { error_page 413 /asked; }
        location /page/raw    { error_page 413 /raw; }
        location /page/cgi    { error_page 413 /cgi; }
        location /page/same   { error_page 413 /again; }
        location /page/large  { error_page 413 /large; }
        location /page/at     { error_page 413 @large; }
        location /page/dry    { error_page 413 /dry; }
        location /page/other  { error_page 413 /other; }
        location /page/static { error_page 413 /html; }
        location /page/bearer { error_page 413 /bearer; }

        location /off    { entra_mdm off;
                           proxy_set_header Connection "";
                           proxy_set_header X-File $request_body_file;
                           proxy_set_header X-Length $content_length;
                           proxy_pass http://fleet; }
        location @off    { entra_mdm off; proxy_request_buffering off;
                           proxy_pass http://fleet; }
        location /cgi    { entra_mdm off; scgi_pass_request_headers off;
                           scgi_pass 127.0.0.1:%%PORT_raw%%; }
        location /raw    { entra_mdm off;
                           proxy_pass http://127.0.0.1:%%PORT_raw%%; }
        location /asked  { entra_mdm off; auth_request /yes;
                           proxy_pass http://fleet; }
        location = /yes  { entra_mdm off; proxy_pass http://fleet; }
        location /again  { proxy_pass http://fleet; }
        location /large  { entra_mdm large; proxy_pass http://fleet; }
        location @large  { entra_mdm large; proxy_pass http://fleet; }
        location /dry    { entra_mdm_dry_run on; proxy_pass http://fleet; }
        location /other  { entra_mdm large; entra_mdm_dry_run on;
                           proxy_pass http://fleet; }
        location /html   { entra_mdm off; root %%DIR%%; }
        location /bearer { entra_mdm fleet token=bearer;
                           proxy_pass http://fleet; }
    }
EOC

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->write_file('html', "<p>Too much.</p>\n");
$t->start;

my $token = mint($key, claims_v2());
my $message = enroll_message($token);
my ($over, $much) = map { padded($message, $_) } MAX + 1, 4 * MAX;

my $leads_on = '413 body_too_large refused 1';
my $refused = '413 body_too_large refused 0';

sub empty {
    my ($name, $seen) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return if !$seen;
    is($seen->body, '', "$name: nothing of the body");
    is($seen->header('Content-Length') // 0, 0, "$name: no length");
    is($seen->header('Transfer-Encoding'), undef, "$name: no chunks");
    is($seen->header('X-File') // '', '', "$name: no file");
    is($seen->header('X-Length') // 0, 0, "$name: no length in a variable");
    is(identity($seen), '', "$name: no identity");
}

for (
    [ '/page/off',    $leads_on ],
    [ '/page/named',  $leads_on ],
    [ '/page/early',  $leads_on ],
    [ '/page/file',   $leads_on ],
    [ '/page/kept',   $leads_on ],
    [ '/page/same',   $refused ],
    [ '/page/large',  $refused ],
    [ '/page/at',     $refused ],
    [ '/page/dry',    $refused ],
    [ '/page/other',  '413 body_too_large would_refuse 1' ],
    [ '/page/static', $refused ],
    [ '/page/bearer', '401 no_token refused 0' ],
) {
    my ($uri, $expected) = @$_;
    my $kept = named($t);

    for my $how ('chunks', 'in pieces', 'in one piece', '100-continue') {
        for my $body ($over, $much) {
            my $name = "$uri, " . length($body) . ", $how";
            my $r = http_post($uri, $body, @{ $Arrivals{$how} });
            my $seen = verdict($name, $r, $fleet, $expected);
            is($r->truncated ? 1 : 0, 0, "$name: a whole answer");
            empty($name, $seen);
        }
    }
    my $r = chunked2($t, $uri, $over);
    empty("$uri, HTTP/2", verdict("$uri, HTTP/2", $r, $fleet, $expected));
    is(scalar(named($t)), $kept, "$uri: no file is left");
}

# whose token was accepted, by itself: of the body nothing is left either

my $seen = verdict('/page/bearer with a token', http_post('/page/bearer',
    $much, chunked => 3000, bearer => $token), $fleet, '413 ok accepted 1');
is($seen && $seen->body, '', '/page/bearer with a token: nothing of the body');
is($seen && $seen->header('Content-Length') // 0, 0,
    '/page/bearer with a token: no length');

# while an answer is waited for, nobody reads on

$fleet->answer('/yes' => { delay => 0.3 });

my ($c, @asked) = http_connect();
$c->send([ sprintf "%s%x\r\n%s", chunked_head('/page/asked'), 4 * MAX,
    $over ]);
wait_for { @asked = $fleet->requests };
is(join(' ', map { $_->uri } @asked), '/yes', 'auth_request: it is asked');
$c->send([ substr($much, MAX + 1) . "\r\n0\r\n\r\n" ]);
is($c->response->status, 413, 'auth_request: answered');
ok($c->closed, 'auth_request: once');
@asked = $fleet->requests;
is(join(' ', map { $_->uri . '=' . $_->body } @asked), '/asked=',
    'auth_request: nothing of the body goes on');

# to the byte: behind the head comes nothing, whose length CGI's kin are told

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
    LocalPort => $t->port('raw'), ReuseAddr => 1) or die $@;

for my $how ('chunks', 'in pieces', 'in one piece') {
    for my $to (qw(raw cgi)) {
        my $name = "to $to, $how";
        my $c = http_connect();
        my %how = @{ $Arrivals{$how} };
        my $sent = chunked_head("/page/$to") . chunked($much, $how{chunked});
        my $size = $how{pieces} // length $sent;

        $c->send([ unpack "(a$size)*", $sent ]);
        my $gateway = EntraMDM::HTTP->wrap(scalar $listen->accept);

        if ($to eq 'cgi') {
            my $head = $gateway->take($gateway->line(':'));
            is($head, "CONTENT_LENGTH\0000\0", "$name: no length");
            is($gateway->take(1), ',', "$name: the end of the head");
            $gateway->send([ "Status: 200 OK\r\n\r\n" ]);
        } else {
            like($gateway->line("\r\n\r\n"), qr/^Content-Length: 0$/mi,
                "$name: no length");
            $gateway->send([ "HTTP/1.1 200 OK\r\n\r\n" ]);
        }

        shutdown $gateway->{socket}, 1;
        is($c->response->status, 413, "$name: answered");
        ok($gateway->closed, "$name: nothing of the body");
    }
}

# the connection to the backend carries the next request, from its beginning

for my $n (1 .. 3) {
    http_post('/page/off', $over, chunked => 3000);
    $fleet->requests;
    $seen = verdict("after an error page, $n", http_post("/after/$n",
        $message, chunked => 700), $fleet, '200 ok accepted 1');
    ok($seen && $seen->body eq $message, "after an error page, $n: its body");
}

# and the client's none

for my $uri (qw(/page/off /page/static /page/same /page/bearer)) {
    my $c = http_connect();
    $c->send([ chunked_head($uri) . chunked($over, 1 << 20)
        . chunked_head('/smuggled') . chunked($message, 1 << 20) ]);
    ok($c->response->status, "$uri: answered");
    ok($c->closed, "$uri: closed");
    is(scalar(grep { $_->uri eq '/smuggled' } $fleet->requests), 0,
        "$uri: nothing smuggled");
}

$t->done;
