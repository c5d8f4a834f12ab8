#!/usr/bin/perl

# A gate under full load, with one bad request in twenty, while lists and keys
# change and nginx is reloaded again and again: each verdict and identity is
# right, every request is counted once, and neither memory nor descriptors
# grow.  One policy has its lists in the zone and fetches its keys; the other
# has both in Redis.
#
# Some seconds of it; tools/soak runs it for minutes (SOAK_SECONDS).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Open2;
use List::Util qw(max sum0);
use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::ApiClient;
use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Metrics;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant { CONNECTIONS => 24, BAD => 20, MAX_BODY => 65536, KB => 1024 };

my $seconds = $ENV{SOAK_SECONDS} // 10;
my $long = $seconds >= 60;
my @policies = qw(fleet redis);


# The gate and what is behind it, which says whom it was told of.

my $backend = EntraMDM::Nginx->new(module => 0, level => 'notice', http => <<'EOC');
    access_log off;
    client_max_body_size 4m;
    keepalive_requests 1000000;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            return 200 "$http_x_entra_upn $http_x_entra_tenant_id $http_x_entra_audience $http_x_entra_token_version";
        }
        location = /status { stub_status; }
    }
EOC

my $t = EntraMDM::Nginx->new(workers => 2, level => 'notice', http => http(60));
my $redis = EntraMDM::Redis->new($t, 'redis');

sub http {
    my ($leeway) = @_;
    my $lines = "leeway ${leeway}s; log_level info; max_body 64k;";

    return $Headers . fleet_policy("$lines state state/fleet.json;", 'fleet',
            'request=/_entra/jwks refresh=5s min_interval=1s max_stale=1h')
        . fleet_policy("$lines device_token pass;"
            . ' redis redis://127.0.0.1:%%PORT_redis%%;', 'redis', 'redis')
        . api_map() . <<"EOC";
    access_log off;
    client_max_body_size 4m;

    upstream backend {
        server 127.0.0.1:${\$backend->port(8080)};
        keepalive 32;
        keepalive_requests 1000000;
        keepalive_timeout 1s;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        proxy_http_version 1.1;
        proxy_set_header Connection "";

        location /fleet { entra_mdm fleet; proxy_pass http://backend; }
        location /redis { entra_mdm redis; proxy_pass http://backend; }
        location /open  { proxy_pass http://backend; }

        location = /_entra/jwks { internal; alias %%DIR%%/jwks.json; }
        location = /metrics { entra_mdm_metrics; }
        ${\api_location()}
    }
EOC
}


# Keys: two that stay, one of them of any issuer, three that come and go in
# turns, and two that may not be used.

my $key = new_key();
my @turns = map { new_key() } 1 .. 3;
my $any = new_key(issuer => undef);
my $weak = new_key(bits => 1024);
my $foreign = new_key(issuer => 'https://login.example.com/{tenantid}/v2.0');
my $turn = 0;

sub keys_of { return jwks($key, $any, $weak, $foreign, $turns[ $_[0] ]) }
sub live { return '2b1b1111-2222-3333-4444-5555555555' . $_[0] }
sub list { return "entra_mdm:{redis}:$_[0]" }

sub v2 {
    my ($who, %claims) = @_;
    return claims_v2(preferred_username => "$who\@example.com", %claims,
        exp => time + 900 + $seconds);
}

sub v1 {
    my ($who, %claims) = @_;
    return claims_v1(upn => "$who\@example.com", unique_name => undef, %claims,
        exp => time + 900 + $seconds);
}

sub ok_as {
    my ($who, $aud, $version) = @_;
    return "200 ok accepted $who\@example.com ${\TENANT} $aud $version";
}


# What is sent.  Whatever it is, it claims to be somebody else.

my @forged = ('X-Entra-UPN' => 'root@example.com', 'x_entra_upn' => 'root',
    'X-Entra-Tenant-ID' => TENANT);

my $cases = '';

sub request {
    my ($method, $uri, $body, @headers) = @_;
    my $text = "$method $uri HTTP/1.1\r\nHost: fleet.example.com\r\n";

    push @headers, @forged;
    push @headers, 'Content-Type' => $EntraMDM::HTTP::Type,
        'Content-Length' => length $body if defined $body;
    $text .= splice(@headers, 0, 1) . ': ' . splice(@headers, 0, 1) . "\r\n"
        while @headers;
    return "$text\r\n" . ($body // '');
}

my %kinds;

sub case {
    my ($kind, $policy, $request, @expected) = @_;
    $kinds{ (split)[1] }++ for @expected;
    $cases .= "$kind $policy " . length($request) . "\n"
        . join("\t", @expected) . "\n$request";
}

sub bearer {
    my ($kind, $policy, $token, @expected) = @_;
    case($kind, $policy, request(GET => "/$policy/tos", undef,
        Authorization => "Bearer $token"), @expected);
}

sub soap {
    my ($kind, $policy, $message, @expected) = @_;
    case($kind, $policy, request(POST => "/$policy/enroll", $message),
        @expected);
}

sub padded {
    my ($message, $size) = @_;
    my $missing = $size - length $message;
    return $message =~ s{(<s:Body[^>]*>)}{$1 . ' ' x $missing}er;
}

# More tokens than a worker keeps, each of somebody else, and one that comes
# as often as all of them.

my $users = $long ? 1200 : 100;
my $known = mint($key, v2('known'));

for my $n (1 .. $users) {
    my $who = "user$n";
    my ($policy) = $policies[ $n % 2 ];
    my ($token, $expected) = $n % 3
        ? (mint($key, v2($who)), ok_as($who, CLIENT_V2, '2.0'))
        : (mint($key, v1($who)), ok_as($who, 'https://' . HOST, '1.0'));

    bearer('+', $policy, $token, $expected);
    bearer('+', $policy, $known, ok_as('known', CLIENT_V2, '2.0'));
    soap('+', $policy, policy_message($token), $expected);
    soap('+', $policy, padded(enroll_message($token), 40 * KB), $expected)
        if $n % 10 == 0;
}

my %token;
for my $policy (@policies) {
    for my $n (1 .. 5) {
        my $who = "live$n";
        my $token = mint($key, v2($who, aud => live('c2')));

        bearer('+', $policy, $token, ok_as($who, live('c2'), '2.0'),
            '403 audience_not_allowed refused');
        soap('+', $policy, enroll_message($token),
            ok_as($who, live('c2'), '2.0'),
            '500 audience_not_allowed refused');
        for my $i (0 .. $#turns) {
            bearer('+', $policy, mint($turns[$i], v2("turn$n")),
                ok_as("turn$n", CLIENT_V2, '2.0'), '401 key_unknown refused');
        }
    }
}

# Each kind of what is bad.

my $device = enroll_message('{"type":1}', value_type => 'http://schemas.'
    . 'microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/'
    . 'DeviceEnrollmentUserToken');
my $password = enroll_message('', security =>
    '<wsse:Security><wsse:UsernameToken/></wsse:Security>');
my $good = mint($key, v2('bad'));
my $enroll = enroll_message($good);

for my $policy (@policies) {
    my %tokens = (
        '401 token_malformed' => 'x' x 900,
        '401 algorithm_not_allowed' => mint($key, v2('bad'), alg => 'HS256'),
        '401 key_unknown' => mint($key, v2('bad'), header => { kid => 'none' }),
        '401 key_not_allowed' => mint($foreign, v2('bad')),
        '401 signature_invalid' => $good =~ s/(.)(.{9})\z/
            ($1 eq 'A' ? 'B' : 'A') . $2/er,
        '401 token_expired' => mint($key,
            { %{ v2('bad') }, exp => time - 400 }),
        '401 token_not_yet_valid' => mint($key,
            v2('bad', nbf => time + 800 + $seconds)),
        '401 claim_invalid' => mint($key, v2('bad', aud => 7)),
        '401 issuer_not_allowed' => mint($any, v2('bad',
            iss => 'https://login.example.com/' . TENANT . '/v2.0')),
        '403 scope_not_allowed' => mint($key, v2('bad', scp => 'other')),
        '403 audience_not_allowed' => mint($key, v2('bad', aud => live('c9'))),
        '403 tenant_not_allowed' => mint($key, v2('bad', tid => live('c9'),
            iss => 'https://login.microsoftonline.com/' . live('c9')
            . '/v2.0')),
        '403 upn_invalid' => mint($key, v2("b\x01d")),
    );
    my %messages = (
        '500 no_token' => enroll_message('', security => ''),
        '500 username_token' => $password,
        '500 token_malformed' => enroll_message('', text => '*' x 40),
        '500 signature_invalid' =>
            enroll_message($tokens{'401 signature_invalid'}),
        '500 tenant_not_allowed' =>
            enroll_message($tokens{'403 tenant_not_allowed'}),
        '400 message_malformed' => $enroll =~ s{</s:Body>.*}{}sr,
        '400 security_malformed' => enroll_message($good, value_type => 'x'),
        '413 body_too_large' => padded($enroll, MAX_BODY + 4 * KB),
    );

    bearer('-', $policy, $tokens{$_}, "$_ refused") for sort keys %tokens;
    soap('-', $policy, $messages{$_}, "$_ refused") for sort keys %messages;
    case('-', $policy, request(GET => "/$policy/tos"),
        '401 no_token refused');
    case('-', $policy, request(PUT => "/$policy/tos", 'a body',
        Authorization => "Bearer $good"), '400 message_malformed refused');
}
soap('-', 'fleet', $device, '500 device_token_denied refused');
soap('+', 'redis', $device, '200 device_token passed    ');
case('+', 'open', request(GET => '/open'), '200 - -    ') for 1 .. 20;

$t->write_file('jwks.json', keys_of(0));
$t->write_file('cases', $cases);
system($ENV{CC} // 'cc', '-O2', '-pthread', '-o', $t->dir . '/soak',
    "$FindBin::Bin/soak.c") == 0 or die 'no load';
$redis->cmd(SET => list('jwks'), keys_of(0));
$backend->start;
$t->start;


# What the test itself asks is counted as well.

my %asked;

sub ask {
    my ($policy, $token) = @_;
    my $r = http_get("/$policy/tos", bearer => $token, timeout => 60);
    my ($result, $action) = map { $r->header("X-$_") // '-' } qw(Result Action);

    $asked{"$policy $action $result"}++;
    return $result;
}

# A change of the zone holds with the next request; one in Redis, or of a key
# set, soon.

my %wrong;

sub expect {
    my ($what, $policy, $token, $expected, $patience) = @_;
    my $said;

    $said = ask($policy, $token);
    wait_for { ($said = ask($policy, $token)) eq $expected } $patience
        if $patience && $said ne $expected;
    $wrong{"$what: $said, not $expected"}++ if $said ne $expected;
}

my $listed = mint($key, v2('asking', aud => live('c2')));
my @turned = map { mint($_, v2('asking')) } @turns;
my $changes = 0;

sub change_lists {
    for my $in (1, 0) {
        my ($status) = patch([ $in ? live('c2') : (), live('c1') ], undef);
        my $said = $in ? 'ok' : 'audience_not_allowed';

        $wrong{"PATCH: $status"}++ if $status != 200;
        expect('a list in the zone', 'fleet', $listed, $said);
        $redis->cmd(($in ? 'SADD' : 'SREM'), list('client_ids'), live('c2'));
        expect('a list in Redis', 'redis', $listed, $said, 20);
        $changes += 2;
    }
}

sub change_keys {
    my $gone = $turn;

    $turn = ($turn + 1) % @turns;
    $t->write_file('jwks.json', keys_of($turn));
    $redis->cmd(SET => list('jwks'), keys_of($turn));

    for my $policy (@policies) {
        expect("a new key, $policy", $policy, $turned[$turn], 'ok', 30);
        expect("an old key, $policy", $policy, $turned[$gone], 'key_unknown',
            30);
    }
}


# Memory and descriptors.

sub own {
    my ($pid) = @_;
    my ($kb) = (eval { slurp("/proc/$pid/status") } // '')
        =~ /^RssAnon:\s+(\d+) kB/m;
    return $kb;
}

sub pss {
    my ($pid) = @_;
    my ($kb) = (eval { slurp("/proc/$pid/smaps_rollup") } // '')
        =~ /^Pss:\s+(\d+) kB/m;
    return $kb;
}

sub descriptors { my @fds = map { glob "/proc/$_/fd/*" } @_; return scalar @fds }

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# By how much the last third is above the first one.

sub growth {
    my @values = @_;
    my $third = int(@values / 3) || 1;

    return median(@values[ -$third .. -1 ])
        - median(@values[ 0 .. $third - 1 ]);
}

# Once nothing is under way: of both workers together.

sub idle_descriptors {
    my ($least, $since) = (1e9, time);

    # until nothing has gone for two seconds
    while (time - $since < 2) {
        my $now = descriptors($t->workers);
        ($least, $since) = ($now, time) if $now < $least;
        sleep 0.1;
    }
    return $least;
}


# Go.

my $quiet = $t->reload(http => http(60)) && idle_descriptors();
my $connected = $redis->clients;
my $master = descriptors($t->{pid});
my $from = time;
my $pid = open2(my $said, my $until, $t->dir . '/soak', $t->port(8080),
    CONNECTIONS, BAD, $t->dir . '/cases');

# Half of the time without a reload, to see one generation of workers in its
# steady state, which takes a while, since new keys begin with no tokens; then
# many reloads.

my $calm = $from + $seconds / ($long ? 2 : 3);
my $every = $long ? $seconds / 60 : 1;
my ($reloads, $rotations, $looked) = (0, 0, 0);
my $next = { reload => $calm, keys => $from + 1 };
my (%memory, @generations, @masters, @calm, @calm_pss);

sub look {
    my @workers = $t->workers;

    return if time - $looked < 0.5;
    $looked = time;
    $memory{$_} = own($_) // $memory{$_} for @workers;
    if (time < $calm) {
        push @calm, sum0(map { own($_) // 0 } @workers);
        push @calm_pss, sum0(map { pss($_) // 0 } @workers);
    }
    push @masters, own($t->{pid});
}

while (time < $from + $seconds) {
    change_lists();
    look();
    if (time > $next->{keys}) {
        change_keys();
        $rotations++;
        $next->{keys} = time + ($long ? 5 : 2);
    }
    if (time > $next->{reload}) {
        push @generations, sum0(map { $memory{$_} // () } $t->workers);
        %memory = ();
        $t->reload(http => http(60 + ++$reloads % 2))
            or $wrong{'a reload is refused'}++;
        $next->{reload} = time + $every;
    }
    sleep 0.05;
}
close $until;
my %got = (answers => {}, shown => []);
while (<$said>) {
    push @{ $got{shown} }, $_ if /^# wrong/;
    $got{answers}{"$1 $2 $3"} += $4 if /^(\S+) (\S+) (\S+) (\d+)$/;
    $got{$1} = $2 if /^(\w+) (\d+)$/;
}
waitpid $pid, 0;
is($?, 0, 'the load ends by itself');
my $lasted = time - $from;


# What it came to.

note(sprintf '%d requests in %.0f s, %.0f a second, %.1f %% of them bad; %d'
    . ' connections were idle when they were closed', $got{sent}, $lasted,
    $got{sent} / $lasted, 100 * $got{bad} / $got{sent}, $got{repeated});
note("$reloads reloads, $changes changes of lists, $rotations of keys");
cmp_ok($got{sent}, '>', 100 * $seconds, 'a load');
cmp_ok(abs($got{bad} / $got{sent} - 1 / BAD), '<', 0.02, 'one in twenty is bad');
cmp_ok($reloads, '>', 1, 'reloads');
cmp_ok($rotations, '>', 1, 'rotations of the keys');
is($got{wrong}, 0, 'every verdict and every identity is right')
    or diag(@{ $got{shown} });
is_deeply(\%wrong, {}, 'every change is in force when it should be');

my %results = map { (split)[2] => 1 } keys %{ $got{answers} };
is_deeply([ sort keys %results ], [ sort keys %kinds ],
    scalar(keys %kinds) . ' kinds of results');

# Each request is counted once, in the zone that all generations share.

my %sent = %{ $got{answers} };
$sent{$_} += $asked{$_} for keys %asked;
my $through = delete $sent{'open - -'};

my (%counted, $passed);
my $metrics = metrics();
for my $sample (keys %$metrics) {
    my ($policy, $action, $result) = $sample
        =~ /^entra_mdm_decisions_total\{policy="(\w+)",action="(\w+)",result="(\w+)"\}/
        or next;
    my $n = $metrics->{$sample} or next;
    $counted{"$policy $action $result"} = $n;
    $passed += $n if $action =~ /^(?:accepted|passed)$/;
}
is_deeply(\%counted, \%sent, 'counters are equal to what was sent');

my ($seen) = http_get('/status', port => $backend->port(8080))->body
    =~ /requests\s+\d+ \d+ (\d+)/;
is($seen - 1, $passed + $through, 'the backend has seen what was accepted, and'
    . ' nothing else');

# Memory: RssAnon, in kB.

sub at {
    my @values = @_;
    return join ' ', map { $values[ $#values * $_ / 3 ] } 0 .. 3;
}

note('workers in one generation, kB: ', at(@calm), ', PSS ', at(@calm_pss));
note("both workers at the end of each generation, kB: @generations");
note('master, kB: ', at(@masters), ', at most ', max(@masters));
if ($long) {
    my @steady = @calm[ @calm / 2 .. $#calm ];
    cmp_ok(growth(@steady), '<', 2 * KB, 'workers do not grow');
    shift @generations;                 # that one lasted longer
    cmp_ok(growth(@generations), '<', 2 * KB, 'nor do their successors');
}
# what a sanitizer holds back is no measure
cmp_ok(growth(@masters[ @masters / 2 .. $#masters ]), '<', 512,
    'the master does not grow') if !$ENV{ENTRA_MDM_SANITIZED};

# Descriptors, and what else is left behind.

ok((wait_for { $t->children == 2 } 30), 'no old worker is left');
is(descriptors($t->{pid}), $master, 'descriptors of the master');
my $left = idle_descriptors();
note("descriptors of idle workers: $left, $quiet before");
cmp_ok($left, '<=', $quiet, 'descriptors of the workers');
for (1 .. 4) {
    change_lists();
    change_keys();
}
cmp_ok(idle_descriptors(), '<=', $left, 'a change leaves none open');
is_deeply(\%wrong, {}, 'and is in force');
is(scalar $redis->clients, $connected, 'connections to Redis');

is(join('', grep { /\[(?:alert|crit|emerg)\]|exited on signal/ }
    map { "$_\n" } split /\n/, $t->error_log), '', 'nothing went wrong');

ok($backend->stop, 'the backend quits');
$backend->settle;
$t->done;
