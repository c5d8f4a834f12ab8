#!/usr/bin/perl

# HTTP/3: tokens in headers and messages, refusals, bodies that nothing
# announces, many requests on one connection, clients that change their mind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(sleep);

use EntraMDM::ApiClient;
use EntraMDM::Backend;
use EntraMDM::Body;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::HTTP3;
use EntraMDM::Metrics;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

plan skip_all => $_ for missing_http3() || ();

my $t = EntraMDM::Nginx->new(http => $Headers . fleet_policy('max_body 400k;')
    . fleet_policy('max_body 4k;', 'small') . fleet_policy('', 'late',
        'request=/_entra/jwks min_interval=1s') . <<'EOC' . $H3_SERVER . <<'EOC'
    underscores_in_headers on;
    ignore_invalid_headers off;
    client_max_body_size 2m;
    log_format what "$uri $status $entra_mdm_result";
    access_log %%DIR%%/access.log;
    access_log %%DIR%%/what.log what;
    upstream fleet { server 127.0.0.1:%%PORT_fleet%%; keepalive 4; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Protocol $server_protocol;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
EOC
        entra_mdm fleet;

        location /        { proxy_pass http://fleet; }
        location /off     { entra_mdm off; proxy_pass http://fleet; }
        location /bearer  { entra_mdm fleet token=bearer;
                            proxy_pass http://fleet; }
        location /stream  { proxy_request_buffering off;
                            proxy_pass http://fleet; }
        location /small   { entra_mdm small; proxy_pass http://fleet; }
        location /file    { client_body_buffer_size 1k;
                            proxy_pass http://fleet; }
        location /small-file { entra_mdm small; client_body_buffer_size 1k;
                            proxy_pass http://fleet; }
        location /dry     { entra_mdm_dry_run on; proxy_pass http://fleet; }
        location /slow    { client_body_timeout 1s;
                            proxy_pass http://fleet; }
        location /page    { client_max_body_size 1k;
                            error_page 413 = /elsewhere;
                            proxy_pass http://fleet; }
        location /elsewhere { entra_mdm small; proxy_pass http://fleet; }
        location /late    { entra_mdm late; proxy_pass http://fleet; }
        location /after   { post_action /then; proxy_pass http://fleet; }
        location /then    { internal; proxy_pass http://fleet; }
        location /api/    { entra_mdm_api small; entra_mdm_api_role admin; }
        location = /metrics { entra_mdm_metrics; }
        location = /_entra/jwks {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%/keys;
        }
    }
EOC
);

my ($fleet, $idp) = map { EntraMDM::Backend->new($t, $_) } qw(fleet idp);
my $key = new_key();

h3_certificate($t);
$t->write_file('keys.json', jwks($key));
$idp->answer('/keys' => { status => 500 });
$t->start;

my $token = mint($key, claims_v2());
my $expired = mint($key, claims_v2(exp => time - 3600));
my $message = enroll_message($token);
my $large = padded($message, 300_000);
my $bob = 'upn=bob@example.com audience=' . CLIENT_V2 . ' token-version=2.0';
my $c = h3_connect();
my $stream = 0;

sub stream { return 'stream ' . ++$stream }

# Operations, each a list of its own that goes out a little later than the one
# before, and the answer.

sub spread {
    my (@lists) = @_;
    for my $at (0 .. $#lists) {
        sleep 0.1 if $at;
        $c->send(@{ $lists[$at] });
        ok($c->heard, 'sent so far') if $at < $#lists;
    }
    return $c->response($lists[0][0]{stream});
}


# bearer, and the headers of a client that gives itself a name

my @six = qw(upn tenant-id object-id device-id audience token-version);
my @forged = map { ($_ => 'eve@example.com') } map({ "x-entra-$_" } @six),
    qw(x_entra_upn x_entra-upn x-entra_tenant_id x.entra.upn x~entra|upn
       x'entra`upn x-entra.object_id), "x\x80entra\xffupn";

sub is_ours {
    my ($seen, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is(identity($seen), $bob, "$name: identity");
    unlike(join("\n", map { "@$_" } @{ $seen->{list} }), qr/eve\@/,
        "$name: nothing forged");
}

my $seen = verdict('bearer', $c->request(GET => '/tos?a=b', bearer => $token,
    headers => \@forged), $fleet, '200 ok accepted 1');
is($seen->header('Protocol'), 'HTTP/3.0', 'bearer: by HTTP/3');
is($seen->uri, '/tos?a=b', 'bearer: its path');
is($seen->header('Authorization'), "Bearer $token", 'bearer: its token');
is_ours($seen, 'bearer');

$c->request(GET => '/off', headers => \@forged);
is(identity($fleet->last), '', 'where there is no gate: nothing forged');

is($c->request(GET => '/off', headers => [ @forged, 'x-other' => 'kept' ])
    ->status, 200, 'other headers');
is($fleet->last->header('x-other'), 'kept', 'stay');

# header names are in lower case there, or the request is malformed

my $upper = h3_head(stream(), GET => '/tos', bearer => $token, end => 1);
push @{ $upper->{headers} }, [ 'X-Entra-UPN' => 'eve' ];
$c->send($upper);
is($c->response("stream $stream")->status, 400, 'in upper case');

for my $name (qw(GET PUT DELETE PROPFIND X-POST)) {
    verdict("$name, no token", $c->request($name => '/tos'), $fleet,
        '401 no_token refused 0');
    verdict($name, $c->request($name => '/tos', bearer => $token), $fleet,
        '200 ok accepted 1');
}

my $r = $c->request(GET => '/tos', bearer => $expired);
verdict('bearer, expired', $r, $fleet, '401 token_expired refused 0');
like($r->header('WWW-Authenticate'), qr/^Bearer error="invalid_token", /,
    'bearer, expired: the challenge');
is($c->request(GET => '/tos', headers => [ Authorization => 'Bearer a',
    Authorization => 'Bearer b' ])->status, 400, 'two tokens');
is($fleet->requests, 0, 'two tokens, and upper case: nothing has passed');


# messages, whatever they come in

sub passes {
    my ($name, $r, $body) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $seen = verdict($name, $r, $fleet, '200 ok accepted 1') or return;

    ok($seen->body eq $body, "$name: byte for byte");
    is($seen->header('Content-Length'), length $body, "$name: its length");
    is_ours($seen, $name);
}

for ([ 'a message', $message ], [ '300 KB', $large ]) {
    my ($name, $body) = @$_;

    for my $uri (qw(/enroll /file /stream)) {
        passes("$name, $uri", $c->request(POST => $uri, body => $body,
            headers => \@forged), $body);
        passes("$name, $uri, with a length", $c->request(POST => $uri,
            body => $body, length => 1, headers => \@forged), $body);
    }

    my @pieces = EntraMDM::HTTP::cut($body, int(length($body) / 40));
    my $s = stream();
    $c->send(h3_head($s, POST => '/enroll'), (map { h3_data($s, $_) } @pieces),
        h3_frame($s, '', 1));
    passes("$name, in frames", $c->response($s), $body);

    my $last = pop @pieces;
    $s = stream();
    passes("$name, in time", spread([ h3_head($s, POST => '/enroll') ],
        [ map { h3_data($s, $_) } @pieces ], [ h3_data($s, $last) ],
        [ h3_data($s, '', 1) ]), $body);
}

my $s = stream();
$c->send(h3_head($s, POST => '/enroll', body => ''), h3_data($s, $message),
    { stream => $s, headers => [ [ 'x-entra-upn' => 'eve@example.com' ] ],
      end => 1 });
passes('with a trailer', $c->response($s), $message);

passes('bearer, a body of the backend', $c->request(POST => '/bearer',
    bearer => $token, body => "\0\xff" x 40_000), "\0\xff" x 40_000);

$r = $c->request(POST => '/enroll', body => enroll_message($expired));
verdict('SOAP, expired', $r, $fleet, '500 token_expired refused 0');
is(fault($r)->{subcode}, 's:Authentication', 'SOAP, expired: a fault');

for my $how ([], [ body => '' ], [ body => '', length => 1 ]) {
    $r = $c->request(POST => '/enroll', @$how);
    verdict("SOAP, no body: @$how", $r, $fleet,
        '400 message_malformed refused 0');
    is(fault($r)->{subcode}, 's:MessageFormat', "SOAP, no body: @$how: a fault");
}


# Bodies where there may be none.  Nothing announces one but its length, and
# whether one comes is known only once the stream ends, however late.

for my $method (qw(GET PUT)) {
    my @head = ($method => '/tos', bearer => $token);

    verdict("$method with a body", $c->request(@head, body => $message), $fleet,
        '400 message_malformed refused 0');
    verdict("$method with a body and its length", $c->request(@head,
        body => $message, length => 1), $fleet,
        '400 message_malformed refused 0');

    $s = stream();
    verdict("$method with a late byte", spread([ h3_head($s, @head) ],
        [ h3_data($s, 'x') ]), $fleet, '400 message_malformed refused 0');
    $s = stream();
    verdict("$method with a later one", spread([ h3_head($s, @head) ],
        [ h3_frame($s, '') ], [ h3_data($s, 'x', 1) ]), $fleet,
        '400 message_malformed refused 0');
    $s = stream();
    verdict("$method with a large one", spread([ h3_head($s, @head) ],
        [ h3_data($s, ' ' x 500_000, 1) ]), $fleet,
        '400 message_malformed refused 0');

    $s = stream();
    $r = spread([ h3_head($s, @head, headers => [ 'Content-Length' => 0 ]) ],
        [ h3_data($s, $message, 1) ]);
    isnt($r->status, 200, "$method with more than its length");
    is($fleet->requests, 0, "$method with more than its length: not passed");

    for (
        [ 'no body', h3_data('', '', 1) ],
        [ 'an empty frame', h3_frame('', ''), h3_data('', '', 1) ],
        [ 'a trailer', { headers => [ [ 'x-entra-upn' => 'eve@example.com' ] ],
          end => 1 } ],
    ) {
        my ($name, @rest) = @$_;
        $s = stream();
        $_->{stream} = $s for @rest;
        my $seen = verdict("$method, $name, late", spread([ h3_head($s, @head,
            headers => \@forged) ], map { [$_] } @rest), $fleet,
            '200 ok accepted 1') or next;
        is($seen->body, '', "$method, $name, late: it has none");
        is_ours($seen, "$method, $name, late");
    }
    $s = stream();
    is(spread([ h3_head($s, $method => '/after', bearer => $token) ],
        [ h3_data($s, '', 1) ])->status, 200, "$method, post_action, late");
    my @after;
    wait_for { push @after, $fleet->requests; @after > 1 };
    is_deeply([ map { $_->uri } @after ], [ '/after', '/then' ],
        "$method, post_action, late: follows");
    is_ours($after[-1], "$method, post_action, late") if @after > 1;

    $s = stream();
    verdict("$method, no token, late", spread([ h3_head($s, $method => '/tos') ],
        [ h3_data($s, '', 1) ]), $fleet, '401 no_token refused 0');
}

unlike($t->file('what.log'), qr{^/(?:after|then) (?!200 ok$)}m,
    'post_action: the verdict stands in the log');

$s = stream();
$c->send(h3_head($s, GET => '/slow', bearer => $token));
is($c->response($s)->status, 0, 'a stream that does not end');
ok(defined $c->reset($s), 'is reset');
ok($t->wait_for_log(qr{^/slow 408 }, 'what.log'), 'after its time');
$s = stream();
verdict('an error page of another policy', spread([ h3_head($s, GET => '/page',
    bearer => $token) ], [ h3_data($s, $message) ]), $fleet,
    '400 message_malformed refused 0');
is($fleet->requests, 0, 'nothing has passed');

$s = stream();
$c->send(h3_head($s, GET => '/gone', bearer => $token));
ok($c->heard, 'one that does not end');
$c->send(h3_reset($s));
ok($t->wait_for_log(qr{^/gone (?:400|499) }, 'what.log'), 'but is reset');
is($fleet->requests, 0, 'has not passed');


# too large

my $over = padded($message, 400 * 1024 + 1);

for my $uri (qw(/small /small-file)) {
    for my $end (0, 1) {
        my $name = "$uri, too large, " . ($end ? 'whole' : 'not all of it');
        my $kept = stored($t);
        $s = stream();
        $c->send(h3_head($s, POST => $uri), h3_data($s, $message),
            h3_data($s, ' ' x 50_000, $end));
        $r = $c->response($s);
        verdict($name, $r, $fleet, '413 body_too_large refused 0');
        is(fault($r)->{subcode}, 's:MessageFormat', "$name: a fault");
        ok(defined $c->stopped($s), "$name: no more of it, please") if !$end;
        cmp_ok(stored($t) - $kept, '<=', SMALL, "$name: what is kept");
    }
}
verdict('too large, with its length', $c->request(POST => '/small',
    body => $message, length => 1), $fleet, '413 body_too_large refused 0');
verdict('of 400 KB and a byte', $c->request(POST => '/enroll', body => $over),
    $fleet, '413 body_too_large refused 0');
passes('of 400 KB', $c->request(POST => '/enroll',
    body => padded($message, 400 * 1024)), padded($message, 400 * 1024));

# that break off

my ($half) = EntraMDM::HTTP::cut($message, 2000);

$s = stream();
$c->send(h3_head($s, POST => '/less', headers => [ 'Content-Length' =>
    length $message ]), h3_data($s, $half, 1));
isnt($c->response($s)->status, 200, 'less than its length');
$s = stream();
$c->send(h3_head($s, POST => '/reset'), h3_data($s, $half));
ok($c->heard, 'half a message');
$c->send(h3_reset($s));
ok($t->wait_for_log(qr{^/reset }, 'what.log'), 'and a reset');
$s = stream();
$c->send(h3_head($s, POST => '/reset-small'), h3_data($s, $message),
    h3_reset($s));
$c->heard;
is($fleet->requests, 0, 'nothing of them has passed');


# a dry run lets them through, as they are

for (
    [ GET => 'no_token' ],
    [ GET => 'token_expired', bearer => $expired ],
    [ GET => 'message_malformed', bearer => $token, body => $message ],
    [ POST => 'body_too_large', body => $over ],
    [ POST => 'message_malformed', body => 'x' ],
) {
    my ($method, $result, %how) = @$_;
    my $name = "dry run: $method, $result";
    my $seen = verdict($name, $c->request($method => '/dry', %how,
        headers => \@forged), $fleet, "200 $result would_refuse 1") or next;
    ok($seen->body eq ($how{body} // ''), "$name: its body");
    is(identity($seen), '', "$name: no identity");
}
$s = stream();
$seen = verdict('dry run: GET with a late body', spread([ h3_head($s,
    GET => '/dry', bearer => $token) ], [ h3_data($s, $message, 1) ]), $fleet,
    '200 message_malformed would_refuse 1');
is($seen->body, $message, 'dry run: GET with a late body: passes as it is');
$s = stream();
verdict('dry run: GET that ends late', spread([ h3_head($s, GET => '/dry',
    bearer => $token) ], [ h3_data($s, '', 1) ]), $fleet, '200 ok accepted 1');


# the API, whose host is ":authority"

sub by_h3 {
    my ($method, $path, @rest) = @_;
    return api($method => $path, @rest, location => '/api/', role => undef,
        by => sub { $c->request(@_) });
}

my $site = "https://$EntraMDM::HTTP::Host";
my ($status, $json) = by_h3(GET => 'config');
is($status, 200, 'GET config');
is_lists('GET config: the lists', [], [], $json);

($status, $json) = by_h3(PATCH => 'config', lists([ guid(1) ]));
is($status, 200, 'PATCH config');
is_lists('PATCH config: changed', [ guid(1) ], [], $json);
($status, $json) = by_h3(PATCH => 'config', lists([ guid(2) ]),
    headers => [ Origin => $site ]);
is($status, 200, 'PATCH config, from its own page');
is_lists('PATCH config, from its own page: changed', [ guid(2) ], [], $json);

for my $origin ('https://evil.example.com', "http://$EntraMDM::HTTP::Host",
    "$site:444", "$site.evil.example.com", 'null')
{
    error_is("PATCH config, from $origin", [ by_h3(PATCH => 'config',
        lists([ guid(3) ]), headers => [ Origin => $origin ]) ], 403,
        [ 'base', qr/./ ]);
}
error_is('PATCH config, cross-site', [ by_h3(PATCH => 'config',
    lists([ guid(3) ]), headers => [ 'Sec-Fetch-Site' => 'cross-site' ]) ], 403,
    [ 'base', qr/./ ]);

my @elsewhere = (authority => 'api.example.com:8443');
($status) = by_h3(PATCH => 'config', lists([ guid(4) ]), @elsewhere,
    headers => [ Origin => 'https://api.example.com:8443' ]);
is($status, 200, 'PATCH config, by another name and port');
($status) = by_h3(PATCH => 'config', lists([ guid(5) ]),
    headers => [ Origin => $site, Host => $EntraMDM::HTTP::Host ]);
is($status, 200, 'PATCH config, that Host has as well');
($status) = by_h3(PATCH => 'config', lists([ guid(6) ]), authority => undef,
    headers => [ Origin => $site, Host => $EntraMDM::HTTP::Host ]);
is($status, 200, 'PATCH config, that only Host has');
($status) = by_h3(PATCH => 'config', lists([ guid(7) ]), headers => [
    Origin => 'https://evil.example.com', Host => 'evil.example.com' ]);
is($status, 400, 'PATCH config, where the two differ');

my @many = map { guid($_) } 1 .. 5000;
($status, $json) = by_h3(PATCH => 'config', lists(\@many));
is($status, 200, 'PATCH config, 5,000 IDs');
is_lists('PATCH config, 5,000 IDs: read back', \@many, [],
    (by_h3(GET => 'config'))[1]);


# metrics

$r = $c->request(GET => '/metrics');
is($r->status, 200, 'metrics');
my $m = parse_metrics($r->body);
cmp_ok($m->{'entra_mdm_keys{policy="fleet"}'}, '==', 1, 'metrics: the keys');


# many at once on one connection, each its own

my (%user, @all);
for my $n (1 .. 24) {
    my $upn = "user$n\@example.com";
    my $jwt = mint($key, claims_v2(upn => undef, preferred_username => $upn,
        $n % 6 ? () : (exp => time - 3600)));
    my $s = "user $n";
    my $body = padded(enroll_message($jwt), 20_000 + $n);
    my @how = $n % 2 ? (GET => "/user$n", bearer => $jwt) : (POST => "/user$n");

    $user{$n} = $n % 6 ? $upn : '';
    push @all, [ h3_head($s, @how), $n % 2 ? () : (map { h3_data($s, $_) }
        EntraMDM::HTTP::cut($body, 3000)), h3_frame($s, '', 1) ];
}

srand(1);
while (@all = grep { @$_ } @all) {
    $c->send(map { shift @$_ } shuffle(@all));
}

my %told = map { ($_ => $c->response("user $_")->header('X-Result')) }
    keys %user;
is_deeply(\%told, { map { $_ => $user{$_} ? 'ok' : 'token_expired' }
    keys %user }, 'at once: each its verdict');
my %seen = map { ($_->uri =~ /(\d+)/)[0] => $_ } $fleet->requests;
is_deeply({ map { $_ => $seen{$_}->header('X-Entra-UPN') } keys %seen },
    { map { $_ => $user{$_} } grep { $user{$_} } keys %user },
    'at once: each its identity');
is_deeply({ map { $_ => length $seen{$_}->body } keys %seen },
    { map { $_ => $_ % 2 ? 0 : 20_000 + $_ } keys %seen },
    'at once: each its body');


# while keys are fetched

$idp->answer('/keys' => { body => jwks($key), delay => 2 });
sleep 1.1;                              # min_interval

my $other = h3_connect();
$other->ask(1, GET => '/late/closed', bearer => $token);
ok($other->heard, 'another connection');
$c->ask('bearer', GET => '/late/bearer', bearer => $token);
$c->ask('message', POST => '/late/message', body => $message);
$c->ask('reset', POST => '/late/reset', body => $message);
$c->ask('stopped', GET => '/late/stopped', bearer => $token);
$c->send(h3_head('end', GET => '/late/end', bearer => $token));
ok($c->heard && $c->quiet('reset'), 'they wait');

$c->send(h3_reset('reset'), h3_reset('stopped'), h3_stop('stopped'),
    h3_data('end', '', 1));
$other->close;
for my $name (qw(reset stopped closed)) {
    ok($t->wait_for_log(qr{^/late/$name (?:499|000) -$}, 'what.log'),
        "$name: has gone before the keys came");
}
is($fleet->requests, 0, 'till then nothing has passed');
for my $name (qw(bearer message end)) {
    is($c->response($name)->header('X-Result'), 'ok', "$name: accepted");
}
is_deeply([ sort map { $_->uri } $fleet->requests ],
    [ map { "/late/$_" } qw(bearer end message) ],
    'who stays is passed on, each once');


# a connection that is closed in the midst of it, and the end of nginx itself

$other = h3_connect();
$other->send(h3_head(1, POST => '/closed'), h3_data(1, $half));
ok($other->heard, 'half a message');
$other->close;
ok($t->wait_for_log(qr{^/closed }, 'what.log'), 'and the connection is closed');
is($fleet->requests, 0, 'which has not passed');

my $next = new_key();
$idp->answer('/keys' => { body => jwks($key, $next), delay => 1 });
$c->ask('last', GET => '/late/last', bearer => mint($next, claims_v2()));
ok($c->heard && $c->quiet('last'), 'one waits');
kill QUIT => $t->{pid};
verdict('it is answered before nginx quits', $c->response('last'), $fleet,
    '200 ok accepted 1');

$t->done;
