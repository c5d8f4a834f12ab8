#!/usr/bin/perl

# A token seen before is not verified again, by this worker, under this
# policy, with these keys; all else is decided as if it came for the first
# time.  What was verified is told by nginx's debug log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;

my $keys = 'file=%%DIR%%/keys.json check=1s';

my $t = EntraMDM::Nginx->new(workers => 2, level => 'debug',
    http => live_http('redis redis://127.0.0.1:%%PORT_redis%%;',
    jwks => $keys,
    http => join('', map { policy(@$_) }
        [ 'second', "jwks $keys;" ],
        [ 'exact', "jwks $keys; leeway 0s;" ],
        [ 'stranger', 'jwks file=%%DIR%%/strange.json;' ],
        [ 'fetched', 'jwks request=/_entra/jwks refresh=2s min_interval=1s'
            . ' max_stale=2s;' ])
        . "add_header X-Upn \$entra_mdm_upn always;\n"
        . "add_header X-Name \$entra_mdm_claim_name always;\n",
    server => join('', map { "location = /$_ { entra_mdm $_ token=bearer;"
        . " try_files /tos =404; }\n" } qw(second exact stranger fetched))
        . "location = /_entra/jwks { internal;"
        . " proxy_pass http://127.0.0.1:%%PORT_idp%%/keys; }\n"
        . "location = /dry { entra_mdm fleet token=bearer; "
        . "entra_mdm_dry_run on; try_files /tos =404; }\n"));

sub policy {
    my ($name, $lines) = @_;
    return "entra_mdm_policy $name { server_url https://fleet.example.com;\n"
        . 'tenant_id ' . TENANT . '; client_id ' . CLIENT_V2
        . "; $lines }\n";
}

my $redis = EntraMDM::Redis->new($t, 'redis');
my $idp = EntraMDM::Backend->new($t, 'idp');
my $next = new_key();

$idp->answer('/keys' => { body => jwks(key()) });
$t->write_file('strange.json', jwks(new_key()));
live_start($t);


# What the gate said, and how it knew: verified, seen before, or neither.

my $worker;

sub asked {
    my ($token, $uri, %o) = @_;
    my $c = $worker && !$worker->{eof} ? $worker
          : ($worker = (values %{ worker_connections() })[0]);

    $t->mark;
    my $r = $c->request($o{body} ? 'POST' : 'GET', $uri // '/tos',
        $o{body} ? () : (bearer => $token), %o);
    my @how = $t->new_log =~ /entra_mdm: policy "\w+", token (\w+)/g;
    return wantarray ? ($r, @how) : join ' ', $r->header('X-Result'), @how;
}

sub is_asked {
    my ($name, $expected, @request) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(scalar asked(@request), $expected, $name);
}

# once and again

my $good = token(CLIENT_V2);

is_asked('for the first time', 'ok verified', $good);
is_asked('again', 'ok seen', $good);
is_asked('once more', 'ok seen', $good);

my $tampered = $good =~ s/(.)(.{8})\z/($1 eq 'A' ? 'B' : 'A') . $2/er;
secret(substr $tampered, -40);
is_asked('with another signature', 'signature_invalid', $tampered);
is_asked('and again', 'signature_invalid', $tampered);
is_asked('with a byte more', 'token_malformed', "$good.");
is_asked('the right one still', 'ok seen', $good);

# each worker by itself

my %all = %{ worker_connections() };
is(scalar keys %all, 2, 'two workers');
my @how;
for my $c (values %all) {
    $worker = $c;
    push @how, scalar asked($good);
    is_asked('again by the same worker', 'ok seen', $good);
}
is_deeply([ sort @how ], [ 'ok seen', 'ok verified' ], 'each worker by itself');

# each policy by itself

is_asked('another policy', 'ok verified', $good, '/second');
is_asked('again', 'ok seen', $good, '/second');
is_asked('one with other keys', 'key_unknown', $good, '/stranger');
is_asked('and again', 'key_unknown', $good, '/stranger');
is_asked('the first policy still', 'ok seen', $good);

# in a message it is the same token

my %message = (body => enroll_message($good));
is_asked('in a message', 'ok seen', undef, '/enroll', %message);
my $other = token(CLIENT_V2, TENANT, preferred_username => 'x@example.com');
%message = (body => enroll_message($other));
is_asked('in a message at first', 'ok verified', undef, '/enroll', %message);
is_asked('then in a header', 'ok seen', $other);

# whose claims they are

my %user = map {
    $_ => token(CLIENT_V2, TENANT, preferred_username => "$_\@example.com",
        name => "Na\"me of $_", groups => [ 1, { a => $_ } ])
} qw(ann bob eve);

for my $round (1 .. 3) {
    for my $name (sort keys %user) {
        my ($r, $how) = asked($user{$name});
        is(join(' ', $how, $r->header('X-Upn'), $r->header('X-Name')),
            ($round == 1 ? 'verified' : 'seen')
            . " $name\@example.com Na\"me of $name",
            "$name, for the $round. time");
    }
}

# what is refused after the signature is judged again, not verified

my $foreign = token(guid(1));
is_asked('another audience', 'audience_not_allowed verified', $foreign);
is_asked('again', 'audience_not_allowed seen', $foreign);
is_asked('in a dry run', 'audience_not_allowed seen', $foreign, '/dry');
$redis->cmd(SADD => list('client_ids'), guid(1));
everywhere($foreign, 'ok', 'until it is let in');
is_asked('then', 'ok seen', $foreign);

# a tenant that comes and goes

my $tenant = guid(7, 7);
my $guest = token(CLIENT_V2, $tenant);
is_asked('a tenant nobody knows', 'tenant_not_allowed verified', $guest);
for (1 .. 2) {
    $redis->cmd(SADD => list('tenant_ids'), $tenant);
    everywhere($guest, 'ok', 'let in');
    is_asked('its token was seen before', 'ok seen', $guest);
    $redis->cmd(SREM => list('tenant_ids'), $tenant);
    everywhere($guest, 'tenant_not_allowed', 'shut out');
    is_asked('seen before, and refused', 'tenant_not_allowed seen', $guest);
}

# time goes on

my $short = token(CLIENT_V2, TENANT, exp => time + 3);
is_asked('for three seconds', 'ok verified', $short, '/exact');
is_asked('within them', 'ok seen', $short, '/exact');
ok(wait_for { asked($short, '/exact') =~ /^token_expired/ }, 'then it expires');
is_asked('nobody keeps it', 'token_expired verified', $short, '/exact');
is_asked('nor afterwards', 'token_expired verified', $short, '/exact');

# keys that come and go

$t->write_file('keys.json', jwks($next));
everywhere($good, 'key_unknown', 'its key is gone');
is_asked('nothing is left of it', 'key_unknown', $good);
my $signed = mint($next, claims_v2());
is_asked('a token of the next key', 'ok verified', $signed);
is_asked('again', 'ok seen', $signed);
$t->mark;
$t->write_file('keys.json', jwks($next, key()));
everywhere($good, 'ok', 'its key is back');
my %again = map { $_ => 1 } $t->new_log =~
    /\[debug\] (\d+)#.*policy "fleet", token verified/g;
is(scalar keys %again, 2, 'both workers have verified it again');
is_asked('then it is known', 'ok seen', $good);

# keys that nobody has confirmed for too long

is_asked('keys that were fetched', 'ok verified', $good, '/fetched');
is_asked('again', 'ok seen', $good, '/fetched');
$idp->answer('/keys' => { status => 500 });
ok(wait_for { asked($good, '/fetched') =~ /^keys_unavailable/ },
    'keys past max_stale');
is_asked('it is not seen now', 'keys_unavailable', $good, '/fetched');
$idp->answer('/keys' => { body => jwks(key()) });
ok(wait_for { asked($good, '/fetched') =~ /^ok/ }, 'the same keys, confirmed');

# a reload

ok($t->reload, 'reload');
$worker = undef;
is_asked('new workers know nothing', 'ok verified', $good);
is_asked('and learn', 'ok seen', $good);

$t->done;
