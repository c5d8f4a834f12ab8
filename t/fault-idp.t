#!/usr/bin/perl

# once: waits more than it works

# An identity provider that misbehaves in every phase of a connection: the
# last good keys stay, the log says what came instead of new ones, and these
# are there as soon as it behaves.  What it may answer in whole: see
# jwks-failures.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep);

use EntraMDM::Backend;
use EntraMDM::File qw(spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new;
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my ($key, $next) = (new_key(), new_key());
my $set = jwks($key, $next);
my $half = substr $set, 0, 400;
my $status = "HTTP/1.1 200 OK\r\n";
my $head = $status . 'Content-Length: ' . length($set) . "\r\n\r\n";
my $chunked = $status . "Transfer-Encoding: chunked\r\n\r\n";
my $chunk = sprintf "%x\r\n%s\r\n", length $set, $set;

# What it does with a connection: bytes that it sends, seconds that it sleeps,
# and the last word, if it is not to close.  Then what the log says.

my $broken = qr/broke off|no answer at all|status 50[24]/;
my %bad = (
    'resets at once'            => [ ['RESET'], qr/status 502/ ],
    'resets in the status'      => [ [ 'HTTP/1.1 2', 'RESET' ], qr/status 502/ ],
    'resets in the headers'     => [ [ "${status}Content-Le", 'RESET' ],
                                     qr/status 502/ ],
    'resets before the body'    => [ [ $head, 0.1, 'RESET' ], $broken ],
    'resets in the body'        => [ [ "$head$half", 0.1, 'RESET' ], $broken ],
    'closes in the status'      => [ [ 'HTTP/1.1 2' ], qr/status 502/ ],
    'closes in the headers'     => [ [ "${status}Content-Le" ], qr/status 502/ ],
    'closes in the body'        => [ [ "$head$half" ], $broken ],
    'hangs at once'             => [ [ 'HANG' ], qr/status 504/ ],
    'hangs in the status'       => [ [ 'HTTP/1.1 2', 'HANG' ], qr/status 504/ ],
    'hangs in the headers'      => [ [ "${status}Content-Le", 'HANG' ],
                                     qr/status 504/ ],
    'hangs before the body'     => [ [ $head, 'HANG' ], $broken ],
    'hangs in the body'         => [ [ "$head$half", 'HANG' ], $broken ],
    'hangs in a chunk'          => [ [ $chunked . substr($chunk, 0, 400),
                                     'HANG' ], qr/$broken|empty/ ],
    'ends within a chunk'       => [ [ $chunked . substr $chunk, 0, 400 ],
                                     qr/broke off|no key set/ ],
    'has no chunk of that size' => [ [ "${chunked}zz\r\n$set\r\n0\r\n\r\n" ],
                                     qr/broke off|no key set|empty|status/ ],
    'has a chunk without end'   => [ [ "${chunked}ffffffffffffffff\r\n$set" ],
                                     qr/broke off|no key set|empty|status/ ],
    'has a negative length'     => [ [ "${status}Content-Length: -1\r\n\r\n"
                                     . $half ], qr/status 502|no key set/ ],
    'has two lengths'           => [ [ "${status}Content-Length: 5\r\n"
                                     . "Content-Length: 400\r\n\r\n$half" ],
                                     qr/status 502|no key set|broke off/ ],
    'says more than its length' => [ [ "${status}Content-Length: 400\r\n\r\n"
                                     . $set ], qr/no key set|broke off/ ],
    'ends without a length'     => [ [ "${status}\r\n$half" ], qr/no key set/ ],
    'is no web server'          => [ [ "SSH-2.0-OpenSSH_9.2\r\n" ],
                                     qr/no answer at all|no key set/ ],
    'sends zeros'               => [ [ "\0" x 400 ],
                                     qr/no answer at all|no key set/ ],
    'sends headers for ever'    => [ [ $status, map { ("X-$_: " . 'x' x 1000
                                     . "\r\n") } 1 .. 200 ], qr/status 502/ ],
    'sends a page for ever'     => [ [ "${status}\r\n", 'x' x 400_000, 'HANG' ],
                                     qr/broke off|more than|empty/ ],
    'drips and ends'            => [ [ $head, map({ (0.05, $_) } 'a' .. 'e') ],
                                     $broken ],
);

# Nothing is missing from a JSON object that has come to its end.

my %fine = (
    'has no last chunk'         => [ "$chunked$chunk" ],
    'drips'                     => [ map { ($_, 0.05) } unpack '(a400)*',
                                     "$head$set" ],
    'drips chunks'              => [ $chunked, map({ (0.05, sprintf
                                     "%x\r\n%s\r\n", length, $_) }
                                     unpack '(a300)*', $set), "0\r\n\r\n" ],
    'has no length'             => [ "${status}\r\n$set" ],
);
my @names = (sort(keys %bad), sort keys %fine);
my %uri = (deaf => '/deaf', map { $names[$_] => "/p$_" } 0 .. $#names);


# The provider: a port for each, a process for each connection.

sub serve {
    my ($listen, $script) = @_;
    my $test = getppid;

    $SIG{CHLD} = 'IGNORE';
    while (getppid == $test) {
        IO::Select->new($listen)->can_read(1) or next;
        my $client = $listen->accept or next;
        my $pid = fork // next;
        if (!$pid) {
            local $SIG{PIPE} = 'IGNORE';
            act($client, -e $t->dir . '/bad' ? @$script : good());
            POSIX::_exit(0);
        }
    }
}

sub good {
    my $text = jwks($key, -e $t->dir . '/new' ? $next : ());
    return $status . 'Content-Length: ' . length($text) . "\r\n\r\n$text";
}

sub act {
    my ($client, @script) = @_;

    sysread $client, my $request, 65536 if $script[0] ne 'RESET';
    for (@script) {
        if ($_ eq 'RESET') {
            setsockopt $client, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        } elsif ($_ eq 'HANG') {
            sleep 3;
        } elsif (/^0\.\d+$/) {
            sleep $_;
        } else {
            syswrite $client, $_;
        }
    }
    close $client;
}

my @servers = map {
    my $name = $_;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
        LocalPort => $t->port("idp$uri{$name}" =~ s/\W//r), ReuseAddr => 1)
        or die $@;
    my $pid = fork // die;
    if (!$pid) {
        setpgrp;
        serve($listen, $bad{$name} ? $bad{$name}[0] : $fine{$name});
        POSIX::_exit(0);
    }
    $pid;
} @names;
END { local $?; kill KILL => map { -$_ } grep { $_ } @servers }

sub policy { return $uri{$_[0]} =~ s/\W//r }

my $policies = join '', map { fleet_policy('zone 512k;', policy($_),
    'request=/keys/' . policy($_) . ' min_interval=1s') } @names;

$t->change(http => $Headers . $policies
    . fleet_policy('zone 512k;', 'deaf', 'request=/keys/deaf')
    . "proxy_read_timeout 800ms;\nproxy_connect_timeout 800ms;\n"
    . "server {\nlisten 127.0.0.1:%%PORT_8080%%;\n"
    . join('', map { my $name = policy($_); <<"EOC" } 'deaf', @names) . "}\n");
        location = /$name {
            entra_mdm $name;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /keys/$name {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp$name%%;
        }
EOC

# One that never accepts, and whose queue is full.

my $deaf = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
    LocalPort => $t->port('idpdeaf'), ReuseAddr => 1) or die $@;
my @queue = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1',
    PeerPort => $deaf->sockport, Blocking => 0) } 1 .. 8;

my ($good, $new) = map { mint($_, claims_v2()) } $key, $next;

$t->start;
for my $uri (@uri{@names}) {
    wait_for { http_get($uri, bearer => $good)->status == 200 }
        or die "no keys of $uri";
}
sleep 1.05;
spew($t->dir . '/bad', '');
$fleet->requests;

for my $name (sort keys %bad) {
    my ($policy) = $uri{$name} =~ /(\w+)/;

    $t->mark;
    verdict("$name: no new key", http_get($uri{$name}, bearer => $new), $fleet,
        '401 key_unknown refused 0');
    my $line = $t->wait_for_log(qr/"$policy" refused, key_unknown/) // '';
    like($line, qr/fetch failed: .*(?:$bad{$name}[1])/, "$name: says the log");
    verdict("$name: the last good key", http_get($uri{$name}, bearer => $good),
        $fleet, '200 ok accepted 1');
}

for my $name (sort keys %fine) {
    verdict("$name: a new key", http_get($uri{$name}, bearer => $new), $fleet,
        '200 ok accepted 1');
}

verdict('never accepts: no keys', http_get('/deaf', bearer => $good), $fleet,
    '503 keys_unavailable refused 0');
like($t->wait_for_log(qr/"deaf" refused/) // '', qr/fetch failed: status 504/,
    'never accepts: says the log');

spew($t->dir . '/new', '');
unlink $t->dir . '/bad' or die;
my @late = grep { my $uri = $uri{$_};
    !wait_for { http_get($uri, bearer => $new)->status == 200 } } @names;
is("@late", '', 'all behave: the new key is there');
$t->done;
