#!/usr/bin/perl

# entra-mdmctl and a gate, with nothing between: whom the command lists, the
# next request lets in, where a state file keeps the lists and where Redis
# does; and how it ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json encode_json);
use POSIX ();
use Test::More;

use EntraMDM::Backend;
use EntraMDM::Ctl;
use EntraMDM::File qw(root slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;

use constant {
    APP => 'd4d41111-2222-3333-4444-5555555555d4',
    OTHER => 'E5E51111-2222-3333-4444-5555555555E5',
};

my $key = new_key();
my $token = mint($key, claims_v2(aud => APP));
my %store = (file => 'state state/file.json;',
    redis => 'redis redis://127.0.0.1:%%PORT_redis%%;');
my $tenant = TENANT;

my $t = EntraMDM::Nginx->new(workers => 2, http => <<'EOC'

    map $remote_user $role { anna admin; pipeline gitops; otto observer; }
EOC
    . join '', map { <<"EOC" } sort keys %store);

    entra_mdm_policy $_ {
        jwks file=%%DIR%%/keys.json;
        $store{$_}
    }

    server {
        listen 127.0.0.1:%%PORT_gate_$_%%;

        location / {
            client_max_body_size 2m;
            entra_mdm $_;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }

        location /admin/ {
            auth_basic           admins;
            auth_basic_user_file %%DIR%%/admins;
            entra_mdm_api        $_;
            entra_mdm_api_role   \$role;
        }
    }
EOC

$t->write_file('keys.json', jwks($key));
$t->write_file('admins', join '', map { "$_:{PLAIN}open sesame\n" }
    qw(anna pipeline otto));
$t->write_file('password', "open sesame\n");

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $redis = EntraMDM::Redis->new($t, 'redis');
$t->start;
ok((wait_for { $redis->subscribers }), 'the feed is at work');


# So many that both workers have their share.

sub met {
    my ($store) = @_;
    my %met;

    for (1 .. 8) {
        my $r = http_post('/', enroll_message($token),
            port => $t->port("gate_$store"));
        $met{ $r->status == 200 ? 'let in' : fault($r)->{subcode} } = 1;
    }
    return join ' ', sort keys %met;
}

for my $store (sort keys %store) {
    my $url = 'http://127.0.0.1:' . $t->port("gate_$store") . '/admin/';
    my $as = sub {
        my ($user, @arguments) = @_;
        my $last = ref $arguments[-1] ? pop @arguments : {};
        return ctl($t, @arguments, '--url', $url, '--user', $user,
            '--password-file', 'password', $last);
    };
    my $is = sub { says("$store: $_[0]", @_[ 1 .. $#_ ]) };
    my $met = sub { is(met($store), $_[1], "$store: $_[0]") };

    $is->('empty', $as->('otto', 'get'), 0, '', '');
    $met->('refused', 's:Authorization');
    $is->('an observer', $as->('otto', 'add', 'client-id', APP), 3, '',
        qr/HTTP 403: .*may read, not change/);
    $is->('the tenant', $as->('anna', 'add', 'tenant-id', $tenant), 0,
        "tenant ID $tenant is added\n", '');
    $met->('not the application yet', 's:Authorization');
    $is->('the application', $as->('anna', 'add', 'client-id', APP, OTHER), 0,
        "client ID ${\APP} is added\nclient ID ${\OTHER} is added\n", '');
    $met->('with the next request', 'let in');
    $is->('get', $as->('otto', 'get'), 0, "client-id ${\APP}\n"
        . "client-id ${\OTHER}\ntenant-id $tenant\n", '');

    my $run = $as->('otto', 'generate-gitops');
    $is->('generate-gitops', $run, 0, qr/^controls:\n/, '');
    $is->('which changes nothing', $as->('pipeline', 'gitops', '-f', '-',
        '--dry-run', '--exit-code', { in => $run->{out} }), 0,
        "nothing to change\n", '');
    $is->('gitops', $as->('pipeline', 'gitops', '-f', '-',
        { in => $run->{out} =~ s/^.*${\OTHER}\n//mr }), 0,
        "- client-id ${\OTHER}\n", '');
    $met->('which leaves the application', 'let in');

    $is->('remove', $as->('anna', 'remove', 'client-id', uc APP), 0,
        "client ID ${\uc APP} is removed\n", '');
    $met->('refused again', 's:Authorization');

    $fleet->answer('/api/latest/fleet/config' => { body => encode_json({
        mdm => { windows_entra_client_ids => [APP],
                 windows_entra_tenant_ids => [$tenant] } }) });
    my @sync = ('sync-fleet', '--fleet',
        'http://127.0.0.1:' . $t->port('fleet'));
    my %secret = (env => { FLEET_TOKEN => 'sesame' });

    $is->("Fleet's lists", $as->('pipeline', @sync, \%secret), 0,
        "+ client-id ${\APP}\n", '');
    $met->('let in', 'let in');
    $is->('which both have now', $as->('pipeline', @sync, \%secret), 0,
        "nothing to change\n", '');

    # Fleet's own file, with all that is no business of the gate

    my $default = root() . '/t/data/gitops/valid/default.yml';
    my @wanted = slurp($default) =~ /^ {4}- ([0-9a-f-]{36}) +#/mg;
    my $difference = "- client-id ${\APP}\n"
        . join '', map { "+ client-id $_\n" } @wanted;
    my $tried = "${difference}a dry run: nothing has changed\n";

    $is->('gitops, tried', $as->('otto', 'gitops', '-f', $default,
        '--dry-run'), 0, $tried, '');
    $is->('which counts if that is asked for', $as->('otto', 'gitops', '-f',
        $default, '--dry-run', '--exit-code'), 6, $tried, '');
    $is->('gitops, by an observer', $as->('otto', 'gitops', '-f', $default), 3,
        '', qr/HTTP 403: .*may read, not change/);
    $met->('nothing has changed', 'let in');
    $is->('gitops', $as->('pipeline', 'gitops', '-f', $default), 0,
        $difference, '');
    $met->('which lets the application go', 's:Authorization');
    $is->('gitops, again', $as->('pipeline', 'gitops', '-f', $default,
        '--exit-code', '--dry-run'), 0, "nothing to change\n", '');
    $is->('what it lists', $as->('otto', 'get'), 0,
        join('', map { "client-id $_\n" } sort @wanted)
        . "tenant-id $tenant\n", '');

    # what the API refuses

    my $many = $t->dir . '/many.yml';
    spew($many, join "\n", 'controls:', '  windows_entra_client_ids:',
        (map { sprintf '    - %08x-1111-4222-8333-444444444444', $_ }
            1 .. 25_001), '');
    $is->('too many', $as->('pipeline', 'gitops', '-q', '-f', $many), 3, qr/^/,
        qr/HTTP 413: .*25000 IDs/);
    $is->('the lists are the same', $as->('otto', 'gitops', '-f', $default,
        '--dry-run'), 0, "nothing to change\n", '');
    $is->('the application again', $as->('anna', 'add', 'client-id', APP,
        '-q'), 0, '', '');

    my $r = http_get('/admin/activities', port => $t->port("gate_$store"),
        headers => [ Authorization =>
            'Basic b3R0bzpvcGVuIHNlc2FtZQ==' ]);
    is_deeply([ map { [ @$_{qw(actor role)},
            $_->{type} =~ s/_microsoft_entra//r, values %{ $_->{details} } ] }
        reverse @{ decode_json($r->body)->{activities} } ],
        [ [ anna => 'admin', 'added_tenant', $tenant ],
          [ anna => 'admin', 'added_client_id', APP ],
          [ anna => 'admin', 'added_client_id', OTHER ],
          [ pipeline => 'gitops', 'deleted_client_id', OTHER ],
          [ anna => 'admin', 'deleted_client_id', APP ],
          [ pipeline => 'gitops', 'added_client_id', APP ],
          (map { [ pipeline => 'gitops', 'added_client_id', $_ ] } @wanted),
          [ pipeline => 'gitops', 'deleted_client_id', APP ],
          [ anna => 'admin', 'added_client_id', APP ] ],
        "$store: and who it was") or diag $r->raw;
}

my @redis = ('--url', 'http://127.0.0.1:' . $t->port('gate_redis') . '/admin/',
    '--user', 'anna', '--password-file', 'password');
my $members = 'entra_mdm:{redis}:client_ids';

ok($redis->cmd(SISMEMBER => $members, APP), 'Redis has them');

# many at once, none of whom sees the others

my @many = map { sprintf '%08x-aaaa-4aaa-8aaa-aaaaaaaaaaaa', $_ } 1 .. 16;
my $before = $redis->cmd(SCARD => $members);
my %ends = map { add($_) => $_ } @many;

is(join(' ', grep { waitpid $_, 0; $? != 0 } keys %ends), '',
    'each of many commands at once adds its own');
is($redis->cmd(SCARD => $members), $before + @many, 'and all of them are there');

sub add {
    my ($id) = @_;
    my $pid = fork // die "fork: $!";

    return $pid if $pid;
    chdir $t->dir;
    %ENV = ctl_environment($t);
    exec { ctl_binary() } 'entra-mdmctl', 'add', 'client-id', $id, '-q', @redis
        or POSIX::_exit(127);
}

# and without Redis: 4

$redis->stop;
says('Redis away: get', ctl($t, 'get', 'tenant-ids', @redis), 0, "$tenant\n",
    '');
says('Redis away: add', ctl($t, 'add', 'client-id', OTHER, @redis), 4, '',
    qr/HTTP 503: .*nothing was changed/);
says('Redis away: remove', ctl($t, 'remove', 'client-id', APP, @redis), 4, '',
    qr/HTTP 503: .*nothing was changed/);
is(met('redis'), 'let in', 'the last lists are in force');

# and without nginx

ok($t->stop, 'nginx stops');
says('nginx away', ctl($t, 'get', @redis), 4, '', qr/is the server running/);

$t->done;
