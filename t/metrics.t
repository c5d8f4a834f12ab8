#!/usr/bin/perl

# entra_mdm_metrics: what it shows is what was sent, to whom, and in which
# form.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Metrics;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $key = new_key();
my $odd = 'a"b\\c';
my $device = 'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager'
    . '/Enrollment/DeviceEnrollmentUserToken';

my $t = EntraMDM::Nginx->new(workers => 2, http =>
    fleet_policy('device_token pass; max_body 32k;
                  state %%DIR%%/state/fleet.json;')
    . fleet_policy('', '"a\"b\\\\c"', 'request=/_keys')
    . <<'EOC' . api_map());
    log_format decided $entra_mdm_action:$entra_mdm_result;
    access_log %%DIR%%/decided.log decided;
    charset koi8-r;
    charset_types text/plain application/json;
    gzip on;
    gzip_types *;
    gzip_min_length 1;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        root %%DIR%%/html;
        entra_mdm fleet;

        location = /metrics { entra_mdm_metrics; access_log off; }
        location /read-only {
            entra_mdm_metrics;
            access_log off;
            limit_except GET { deny all; }
        }
        location /denied {
            entra_mdm_metrics;
            access_log off;
            deny all;
        }
        location /if {
            entra_mdm_metrics;
            access_log off;
            if ($arg_x) { }
            location /if/gated {
                access_log %%DIR%%/decided.log decided;
                try_files /page =404;
            }
        }
        location /with-metrics {
            entra_mdm off;
            access_log off;
            auth_request /metrics;
        }

        location = /gate   { try_files /page =404; }
        location = /page   { }
        location = /free   { entra_mdm off; }
        location = /dry    { entra_mdm_dry_run on; try_files /page =404; }
        location = /twice  { entra_mdm_dry_run on; try_files /no /gate; }
        location = /error  { error_page 401 = /gate; }
        location = /away   { error_page 401 403 = /free; }
        location = /other  { try_files /no /of-other; }
        location = /of-other {
            entra_mdm "a\"b\\c" token=bearer;
            try_files /page =404;
        }
        location = /any {
            satisfy any; allow 127.0.0.1; deny all; try_files /page =404;
        }
        location = /none   { satisfy any; deny all; try_files /page =404; }
        location = /gone   { error_page 401 = @gone; }
        location @gone     { return 444; }
        location = /sent   { proxy_pass http://127.0.0.1:%%PORT_backend%%; }

        location = /_keys  { internal; alias %%DIR%%/keys.json; }
        location /entra-mdm/api/ {
            access_log off;
            client_max_body_size 1m;
            entra_mdm_api fleet;
            entra_mdm_api_role $role;
        }
    }
EOC

$t->write_file('keys.json', jwks($key));
mkdir $t->dir . '/html';
$t->write_file('html/page', 'page');
my $backend = EntraMDM::Backend->new($t, 'backend');
$t->start;
ok(wait_for { value('keys', policy => 'a\"b\\\\c') }, 'keys are fetched');


# the answer

my $r = http_get('/metrics');
is($r->status, 200, 'GET');
is($r->header('Content-Type'), 'text/plain; version=0.0.4; charset=utf-8',
    'its type, whatever nginx has for a charset');
is($r->header('Content-Length'), length $r->body, 'its length');
is($r->header('Cache-Control'), 'no-store', 'never cached');
is($r->header('Content-Encoding'), undef, 'as it is');

my $head = http_request(HEAD => '/metrics');
is($head->status, 200, 'HEAD');
is($head->body, '', 'without a body');
ok($head->header('Content-Length'), 'with its length');

for my $method (qw(POST PUT DELETE PATCH OPTIONS)) {
    $r = http_request($method => '/metrics', body => 'x');
    is($r->status, 405, "$method is refused");
    is($r->header('Allow'), 'GET, HEAD', "$method: what is allowed");
}

is(http_get('/read-only')->status, 200, 'beside limit_except');
is(http_request(PUT => '/read-only', body => 'x')->status, 403,
    'which refuses');
like(http_get('/if?x=1')->body, qr/^# HELP/, 'beside "if"');
is(http_get('/denied')->status, 403, 'behind "deny"');
is(http_get('/with-metrics')->status, 403, 'a subrequest is refused');


# JSON

my @json = (
    [ 'application/json', 1 ], [ 'text/plain', 0 ], [ '*/*', 0 ],
    [ 'application/json, text/plain, */*', 1 ],
    [ 'text/plain, application/json;q=0.5', 0 ],
    [ 'application/json;q=0', 0 ],
    [ 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3', 0 ],
);
for (@json) {
    my ($accept, $json) = @$_;
    like(http_get('/metrics', headers => [ Accept => $accept ])
        ->header('Content-Type'), $json ? qr{^application/json}
        : qr{^text/plain; version}, "Accept: $accept");
}
like(http_get('/metrics', headers => [ Accept => 'text/html',
    Accept => 'application/json' ])->header('Content-Type'),
    qr{^application/json}, 'two headers');

sub all_json {
    return json()->decode(http_get('/metrics',
        headers => [ Accept => 'application/json' ])->body);
}

# the same samples as text, with the same labels

sub as_text {
    my ($json) = @_;
    my (%samples, @families);

    for my $name (keys %$json) {
        my $family = $json->{$name};
        push @families, [ $name, @$family{qw(type help)} ];
        for my $sample (@{ $family->{samples} }) {
            my $labels = join ',', map { (my $v = $sample->{labels}{$_})
                =~ s/(["\\])/\\$1/g; qq($_="$v") } @{ table()->{$name}{labels} };
            if (my $buckets = $sample->{buckets}) {
                $samples{"${name}_bucket{$labels,le=\"$_\"}"} = $buckets->{$_}
                    for keys %$buckets;
                $samples{"${name}_$_\{$labels}"} = $sample->{$_}
                    for qw(sum count);
            } else {
                $samples{"$name\{$labels}"} = $sample->{value};
            }
        }
    }
    return (\%samples, [ sort { $a->[0] cmp $b->[0] } @families ]);
}

# Ages, and what a worker reads of others' counting, move on between two looks

sub still { return { map { $_ => 0 + $_[0]{$_} }
    grep { !/_age_seconds\{|_last_update/ } keys %{ $_[0] } } }

my ($samples, $families) = as_text(all_json());
is_deeply(still($samples), still(metrics()), 'JSON has the same samples');
is_deeply($families, [ sort { $a->[0] cmp $b->[0] }
    families(http_get('/metrics')->body) ], 'and families');

for (@$families) {
    my ($name, $type, $help) = @$_;
    is_deeply([ $type, $help ], [ @{ table()->{$name} }{qw(type help)} ],
        "$name is the table's");
}


# decisions: as many as requests

my %expected = ();

sub decided { my ($policy, @rest) = @_;
    return "entra_mdm_decisions_total{policy=\"$policy\",action=\"$rest[0]\","
        . "result=\"$rest[1]\"}";
}

sub expect { my ($n, @decision) = @_; $expected{ decided(@decision) } += $n }

my ($v1, $v2) = (mint($key, claims_v1()), mint($key, claims_v2()));
my $stranger = mint($key, claims_v2(aud => TENANT));
my $sent = 0;

sub get { my ($uri, @o) = @_; $sent++; return http_get($uri, @o)->status }

is(get('/gate', bearer => $v1), 200, 'accepted') for 1 .. 2;
is(get('/gate', bearer => $v2), 200, 'accepted') for 1 .. 3;
expect(5, fleet => accepted => 'ok');
is(get('/gate', bearer => $stranger), 403, 'refused');
expect(1, fleet => refused => 'audience_not_allowed');
is(get('/gate'), 401, 'without a token');
expect(1, fleet => refused => 'no_token');
is(get('/if/gated'), 401, 'inside a location of metrics there is a gate');
expect(1, fleet => refused => 'no_token');
is(get('/gate', bearer => mint(new_key(), claims_v2())), 401, 'unknown key');
expect(1, fleet => refused => 'key_unknown');
is(get('/gate', bearer => $v2 =~ s/.(?=.{50}$)/$& eq 'A' ? 'B' : 'A'/er), 401, 'forged');
expect(1, fleet => refused => 'signature_invalid');

is(get('/dry', bearer => $v2), 200, 'dry run, accepted');
expect(1, fleet => accepted => 'ok');
is(get('/dry', bearer => $stranger), 200, 'dry run');
expect(1, fleet => would_refuse => 'audience_not_allowed');

is(get('/twice', bearer => $v2), 200, 'an internal redirect');
expect(1, fleet => accepted => 'ok');
is(get('/twice', bearer => $stranger), 403, 'out of a dry run');
expect(1, fleet => refused => 'audience_not_allowed');
is(get('/error'), 401, 'an error page of the same policy');
expect(1, fleet => refused => 'no_token');
is(get('/away', bearer => $stranger), 404, 'an error page without a gate');
expect(1, fleet => refused => 'audience_not_allowed');
is(get('/other', bearer => $v2), 200, 'to another policy');
expect(1, 'a\"b\\\\c' => accepted => 'ok');
is(get('/other', bearer => mint($key, claims_v1(aud => TENANT))), 403,
    'which the first refuses already');
expect(1, fleet => refused => 'audience_not_allowed');

is(get('/any'), 200, 'satisfy any: no gate, no count');
is(get('/none', bearer => $v2), 200, 'satisfy any, by the gate');
expect(1, fleet => accepted => 'ok');
is(get('/none'), 401, 'satisfy any, by none');
expect(1, fleet => refused => 'no_token');
is(get('/free'), 404, 'no gate, no count');
is(get('/gone'), 0, 'closed without a response');
expect(1, fleet => refused => 'no_token');

sub post { my ($uri, @o) = @_; $sent++; return http_post($uri, @o)->status }

is(post('/sent', enroll_message($v2)), 200, 'a message');
expect(1, fleet => accepted => 'ok');
is(post('/sent', enroll_message('{"type":1}', value_type => $device)), 200,
    'a device token');
expect(1, fleet => passed => 'device_token');
is(post('/sent', 'x'), 400, 'a malformed one');
expect(1, fleet => refused => 'message_malformed');
is(post('/sent', discover_message()), 500, 'one without a token');
expect(1, fleet => refused => 'no_token');
ok(enroll_message($v2) =~ m{^(.*</s:Header>)}s, 'a message that is cut');
is(post('/sent', $1), 400, 'behind its token');
expect(1, fleet => refused => 'message_malformed');

# counted as soon as it is answered, though nginx still waits for the body

my $c = http_connect();
$c->send([ "POST /sent HTTP/1.1\r\nHost: f\r\nContent-Length: 100000\r\n\r\n" ]);
is($c->response->status, 413, 'a body that never comes');
$sent++;
expect(1, fleet => refused => 'body_too_large');

sub counted { my ($m) = @_;
    return { map { $_ => $m->{$_} } grep { /decisions/ && $m->{$_} } keys %$m };
}

# and what ends without a response, when it ends

ok(wait_for { value('decisions_total', policy => 'fleet', action => 'refused',
    result => 'no_token') == $expected{ decided(fleet => refused => 'no_token') }
}, 'all are counted');
my $m = metrics();
is_deeply(counted($m), \%expected, 'each once');
$c->close;

my %logged;
ok(wait_for {
    %logged = ();
    $logged{$_}++ for split /\n/, $t->file('decided.log');
    my $n = 0;
    $n += $_ for values %logged;
    $n == $sent;
}, 'as many as there are lines in the access log') or diag explain \%logged;
is(delete $logged{'-:-'}, 2, 'two of them without a gate');
my %by;
/action="(\w+)",result="(\w+)"/ and $by{"$1:$2"} += $expected{$_}
    for keys %expected;
is_deeply(\%logged, \%by, 'with the same words');

# each combination there is, from the start

my @all = grep { /decisions_total\{policy="fleet"/ } keys %$m;
is(scalar @all, 2 + 2 * 23, 'all decisions there can be');


# tokens and time

is($m->{'entra_mdm_tokens_total{policy="fleet",version="v1"}'}, 3, 'v1');
is($m->{'entra_mdm_tokens_total{policy="fleet",version="v2"}'},
    3 + 1 + 2 + 2 + 1 + 1 + 1 + 1, 'v2');
is($m->{'entra_mdm_tokens_total{policy="fleet",version="other"}'}, 0, 'other');
is($m->{'entra_mdm_tokens_total{policy="a\"b\\\\c",version="v2"}'}, 1,
    'of the other policy');
is(get('/gate', bearer => mint($key, claims_v2(ver => '3.0'))), 200,
    'another version');
expect(1, fleet => accepted => 'ok');
is(value('tokens_total', policy => 'fleet', version => 'other'), 1, 'counted');

my $timing = 'entra_mdm_verification_seconds';
my @le = qw(1e-05 2.5e-05 5e-05 0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01
    +Inf);
my @buckets = map { $m->{"${timing}_bucket{policy=\"fleet\",le=\"$_\"}"} } @le;
my $rising = 1;
$rising &&= $buckets[$_] >= $buckets[ $_ - 1 ] for 1 .. $#buckets;
ok($rising, 'buckets add up') or diag "@buckets";
my ($count, $sum) = map { $m->{"${timing}_$_\{policy=\"fleet\"}"} }
    qw(count sum);

# a worker that has seen a token does not verify it again: four at least, of
# which one is forged, and at most what the redirect led away from as well
cmp_ok($count, '>=', 4, 'a verification for each token');
cmp_ok($count, '<=', 3 + 12 + 1 + 1, 'no more than there were signatures');
is($buckets[-1], $count, 'in the last bucket too');
cmp_ok($sum, '>', $count * 1e-6, 'their sum, not below');
cmp_ok($sum, '<', $count, 'nor above what there can be');

my $verified = value('verification_seconds_count', policy => 'fleet');
my $same = http_connect();              # one worker
for my $token (map { mint($key, claims_v2(jti => $_)) } 1 .. 5) {
    is($same->request(GET => '/gate', bearer => $token)->status, 200, 'new')
        for 1 .. 2;
}
expect(10, fleet => accepted => 'ok');
is(value('verification_seconds_count', policy => 'fleet') - $verified, 5,
    'five tokens, twice each: five verifications');


# keys, lists, state, zone

is(value(keys => policy => 'fleet'), 1, 'a key');
like(value(key_set_age_seconds => policy => 'fleet'), qr/^\d+$/, 'its age');
is(value(key_set_max_age_seconds => policy => 'a\"b\\\\c'), 86400,
    'how old it may become');
is(value(key_set_max_age_seconds => policy => 'fleet'), undef,
    'where it is fetched');
is(value(key_fetches_total => policy => 'a\"b\\\\c', outcome => 'succeeded'),
    1, 'a fetch');
is(value(key_fetches_total => policy => 'a\"b\\\\c', outcome => 'failed'), 0,
    'none failed');
is(value(dry_run_locations => policy => 'fleet'), 2, 'dry-run locations');
is(value(dry_run_locations => policy => 'a\"b\\\\c'), 0, 'none');
is(value(redis_connected => policy => 'fleet'), undef, 'no Redis');

sub sizes { my $m = metrics(); return [ map {
    $m->{"entra_mdm_list_size{policy=\"fleet\",list=\"$_\"}"}
} qw(client_ids tenant_ids) ] }

is_deeply(sizes(), [ 1, 1 ], 'what the configuration lists');
is((patch([ map { guid($_) } 1 .. 10 ], [ guid(1), TENANT ]))[0], 200,
    'live ones');
is_deeply(sizes(), [ 11, 2 ], 'beside it, each once');
is(value(list_generation => policy => 'fleet'), 1, 'their generation');
is((patch([ guid(1) ], []))[0], 200, 'fewer');
is_deeply(sizes(), [ 2, 1 ], 'show as well');
is(value(list_generation => policy => 'fleet'), 2, 'the next generation');
ok(wait_for { value(state_writes_total => policy => 'fleet',
    outcome => 'succeeded') }, 'the state is written');
is(value(state_writes_total => policy => 'a\"b\\\\c', outcome => 'failed'),
    undef, 'where there is one');
is(value(zone_bytes => policy => 'fleet', kind => 'size'), 2 * 1024 * 1024,
    'the zone');
cmp_ok(value(zone_bytes => policy => 'fleet', kind => 'snapshot_used'), '<',
    value(zone_bytes => policy => 'fleet', kind => 'snapshot_room'),
    'and what of it is in use');


# a reload goes on counting

my $before = metrics();
ok($t->reload, 'a reload');
my $after = metrics();
my @counters = grep { /_total\{|_bucket|_sum|_count/ && !/state_writes/ }
    keys %$before;
is_deeply({ map { $_ => $after->{$_} } @counters },
    { map { $_ => $before->{$_} } @counters }, 'keeps the counters');
is(get('/gate', bearer => $v2), 200, 'a request after it');
is(value('decisions_total', policy => 'fleet', action => 'accepted',
    result => 'ok'), $expected{ decided(fleet => accepted => 'ok') } + 1,
    'is added');


# in the configuration

my $policy = fleet_policy();
my @wrong = (
    [ 'entra_mdm_metrics on;', qr/invalid number of arguments/, 'an argument' ],
    [ 'entra_mdm_metrics; entra_mdm_metrics;', qr/is duplicate/, 'twice' ],
    [ 'entra_mdm_metrics; entra_mdm fleet;', qr/"entra_mdm fleet" and .*cannot/,
        'with a gate' ],
    [ 'entra_mdm_metrics; entra_mdm_api fleet; entra_mdm_api_role $remote_user;',
        qr/"entra_mdm_api" and "entra_mdm_metrics" cannot/, 'with the API' ],
);
for (@wrong) {
    my ($lines, $why, $name) = @$_;
    my ($code, $said) = $t->nginx_t(http => "$policy server {
        listen 127.0.0.1:%%PORT_8080%%; location / { $lines } }");
    isnt($code, 0, "$name is refused");
    like($said, $why, "$name: why");
}

ok($t->reload(http => 'server { listen 127.0.0.1:%%PORT_8080%%;
    location = /metrics { entra_mdm_metrics; } }'), 'without any policy');
is(http_get('/metrics')->body, "# no entra_mdm_policy\n", 'text says so');
is(http_get('/metrics', headers => [ Accept => 'application/json' ])->body,
    "{}\n", 'and JSON is empty');

$t->done;
