# The measuring itself; tools/bench has built what it needs.

use strict;
use warnings;

use File::Temp qw(tempdir);
use Getopt::Long;
use IO::Socket::INET;
use POSIX qw(sysconf _SC_CLK_TCK);

use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;

$| = 1;

my $top = shift @ARGV;
my ($seconds, $rounds, $only_instructions) = (4, 5, 0);
GetOptions('seconds=i' => \$seconds, 'rounds=i' => \$rounds,
    'instructions' => \$only_instructions)
    or die "tools/bench --help says what can be chosen\n";

my $dir = tempdir('entra-mdm-bench-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my %port = map { $_ => EntraMDM::Nginx::reserve() } qw(gate bare backend);
my %pid;

END { my $status = $?; stop($_) for keys %pid; $? = $status }
$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);


# What is compared.

my $key = new_key();
my $token = mint($key, claims_v2(wids => [ map { sprintf
    '%08x-0000-4000-8000-000000000000', $_ } 1 .. 8 ]));
spew("$dir/keys.json", jwks($key, map { new_key() } 1 .. 5));

my $gate = <<"CONF";
    entra_mdm_policy bench {
        server_url https://@{[ HOST ]};
        client_id  @{[ CLIENT_V2 ]};
        tenant_id  @{[ TENANT ]};
        jwks       file=$dir/keys.json;
    }
    entra_mdm bench;
CONF

my %conf = (
    gate => [ "load_module $top/build/ngx_http_entra_mdm_module.so;", $gate ],
    bare => [ '', '' ],
);

sub conf {
    my ($name, $main, $http, $location) = @_;
    return spew("$dir/$name.conf", <<"CONF");
$main
worker_processes 1;
pid $dir/$name.pid;
error_log $dir/$name.log;
events { }
http {
    access_log off;
    client_body_temp_path $dir/$name-body;
    proxy_temp_path $dir/$name-proxy;
    fastcgi_temp_path $dir/$name-fastcgi;
    uwsgi_temp_path $dir/$name-uwsgi;
    scgi_temp_path $dir/$name-scgi;
    keepalive_requests 1000000;
$http
    upstream backend {
        server 127.0.0.1:$port{backend}{port};
        keepalive 64;
        keepalive_requests 1000000;
    }
    server {
        listen 127.0.0.1:$port{$name}{port};
        location / { $location }
    }
}
CONF
}

my $proxy = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    . ' proxy_pass http://backend;';
conf($_, @{ $conf{$_} }, $proxy) for qw(gate bare);
conf('backend', 'worker_cpu_affinity 10;', '', 'return 200 ok;');


# Running.

sub start {
    my ($name, $main, @before) = @_;

    $pid{$name} = fork // die "fork: $!\n";
    if ($pid{$name} == 0) {
        open STDOUT, '>', "$dir/$name.out";
        open STDERR, '>&', \*STDOUT;
        $ENV{PATH} .= ':/usr/sbin';
        exec @before, 'nginx', '-p', $dir, '-e', "$dir/$name.log",
            '-c', "$dir/$name.conf", '-g', "daemon off; $main" or exit 127;
    }

    wait_for {
        IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port{$name}{port}")
    } 30 or die "nginx does not start:\n", slurp("$dir/$name.log");
}

sub stop {
    my ($name) = @_;
    my $pid = delete $pid{$name} or return;
    kill QUIT => $pid;
    waitpid $pid, 0;
}

sub worker {
    my ($name) = @_;
    my ($child) = split ' ', slurp("/proc/$pid{$name}/task/$pid{$name}/children");
    return $child;
}

# In seconds, since the process began.

sub cpu_time {
    my ($pid) = @_;
    my @stat = split ' ', slurp("/proc/$pid/stat") =~ s/.*\) //sr;
    return ($stat[11] + $stat[12]) / sysconf(_SC_CLK_TCK);
}

sub wrk {
    my ($name) = @_;
    my $before = cpu_time(worker($name));
    my $said = `taskset -c 1 wrk -t1 -c16 -d${seconds}s \\
        -H 'Authorization: Bearer $token' \\
        http://127.0.0.1:$port{$name}{port}/ 2>&1`;
    my $spent = cpu_time(worker($name)) - $before;
    my ($rate) = $said =~ m{Requests/sec:\s+([\d.]+)} or die $said;
    my ($count) = $said =~ m{(\d+) requests in};

    die $said if $said =~ /Non-2xx|Socket errors/;
    return { rate => $rate, cpu => $spent / $count * 1e6 };
}

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# The difference between a long and a short run, so that starting up and
# shutting down do not count.

sub instructions {
    my ($name) = @_;
    my ($short, $long) = (100, 400);
    my %count;

    for my $requests ($short, $long) {
        start($name, 'master_process off;', 'valgrind', '-q',
            '--tool=callgrind', "--callgrind-out-file=$dir/callgrind");
        my $client = http_connect(port => $port{$name}{port}, timeout => 60);
        for (1 .. $requests) {
            $client->request(GET => '/', bearer => $token)->status == 200
                or die "not accepted\n";
        }
        stop($name);
        ($count{$requests}) = slurp("$dir/callgrind") =~ /^totals: (\d+)/m
            or die "callgrind has counted nothing\n";
    }

    return ($count{$long} - $count{$short}) / ($long - $short);
}


start('backend', '');
printf "token of %d bytes, RS256, key set of 6 keys\n\n", length $token;

if (!$only_instructions) {
    my %run;

    start($_, 'worker_cpu_affinity 01;') for qw(gate bare);
    wrk($_) for qw(gate bare);                          # warm up
    for (1 .. $rounds) {
        push @{ $run{$_} }, wrk($_) for qw(gate bare);
    }
    stop($_) for qw(gate bare);

    my %rate = map { $_ => median(map { $_->{rate} } @{ $run{$_} }) } keys %run;
    my %cpu = map { $_ => median(map { $_->{cpu} } @{ $run{$_} }) } keys %run;

    printf "requests per second  with the gate %6.0f   without %6.0f   "
        . "ratio %.2f\n", @rate{qw(gate bare)}, $rate{gate} / $rate{bare};
    printf "CPU per request      with the gate %6.1f   without %6.1f   "
        . "added %.1f microseconds\n", @cpu{qw(gate bare)},
        $cpu{gate} - $cpu{bare};
}

my %instructions = map { $_ => instructions($_) } qw(gate bare);
printf "instructions         with the gate %6.0f   without %6.0f   "
    . "added %.0f\n", @instructions{qw(gate bare)},
    $instructions{gate} - $instructions{bare};
