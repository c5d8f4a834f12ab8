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
my $said = `$demo --once --port $gate->{port} --backend $backend->{port} 2>&1`;

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

done_testing();
