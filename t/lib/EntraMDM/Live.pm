package EntraMDM::Live;

# Live lists seen from outside: a policy that follows Redis, tokens for any
# application and tenant, and what the gate, and each of its workers, says.
#
#   my $t = EntraMDM::Nginx->new(workers => 2, http => live_http(
#       'redis redis://127.0.0.1:%%PORT_redis%%;'));
#   live_start($t);                          # keys, page, nginx
#   let_in($redis, guid(1));                 # SADD of a client ID, and TENANT
#   everywhere(token(guid(1)), 'ok', 'enforced by every worker');
#
# The page /tos is gated as bearer, /enroll as soap.  Each listening socket
# is a worker's own (reuseport), and answers name the worker.

use strict;
use warnings;

use Carp qw(croak);
use Exporter 'import';
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::File qw(slurp spew wait_for TIMEOUT);
use EntraMDM::HTTP;
use EntraMDM::Token;
use EntraMDM::Verdict;

our @EXPORT = qw(live_http live_start key guid token let_in shut_out list said
    everywhere stays worker_connections feed_workers load lines percentile);

my ($T, $Key, %Tokens);


# The http text: policy "fleet" with these lines, which accepts CLIENT_V2 and
# TENANT by itself.  Options: jwks (instead of a file), server and http (more
# lines of these).

sub live_http {
    my ($lines, %o) = @_;
    my $jwks = $o{jwks} // 'file=%%DIR%%/keys.json';

    return $Headers . <<"EOC" . ($o{http} // '');
    add_header X-Worker \$pid always;
    keepalive_requests 10000000;
    client_max_body_size 4m;

    entra_mdm_policy fleet {
        server_url https://${\HOST};
        client_id ${\CLIENT_V2};
        tenant_id ${\TENANT};
        jwks $jwks;
        $lines
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        root %%DIR%%/html;
        location = /tos    { entra_mdm fleet token=bearer; }
        location = /enroll { entra_mdm fleet token=soap; }
        location = /open   { }
        ${\ ($o{server} // '')}
    }
EOC
}

sub live_start {
    my ($t) = @_;

    $T = $t;
    mkdir $t->dir . '/html';
    spew($t->dir . "/html/$_", "page\n") for qw(tos enroll open);
    $t->write_file('keys.json', jwks(key()));
    return $t->start;
}


# Tokens.

sub key  { return $Key //= new_key() }
sub guid { return sprintf '%08x-0000-4000-8000-%012x', $_[1] // 0, $_[0] }

sub token {
    my ($client, $tenant, %claims) = @_;
    $tenant //= TENANT;
    return $Tokens{join ' ', $client, $tenant, %claims} //= mint(key(),
        claims_v2(aud => $client, tid => $tenant,
        iss => "https://login.microsoftonline.com/$tenant/v2.0", %claims));
}


# Lists.

sub list { return "entra_mdm:{" . ($_[1] // 'fleet') . "}:$_[0]" }

sub let_in {
    my ($redis, @ids) = @_;
    return $redis->cmd(SADD => list('client_ids'), @ids);
}

sub shut_out {
    my ($redis, @ids) = @_;
    return $redis->cmd(SREM => list('client_ids'), @ids);
}


# What the gate says, in a word.

sub said {
    my ($token, $uri, %o) = @_;
    my $r = eval { http_get($uri // '/tos', bearer => $token, %o) }
        // return 'no connection';
    return $r->header('X-Result') // 'no answer';
}

# One connection to each worker that accepts connections.

sub worker_connections {
    my (%o) = @_;
    my $t = $o{of} // $T;
    my %missing = map { $_ => 1 } $t->workers;
    my %connection;

    wait_for {
        %missing = map { $_ => 1 } grep { !$connection{$_} } $t->workers;
        for (1 .. 20) {
            last if !%missing;
            my $c = eval { http_connect(port => $t->port(8080)) } // last;
            my $pid = $c->request(GET => '/open')->header('X-Worker') // next;
            $connection{$pid} = $c if delete $missing{$pid};
        }
        !%missing && %connection;
    } or croak 'a worker cannot be reached';
    return \%connection;
}

# Every worker says so, soon, and goes on to say so.

sub everywhere {
    my ($token, $expected, $name, $seconds) = @_;
    my (%last, $connections);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $agreed = wait_for {
        $connections = worker_connections()
            if !$connections || grep { $_->{eof} } values %$connections;
        %last = map { $_ => word($connections->{$_}, $token) }
            keys %$connections;
        !grep { $_ ne $expected } values %last;
    } $seconds;
    return ok($agreed, $name)
        || diag(map { "worker $_ says $last{$_}, not $expected\n" } keys %last);
}

sub word {
    my ($c, $token) = @_;
    return $c->request(GET => '/tos', bearer => $token)->header('X-Result')
        // 'no answer';
}

# For what is to stay as it is: the feed must have been through all that came
# before.  A tenant of its own comes in behind, is enforced, and goes again.

sub stays {
    my ($redis, $token, $expected, $name) = @_;
    my $marker = guid(++our $Markers, 0xfeed);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $redis->cmd(SADD => list('tenant_ids'), $marker);
    everywhere(token(CLIENT_V2, $marker), 'ok', "$name: behind it");
    everywhere($token, $expected, $name, 0);
    $redis->cmd(SREM => list('tenant_ids'), $marker);
    everywhere(token(CLIENT_V2, $marker), 'tenant_not_allowed',
        "$name: and on");
}

# The workers that have a connection to that port.

sub feed_workers {
    my ($port) = @_;
    my $remote = sprintf ':%04X', $port;
    my %socket;

    for (split /\n/, slurp('/proc/net/tcp')) {
        my ($to, $inode) = (split)[ 2, 9 ];
        $socket{"socket:[$inode]"} = 1 if $to =~ /$remote$/;
    }
    return grep { my $pid = $_;
        grep { $socket{ readlink($_) // '' } } glob "/proc/$pid/fd/*"
    } $T->children;
}

# Lines of the new part of the log that match.

sub lines {
    my ($pattern) = @_;
    return grep { /$pattern/ } split /\n/, $T->new_log;
}


# Clients in processes of their own.  Each sends the tokens in turn, and
# checks every answer: [ token, expected, ... ].  The returned function ends
# them and tells
#
#   { requests => N, wrong => { 'what was said instead' => N, ... },
#     times => [ [ when, seconds ], ... ] }

sub load {
    my ($clients, @cases) = @_;
    my $enough = $T->dir . '/enough-' . ++our $Loads;
    my ($test, @pipes) = $$;

    for my $client (1 .. $clients) {
        pipe my $read, my $write or croak "pipe: $!";
        my $pid = fork // croak "fork: $!";
        if (!$pid) {
            close $read;
            print {$write} client($client, $enough, $test, @cases);
            close $write;
            POSIX::_exit(0);
        }
        push @pipes, [ $read, $pid ];
    }
    return sub { spew($enough, ''); return gathered(@pipes) };
}

sub client {
    my ($number, $enough, $test, @cases) = @_;
    my ($n, $c, %wrong, @times) = ($number);

    while (!-e $enough && getppid == $test) {
        my ($token, @expected) = @{ $cases[ $n++ % @cases ] };
        my $from = time;
        undef $c if $n % 50 == 0;               # some connections are new
        my $result = answer(\$c, $token);
        push @times, sprintf '%.6f %.6f', $from, time - $from;
        $wrong{"$result instead of @expected"}++
            if !grep { $_ eq $result } @expected;
        sleep 0.004;
    }
    return map { "$_\n" } @times,
        map { "wrong $wrong{$_} $_" } keys %wrong;
}

# A connection that the server closed while it was idle is no failure; nginx
# may do that at a reload.  A request on a new one must be answered.

sub answer {
    my ($c, $token) = @_;
    my $old = $$c;
    my $r = eval {
        ($$c //= http_connect())->request(GET => '/tos', bearer => $token)
    };

    return $r->header('X-Result') // 'status ' . $r->status
        if $r && $r->status;
    my $silent = !$r || $r->raw eq '';
    undef $$c;
    return answer($c, $token) if $old && $silent;
    return $r ? 'no answer: ' . $r->raw : "no connection: $@";
}

sub gathered {
    my @pipes = @_;
    my %all = (requests => 0, wrong => {}, times => []);

    for (@pipes) {
        my ($read, $pid) = @$_;
        while (my $line = <$read>) {
            chomp $line;
            if ($line =~ /^wrong (\d+) (.*)/) {
                $all{wrong}{$2} += $1;
                next;
            }
            push @{ $all{times} }, [ split / /, $line ];
        }
        waitpid $pid, 0;
    }
    $all{requests} = @{ $all{times} };
    return \%all;
}

sub percentile {
    my ($percent, @values) = @_;
    return 0 if !@values;
    return (sort { $a <=> $b } @values)[ POSIX::ceil(@values * $percent / 100)
        - 1 ];
}

1;
