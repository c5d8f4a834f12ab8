#!/usr/bin/perl
# once

# The administration page over the module: who was refused is let in by a
# click, and by the next request.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Page;
use EntraMDM::Soap;
use EntraMDM::Token;

plan skip_all => $_ for missing_browser() || ();

my $audience = 'd4d41111-2222-3333-4444-5555555555d4';
my $key = new_key();
my $token = mint($key, claims_v2(aud => $audience));
my $tenant = TENANT;

my $t = EntraMDM::Nginx->new(workers => 2, http => page_server() . <<"EOC");
    entra_mdm_policy fleet {
        tenant_id $tenant;
        jwks      file=%%DIR%%/keys.json;
    }

    server {
        listen 127.0.0.1:%%PORT_gate%%;

        location / {
            entra_mdm fleet;
            empty_gif;
            error_page 405 =200 \@met;
        }

        location \@met {
            return 200 "in\\n";
        }
    }
EOC

$t->write_file('keys.json', jwks($key));
page_users($t);
$t->start;

sub enroll {
    return http_post('/', enroll_message($token), port => $t->port('gate'));
}

is(fault(enroll())->{subcode}, 's:Authorization', 'refused at first');
page_run($t, scenarios => ['live'], audience => $audience);
is(enroll()->body, "in\n", 'let in afterwards');

$t->done;
