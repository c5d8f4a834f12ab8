#!/usr/bin/perl
# once

# tools/mutate: every rule of its list can be broken in the code as it is, and
# a few are, which the tests notice; what nobody notices is called so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp;
use Test::More;

use EntraMDM::File qw(root spew);

my $core = 'ngx_http_entra_mdm_module/core';

sub mutate {
    my $said = `'${\ root()}/tools/mutate' @_ 2>&1`;
    return ($? >> 8, $said);
}

my ($exit, $said) = mutate('--list');
is($exit, 0, 'every rule can be broken') or diag($said);
cmp_ok(scalar(() = $said =~ /^ok /mg), '>', 50, 'of many');

# two that are seen, and four that prove nothing

my $rules = File::Temp->new;
spew("$rules", <<"EOC");
(
    [ 'is seen', '$core/entra_base64.c', 'return (bits & 0xf) == 0;',
        'return true;', 'test_base64' ],
    [ 'is seen by the second', '$core/entra_verify.c', 'if (jws->crit) {',
        'if (jws->crit && !jws->rs256) {', 'test_base64', 'test_verify' ],
    [ 'is seen by nobody', '$core/entra_base64.c', 'return (bits & 0xf) == 0;',
        'return !(bits & 0xf);', 'test_base64' ],
    [ 'does not compile', '$core/entra_base64.c', 'return (bits & 0xf) == 0;',
        'return (bits & 0xf == 0;', 'test_base64' ],
    [ 'is not there', '$core', 'no such line', 'another', 'test_base64' ],
    [ 'is there often', '$core/entra_base64.c', 'return', 'return 0,',
        'test_base64' ],
)
EOC

($exit, $said) = mutate('--rules', $rules);
is($exit, 1, 'some are not seen');
like($said, qr/^ok       is seen \(test_base64\)$/m, 'one is');
like($said, qr/^ok       is seen by the second \(/m, 'and another');
like($said, qr/^NOT OK   is seen by nobody \(test_base64, green\)$/m, 'one is not');
like($said, qr/^NOT OK   does not compile \(test_base64, no build\)$/m,
    'no build is no proof');
like($said, qr/^NOT OK   is not there \(test_base64, it is in 0 files/m,
    'a piece that is gone');
like($said, qr/^NOT OK   is there often \(test_base64, it is there \d+ times/m,
    'a piece that is there often');
like($said, qr/^4 of 6 broken rules went unseen/m, 'in all');

done_testing();
