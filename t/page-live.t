#!/usr/bin/perl
# once

# The administration page over the module, in a headless Chromium: who was
# refused is let in by a click, and by the next request; with the zone as the
# list and with Redis.  Screenshots in both themes and two widths are left in
# build/t/page.
#
#   ENTRA_MDM_ONLY=keyboard prove -It/lib t/page-live.t     # one scenario

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw(make_path);
use Test::More;

use EntraMDM::File qw(root wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Page;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;

plan skip_all => $_ for missing_browser() || ();

my $audience = 'd4d41111-2222-3333-4444-5555555555d4';
my $foreign = 'eeeeeeee-2222-3333-4444-555555555555';
my $key = new_key();
my $tenant = TENANT;
my %token = (
    verified => mint($key, claims_v2(aud => $audience)),
    forged   => mint(new_key(), claims_v2(aud => $foreign)),
    strange  => mint($key, claims_v2(aud => $foreign, tid => $foreign,
        iss => "https://login.microsoftonline.com/$foreign/v2.0")),
);

my $t = EntraMDM::Nginx->new(workers => 2, http => page_server()
    . page_api('gitops', 'fleet', 'entra_mdm_api_gitops on;')
    . page_api('redis', 'redis', '') . <<"EOC");

    entra_mdm_policy fleet {
        tenant_id $tenant;
        jwks      file=%%DIR%%/keys.json;
        state     state/fleet.json;
    }

    entra_mdm_policy redis {
        tenant_id $tenant;
        jwks      file=%%DIR%%/keys.json;
        redis     redis://127.0.0.1:%%PORT_store%% timeout=1s;
    }

    server {
        listen 127.0.0.1:%%PORT_gate%%;

        location /fleet {
            entra_mdm fleet;
            empty_gif;
            error_page 405 =200 \@met;
        }

        location /redis {
            entra_mdm redis;
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
my $redis = EntraMDM::Redis->new($t, 'store');
my @sets = map { "entra_mdm:{redis}:${_}_ids" } qw(client tenant);
$t->start;

sub enroll {
    my ($policy, $token) = @_;
    return http_post("/$policy", enroll_message($token{$token}),
        port => $t->port('gate'));
}

# the generation, which the feed writes, has been there

sub lost {
    wait_for { $redis->cmd(EXISTS => 'entra_mdm:{redis}:generation') }
        or die "no generation\n";
    my $lines = () = $t->error_log =~ /lost/g;
    $redis->cmd('FLUSHALL');
    wait_for { (() = $t->error_log =~ /lost/g) > $lines }
        or die "not noticed\n";
}

sub holds {
    my ($n) = @_;
    return sub {
        $redis->cmd(SCARD => $sets[0]) == $n
            or die "not $n: @{ $redis->cmd(SMEMBERS => $sets[0]) }\n";
    };
}

ok((wait_for { fault(enroll('redis', 'strange'))->{subcode}
    eq 's:Authorization' }), 'Redis has been read');

for my $policy (qw(fleet redis)) {
    is(fault(enroll($policy, $_))->{subcode},
        $_ eq 'forged' ? 's:Authentication' : 's:Authorization',
        "$policy, $_: refused at first") for sort keys %token;
}

my $shots = root() . '/build/t/page';
make_path($shots);
page_run($t, scenarios => ['live'], audience => $audience, shots => $shots,
    pages => [qw(gitops redis)], only => $ENV{ENTRA_MDM_ONLY}, asked => {
    'nginx stops' => sub { $t->stop },
    'nginx starts' => sub { $t->start },
    'redis-cli adds an ID' => sub {
        $redis->cmd(SADD => $sets[0], 'dddddddd-2222-3333-4444-555555555555');
    },
    'Redis loses its data' => \&lost,
    'Redis has the lists' => holds(3),
    'Redis is empty' => holds(0),
    'Redis stops' => sub { $redis->stop },
});

if (!$ENV{ENTRA_MDM_ONLY}) {
    is(enroll('fleet', 'verified')->body, "in\n", 'let in afterwards');
    is(fault(enroll('fleet', $_))->{subcode},
        $_ eq 'forged' ? 's:Authentication' : 's:Authorization',
        "$_: refused as before") for qw(forged strange);
    is(fault(enroll('redis', 'verified'))->{subcode}, 's:Authorization',
        'refused where an administrator has emptied the list');
}

$t->done;
