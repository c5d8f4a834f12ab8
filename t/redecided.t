#!/usr/bin/perl

# A request that one policy has decided goes on to where another does: what
# the first has shown stays true, and what it has said is taken back.

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

my $t = EntraMDM::Nginx->new(http => <<'EOC');

    entra_mdm_policy fleet {
        tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id 1b1b1111-2222-3333-4444-5555555555c1;
        jwks      file=%%DIR%%/keys.json;
    }

    entra_mdm_policy school {
        tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id 2c2c2222-3333-4444-5555-6666666666c2;
        jwks      file=%%DIR%%/keys.json;
    }

    add_header X-Result $entra_mdm_result always;
    client_max_body_size 2m;

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        # accepted by one policy, captured, refused by the other

        location /captured {
            entra_mdm  fleet;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /inside {
            entra_mdm  school;
            if ($entra_mdm_upn ~ "^(.*)@") { set $seen 1; }
            error_page 401 403 = @captured;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location @captured {
            proxy_set_header X-Captured "$1";
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        # refused by one policy, then granted by a password or refused

        location /first {
            entra_mdm  school;
            error_page 401 403 = @second;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location @second {
            satisfy    any;
            auth_basic "second";
            auth_basic_user_file %%DIR%%/passwords;
            entra_mdm  fleet;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        # a body where the backend is told of none

        location /put {
            entra_mdm  fleet token=bearer;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /auto {
            entra_mdm  fleet;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        # an error page for an error page, which nginx does not give

        location /page {
            entra_mdm  fleet token=bearer;
            error_page 401 /page-of-page;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /page-of-page {
            entra_mdm  fleet token=soap;
            error_page 400 401 500 /never;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();
my $token = mint($key, claims_v2());

$t->write_file('keys.json', jwks($key));
$t->write_file('passwords', "ann:{PLAIN}secret\n");
$t->start;


# What a regular expression captured lies in the claim itself.

$backend->answer('/captured' => { headers => [ 'X-Accel-Redirect' => '/inside' ] });
my $r = http_get('/captured', bearer => $token);
is($r->status, 200, 'captured: on to the error page');
is(($backend->requests)[-1]->header('X-Captured'), 'bob',
    'captured: what a claim showed outlives the verdict');

# The challenge of a refusal that no longer stands; nginx's own is nginx's.

$r = http_get('/first', bearer => $token);
is($r->status, 200, 'the second policy accepts');
is($r->header('WWW-Authenticate'), undef, 'without the challenge of the first');
is($r->header('X-Result'), 'ok', 'with its own result');
is($backend->last->header('X-Entra-UPN'), 'bob@example.com', 'and identity');

$r = http_get('/first', bearer => mint(new_key(), claims_v2()));
is($r->status, 401, 'both refuse');
is(join(' ', sort map { /^(\w+)/ } @{ $r->headers->{'www-authenticate'} }),
    'Basic Bearer', 'a challenge of each kind, once');

# A body that bearer allows and auto does not.

is(http_request(PUT => '/put', body => 'body', bearer => $token)->status, 200,
    'bearer with a body');
is($backend->last->body, 'body', 'which goes along');
$backend->answer('/put' => { headers => [ 'X-Accel-Redirect' => '/auto' ] });
$r = http_request(PUT => '/put', body => 'body', bearer => $token);
is($r->status . ' ' . $r->header('X-Result'), '400 message_malformed',
    'not where only POST may have one');
is($backend->requests, 1, 'and the backend has seen the first part only');
is(http_request(GET => '/put', bearer => $token)->status, 200,
    'without a body the verdict stands');
$backend->requests;

# A fault is not left to an error page that nginx will not give.

$r = http_post('/page', 'x');
is(fault($r)->{subcode}, 's:MessageFormat', 'a fault, not a page of HTML');
is($backend->requests, 0, 'nothing has passed');

$t->done;
