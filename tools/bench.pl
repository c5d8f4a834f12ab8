# The measuring itself; tools/bench has built what it needs.

use strict;
use warnings;

use File::Temp qw(tempdir);
use Getopt::Long;
use IO::Socket::INET;
use Time::HiRes qw(sleep);

use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::State;
use EntraMDM::Token;

$| = 1;

use constant { TOKENS => 2000, MILLION => 1_000_000, MB => 1048576 };

my ($seconds, $rounds, $quick, $only_instructions, $list, $write) = (2, 7);
my ($top, @wanted) = shift @ARGV;
GetOptions('seconds=i' => \$seconds, 'rounds=i' => \$rounds,
    'quick' => \$quick, 'instructions' => \$only_instructions,
    'list' => \$list, 'case=s' => \@wanted, 'write' => \$write)
    or die "tools/bench --help says what can be chosen\n";
($seconds, $rounds) = (1, 3) if $quick;
die "--write is for all cases, and not for --quick\n"
    if $write && ($quick || $only_instructions || @wanted);


# The cases, in the order they are run.  Each returns what was measured with
# the gate and without, in what unit, and what is to be compared with the
# limit.

my @cases = (
    [ 'new', 'bearer, a token not seen before', 'at most', 2.0, 'V',
      sub { on_top('local', 'gate new', 'bare new') } ],
    [ 'seen', 'bearer, a token seen before', 'at most', 0.25, 'V',
      sub { on_top('local', 'gate seen', 'bare seen') } ],
    [ 'seen-local', 'requests per second, local content', 'at least', 0.75, '',
      sub { rates('local', 'gate seen', 'bare seen') } ],
    [ 'seen-proxied', 'requests per second, proxied', 'at least', 0.90, '',
      sub { rates('proxied', 'gate seen', 'bare seen') } ],
    [ 'soap', 'SOAP, a message with a new token', 'at most', 3.0, 'V',
      sub { on_top('proxied', 'gate soap', 'bare soap') } ],
    [ 'refused-signature', 'a bad signature, against accepted', 'at most', 1.0,
      '', sub { against('local', 'gate signature', 'gate new') } ],
    [ 'refused-audience', 'another audience, against accepted', 'at most', 1.0,
      '', sub { against('local', 'gate audience', 'gate new') } ],
    [ 'refused-again', 'the same token each time, against accepted', 'at most',
      1.0, '', sub { against('proxied', 'gate audience-seen', 'gate seen') } ],
    [ 'garbage', '1.6 KB that are no token', 'at most', 0.25, 'V',
      sub { on_top('local', 'gate garbage', 'bare garbage') } ],
    [ 'ids', 'a million client IDs, against ten', 'at most', 1.10, '',
      sub { against('proxied', 'million new', 'gate new') } ],
    [ 'keys', '100 keys, against 6', 'at most', 1.10, '',
      sub { against('proxied', 'keys new', 'gate new') } ],
    [ 'memory', 'an idle worker', 'at most', 4.0, 'MB',
      sub { memory() } ],
    [ 'memory-ids', 'bytes of a worker for each ID', 'at most', 40, 'bytes',
      sub { memory_ids() } ],
    [ 'zone-ids', 'bytes of the zone for each ID', 'at most', 40, 'bytes',
      sub { zone_ids() } ],
    [ 'new-instructions', 'a token not seen before, instructions', 'at most',
      420_000, '', sub { instructions('new') } ],
    [ 'seen-instructions', 'a token seen before, instructions', 'at most',
      100_000, '', sub { instructions('seen') } ],
    [ 'soap-instructions', 'a message with a new token, instructions',
      'at most', 650_000, '', sub { instructions('soap') } ],
    [ 'garbage-instructions', 'no token at all, instructions', 'at most',
      50_000, '', sub { instructions('garbage') } ],
    [ 'signature-instructions', 'a bad signature, against accepted', 'at most',
      1.05, '', sub { instructions_against(qw(signature new)) } ],
    [ 'audience-instructions', 'another audience, against accepted',
      'at most', 1.05, '', sub { instructions_against(qw(audience new)) } ],
);

for my $name (@wanted) {
    grep { $_->[0] eq $name } @cases or die "no such case: $name\n";
}
@cases = grep { $_->[0] =~ /instructions/ } @cases if $only_instructions;
@cases = grep { my $c = $_->[0]; grep { $_ eq $c } @wanted } @cases if @wanted;

if ($list) {
    printf "%-22s %s\n", @$_[ 0, 1 ] for @cases;
    exit 0;
}


# What is sent: lines of a file, taken in turn.  There are more new tokens
# than a worker keeps, so that none of them is ever known.

my $dir = tempdir('entra-mdm-bench-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $key = new_key(x5c => 1);
my @others = map { new_key(x5c => 1) } 1 .. 5;

sub token {
    my ($n, %claims) = @_;
    return mint($key, claims_v2(uti => sprintf('%024d', $n), wids => [ map {
        sprintf '%08x-0000-4000-8000-000000000000', $_ } 1 .. 9 ], %claims));
}

my %requests = (
    new => sub { map { bearer(token($_)) } 1 .. TOKENS },
    seen => sub { bearer(token(0)) },
    signature => sub {
        map { token($_) =~ s/(.)(.{9})\z/($1 eq 'A' ? 'B' : 'A') . $2/er }
            1 .. TOKENS },
    audience => sub {
        map { token($_, aud => TENANT) } 1 .. TOKENS },
    'audience-seen' => sub { token(0, aud => TENANT) },
    garbage => sub {
        map { join '', map { chr 97 + rand 26 } 1 .. 1600 } 1 .. 50 },
    soap => sub { map { message(token($_)) } 1 .. TOKENS },
);

sub bearer { return $_[0] }

# As a device writes it, 4 KB.

sub message {
    my ($token) = @_;
    my $text = policy_message($token);
    my $missing = 4096 - length $text;

    $text =~ s{(<s:Body[^>]*>)}{$1 . ' ' x $missing}e if $missing > 0;
    return $text;
}

my $Refused = qr/^(?:signature|audience|garbage)/;
my %lines;

sub lines { return @{ $lines{ $_[0] } //= [ $requests{ $_[0] }->() ] } }

sub script {
    my ($what) = @_;
    my $file = "$dir/$what.lua";

    return $file if -e $file;
    spew("$dir/$what.txt", join '', map { "$_\n" } lines($what));
    return spew($file, $what eq 'soap' ? <<"LUA" : <<"LUA2");
local requests, n = {}, 0
function init()
    for line in io.lines("$dir/$what.txt") do
        requests[#requests + 1] = wrk.format("POST", "/", {
            ["Content-Type"] = "application/soap+xml; charset=utf-8" }, line)
    end
end
function request() n = n % #requests + 1; return requests[n] end
LUA
local requests, n = {}, 0
function init()
    for line in io.lines("$dir/$what.txt") do
        requests[#requests + 1] = wrk.format("GET", "/", {
            ["Authorization"] = "Bearer " .. line })
    end
end
function request() n = n % #requests + 1; return requests[n] end
LUA2
}


# What is compared: servers by name, started when they are first needed.

my (%port, %pid);
END { my $status = $?; stop($_) for keys %pid; $? = $status }
$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

sub policy {
    my ($keys, $lines) = @_;
    my $clients = join ' ', CLIENT_V2,
        map { sprintf '%08x-1111-4000-8000-000000000000', $_ } 2 .. 10;
    return <<"CONF";
    entra_mdm_policy bench {
        server_url https://@{[ HOST ]};
        client_id  $clients;
        tenant_id  @{[ TENANT ]};
        jwks       file=$dir/$keys.json;
        $lines
    }
    entra_mdm bench;
CONF
}

my %policy = (
    bare => sub { '' },
    gate => sub { policy('six', '') },
    keys => sub { policy('hundred', '') },
    million => sub {
        make_million();
        policy('six', "zone @{[ int(40 * MILLION / 1024) ]}k;"
            . " state $dir/state/fleet.json;") },
);

sub make_million {
    return if -e "$dir/state/fleet.json";
    mkdir "$dir/state";
    spew("$dir/state/fleet.json", state_text(policy => 'bench', client_ids => [
        map { sprintf '%08x-2222-4000-8000-%012x', $_ * 4289, $_ }
            1 .. MILLION ]));
}

sub port { return ($port{$_[0]} //= EntraMDM::Nginx::reserve())->{port} }

sub conf {
    my ($name, $http, $where) = @_;
    my $main = $name =~ /^(?:bare|backend)/ ? ''
        : "load_module $top/build/ngx_http_entra_mdm_module.so;";
    my $user = $> == 0 ? 'user root;' : '';
    my %location = (
        local => "root $dir/html;",
        proxied => 'proxy_http_version 1.1; proxy_set_header Connection "";'
            . ' proxy_pass http://backend;',
        backend => 'return 200 ok;',
    );
    return spew("$dir/$name.conf", <<"CONF");
$main
$user
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
    keepalive_requests 100000000;
$http
    upstream backend {
        server 127.0.0.1:@{[ port('backend') ]};
        keepalive 64;
        keepalive_requests 100000000;
    }
    server {
        listen 127.0.0.1:@{[ port($name) ]};
        location / { $location{$where} }
    }
}
CONF
}

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
        IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port($name))
    } 60 or die "nginx does not start:\n", slurp("$dir/$name.log");
}

sub stop {
    my ($name) = @_;
    my $pid = delete $pid{$name} or return;
    kill QUIT => $pid;
    waitpid $pid, 0;
}

sub running {
    my ($policy, $where) = @_;
    my $name = "$policy-$where";

    return $name if $pid{$name};
    backend();
    conf($name, $policy{$policy}->(), $where);
    start($name, 'worker_cpu_affinity 01;');
    wait_for { worker($name) } 60 or die "$name: no worker\n";
    return $name;
}

sub backend {
    return if $pid{backend};
    mkdir "$dir/html";
    spew("$dir/html/index.html", 'x' x 1000);
    spew("$dir/six.json", jwks($key, @others));
    spew("$dir/hundred.json",
        jwks($key, @others, map { $others[0]->jwk(kid => "key-$_",
            x5c => undef) } 1 .. 94));
    conf('backend', '', 'backend');
    start('backend', 'worker_cpu_affinity 10;');
}

sub worker {
    my ($name) = @_;
    my ($child) = split ' ', slurp("/proc/$pid{$name}/task/$pid{$name}/children");
    return $child;
}


# Measuring.

our $Connections = 16;

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# In microseconds, since the process began; the kernel counts nanoseconds.

sub cpu_time { return (split ' ', slurp("/proc/$_[0]/schedstat"))[0] / 1000 }

sub wrk {
    my ($name, $what, $time) = @_;
    my $file = script($what);
    my $refused = $name !~ /^bare/ && $what =~ $Refused;
    my $before = cpu_time(worker($name));
    my $said = `taskset -c 1 wrk -t1 -c$Connections -d${time}s -s '$file' \\
        http://127.0.0.1:@{[ port($name) ]}/ 2>&1`;
    my $spent = cpu_time(worker($name)) - $before;
    my ($rate) = $said =~ m{Requests/sec:\s+([\d.]+)} or die $said;
    my ($count) = $said =~ m{(\d+) requests in};
    my ($errors) = $said =~ /Non-2xx or 3xx responses: (\d+)/;

    die "$name $what: $said" if $said =~ /Socket errors/
        || ($errors // 0) != ($refused ? $count : 0);
    return { rate => $rate, cpu => $spent / $count };
}

# Both in turns, so that whatever else the machine does meets both.  V is
# timed between them.

my @V;
sub V { return median(@V) }

sub compare {
    my ($where, @runs) = @_;
    my (%cpu, %rate);

    my @of = map { [ $_, running((split)[0], $where), (split)[1] ] } @runs;
    wrk(@$_[ 1, 2 ], 1) for @of;                        # warm up
    for (1 .. $rounds) {
        time_v();
        for (@of) {
            my $got = wrk(@$_[ 1, 2 ], $seconds);
            push @{ $cpu{ $_->[0] } }, $got->{cpu};
            push @{ $rate{ $_->[0] } }, $got->{rate};
        }
    }
    return \(%cpu, %rate);
}

# Two medians, and that of what each round makes of the two.

sub medians {
    my ($measured, $this, $that, $of) = @_;
    my ($these, $those) = @$measured{ $this, $that };
    return (median(@$these), median(@$those),
        median(map { $of->($these->[$_], $those->[$_]) } 0 .. $#$these));
}

sub time_v {
    if (!-e "$dir/verify") {
        system('cc', '-O2', '-o', "$dir/verify", "$top/tools/bench-verify.c",
            '-lcrypto') == 0 or die "no compiler?\n";
    }
    push @V, `taskset -c 0 '$dir/verify'` + 0;
}

# Where a backend answers, many connections keep it and wrk so busy without
# the gate that they hardly sleep, and with it the worker seems to pay for
# waking them.  With one, both pay.

sub on_top {
    local $Connections = 1 if $_[0] eq 'proxied';
    my ($cpu) = compare(@_);
    my ($with, $without, $more) = medians($cpu, @_[ 1, 2 ],
        sub { $_[0] - $_[1] });
    return ($with, $without, 'us', $more / V());
}

sub against {
    my ($cpu) = compare(@_);
    my ($this, $that, $ratio) = medians($cpu, @_[ 1, 2 ],
        sub { $_[0] / $_[1] });
    return ($this, $that, 'us', $ratio);
}

sub rates {
    my (undef, $rate) = compare(@_);
    my ($with, $without, $ratio) = medians($rate, @_[ 1, 2 ],
        sub { $_[0] / $_[1] });
    return ($with, $without, '/s', $ratio);
}

# Instructions of a request: what a run takes with so many more of them, so
# that starting up and shutting down do not count.

my %ran;

sub ran {
    my ($policy, $where, $what, $n) = @_;
    my $name = "$policy-counted";

    return $ran{"@_"} if $ran{"@_"};
    backend();
    conf($name, $policy{$policy}->(), $where);
    start($name, 'master_process off;', 'valgrind', '-q',
        '--tool=callgrind', "--callgrind-out-file=$dir/callgrind");

    my $client = http_connect(port => port($name), timeout => 120);
    my $refused = 0;

    # what is done once is done before
    for ($where eq 'local' ? texts('new', 0 .. 19) : texts('soap', 0 .. 19),
        texts('signature', 0 .. 1), texts('garbage', 0))
    {
        $client->request(@$_);
    }
    for (texts($what, map { -$_ } 1 .. $n)) {
        $refused++ if $client->request(@$_)->status != 200;
    }
    stop($name);
    die "$refused refused\n" if $refused
        != ($policy ne 'bare' && $what =~ $Refused ? $n : 0);

    my ($count) = slurp("$dir/callgrind") =~ /^totals: (\d+)/m
        or die "callgrind has counted nothing\n";
    return $ran{"@_"} = $count;
}

sub texts {
    my ($what, @numbers) = @_;
    my @all = lines($what);

    return map { $what eq 'soap' ? [ POST => '/', body => $_ ]
                                 : [ GET => '/', bearer => $_ ] }
        map { $all[ $_ % @all ] } @numbers;
}

sub per_request {
    my ($policy, $what) = @_;
    my $where = $what eq 'soap' ? 'proxied' : 'local';
    my $n = $quick ? 40 : 200;

    return (ran($policy, $where, $what, $n) - ran($policy, $where, $what, 0))
        / $n;
}

sub instructions {
    my ($what) = @_;
    my ($with, $without) = map { per_request($_, $what) } qw(gate bare);
    return ($with, $without, '', $with - $without);
}

sub instructions_against {
    my ($this, $that) = map { per_request('gate', $_) } @_;
    return ($this, $that, '', $this / $that);
}

# What is a worker's own of its memory, and all of it that is in use.

sub resident {
    my ($name, $kind) = @_;
    my ($kb) = slurp('/proc/' . worker($name) . '/status')
        =~ /^$kind:\s+(\d+) kB/m;
    return $kb / 1024;
}

sub memory {
    my ($with, $without) = map { fresh($_, 'VmRSS') } qw(gate bare);
    return ($with, $without, 'MB', $with - $without);
}

sub memory_ids {
    my ($many, $few) = map { fresh($_, 'RssAnon') } qw(million gate);
    return ($many, $few, 'MB', ($many - $few) * MB / MILLION);
}

# A worker that has had one request, for which it takes up its keys.

sub fresh {
    my ($policy, $kind) = @_;
    stop("$policy-local");
    my $name = running($policy, 'local');
    my ($request) = texts('new', 0);

    http_connect(port => port($name))->request(@$request)->status == 200
        or die "not accepted\n";
    return resident($name, $kind);
}

# The smallest zone that is large enough: nginx says so itself.

sub zone_ids {
    my ($low, $high) = (1, 64 * 1024);
    my $full = policy('six', "zone %dk; state $dir/state/fleet.json;");

    backend();
    make_million();
    while ($high - $low > 64) {
        my $middle = int(($low + $high) / 2);
        conf('zone', sprintf($full, $middle), 'local');
        my $said = `PATH=\$PATH:/usr/sbin nginx -t -p '$dir' \\
            -c '$dir/zone.conf' -e '$dir/zone.log' 2>&1`;
        if ($? == 0) { $high = $middle } else { $low = $middle }
    }
    return ($high / 1024, 0, 'MB', $high * 1024 / MILLION);
}


# The rows.  Instructions do not depend on what else the machine does, but on
# the processor, for which OpenSSL has different code.

my ($model) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)/m;
my ($missed, $table) = (0, '');

sub row { my $text = sprintf shift, @_; print $text; $table .= $text }

row("%s, %s; token of %d bytes, RS256, key set of 6 keys\n\n",
    $model // 'processor unknown', `openssl version` =~ s/\s*\(.*//sr,
    length token(0));
row("%-22s %-44s %9s %9s    %10s  %s\n", 'case', '', 'this', 'that',
    'result', 'limit');

for (@cases) {
    my ($name, $what, $way, $limit, $unit, $measure) = @$_;
    my ($this, $that, $in, $result) = $measure->();
    my $tolerance = !$quick ? 1 : $name =~ /instructions/ ? 1.2 : 1.5;
    my $kept = $way eq 'at most' ? $result <= $limit * $tolerance
                                 : $result >= $limit / $tolerance;
    my $digits = $result < 100 ? 2 : 0;

    $missed += !$kept;
    row("%-22s %-44s %9s %9s %-2s %7.*f %-2.2s  %s %s%s  %s\n", $name,
        $what, (map { sprintf $in eq 'us' || $in eq 'MB' ? '%.1f' : '%.0f',
            $_ } $this, $that), $in, $digits, $result, $unit, $way, $limit,
        $unit && " $unit", $kept ? 'kept' : 'MISSED');
}

row("\nV, one verification by OpenSSL alone: %.1f microseconds\n", V()) if @V;
print "$missed missed\n" if $missed;

if ($write) {
    my $page = "$top/docs/performance.md";
    my $text = slurp($page);
    $text =~ s/^(```text[^\n]*\n).*?^```/$1$table```/ms
        or die "$page has no table to replace\n";
    spew($page, $text);
}
exit($missed != 0);
