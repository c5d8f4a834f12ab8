# The demonstration itself; tools/demo has built what it needs.  Keys and
# tokens are made on the spot in Entra's shape, messages have Windows' shape,
# and nginx runs conf-examples/demo.conf.

use strict;
use warnings;

use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use Getopt::Long;

use EntraMDM::Backend;
use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Redis;
use EntraMDM::Soap;
use EntraMDM::Token;

$| = 1;

my $top = shift @ARGV;
my ($once, $live, $port, $backend_port, $redis_port) = (0, 0, 8080);
GetOptions(once => \$once, redis => \$live, 'port=i' => \$port,
    'backend=i' => \$backend_port, 'redis-port=i' => \$redis_port)
    or die "tools/demo --help says what can be chosen\n";
$backend_port //= $port + 1;
$redis_port //= $backend_port + 1;

my $dir = "$top/build/demo";
my $other = '9c9c1111-2222-3333-4444-5555555555c9';
my $uri = '/api/mdm/microsoft';
my $terms = "$uri/tos?api-version=1.0&redirect_uri="
    . 'ms-appx-web%3A%2F%2FMicrosoft.AAD.BrokerPlugin&client-request-id='
    . '4d614de0-dab7-4da3-b412-919030001695';

use constant LIST => 'entra_mdm:{fleet}:client_ids';

my $scene = 0;

# HRESULTs as in [MS-MDE2] 2.2.10.

my %Hresult = (
    's:MessageFormat' => '80180001', 's:Authentication' => '80180002',
    's:Authorization' => '80180003', 's:EnrollmentServer' => '80180005',
    'a:InternalServiceFault' => '80180006', 'a:InvalidSecurity' => '80180007',
);


# A place for Backend.pm and Redis.pm to listen and to keep their records.

sub Place::dir  { return $dir }
sub Place::port { return $_[1] eq 'redis' ? $redis_port : $backend_port }


for ($port, $backend_port, $live ? $redis_port : ()) {
    IO::Socket::INET->new(PeerAddr => "127.0.0.1:$_") or next;
    die "Port $_ of 127.0.0.1 is in use; choose another: "
        . "tools/demo --port 9080\n";
}

remove_tree($dir);
make_path("$dir/modules");
copy("$top/build/ngx_http_entra_mdm_module.so", "$dir/modules/") or die;

my $conf = slurp("$top/conf-examples/demo.conf");
$conf =~ s/127\.0\.0\.1:8081/127.0.0.1:$backend_port/g;
$conf =~ s/listen 8080/listen 127.0.0.1:$port/;
$conf =~ s{^(\s+)(device_token pass;)}
    {$1$2$1redis        redis://127.0.0.1:$redis_port;}m if $live;
spew("$dir/nginx.conf", $conf);

my ($key, $next) = (new_key(), new_key());
spew("$dir/keys.json", jwks($key, $next));

my $place = bless {}, 'Place';
my $backend = EntraMDM::Backend->new($place);
$backend->answer('*' => { body => "enrolled\n" });
my $redis = $live ? EntraMDM::Redis->new($place, 'redis') : undef;

my $nginx = start();
$EntraMDM::HTTP::Port = $port;

END { my $status = $?; stop(); $? = $status }
$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

introduce();

show('A device with a v1 token (audience: the server URL) enrolls.',
    POST => "$uri/enroll", body => enroll_message(mint($key, claims_v1())));

show('A device with a v2 token (audience: a client ID) enrolls, and claims '
    . 'to be somebody else in a header.',
    POST => "$uri/enroll", body => enroll_message(mint($key, claims_v2())),
    headers => [ 'X-Entra-UPN' => 'ceo@example.com' ]);

show('A user opens the terms of use; the token is in Authorization.',
    GET => $terms, bearer => mint($key, claims_v2()));

my $stranger = mint($key, claims_v2(aud => $other));

show('A device has a token of an application that nobody listed.',
    POST => "$uri/enroll", body => enroll_message($stranger),
    mend => 'if that application is yours, ' . ($live ? 'list it in Redis'
        : "add \"client_id $other;\" to the policy and reload nginx"));

if ($live) {
    change(SADD => 200, 'The application is listed, and the device tries '
        . 'again; nginx was not touched.');
    change(SREM => 403, 'The application is taken off the list, and the same '
        . 'token is refused.');
}

show('A token that somebody wrote himself.',
    POST => "$uri/policy",
    body => policy_message(mint(new_key(kid => $key->kid), claims_v2())));

show('A user without Entra ID signs in with a password.',
    POST => "$uri/policy", body => policy_message('', security =>
        '<wsse:Security><wsse:UsernameToken><wsse:Username>ann'
        . '</wsse:Username><wsse:Password>hunter2</wsse:Password>'
        . '</wsse:UsernameToken></wsse:Security>'));

print "The rules are in build/demo/nginx.conf, the log in "
    . "build/demo/error.log.\n";

if (!$once) {
    print "nginx serves on http://127.0.0.1:$port; Ctrl-C ends it.\n";
    print "redis-cli -p $redis_port changes the lists.\n" if $live;
    waitpid $nginx, 0;
    $nginx = 0;
}


# Scenes.

sub introduce {
    print <<"TEXT";

  Windows device  -->  nginx 127.0.0.1:$port  -->  enrollment server
                       entra_mdm fleet             127.0.0.1:$backend_port

  Policy "fleet" accepts tokens that Entra signed for tenant
  @{[ TENANT ]}, with the audience
  https://@{[ HOST ]} (v1) or @{[ CLIENT_V2 ]} (v2).

TEXT
}

sub show {
    my ($title, $method, $path, %request) = @_;
    my $log = length slurp("$dir/error.log");

    printf "%s\n\n", wrapped(++$scene . '. ', '   ', $title);

    my $response = http_request($method, $path, %request);
    line('admin', $request{command}) if $request{command};
    line('device', "$method " . ($path =~ s/\?.*//r)
        . (defined $request{body}
            ? ', ' . length($request{body}) . ' bytes' : ''));
    answered($response);
    received($request{body});
    logged(substr slurp("$dir/error.log"), $log);
    line('to mend', $request{mend}) if $request{mend};
    print "\n";
}

# One command to Redis, and what a device meets right after it.

sub change {
    my ($command, $status, $title) = @_;
    my $shown = "redis-cli -p $redis_port $command '${\LIST}' $other";

    $redis->cmd($command => LIST, $other);
    wait_for { http_get($terms, bearer => $stranger)->status == $status }
        or die "\"$shown\" has no effect\n";
    $backend->requests;
    show($title, POST => "$uri/enroll", command => $shown,
        body => enroll_message($stranger));
}

sub answered {
    my ($response) = @_;

    if (($response->header('Content-Type') // '') !~ /soap/) {
        line('', 'HTTP ' . $response->status);
        return;
    }

    my $fault = fault($response);
    line('', 'HTTP ' . $response->status . ", fault $fault->{subcode}, "
        . "which Windows shows as 0x$Hresult{$fault->{subcode}}");
    line('', "\"$fault->{message}\"");
    line('', "trace ID $fault->{trace_id}");
}

sub received {
    my ($body) = @_;
    my ($request) = $backend->requests;

    if (!$request) {
        line('backend', 'nothing');
        return;
    }

    my $same = ($body // '') eq $request->body;
    line('backend', $request->method . ' ' . ($request->uri =~ s/\?.*//r)
        . (defined $body ? ', ' . ($same ? 'the same ' : 'NOT the same ')
            . length($request->body) . ' bytes' : ''));
    line('', "$_: " . $request->header($_))
        for grep { /^X-Entra-/i } $request->names;
}

# What nginx adds to each line says nothing new here.

sub logged {
    my ($log) = @_;

    for (grep { /entra_mdm:/ } split /\n/, $log) {
        s/.*?(?=entra_mdm:)//;
        s/, client: 127.*//;
        line('log', $_);
    }
}

sub line {
    my ($who, $text) = @_;
    printf "%s\n", wrapped(sprintf('   %-8s', $who), ' ' x 11, $text);
}

sub wrapped {
    my ($first, $other, $text) = @_;
    my @lines = ($first);

    for my $word (split / /, $text) {
        push @lines, $other
            if length("$lines[-1]$word") > 78 && $lines[-1] =~ /\S/;
        $lines[-1] .= "$word ";
    }
    s/ +$// for @lines;
    return join "\n", @lines;
}


# nginx.

sub start {
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        setpgrp;
        $ENV{PATH} .= ':/usr/sbin';
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', '/dev/null';
        open STDERR, '>>', "$dir/error.log";
        exec 'nginx', '-p', $dir, '-e', 'stderr', '-c', "$dir/nginx.conf",
            '-g', 'daemon off;' or exit 127;
    }

    wait_for {
        kill(0, $pid) && waitpid($pid, 1) == 0 or die
            "nginx does not start:\n" . slurp("$dir/error.log");
        IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");
    } or die "nginx does not answer on port $port\n";

    return $pid;
}

sub stop {
    if ($nginx) {
        kill TERM => $nginx;
        waitpid $nginx, 0;
        $nginx = 0;
    }
    $redis->stop if $redis;
}
