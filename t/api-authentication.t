#!/usr/bin/perl
# once

# Who may, however nginx has found out who it is: by a password, by a client's
# certificate, or by a portal that auth_request asks.  Each role reads and
# changes as the table says, in GitOps mode and without, and no client can
# choose one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::Certificates;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;
use EntraMDM::Verdict;

# what PATCH says to whom: without, and in GitOps mode; undef: nothing at all

my $reads = qr/may read, not change/;
my %role = (
    admin         => [ 200, qr/in GitOps mode only the role gitops/ ],
    gitops        => [ 200, 200 ],
    maintainer    => [ $reads, $reads ],
    observer      => [ $reads, $reads ],
    observer_plus => [ $reads, $reads ],
    root          => undef,
    nobody        => undef,
);

# Clients are called as their roles; the role of root is none of the API's, and
# nobody has none.  Each location serves the API of a store.

my $known = join ' ', map { $_ eq 'nobody' ? () : "IS$_ $_;" } sort keys %role;

sub roles_of { my ($what) = @_; return $known =~ s/IS/$what/gr }

sub locations {
    my ($lines) = @_;
    return join '', map { my $store = $_;
        map { my ($name, $mode) = @$_; <<"EOC" }
        location /$store/$name/ {
            entra_mdm_api        $store;
            entra_mdm_api_gitops $mode;
            $lines
        }
EOC
        [ free => 'off' ], [ gitops => 'on' ] } qw(zone redis);
}

my $t = EntraMDM::Nginx->new(workers => 2, http =>
    fleet_policy('', 'zone')
    . fleet_policy('redis redis://127.0.0.1:%%PORT_redis%%;', 'redis')
    . <<"EOC");

    map \$remote_user     \$by_user        { ${\roles_of('')} }
    map \$ssl_client_s_dn \$by_certificate { ${\roles_of('CN=')} }
    map \$cookie_session  \$of_session     { ${\roles_of('s-')} }

    # where nginx does not ask who has signed it, the configuration must
    map "\$ssl_client_verify \$ssl_client_s_dn" \$by_verified {
        "SUCCESS CN=admin" admin;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        auth_basic           admins;
        auth_basic_user_file %%DIR%%/users;
        entra_mdm_api_role   \$by_user;
        ${\locations('')}
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        ssl_certificate        %%DIR%%/ca/server.crt;
        ssl_certificate_key    %%DIR%%/ca/server.key;
        ssl_client_certificate %%DIR%%/ca/ca.crt;
        ssl_verify_client      on;
        entra_mdm_api_role     \$by_certificate actor=\$ssl_client_s_dn;
        ${\locations('')}
    }

    server {
        listen 127.0.0.1:%%PORT_unsigned%% ssl;
        ssl_certificate        %%DIR%%/ca/server.crt;
        ssl_certificate_key    %%DIR%%/ca/server.key;
        ssl_client_certificate %%DIR%%/ca/ca.crt;
        ssl_verify_client      optional_no_ca;
        entra_mdm_api_role     \$by_verified actor=\$ssl_client_s_dn;
        ${\locations('')}
    }

    server {
        listen 127.0.0.1:%%PORT_portal%%;
        entra_mdm_api_role \$portal_role actor=\$portal_user;
        auth_request       /portal;
        auth_request_set   \$portal_role \$upstream_http_x_role;
        auth_request_set   \$portal_user \$upstream_http_x_user;
        ${\locations('')}

        location /nameless/ {
            entra_mdm_api      zone;
            entra_mdm_api_role \$portal_role;
        }

        location = /portal {
            internal;
            auth_request            off;
            proxy_pass              http://127.0.0.1:%%PORT_signon%%;
            proxy_pass_request_body off;
            proxy_set_header        Content-Length "";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_closed%%;
        entra_mdm_api_role \$closed_role;
        auth_request       /portal;
        auth_request_set   \$closed_role \$upstream_http_x_role;
        location /zone/free/ { entra_mdm_api zone; }
        location = /portal   { proxy_pass http://127.0.0.1:%%PORT_none%%; }
    }

    # the portal itself: it knows sessions, and nothing else counts
    server {
        listen 127.0.0.1:%%PORT_signon%%;
        location / {
            add_header X-Role \$of_session;
            add_header X-User "\$of_session of the portal";
            if (\$cookie_session !~ ^s-) { return 401; }
            return 204;
        }
    }
EOC

my $ca = EntraMDM::Certificates->new($t->dir . '/ca');
my $foreign = EntraMDM::Certificates->new($t->dir . '/foreign');
my %certificate = map { $_ => { $ca->certificate($_, "DNS:$_") } } keys %role;
my %forged = $foreign->certificate('admin', 'DNS:admin');
my $redis = EntraMDM::Redis->new($t, 'redis');

$ca->certificate('server', 'IP:127.0.0.1');
$t->write_file('keys.json', jwks(new_key()));
$t->write_file('users', join '', map { "$_:{PLAIN}secret\n" } keys %role);
$t->start;
ok((wait_for { (api(GET => 'config', user => 'admin',
    location => '/redis/free/'))[1]{source} eq 'redis' }), 'both stores');


# the ways: what a client sends, and by what name it is known then

my %way = (
    'a password' => {
        as => sub { (user => $_[0]) },
        actor => sub { $_[0] },
    },
    'a certificate' => {
        as => sub { (by => \&https, port => $t->port('tls'),
            certificate => $certificate{$_[0]}) },
        actor => sub { "CN=$_[0]" },
    },
    'a portal' => {
        as => sub { (port => $t->port('portal'),
            headers => [ Cookie => "session=s-$_[0]" ]) },
        actor => sub { "$_[0] of the portal" },
    },
);

my $n = 0;

for my $way (sort keys %way) {
    for my $store (qw(zone redis)) {
        subtest "$way, $store" => sub { matrix($way, $store) };
    }
}

sub matrix {
    my ($way, $store) = @_;

    for my $role (sort keys %role) {
        my @as = (role => undef, $way{$way}{as}->($role));

        for my $mode (0, 1) {
            my $location = $mode ? "/$store/gitops/" : "/$store/free/";
            may("$role at $location", $role{$role} && $role{$role}[$mode],
                $way{$way}{actor}->($role), @as, location => $location);
        }
    }
}

sub may {
    my ($name, $change, $actor, @as) = @_;
    my @read = api(GET => 'config', @as);
    my $id = guid(++$n);

    if (!defined $change) {
        error_is("$name: reading", \@read, 403, [ base => qr/no role/ ]);
        error_is("$name: changing", [ patch([$id], undef, @as) ], 403,
            [ base => qr/no role/ ]);
        return;
    }

    my $before = $read[1]{mdm};
    is($read[0], 200, "$name reads");
    is($read[1]{gitops_mode} ? 1 : 0, $name =~ m{/gitops/} ? 1 : 0,
        "$name sees the mode");

    my @answer = patch([$id], undef, @as);
    if (ref $change) {
        error_is("$name does not change", \@answer, 403,
            [ base => $change ]);
        is_deeply((api(GET => 'config', @as))[1]{mdm}, $before,
            "$name: nothing was changed");
        return;
    }

    is($answer[0], 200, "$name changes");
    is_deeply($answer[1]{mdm}{windows_entra_client_ids}, [$id],
        "$name: which is so");
    my $json = (api(GET => 'activities?per_page=1', @as))[1];
    my ($last) = @{ $json->{activities} };
    is("$last->{details}{client_id} $last->{actor}", "$id $actor",
        "$name is who it was");
}


# who is nobody gets nowhere

my $change = lists([ guid(++$n) ]);

for my $way (
    [ 'no password', 401 ],
    [ 'a wrong password', 401, headers => [ Authorization => 'Basic '
        . encode_base64('admin:guess', '') ] ],
    [ 'no certificate', 400, by => \&https, port => $t->port('tls') ],
    [ 'a certificate that somebody else has signed', 400, by => \&https,
        port => $t->port('tls'), certificate => \%forged ],
    [ 'the same, where nginx does not ask', 403, by => \&https,
        port => $t->port('unsigned'), certificate => \%forged ],
    [ 'no certificate, where nginx does not ask', 403, by => \&https,
        port => $t->port('unsigned') ],
    [ 'no session', 401, port => $t->port('portal') ],
    [ 'a portal that is not there', 500, port => $t->port('closed') ],
)
{
    my ($name, $status, @as) = @$way;

    for my $method (qw(GET PATCH)) {
        my @answer = api($method => 'config',
            $method eq 'PATCH' ? $change : (), role => 'admin',
            location => '/zone/free/', @as);
        is($answer[0], $status, "$name: $method");
        unlike($answer[2]->body, qr/windows_entra/, "$name: and says nothing");
    }
}

is((api(GET => 'config', location => '/zone/free/', by => \&https,
    port => $t->port('unsigned'), certificate => $certificate{admin}))[0], 200,
    'though a certificate of the right authority does');


# what an observer may say of himself changes nothing

my @says = map { [ headers => [ @$_ ] ] }
    (map { [ $_ => 'admin' ] } qw(X-Role Role X-User X-Remote-User Remote-User
        X-Forwarded-User X-Forwarded-Role X-Auth-Request-User Portal-Role
        Portal_Role Remote_User By-Certificate By-User)),
    [ 'X-SSL-Client-S-DN' => 'CN=admin' ], [ 'SSL-Client-S-DN' => 'CN=admin' ],
    [ 'X-Role' => 'admin', 'x-role' => 'admin' ],
    [ Cookie => 'role=admin; portal_role=admin; by_user=admin' ];

push @says, [ arguments => "?$_=admin" ]
    for qw(role portal_role by_user remote_user entra_mdm_api_role x_role);

for my $way (sort keys %way) {
    for my $said (@says) {
        my %as = (role => undef, $way{$way}{as}->('observer'));
        my ($kind, $what) = @$said;
        my $name = "$way: " . (ref $what ? "@$what" : $what);

        $as{headers} = [ @{ $as{headers} // [] }, ref $what ? @$what : () ];
        error_is($name, [ api(PATCH => 'config' . (ref $what ? '' : $what),
            $change, %as, location => '/zone/free/') ], 403,
            [ base => $reads ]);
    }
}

# nor does a name that nobody has asked for: neither a role nor an author

for my $way ('a certificate', 'a portal') {
    my @as = (role => undef, location => '/zone/free/', user => 'admin');
    my %as = (@as, $way{$way}{as}->('observer'));

    error_is("$way: and another name",
        [ api(PATCH => 'config', $change, %as) ], 403, [ base => $reads ]);
    %as = (@as, $way{$way}{as}->('gitops'));
    is((patch([ guid(++$n) ], undef, %as))[0], 200, "$way: a change");
    is((api(GET => 'activities?per_page=1', %as))[1]{activities}[0]{actor},
        $way{$way}{actor}->('gitops'), "$way: by the name that is known");
}

# one connection, and one after the other

my $c = http_connect(port => $t->port('portal'));
for (qw(admin observer nobody gitops root admin)) {
    my $r = $c->request(PATCH => '/zone/free/config',
        body => json->encode(lists([ guid(++$n) ])), headers => [
            Cookie => "session=s-$_", 'Content-Type' => 'application/json' ]);
    my $expected = $_ eq 'admin' || $_ eq 'gitops' ? 200 : 403;
    is($r->status, $expected, "$_ on a connection that others have used");
}

# without a name, the role is who it was

my @portal = (role => undef, port => $t->port('portal'),
    location => '/nameless/', headers => [ Cookie => 'session=s-admin' ]);
is((patch([ guid(++$n) ], undef, @portal))[0], 200, 'a change without a name');
is((api(GET => 'activities?per_page=1', @portal))[1]{activities}[0]{actor},
    'admin', 'is by the role');

$t->done;
