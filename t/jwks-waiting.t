#!/usr/bin/perl

# Requests that wait for keys: how many, how long, and what if their clients,
# or nginx itself, go away meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $http = $Headers
    . fleet_policy('', 'fleet', 'request=/_entra/jwks min_interval=1s')
    . <<'EOC';
    client_max_body_size 2m;
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        entra_mdm fleet;

        location / {
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /dry/ {
            entra_mdm_dry_run on;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /any/ {
            satisfy any;
            deny all;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /body/ {
            entra_mdm fleet token=bearer;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /page/ {
            error_page 503 /sorry;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /sorry {
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /_entra/jwks {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%/keys;
        }
    }
EOC

my $t = EntraMDM::Nginx->new(http => $http,
    events => 'worker_connections 2048;');
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $idp = EntraMDM::Backend->new($t, 'idp');
my ($key, $next) = (new_key(), new_key());
my ($good, $other) = map { mint($_, claims_v2()) } $key, $next;

# A connection on which a request has been sent, its answer yet to come.

sub ask {
    my ($uri, $token, %o) = @_;
    my $body = $o{soap} ? enroll_message($token) : $o{body} // '';
    my $c = http_connect(timeout => $o{timeout} // 10);

    $c->send([ ($o{soap} || $o{body} ? 'POST' : 'GET')
        . " $uri HTTP/1.1\r\nHost: a\r\n"
        . "Connection: close\r\nContent-Length: " . length($body) . "\r\n"
        . ($o{soap} ? '' : "Authorization: Bearer $token\r\n")
        . "\r\n$body" ]);
    return $c;
}

sub quiet { my ($c) = @_; return !IO::Select->new($c->{socket})->can_read(0.3) }
sub gone { return scalar(() = $t->access_log =~ /" 499 /g) }


# five seconds, 512 requests; nobody answers for the keys

$idp->answer('/keys' => { body => jwks($key), delay => 7 });
$t->start;

my $begun = time;
my $bearer = ask('/', $good);
my $soap = ask('/', $good, soap => 1);
my $dry = ask('/dry/', $good);
my $page = ask('/page/', $good);
my @crowd = map { ask('/', $good) } 1 .. 508;

ok(quiet($bearer) && quiet($soap) && quiet($crowd[-1]), '512 requests wait');

my $r = ask('/', $good)->response;
verdict('one more is answered at once', $r, $fleet,
    '503 keys_unavailable refused 0');
cmp_ok(time - $begun, '<', 4.5, 'before the others');
is($r->header('Retry-After'), 30, 'with Retry-After');

verdict('no well-formed token, no wait', http_get('/', bearer => 'a.b.c'),
    $fleet, '401 token_malformed refused 0');
verdict('nor is another algorithm', http_get('/', bearer => mint($key,
    claims_v2(), alg => 'PS256')), $fleet,
    '401 algorithm_not_allowed refused 0');
verdict('a Graph token', http_get('/', bearer => mint($key, claims_v2(),
    header => { nonce => 'n' })), $fleet, '503 keys_unavailable refused 0');

$_->close for splice @crowd, 0, 400;
ok((wait_for { gone() == 400 }), 'clients that go away are noticed');
sleep 3 - (time - $begun) if time - $begun < 3;
my $late = ask('/', $good);
ok(quiet($late), 'and leave room for others');

$r = $bearer->response;
my $waited = time - $begun;
verdict('a dry run waits as well, then lets it through', $dry->response,
    $fleet, '200 keys_unavailable would_refuse 1');
verdict('bearer, after its time', $r, $fleet, '503 keys_unavailable refused 0');
cmp_ok($waited, '>', 4.9, 'which is five seconds');
cmp_ok($waited, '<', 6, 'and no more');
is($r->header('Retry-After'), 30, 'with Retry-After');
is($r->header('WWW-Authenticate'), undef, 'it is not the token');

$r = $soap->response;
verdict('SOAP likewise', $r, $fleet, '500 keys_unavailable refused 0');
is($r->header('Retry-After'), 30, 'with Retry-After');
is(fault($r)->{subcode}, 's:EnrollmentServer', 'its subcode');
is(fault($r)->{error_type}, 'InMaintenance', 'its error type');

verdict('an error page does not wait again', $page->response, $fleet,
    '503 keys_unavailable refused 0');
verdict('who came late is judged by the keys, once they are there',
    $late->response, $fleet, '200 ok accepted 1');

my %told;
$told{ $_->response->status }++ for @crowd;
is_deeply(\%told, { 503 => 108 }, 'the others have been told');
is(scalar $idp->requests, 1, 'there was one fetch');
like($t->error_log, qr/keys_unavailable.*no key set from "\/_entra\/jwks"/,
    'the log says what is missing');


# what wakes a request is the end of the fetch, whatever has come of it

sub serve {
    my ($keys, %o) = @_;
    sleep 1.05;                         # min_interval
    $idp->answer('/keys' => { body => jwks(@$keys), delay => 0.4, %o });
    $idp->requests;
}

serve([$key], status => 500);
$begun = time;
verdict('a fetch that fails', http_get('/', bearer => $other), $fleet,
    '401 key_unknown refused 0');
cmp_ok(time - $begun, '<', 3, 'is not waited for any longer');
my $age = qr/key set of 1 keys, \d+ seconds old/;
ok($t->wait_for_log(qr/key_unknown.* kid "\S+", $age, the last fetch failed: st/),
    'the log says so');


# While attempts fail, the worker makes more of its own: not from here on.

serve([$key], delay => 0);
ok((wait_for {
    $t->mark;
    http_get('/', bearer => $other);
    $t->new_log =~ /key_unknown(?!.*last fetch failed)/;
}), 'a fetch succeeds again');

# A token of a key that the next fetch is the first to bring.

sub fresh {
    my (%o) = @_;
    my $new = new_key();

    serve([ $key, $new ], %o);
    return mint($new, claims_v2());
}

for (
    [ '/any/', 'satisfy any' ],
    [ '/dry/', 'dry run' ],
    [ '/body/', 'bearer with a body', body => 'x' x 5000 ],
    [ '/', 'SOAP', soap => 1 ],
) {
    my ($uri, $name, %o) = @$_;
    my $seen = verdict("$name: accepted after a wait",
        ask($uri, fresh(), %o)->response, $fleet, '200 ok accepted 1');
    is($seen->body, $o{body} // '', "$name: with its body") if !$o{soap};
}

my $token = fresh();
my $c = http_connect();
$c->send([ join '', map { "GET /$_ HTTP/1.1\r\nHost: a\r\n"
    . "Authorization: Bearer $token\r\n\r\n" } 1 .. 3 ]);
is($c->response->status, 200, "pipelined request $_") for 1 .. 3;
is_deeply([ map { $_->uri } $fleet->requests ], [ '/1', '/2', '/3' ],
    'in their order');

# by pieces, with time for stray events between them

$r = http_post('/', enroll_message(fresh()), chunked => 900, pause => 0.01);
verdict('a chunked message', $r, $fleet, '200 ok accepted 1');


# clients that go away while they wait

$token = fresh(delay => 1);
my $before = gone();
my @gone = map { ask('/', $token, soap => $_ % 2) } 1 .. 6;
ok(quiet($gone[0]), 'they wait');
$_->close for @gone;
ok((wait_for { gone() == $before + 6 }), 'gone, and noticed');

my $message = $t->write_file('message', enroll_message($token));
system 'curl', '-s', '-m', '0.2', '--http2-prior-knowledge', '-o', '/dev/null',
    '--data-binary', "\@$message", "http://127.0.0.1:@{[ $t->port('h2') ]}/";
ok((wait_for { gone() == $before + 7 }), 'a stream that was reset as well');
is($fleet->requests, 0, 'nothing of them reaches the backend');
verdict('who stays is judged', ask('/', $token)->response, $fleet,
    '200 ok accepted 1');


# nginx is to quit, or to reload, while a request waits

$c = ask('/', fresh(delay => 1), soap => 1);
ok(quiet($c), 'one waits');
ok($t->reload, 'reload');
verdict('it is answered by the old worker', $c->response, $fleet,
    '200 ok accepted 1');
is(scalar $idp->requests, 1, 'by the same fetch');

$c = ask('/', fresh(delay => 1));
ok(quiet($c), 'one waits');
kill QUIT => $t->{pid};
verdict('it is answered before nginx quits', $c->response, $fleet,
    '200 ok accepted 1');

$t->done;
