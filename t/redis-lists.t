#!/usr/bin/perl

# Lists in Redis: what is in a Set is enforced by every worker, together with
# what the configuration says, and what cannot be a list changes nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;

my $url = 'redis redis://127.0.0.1:%%PORT_redis%%';

my $t = EntraMDM::Nginx->new(workers => 2, http => live_http("$url;",
    http => join('', map { policy(@$_) }
        [ 'second', "$url;" ],
        [ 'odd', "$url/0 'prefix=a %s*?[%b]:';" ],
        [ 'small', "$url; zone 300k;" ]),
    server => join('', map { "location = /$_ { entra_mdm $_ token=bearer;"
        . " try_files /tos =404; }\n" } qw(second odd small))));

sub policy {
    my ($name, $lines) = @_;
    return "entra_mdm_policy $name { server_url https://fleet.example.com;\n"
        . 'tenant_id ' . TENANT . '; client_id ' . CLIENT_V2 . ";\n"
        . "jwks file=%%DIR%%/keys.json; $lines }\n";
}

my $redis = EntraMDM::Redis->new($t, 'redis', down => 1);
my ($clients, $tenants) = map { list($_) } qw(client_ids tenant_ids);
my $by_configuration = token(CLIENT_V2);

live_start($t);

# before the first load

my $other = new_key();
my %unknown = (
    'a client ID' => token(guid(1)),
    'a tenant' => token(CLIENT_V2, guid(1)),
    'both' => token(guid(1), guid(1)),
);

for my $name (sort keys %unknown) {
    my $r = http_get('/tos', bearer => $unknown{$name});
    is($r->status, 503, "not loaded: $name that may be in Redis");
    is($r->header('X-Result'), 'lists_unavailable', "not loaded: $name: key");
    like($r->header('Retry-After'), qr/^[1-9]\d*$/,
        "not loaded: $name: Retry-After");

    $r = http_post('/enroll', enroll_message($unknown{$name}));
    my $fault = fault($r);
    is($r->status, 500, "not loaded: $name in a message: status");
    is($r->header('X-Result'), 'lists_unavailable',
        "not loaded: $name in a message: key");
    is("$fault->{code} $fault->{subcode} $fault->{error_type}",
        's:Receiver s:EnrollmentServer InMaintenance',
        "not loaded: $name in a message: fault");
    like($r->header('Retry-After'), qr/^[1-9]\d*$/,
        "not loaded: $name in a message: Retry-After");
}

everywhere($by_configuration, 'ok', 'not loaded: the configuration suffices');
is(http_post('/enroll', enroll_message($by_configuration))
    ->header('X-Result'), 'ok', 'not loaded: in a message as well');
is(said(mint($other, claims_v2(aud => guid(1)))), 'key_unknown',
    'not loaded: a token that no list could save');
is(said(token(guid(1), undef, scp => 'User.Read')), 'scope_not_allowed',
    'not loaded: nor this one');
is(said(token(guid(1), undef, exp => time - 600)), 'token_expired',
    'not loaded: nor that');

$redis->start;
everywhere(token(guid(1)), 'audience_not_allowed',
    'loaded: a client ID that is in no list');
everywhere(token(CLIENT_V2, guid(1)), 'tenant_not_allowed',
    'loaded: a tenant that is in no list');
everywhere($by_configuration, 'ok', 'loaded: the configuration still counts');

# in and out

let_in($redis, guid(2));
everywhere(token(guid(2)), 'ok', 'a client ID is let in');
is(http_post('/enroll', enroll_message(token(guid(2))))->header('X-Result'),
    'ok', 'in a message as well');
everywhere(token(guid(1)), 'audience_not_allowed', 'no other is');
shut_out($redis, guid(2));
everywhere(token(guid(2)), 'audience_not_allowed', 'and shut out');

$redis->cmd(SADD => $tenants, guid(3));
everywhere(token(CLIENT_V2, guid(3)), 'ok', 'a tenant is let in');
everywhere(token(CLIENT_V2, guid(2)), 'tenant_not_allowed', 'no other is');
let_in($redis, guid(4));
everywhere(token(guid(4), guid(3)), 'ok', 'both by Redis');
$redis->cmd(SREM => $tenants, guid(3));
everywhere(token(guid(4), guid(3)), 'tenant_not_allowed',
    'the tenant is shut out');
everywhere(token(guid(4)), 'ok', 'its application is not');

$redis->cmd(SADD => $tenants, guid(4));
stays($redis, token(guid(2)), 'audience_not_allowed',
    'a tenant is no client ID');
everywhere(token(CLIENT_V2, guid(2)), 'tenant_not_allowed',
    'a client ID is no tenant');
$redis->cmd(DEL => $tenants);

# either case

my @cases = (guid(0xabcdef, 0xfedcba98), uc guid(0xabcdef, 0xfedcba98));
push @cases, join '', map { rand() < 0.5 ? uc : lc } split //, $cases[0];

for my $stored (@cases) {
    let_in($redis, $stored);
    everywhere(token($_), 'ok', "$stored lets in $_") for @cases;
    shut_out($redis, $stored);
    everywhere(token($cases[0]), 'audience_not_allowed', "without $stored");
}

let_in($redis, @cases);
shut_out($redis, $cases[0]);
stays($redis, token($cases[0]), 'ok', 'in two spellings, one of them removed');
shut_out($redis, @cases);
everywhere(token($cases[0]), 'audience_not_allowed', 'then the other');

# beside the configuration

let_in($redis, CLIENT_V2);
$redis->cmd(SADD => $tenants, TENANT);
shut_out($redis, CLIENT_V2);
$redis->cmd(SREM => $tenants, TENANT);
stays($redis, $by_configuration, 'ok', 'Redis takes nothing away from it');

# many at once, in one transaction

$redis->cmd('MULTI');
let_in($redis, map { guid($_) } 100 .. 199);
shut_out($redis, map { guid($_) } 100 .. 149);
$redis->cmd(SADD => $tenants, guid(100));
$redis->cmd('EXEC');
everywhere(token(guid(199), guid(100)), 'ok', 'a transaction');
everywhere(token(guid(149)), 'audience_not_allowed', 'all of it');

# members that are no GUID

my $good = guid(5);
my $escaped = sub { $_[0] =~ s/([^ -~]|["\\])/sprintf '\\x%02X', ord $1/ger };
my @bad = (" $good", "$good ", "{$good}", "$good\n", "\t$good", '',
    substr($good, 1), "${good}0", $good =~ s/^0/g/r, $good =~ tr/-//dr,
    "urn:uuid:$good", "\0\xff\xfe", "a \"quoted\\\" thing", "\x1b[31mred",
    "x\r\n2026/01/01 00:00:00 [alert] 1#1: forged", $good . "\0", 'not a guid',
    'x' x 1_000_000);

let_in($redis, guid(6));
everywhere(token(guid(6)), 'ok', 'no GUID: before');

for my $part (1 .. 3) {                 # a line in the log for each
    my @some = splice @bad, 0, @bad > 6 ? 6 : @bad;

    $t->mark;
    let_in($redis, @some, guid($part, 6));
    everywhere(token(guid($part, 6)), 'ok', 'no GUID: the others apply');
    for my $member (@some) {
        my $value = $escaped->(substr $member, 0, 40);
        my $end = length $member > 40 ? '' : '"';
        ok((wait_for { lines(qr/\[(?:warn|error)\].*"\Q$value\E$end/) }),
            "no GUID: the log has \"$value\"");
    }
    like((lines(qr/GUID/))[0], qr/client_ids.*"fleet"/,
        'no GUID: and says which list, and whose');
    is(scalar(grep { length > 2000 } lines(qr/GUID/)), 0,
        'no GUID: no line of the log is long');
    shut_out($redis, @some);
}
shut_out($redis, guid(6));
everywhere(token(guid(6)), 'audience_not_allowed', 'no GUID: removals apply');
everywhere(token($good), 'audience_not_allowed', 'no GUID: is not in force');
is($t->alerts, 0, 'no GUID: none forges a line of the log');

# thousands of them are counted, not listed

$t->mark;
let_in($redis, map { "nonsense $_" } 1 .. 3000);
ok((wait_for { lines(qr/GUID/) }), 'many: logged');
stays($redis, token(guid(1, 6)), 'ok', 'many: the others apply');
my @lines = lines(qr/GUID/);
cmp_ok(scalar(@lines), '<', 100, 'many: not each of them');
my ($others) = map { /\b(\d+) more\b/ } @lines;
cmp_ok($others, '>', 2900, 'many: but counted');
$redis->cmd(DEL => $clients);

# not a Set

my %other = (
    String => [ SET => 'tmp', guid(8) ], List => [ LPUSH => 'tmp', guid(8) ],
    Hash => [ HSET => 'tmp', guid(8), 1 ],
    'Sorted Set' => [ ZADD => 'tmp', 1, guid(8) ],
    Stream => [ XADD => 'tmp', '*', 'a', guid(8) ],
);

for my $type (sort keys %other) {
    let_in($redis, guid(9));
    everywhere(token(guid(9)), 'ok', "a $type: before");
    $t->mark;
    $redis->cmd(@{ $other{$type} });
    $redis->cmd(RENAME => 'tmp', $clients);
    like($t->wait_for_log(qr/\[error\].*client_ids/), qr/fleet/,
        "a $type: logged");
    stays($redis, token(guid(9)), 'ok', "a $type: the last list stays");
    everywhere(token(guid(8)), 'audience_not_allowed',
        "a $type: its content is not in force");
    $redis->cmd(SADD => 'tmp', guid(10));
    $redis->cmd(RENAME => 'tmp', $clients);
    everywhere(token(guid(10)), 'ok', "a $type: a Set again");
    everywhere(token(guid(9)), 'audience_not_allowed',
        "a $type: nothing remains of the last list");
}

# empty

let_in($redis, guid(11), guid(12));
everywhere(token(guid(12)), 'ok', 'DEL: before');
$redis->cmd(DEL => $clients);
everywhere(token(guid(12)), 'audience_not_allowed', 'DEL of a Set empties');
let_in($redis, guid(11));
everywhere(token(guid(11)), 'ok', 'SREM: before');
shut_out($redis, guid(11));
everywhere(token(guid(11)), 'audience_not_allowed', 'SREM of the last member');
let_in($redis, guid(13));
$redis->cmd(SADD => $tenants, guid(13));
everywhere(token(guid(13), guid(13)), 'ok', 'both: before');
$redis->cmd(DEL => $clients, $tenants);
everywhere(token(guid(13)), 'audience_not_allowed', 'DEL of both empties');
everywhere(token(CLIENT_V2, guid(13)), 'tenant_not_allowed', 'of both');
let_in($redis, guid(14));
$redis->cmd(PEXPIRE => $clients, 300);
everywhere(token(guid(14)), 'audience_not_allowed', 'a Set that expires');

# other policies

my %key = (second => list('client_ids', 'second'),
    odd => 'a %s*?[%b]:client_ids');

for my $name (sort keys %key) {
    $redis->cmd(SADD => $key{$name}, guid(20));
    ok((wait_for { says("/$name", guid(20)) eq 'ok' }),
        "policy $name has its own list");
    is(says('/tos', guid(20)), 'audience_not_allowed',
        "policy $name: fleet does not");
    let_in($redis, guid(21));
    everywhere(token(guid(21)), 'ok', "policy $name: fleet has another");
    is(says("/$name", guid(21)), 'audience_not_allowed',
        "policy $name: which it has not");
    $redis->cmd(SREM => $key{$name}, guid(20));
    ok((wait_for { says("/$name", guid(20)) eq 'audience_not_allowed' }),
        "policy $name: removed");
    shut_out($redis, guid(21));
    everywhere(token(guid(21)), 'audience_not_allowed',
        "policy $name: fleet's is removed");
}

# what does not fit

my $key = list('client_ids', 'small');
my ($n, $line) = (0, undef);

$t->mark;
for (1 .. 60) {
    $redis->cmd(SADD => $key, map { guid($_) } $n + 1 .. $n + 200);
    $n += 200;
    wait_for {
        ($line) = lines(qr/\[error\].*small.*does not fit/);
        $line || says('/small', guid($n)) eq 'ok';
    };
    last if $line;
}
like($line, qr/\b$n IDs.*raise "zone"/, 'too many: says how many, and the way out');
is(says('/small', guid($n)), 'audience_not_allowed',
    'too many: refused whole');
is(says('/small', guid($n - 200)), 'ok', 'too many: the last list stays');
is(says('/small', guid(1)), 'ok', 'too many: all of it');
$redis->cmd(SREM => $key, map { guid($_) } $n - 199 .. $n, 7);
ok((wait_for { says('/small', guid(7)) eq 'audience_not_allowed' }),
    'too many: a removal afterwards is enforced');
is(says('/small', guid($n - 200)), 'ok', 'too many: of that one only');
$redis->cmd(SREM => $key, guid(8));
ok((wait_for { says('/small', guid(8)) eq 'audience_not_allowed' }),
    'too many: and another');

# what fits again, since the other list makes room

my $other_key = list('tenant_ids', 'small');
$redis->cmd(DEL => $key);
$redis->cmd(SADD => $other_key, map { guid($_, 1) } 1 .. $n - 400);
ok((wait_for { said(token(CLIENT_V2, guid($n - 400, 1)), '/small') eq 'ok' }),
    'room: one list');
$t->mark;
$redis->cmd(SADD => $key, map { guid($_) } 1 .. 600);
ok($t->wait_for_log(qr/\[error\].*small.*does not fit/), 'room: not for both');
is(says('/small', guid(1)), 'audience_not_allowed', 'room: refused whole');
$redis->cmd(DEL => $other_key);
ok((wait_for { says('/small', guid(600)) eq 'ok' }), 'room: for the other');

$t->done;


sub says { my ($uri, $client) = @_; return said(token($client), $uri) }
