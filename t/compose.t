#!/usr/bin/perl
# once

# compose.yaml, by what an engine would make of it: each service with its image,
# command, environment and mounts, at the ports that the file and the
# configurations name, and no engine needed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;
use YAML::XS ();

use EntraMDM::Alone;
use EntraMDM::Certificates;
use EntraMDM::File qw(root slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Image;
use EntraMDM::Soap;
use EntraMDM::Token;

images('bookworm', 'redis bookworm');

my $compose = YAML::XS::Load(slurp(root() . '/compose.yaml'));
my %service = %{ $compose->{services} };
my $dir = tempdir(CLEANUP => 1);
my $key = new_key();
my $ca = EntraMDM::Certificates->new("$dir/ca");
my $enroll = '/api/mdm/microsoft/enroll';
my $resolver = '127.0.0.11';
my ($v1, $v2) = (mint($key, claims_v1()), mint($key, claims_v2()));

chmod 0755, $dir, "$dir/ca";


# what the file names is there

is_deeply([ sort keys %service ], [ qw(backend gate redis) ], 'services');

my %image = map { $_ => $service{$_}{build}
    ? 'bookworm' : $service{$_}{image} =~ s/:.*//r } keys %service;
is_deeply(\%image, { backend => 'bookworm', gate => 'bookworm',
    redis => 'redis' }, 'images');

for my $name (grep { $service{$_}{build} } sort keys %service) {
    my ($argument, $value) = %{ $service{$name}{build}{args} };
    like(slurp(root() . "/$service{$name}{build}{context}/Dockerfile"),
        qr/^ARG \Q$argument\E=(\w+)$/m, "$name: $argument is an argument");
    my ($default) = slurp(root() . '/Dockerfile') =~ /^ARG $argument=(\w+)$/m;
    is($value, "\${$argument:-$default}", "$name: with the same default");
}

my (@mounts, %volume);
for my $name (sort keys %service) {
    for (@{ $service{$name}{volumes} // [] }) {
        my ($from, $to, $mode) = split /:/;
        if ($from =~ m{^\./}) {
            ok(-f root() . "/$from", "$name: $from is there");
            is($mode, 'ro', "$name: and only read");
        } else {
            ok(exists $compose->{volumes}{$from}, "$name: volume $from");
            $volume{$from} = $to;
        }
    }
    ok(exists $service{$_}, "$name: waits for $_")
        for keys %{ $service{$name}{depends_on} // {} };
}
is_deeply([ sort keys %volume ], [ sort keys %{ $compose->{volumes} } ],
    'no other volumes');

my %listens = map { my $name = $_;
    my ($file) = grep { m{/etc/nginx/nginx.conf} }
        @{ $service{$name}{volumes} };
    $name => (slurp(root() . '/' . (split /:/, $file)[0])
        =~ /listen (\d+);/)[0] } qw(gate backend);
is_deeply([ map { split /:/ } @{ $service{gate}{ports} } ],
    [ '127.0.0.1', 8080, $listens{gate} ],
    'the port is the one that the gate listens to');
is_deeply([ grep { $service{$_}{ports} } sort keys %service ], [ 'gate' ],
    'and nothing else can be reached');


# An engine gives names to the containers, and makes a volume of the image's
# folder; its name server is where gate.conf says.

spew("$dir/hosts", join '', map { "127.0.0.1 $_\n" } 'localhost', keys %service);
spew("$dir/resolv.conf", "nameserver $resolver\n");
like(slurp(root() . '/conf-examples/compose/gate.conf'),
    qr/resolver +\Q$resolver\E;/, 'the resolver');

my $login = EntraMDM::Alone::Login->new($dir, $ca, $resolver, $key);
$login->dns->answer($_ => [ '127.0.0.1' ]) for keys %service;

my %owner = (redis => 'redis', state => 'www-data');
my %container;

for my $volume (sort keys %volume) {
    make_path("$dir/$volume");
    my ($name) = $volume eq 'redis' ? 'redis' : 'gate';
    my $like = EntraMDM::Image::once($image{$name}, [], 'stat', '-c',
        '%U %u:%g %a', $volume{$volume});
    my ($user, $uid, $gid, $mode) = $like =~ /^(\S+) (\d+):(\d+) (\d+)$/m;
    is($user, $owner{$volume}, "the image has $volume{$volume} for its user")
        or diag $like;
    chown $uid, $gid, "$dir/$volume";
    chmod oct $mode, "$dir/$volume";
}

sub options {
    my ($name) = @_;
    my %environment = %{ $service{$name}{environment} // {} };
    my @mounts = map { my ($from, $to, @mode) = split /:/;
        join ':', ($from =~ m{^\./} ? root() . "/$from" : "$dir/$from"), $to,
            @mode } @{ $service{$name}{volumes} // [] };

    # else buildah mounts a file of its own there too, before this or after it
    return [ '--no-hosts',
        (map { ('-e', "$_=$environment{$_}") } sort keys %environment),
        map { ('-v', $_) } @mounts, "$dir/hosts:/etc/hosts:ro",
        "$dir/resolv.conf:/etc/resolv.conf:ro", $name eq 'gate'
            ? "$dir/ca/ca.crt:/etc/ssl/certs/ca-certificates.crt:ro" : () ];
}

sub up {
    my ($name) = @_;
    $container{$name} = EntraMDM::Image->run($dir, $image{$name},
        options($name), @{ $service{$name}{command} // [] });
}

sub healthy {
    my ($name) = @_;
    my (undef, $own) = @{ $service{$name}{healthcheck}{test} // [] };
    my ($check) = slurp(root() . '/Dockerfile')
        =~ /^HEALTHCHECK .*\\\n\s+CMD (.*)/m;

    ok((wait_for { EntraMDM::Image::once($image{$name}, options($name), 'sh',
        '-c', '{ ' . ($own // $check) . '; } && echo healthy')
        =~ /healthy$/ } 60), "$name is healthy") or diag $container{$name}->log;
}

sub verdict {
    my ($token, @more) = @_;
    my $r = http_post($enroll, enroll_message($token), @more);
    return $r->status == 200 ? $r->body : fault($r)->{subcode};
}


# up

$EntraMDM::HTTP::Port = 8080;
for my $name (qw(backend redis gate)) {
    up($name);
    healthy($name);
}

my $said = 'POST ' . $enroll . ': user %s of tenant ' . TENANT . "\n";
is(verdict($v1, headers => [ 'X-Entra-UPN' => 'evil@example.com' ]),
    sprintf($said, 'ann@example.com'), 'a v1 token is accepted');
is(verdict($v2), 's:Authorization', 'an application that nobody listed is not');
ok((wait_for { $container{gate}->log =~ /refused, audience_not_allowed/ }),
    'as the log says');
is(verdict(mint(new_key(), claims_v1())), 's:Authentication', 'nor a forgery');
like(http_get('/')->body, qr/^GET \/: nobody$/, 'the rest is open');
is(http_get("/#/..$enroll")->status, 400, 'but for a path that others read on');

# the command in the file's head

my ($command) = slurp(root() . '/compose.yaml')
    =~ /^#   docker compose exec redis (.*\\\n#.*)/m;
$command =~ s/\\\n#\s*//;
$command =~ s/[0-9a-f-]{36}/CLIENT_V2/e or die;

for my $change ([ SADD => sprintf $said, 'bob@example.com' ],
                [ SREM => 's:Authorization' ])
{
    my ($what, $then) = @$change;
    my $got;

    like(EntraMDM::Image::once('redis', options('redis'), 'sh', '-c',
        $command =~ s/SADD/$what/r), qr/^1$/m, "$what as the file says");
    wait_for { ($got = verdict($v2)) eq $then };
    is($got, $then, 'is followed');
}

# down, and up again: Redis and the gate have their volumes

like(EntraMDM::Image::once('redis', options('redis'), 'sh', '-c', $command),
    qr/^1$/m, 'listed');
wait_for { verdict($v2) =~ /^POST/ };
ok((wait_for { -e "$dir/state/fleet.json"
    && slurp("$dir/state/fleet.json") =~ CLIENT_V2 }), 'the state is kept');
ok($container{redis}->quit('redis-server', 'TERM'), 'Redis ends');
ok($container{gate}->quit('nginx: master', 'QUIT'), 'so does the gate');
up('gate');
healthy('gate');
is(verdict($v2), sprintf($said, 'bob@example.com'),
    'without Redis, the last list');
up('redis');
healthy('redis');
is(EntraMDM::Image::once('redis', options('redis'), 'sh', '-c',
    $command =~ s/SADD.*/"SMEMBERS 'entra_mdm:{fleet}:client_ids'"/sre)
    =~ /(\S{36})/ ? $1 : '', CLIENT_V2, 'Redis has it on disk');
ok($container{$_}->quit(@{ { redis => [ 'redis-server', 'TERM' ],
    gate => [ 'nginx: master', 'QUIT' ],
    backend => [ 'nginx: master', 'QUIT' ] }->{$_} }), "$_ ends")
    for qw(gate redis backend);

done_testing();
