package EntraMDM::Verdict;

# What became of a request, in one line: the answer's status, the gate's
# reason and action, and how many requests the backend has seen.
#
#   verdict('no token', http_get('/x'), $fleet, '401 no_token refused 0');
#   my $seen = verdict('accepted', $response, $fleet, '200 ok accepted 1');
#
# A minus stands where there is no reason, hence no gate; the status may be
# left out.  The configuration has $Headers at the http level; fleet_policy()
# is a policy that works, for the tokens of claims_v1() and claims_v2(); it
# takes further lines, another name, another source of keys.

use strict;
use warnings;

use Exporter 'import';
use Test::More;

use EntraMDM::Token qw(TENANT CLIENT_V2 HOST);

our @EXPORT = qw(fleet_policy verdict identity $Headers);

our $Headers = <<'EOC';
    add_header X-Result $entra_mdm_result always;
    add_header X-Action $entra_mdm_action always;
EOC


sub fleet_policy {
    my ($lines, $name, $jwks) = @_;

    $jwks //= 'file=%%DIR%%/keys.json';
    return "entra_mdm_policy " . ($name // 'fleet') . " {\n"
        . "server_url https://" . HOST . ";\n"
        . "client_id " . CLIENT_V2 . ";\ntenant_id " . TENANT . ";\n"
        . "jwks $jwks;\n" . ($lines // '') . "\n}\n";
}

# Returns the request as the backend has seen it, if one did.

sub verdict {
    my ($name, $r, $backend, $expected) = @_;
    my @seen = $backend->requests;
    my $told = join ' ', ($expected =~ /^\d/ ? $r->status : ()),
        $r->header('X-Result') // '-', $r->header('X-Action') // '-',
        scalar @seen;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($told, $expected, $name) or diag($r->raw);
    return $seen[-1];
}

# Who the backend was told it is: the identity headers it has seen, in short.

sub identity {
    my ($request, $prefix) = @_;
    my $headers = $request ? $request->headers : {};

    $prefix = lc($prefix // 'X-Entra-');
    return join ' ', map { "$_=" . join '|', @{ $headers->{"$prefix$_"} } }
        grep { $headers->{"$prefix$_"} } qw(upn audience token-version);
}

1;
