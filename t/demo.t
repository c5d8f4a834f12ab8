#!/usr/bin/perl
# once

# What a newcomer sees: tools/demo --once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(root);
use EntraMDM::Nginx;

my ($gate, $backend) = map { EntraMDM::Nginx::reserve() } 1 .. 2;
my $demo = root() . '/tools/demo';
chdir root() or die;
my $said = `tools/demo --once --port $gate->{port} --backend $backend->{port} 2>&1`;

is($?, 0, 'it ends well') or diag $said;

my @scenes = split /^(?=\d+\. )/m, $said;
shift @scenes;
is(scalar @scenes, 6, 'six scenes');

my ($v1, $v2, $terms, $stranger, $forged, $password) = @scenes;

like($v1, qr/v1 token.*HTTP 200.*the same \d+ bytes.*X-Entra-UPN: ann\@/s,
    'a v1 token is accepted');
like($v2, qr/v2 token.*HTTP 200.*the same \d+ bytes.*X-Entra-UPN: bob\@/s,
    'a v2 token is accepted');
unlike($v2, qr/X-Entra-UPN: ceo/, 'under its own name');
like($terms, qr/tos.*HTTP 200.*X-Entra-UPN: bob\@/s, 'the terms of use');

for ([ $stranger, 'audience_not_allowed', 's:Authorization' ],
     [ $forged, 'signature_invalid', 's:Authentication' ],
     [ $password, 'username_token', 's:Authentication' ])
{
    my ($scene, $reason, $subcode) = @$_;
    like($scene, qr/fault $subcode.*backend nothing.*log .*$reason/s,
        "$reason: fault, backend, log");
    my ($trace) = $scene =~ /trace ID (\w{32})/;
    like($scene, qr/request_id:\s+$trace/, "$reason: the trace ID leads on");
}

like($stranger, qr/add "client_id\s+9c9c1111-2222-3333-4444-5555555555c9;"/,
    'what to add is told');
unlike($said, qr/hunter2/, 'no password is');


# with a Redis of its own

my $redis = EntraMDM::Nginx::reserve();

$said = `$demo --once --redis --port $gate->{port} --backend $backend->{port} --redis-port $redis->{port} 2>&1`;
is($?, 0, 'with Redis: it ends well') or diag $said;

@scenes = split /^(?=\d+\. )/m, $said;
shift @scenes;
is(scalar @scenes, 8, 'with Redis: eight scenes');

my ($before, $listed, $taken_off) = @scenes[ 3 .. 5 ];
my $id = '9c9c1111-2222-3333-4444-5555555555c9';
my $key = "'entra_mdm:\\{fleet\\}:client_ids'";

like($before, qr/backend nothing.*to mend .*Redis/s, 'refused at first');
like($listed, qr/redis-cli -p \d+ SADD $key\s+$id.*HTTP 200.*Audience: $id/s,
    'accepted once it is listed');
like($taken_off, qr/redis-cli -p \d+ SREM $key\s+$id.*backend nothing/s,
    'refused once it is off the list');
ok(!IO::Socket::INET->new("127.0.0.1:$redis->{port}"), 'Redis has ended');

done_testing();
