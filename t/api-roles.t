#!/usr/bin/perl

# Who may: roles, GitOps mode, methods, subrequests, other sites, and the
# blocks that stand in a location; with the zone as the list, and with Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;
use EntraMDM::Verdict;

my %lines = (zone => '', redis => 'redis redis://127.0.0.1:%%PORT_redis%%;');

sub conf {
    my ($store) = @_;
    return fleet_policy($lines{$store}) . api_conf('', <<'EOC') . <<'EOT';

        location /gitops/ {
            entra_mdm_api fleet;
            entra_mdm_api_role $role;
            entra_mdm_api_gitops on;
        }

        location /unset/ {
            entra_mdm_api fleet;
            entra_mdm_api_role $unset;
        }

        location /limited/ {
            entra_mdm_api fleet;
            entra_mdm_api_role $role;
            limit_except GET { deny all; }
        }

        location /limited-not/ {
            entra_mdm_api fleet;
            entra_mdm_api_role $role;
            limit_except GET { allow all; }
        }

        location /if/ {
            entra_mdm_api fleet;
            entra_mdm_api_role $role;
            set $x 1;
            if ($arg_x) { set $x 2; }
        }

        location /private/ {
            entra_mdm_api fleet;
            entra_mdm_api_role $by_user;
            auth_basic admins;
            auth_basic_user_file %%DIR%%/users;
        }

        location /certificate/ {
            entra_mdm_api fleet;
            entra_mdm_api_role $role actor=$by_certificate;
            location /certificate/if/ {
                entra_mdm_api fleet;
                limit_except GET { allow all; }
            }
        }

        location = /ssi.html { ssi on; root %%DIR%%; }
        location = /included.html {
            auth_request /entra-mdm/api/config;
            root %%DIR%%;
        }
        location /error/ {
            error_page 403 /entra-mdm/api/config;
            deny all;
        }
        location /rewrite { rewrite ^ /entra-mdm/api/config last; }
EOC

    map $http_x_subject $by_certificate { default $http_x_subject; }
    map $remote_user $by_user { default ''; ann admin; joe observer; }
    map $arg_nothing $unset { default ''; }

    server {
        listen 127.0.0.1:%%PORT_gated%%;
        entra_mdm fleet token=bearer;
        entra_mdm_api_role $role;

        location / { return 204; }
        location /api/ {
            entra_mdm_api fleet;
            location /api/nested { root %%DIR%%; }
        }
    }
EOT
}

my $t = EntraMDM::Nginx->new;
my $redis = EntraMDM::Redis->new($t, 'redis');
$t->write_file('keys.json', jwks(new_key()));
$t->write_file('ssi.html', '<!--# include virtual="/entra-mdm/api/config" -->');
$t->write_file('included.html', 'x');
$t->write_file('users', "ann:{PLAIN}secret\njoe:{PLAIN}secret\n");

my $change = lists([]);


sub story {
    # roles

    for ([ 'admin', 200, 200 ], [ 'gitops', 200, 200 ],
        [ 'maintainer', 200, 403 ],
        [ 'observer', 200, 403 ], [ 'observer_plus', 200, 403 ],
        [ 'Admin', 403, 403 ], [ 'admin ', 200, 200 ],
        [ 'administrator', 403, 403 ], [ 'adm', 403, 403 ],
        [ 'admin,gitops', 403, 403 ], [ 'none', 403, 403 ],
        [ '', 403, 403 ], [ undef, 403, 403 ])
    {
        my ($role, $read, $write) = @$_;
        my $name = "role " . (defined $role ? "'$role'" : 'not sent');

        for my $what (qw(config activities status)) {
            my @answer = api(GET => $what, role => $role);
            $read == 200 ? is($answer[0], 200, "$name reads $what")
                : error_is("$name: $what", \@answer, 403,
                    [ base => qr/no role/ ]);
        }

        my @answer = api(PATCH => 'config', $change, role => $role);
        $write == 200 ? is($answer[0], 200, "$name changes")
            : error_is("$name changes nothing", \@answer, 403,
                [ base => $read == 200 ? qr/may read, not change/
                    : qr/no role/ ]);
    }

    error_is('a variable that nothing has set',
        [ api(GET => 'config', location => '/unset/') ], 403);


    # GitOps mode

    for my $role (qw(admin maintainer)) {
        error_is("GitOps mode: $role changes nothing", [ api(PATCH => 'config',
            $change, role => $role, location => '/gitops/') ], 403,
            [ base => $role eq 'admin' ? qr/GitOps mode/ : qr/may read/ ]);
    }

    my ($status, $json) = api(PATCH => 'config', $change, role => 'gitops',
        location => '/gitops/');
    is($status, 200, 'GitOps mode: gitops does');
    ok($json->{gitops_mode}, 'GitOps mode is shown');
    ($status, $json) = api(GET => 'config', location => '/gitops/');
    is($status, 200, 'GitOps mode: admin reads');


    # what nginx itself has found out

    is((api(GET => 'config', location => '/private/'))[0], 401,
        'without a password nginx answers');
    is((api(PATCH => 'config', $change, location => '/private/',
        user => 'ann'))[0], 200, 'the role follows from the user');
    is((api(PATCH => 'config', $change, location => '/private/',
        user => 'joe'))[0], 403, 'another user, another role');


    # whom nginx knows otherwise may still say a name, and a password

    for ([ '/certificate/', 'CN=ann', 'CN=ann' ],
        [ '/certificate/', '', 'gitops' ],
        [ '/certificate/if/', 'CN=joe', 'CN=joe' ])
    {
        my ($location, $subject, $actor) = @$_;
        my @as = (role => 'gitops', user => 'eve', location => $location,
            headers => [ 'X-Subject' => $subject ]);

        is((api(GET => 'status', @as))[1]{actor}, $actor, "actor $actor");
        is((patch([ guid(1) ], undef, @as))[0], 200, "$actor changes a list");
        is((api(GET => 'activities'))[1]{activities}[0]{actor}, $actor,
            "$actor is who it was");
        patch([], undef);
    }


    # methods and paths

    for my $method (qw(PUT POST DELETE OPTIONS BREW)) {
        for my $what (qw(config activities status)) {
            my @answer = api($method => $what, lists([]));
            error_is("$method $what", \@answer, 405);
            is($answer[2]->header('Allow'),
                $what eq 'config' ? 'GET, HEAD, PATCH' : 'GET, HEAD',
                "$method $what: Allow");
        }
    }

    for my $what (qw(activities status)) {
        error_is("PATCH $what", [ api(PATCH => $what, lists([])) ], 405);
    }

    my $options = (api(OPTIONS => 'config', headers => [
        Origin => 'https://evil.example',
        'Access-Control-Request-Method' => 'PATCH' ]))[2];
    is((grep { /^access-control/i } $options->names), 0, 'no CORS');

    for my $path ('', '/', 'config/', 'config/x', 'Config', 'conf', 'configs',
        'mdm', '../api/configx')
    {
        error_is("path '$path'", [ api(GET => $path) ], 404);
    }

    is((api(GET => 'config?x=1'))[0], 200, 'arguments change no path');


    # requests of another site

    my $own = $EntraMDM::HTTP::Host;

    for ([ 200, Origin => "http://$own" ],
        [ 200, Origin => "https://$own" ],
        [ 200, Origin => "http://\U$own" ],
        [ 403, Origin => "http://$own.evil.example" ],
        [ 403, Origin => "http://evil.example" ],
        [ 403, Origin => "http://$own:8080" ],
        [ 403, Origin => "ftp://$own" ],
        [ 403, Origin => $own ],
        [ 403, Origin => 'null' ],
        [ 403, Origin => '' ],
        [ 403, Origin => "http://$own", Origin => 'http://evil.example' ],
        [ 403, 'oRIGIN' => 'http://evil.example' ],
        [ 200, 'Sec-Fetch-Site' => 'same-origin' ],
        [ 200, 'Sec-Fetch-Site' => 'none' ],
        [ 403, 'Sec-Fetch-Site' => 'cross-site' ],
        [ 403, 'Sec-Fetch-Site' => 'same-site' ],
        [ 403, 'Sec-Fetch-Site' => '' ],
        [ 403, 'Sec-Fetch-Site' => 'same-origin', 'Sec-Fetch-Site' => 'x' ])
    {
        my ($expected, @headers) = @$_;
        my @answer = api(PATCH => 'config', $change, headers => \@headers);
        my $name = "@headers";

        $expected == 200 ? is($answer[0], 200, $name)
            : error_is($name, \@answer, 403, [ base => qr/another site/ ]);
        is((api(GET => 'config', headers => \@headers))[0], 200,
            "$name: reading");
    }


    # subrequests, and methods that are not the client's

    is(http_get('/ssi.html', headers => [ 'X-Role' => 'admin' ])->body
        =~ /windows_entra/, '', 'not by SSI');
    is(http_get('/included.html', headers => [ 'X-Role' => 'admin' ])->status,
        403, 'not by auth_request');
    error_is('not by the error page of another method', [ api(POST => '', '{}',
        location => '/error/') ], 403, [ base => qr/rewritten/ ]);
    is((api(GET => '', location => '/rewrite'))[0], 200,
        'by a rewritten path, though');
    is((api(PATCH => '', $change, location => '/rewrite'))[0], 200,
        'whatever the method');


    # limit_except and if

    is((api(GET => 'config', location => '/limited/'))[0], 200,
        'limit_except: reading');
    is((api(HEAD => 'config', location => '/limited/'))[0], 200,
        'limit_except: HEAD is GET to it');
    is((api(PATCH => 'config', $change, location => '/limited/'))[0], 403,
        'limit_except: changing is denied');
    is((api(PATCH => 'config', $change, location => '/limited-not/'))[0], 200,
        'limit_except: changing is allowed');
    is((api(PATCH => 'config?x=1', $change, location => '/if/'))[0], 200,
        'within an "if"');
    is((api(PATCH => 'config', $change, location => '/if/'))[0], 200,
        'beside an "if"');


    # beside a gate

    my @gated = (port => $t->port('gated'), location => '/api/');

    is((api(GET => 'config', @gated))[0], 200,
        'no enrollment token of an administrator');
    is((api(GET => 'nested', @gated))[0], 401,
        'but of what is nested there, as outside');
}

my %source = (zone => 'state', redis => 'redis');
for my $store (sort keys %source) {
    $t->change(http => conf($store));
    $t->start;
    ok((wait_for { (api(GET => 'config'))[1]{source} eq $source{$store} }),
        $source{$store});
    subtest $store => \&story;
    ok($t->stop, 'it stops');
}

$t->done;
