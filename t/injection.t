#!/usr/bin/perl

# An administrator sends what a token or a device says on to the backend, in
# headers of his own: nobody can put another header into them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(http => $Headers . fleet_policy() . <<'EOC');

    client_max_body_size 2m;

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location / {
            entra_mdm        fleet;
            proxy_set_header X-Name    $entra_mdm_claim_name;
            proxy_set_header X-Roles   $entra_mdm_claim_roles;
            proxy_set_header X-Object  $entra_mdm_oid;
            proxy_set_header X-Version $entra_mdm_version;
            proxy_set_header X-Aud     $entra_mdm_aud;
            proxy_set_header X-Device  $entra_mdm_context_DeviceName;
            proxy_pass       http://127.0.0.1:%%PORT_fleet%%;
        }
    }

EOC

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

# What breaks the line in a token.

for my $break ("\r\n", "\n", "\r", "\x7f", "\e") {
    my $what = sprintf '%vd', $break;
    my $evil = "a${break}X-Entra-UPN: ceo\@example.com";
    my $token = mint($key, claims_v2(name => $evil, roles => [$evil],
        oid => $evil, ver => $evil));

    my $seen = verdict("claims, $what: accepted",
        http_get('/', bearer => $token), $fleet, '200 ok accepted 1');
    is($seen->header('X-Entra-UPN'), 'bob@example.com',
        "claims, $what: one user");
    is($seen->header($_), undef, "claims, $what: $_ has no value")
        for qw(X-Name X-Object X-Version);
    unlike($seen->header('X-Roles') // '', qr/[\0-\x1f\x7f]/,
        "claims, $what: JSON escapes it, or has no value");
    unlike($seen->header('X-Entra-Object-ID'), qr/[^!-~]/,
        "claims, $what: our own headers are encoded");
}

# An audience is a client ID, blanks around it aside.

for my $break ("\r\n", "\n", "\t") {
    my $seen = verdict('an audience with blanks: accepted', http_get('/',
        bearer => mint($key, claims_v2(aud => CLIENT_V2 . $break))), $fleet,
        '200 ok accepted 1');
    is($seen->header('X-Aud'), undef, 'an audience with blanks: no value');
    like($seen->header('X-Entra-Audience'), qr/^${\CLIENT_V2}%0/,
        'an audience with blanks: encoded in our own header');
}

# What breaks the line in XML.

for my $break ('&#13;&#10;', '&#10;', '&#x7f;') {
    my $message = enroll_message(mint($key, claims_v2()), edit => sub {
        s/DESKTOP-0VQ7P2R/D${break}X-Entra-UPN: ceo\@example.com/ });

    my $seen = verdict("device name, $break: accepted",
        http_post('/', $message), $fleet, '200 ok accepted 1');
    is($seen->header('X-Entra-UPN'), 'bob@example.com',
        "device name, $break: one user");
    is($seen->header('X-Device'), undef, "device name, $break: no value");
    is($seen->body, $message, "device name, $break: the message is the same");
}

my $seen = verdict('an honest device', http_post('/',
    enroll_message(mint($key, claims_v2()))), $fleet, '200 ok accepted 1');
is($seen->header('X-Device'), 'DESKTOP-0VQ7P2R', 'its name');
is($seen->header('X-Name'), 'Bob Roe', 'the name of its user');

$t->done;
