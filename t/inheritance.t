#!/usr/bin/perl

# Which policy, and which kind of token, is in force where.

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

# The http level names policies that come last in the file.

my $t = EntraMDM::Nginx->new(http => $Headers . <<'EOC' . fleet_policy());

    entra_mdm fleet;
    client_max_body_size 4m;

    upstream backend { server 127.0.0.1:%%PORT_backend%%; }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location / { proxy_pass http://backend; }

        location /off {
            entra_mdm off;
            proxy_pass http://backend;

            location /off/nested { proxy_pass http://backend; }

            location /off/on {
                entra_mdm fleet;
                proxy_pass http://backend;
            }
        }

        location /school {
            entra_mdm school;
            proxy_pass http://backend;

            location /school/nested { proxy_pass http://backend; }

            location ~ fleet$ {
                entra_mdm fleet;
                proxy_pass http://backend;
            }

            location /school/off {
                entra_mdm off;
                proxy_pass http://backend;
            }
        }

        location /soap {
            entra_mdm fleet token=soap;
            proxy_pass http://backend;

            location /soap/nested { proxy_pass http://backend; }

            location /soap/auto {
                entra_mdm fleet;
                proxy_pass http://backend;
            }

            location /soap/auto2 {
                entra_mdm fleet token=auto;
                proxy_pass http://backend;
            }

            location /soap/bearer {
                entra_mdm fleet token=bearer;
                proxy_pass http://backend;
            }
        }

        location /if {
            set $proxied 1;
            if ($arg_x) { proxy_pass http://backend; }
            if ($arg_y) { set $proxied 2; }
            proxy_pass http://backend;
        }

        location /if/soap {
            entra_mdm school token=soap;
            if ($arg_x) { proxy_pass http://backend; }
            proxy_pass http://backend;
        }

        location /limit {
            entra_mdm school;
            limit_except GET { allow all; }
            proxy_pass http://backend;
        }

        location = /named { try_files /nothing @named; }
        location = /named/off { entra_mdm off; try_files /nothing @named; }
        location @named { proxy_pass http://backend; }
    }

    server {
        listen 127.0.0.1:%%PORT_open%%;
        entra_mdm off;

        location / { proxy_pass http://backend; }
        location /gate { entra_mdm school; proxy_pass http://backend; }
    }

    server {
        listen 127.0.0.1:%%PORT_bearer%%;
        entra_mdm school token=bearer;

        location / { proxy_pass http://backend; }
        location /auto { entra_mdm school; proxy_pass http://backend; }
    }

    server {
        listen 127.0.0.1:%%PORT_open%%;
        server_name second.example.com;

        location / { proxy_pass http://backend; }
    }

    entra_mdm_policy school {
        include %%DIR%%/school*.inc;
        header_prefix X-School-;
    }

EOC

my $fleet = EntraMDM::Backend->new($t);
my $key = new_key();
my $school_id = '2c2c2222-3333-4444-5555-6666666666c2';

$t->write_file('keys.json', jwks($key));
$t->write_file('school1.inc', "client_id $school_id;\n");
$t->write_file('school2.inc', "include school.more;\n");
$t->write_file('school.more', 'tenant_id ' . TENANT
    . ';jwks file=' . $t->dir . '/keys.json;');
$t->start;

my %token = (
    fleet => mint($key, claims_v2()),
    school => mint($key, claims_v2(aud => $school_id)),
);

# [ promise, method and path, whose token, what becomes of it, port ]

for (
    [ 'http level reaches a location',  'GET /x fleet', 'ok accepted 1' ],
    [ 'http level: its policy only',    'GET /x school',
        'audience_not_allowed refused 0' ],
    [ 'http level: POST is SOAP',       'POST /x fleet', 'ok accepted 1' ],
    [ 'http level: no token',           'GET /x', 'no_token refused 0' ],
    [ 'off cancels',                    'GET /off', '- - 1' ],
    [ 'off cancels for POST',           'POST /off', '- - 1' ],
    [ 'off is inherited',               'GET /off/nested', '- - 1' ],
    [ 'on again below off',             'GET /off/on', 'no_token refused 0' ],
    [ 'on again, a token',              'GET /off/on fleet', 'ok accepted 1' ],
    [ 'another policy replaces',        'GET /school school', 'ok accepted 1' ],
    [ 'another policy, old token',      'GET /school fleet',
        'audience_not_allowed refused 0' ],
    [ 'nested location inherits',       'GET /school/nested school',
        'ok accepted 1' ],
    [ 'nested location, old token',     'POST /school/nested fleet',
        'audience_not_allowed refused 0' ],
    [ 'nested regex has its own',       'GET /school/fleet fleet',
        'ok accepted 1' ],
    [ 'nested regex, parent\'s token',  'GET /school/fleet school',
        'audience_not_allowed refused 0' ],
    [ 'nested location is off',         'GET /school/off', '- - 1' ],
    [ 'token=soap asks GET for a body', 'GET /soap fleet',
        'message_malformed refused 0' ],
    [ 'token=soap, any method',         'PUT /soap fleet', 'ok accepted 1' ],
    [ 'token= is inherited',            'GET /soap/nested fleet',
        'message_malformed refused 0' ],
    [ 'token= is inherited, PUT',       'PUT /soap/nested fleet',
        'ok accepted 1' ],
    [ 'token= ends with a new entra_mdm', 'GET /soap/auto fleet',
        'ok accepted 1' ],
    [ 'token=auto, GET is bearer',      'GET /soap/auto2 fleet',
        'ok accepted 1' ],
    [ 'token=auto, PUT is bearer and has no body', 'PUT /soap/auto2 fleet',
        'message_malformed refused 0' ],
    [ 'token=bearer allows a body',     'PUT /soap/bearer both',
        'ok accepted 1' ],
    [ 'token=bearer takes no SOAP',     'POST /soap/bearer fleet',
        'no_token refused 0' ],
    [ '"if" is gated',                  'GET /if?x=1', 'no_token refused 0' ],
    [ '"if", accepted',                 'GET /if?x=1 fleet', 'ok accepted 1' ],
    [ '"if" without a handler',         'GET /if?y=1', 'no_token refused 0' ],
    [ '"if" that does not hold',        'GET /if fleet', 'ok accepted 1' ],
    [ '"if" has policy and kind',       'GET /if/soap?x=1 school',
        'message_malformed refused 0' ],
    [ '"if", SOAP accepted',            'POST /if/soap?x=1 school',
        'ok accepted 1' ],
    [ '"if", SOAP refused',             'POST /if/soap?x=1 fleet',
        'audience_not_allowed refused 0' ],
    [ 'limit_except: outside',          'GET /limit school', 'ok accepted 1' ],
    [ 'limit_except: inside',           'POST /limit school',
        'ok accepted 1' ],
    [ 'limit_except: inside, refused',  'POST /limit fleet',
        'audience_not_allowed refused 0' ],
    [ 'limit_except: inside, no token', 'DELETE /limit',
        'no_token refused 0' ],
    [ 'named location, gated before',   'GET /named fleet', 'ok accepted 1' ],
    [ 'named location, gated itself',   'GET /named/off',
        'no_token refused 0' ],
    [ 'named location, accepted itself', 'POST /named/off fleet',
        'ok accepted 1' ],
    [ 'a server off',                   'GET /x', '- - 1', 'open' ],
    [ 'a location in a server off',     'GET /gate fleet',
        'audience_not_allowed refused 0', 'open' ],
    [ 'a location in a server off, its token', 'GET /gate school',
        'ok accepted 1', 'open' ],
    [ 'a server\'s policy and kind',    'POST /x school',
        'no_token refused 0', 'bearer' ],
    [ 'a server\'s policy, bearer',     'POST /x both',
        'audience_not_allowed refused 0', 'bearer' ],
    [ 'a location in it',               'POST /auto school', 'ok accepted 1',
        'bearer' ],
    [ 'a second server of the port',    'GET /x', 'no_token refused 0',
        'open', 'second.example.com' ],
    [ 'a second server, accepted',      'GET /x fleet', 'ok accepted 1',
        'open', 'second.example.com' ],
) {
    my ($name, $what, $expected, $port, $host) = @$_;
    my $r = ask($what, $port // 8080, $host // HOST);
    my $seen = verdict($name, $r, $fleet, $expected) // next;
    my $who = $expected !~ /ok/ ? '' : 'upn=bob@example.com audience='
        . ($what =~ /school$/ ? $school_id : CLIENT_V2) . ' token-version=2.0';

    is(identity($seen) . identity($seen, 'X-School-'), $who,
        "$name: identity");
}

# A token goes where the method has it, or in both places.

sub ask {
    my ($what, $port, $host) = @_;
    my ($method, $uri, $whose) = split / /, $what;
    my $token = $whose && $token{ $whose eq 'both' ? 'fleet' : $whose };
    my @o = (port => $t->port($port), headers => [ Host => $host ]);

    push @o, body => enroll_message($token) if $method =~ /^P/;
    push @o, bearer => $token
        if $token && ($method !~ /^P/ || $whose eq 'both');
    return http_request($method, $uri, @o);
}

$t->done;
