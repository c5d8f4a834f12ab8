package EntraMDM::ApiClient;

# The management API as a client sees it.
#
#   my ($status, $json, $r) = api(GET => 'config');
#   api(PATCH => 'config', lists([$client], undef), match => $etag);
#   is_lists('now', [$client], []);        # what GET config shows
#
# Options: role => 'admin' (sent in X-Role, or left out), user => 'ann' (by
# basic authentication), match => ETag, location, by => \&https, and those of
# http_request().
# api_conf() is a server whose API takes the role from X-Role, which no real
# one should; lines go into its location, locations beside that.
# api_map() and api_location() are its parts.

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::HTTP;

our @EXPORT = qw(api api_conf api_map api_location lists guid is_lists error_is
    patch json count_up);
our $Location = '/entra-mdm/api/';

my $JSON = JSON::PP->new->utf8->canonical;


sub json { return $JSON }

sub api_map { return 'map $http_x_role $role { default $http_x_role; }' }

sub api_location {
    my ($lines) = @_;
    return <<"EOC";
        location $Location {
            client_max_body_size 8m;
            entra_mdm_api fleet;
            entra_mdm_api_role \$role;
            @{[ $lines // '' ]}
        }
EOC
}

sub api_conf {
    my ($lines, $locations) = @_;

    return api_map() . <<"EOC";

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        @{[ api_location($lines) ]}

        @{[ $locations // '' ]}
    }
EOC
}

sub api {
    my ($method, $path, @rest) = @_;
    my $body = @rest % 2 ? shift @rest : undef;
    my %o = @rest;
    my @headers = @{ delete $o{headers} // [] };
    my $role = exists $o{role} ? delete $o{role} : 'admin';
    my $user = delete $o{user};
    my $match = delete $o{match};
    my $location = delete $o{location} // $Location;
    my $by = delete $o{by} // \&http_request;

    push @headers, 'X-Role' => $role if defined $role;
    push @headers, 'If-Match' => $match if defined $match;
    push @headers, Authorization => 'Basic '
        . encode_base64("$user:secret", '') if defined $user;
    push @headers, 'Content-Type' => 'application/json'
        if defined $body && !grep { lc eq 'content-type' } @headers;
    $body = $JSON->encode($body) if ref $body;

    my $r = $by->($method, "$location$path", %o,
        (defined $body ? (body => $body) : ()), headers => \@headers);
    return ($r->status, scalar eval { $JSON->decode($r->body) }, $r);
}

# What PATCH wants: an undef leaves that list alone.

sub lists {
    my ($clients, $tenants) = @_;

    return { mdm => {
        ($clients ? (windows_entra_client_ids => $clients) : ()),
        ($tenants ? (windows_entra_tenant_ids => $tenants) : ()) } };
}

sub patch { my ($clients, $tenants, %o) = @_;
    return api(PATCH => 'config', lists($clients, $tenants), %o);
}

# So many times: reads the one client ID there is, and puts the next in its
# place, unless somebody was faster.  What each change does to a list, another
# may do as well; a count is right only if each was of what had been read.

sub count_up {
    my ($times, @to) = @_;

    while ($times) {
        my (undef, $json, $r) = api(GET => 'config', @to);
        my ($n) = $json->{mdm}{windows_entra_client_ids}[0] =~ /^(\w{8})-/;
        my ($status) = patch([ guid(1 + hex $n) ], undef, @to,
            match => $r->header('ETag'));
        $times-- if $status == 200;
        die "status $status\n" if $status != 200 && $status != 412;
    }
}

# The n-th of many GUIDs, in ascending order.

sub guid {
    my ($n, $kind) = @_;
    return sprintf '%08x-2222-3333-4444-%012d', $n, $kind // 0;
}

sub is_lists {
    my ($name, $clients, $tenants, $json) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $json //= (api(GET => 'config'))[1];
    is_deeply($json->{mdm}, lists($clients, $tenants)->{mdm}, $name);
}

# [ name, reason ] for each error

sub error_is {
    my ($name, $answer, $status, @errors) = @_;
    my ($got, $json, $r) = @$answer;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($got, $status, "$name: $status") or diag $r->raw;
    is($r->header('Content-Type'), 'application/json', "$name: JSON");
    is($r->header('Content-Length'), length $r->body, "$name: its length");
    is_deeply([ sort keys %{ $json // {} } ], [qw(errors message)],
        "$name: Fleet's shape") or diag $r->raw;
    my @got = map { [ @$_{qw(name reason)} ] } @{ $json->{errors} // [] };

    if (@errors) {
        is(scalar @got, scalar @errors, "$name: errors") or diag $r->raw;
        for my $i (0 .. $#errors) {
            is($got[$i][0], $errors[$i][0], "$name: field");
            ref $errors[$i][1] ? like($got[$i][1], $errors[$i][1], "$name: why")
                : is($got[$i][1], $errors[$i][1], "$name: why");
        }
    } else {
        ok(@got > 0, "$name: says why");
    }
}

1;
