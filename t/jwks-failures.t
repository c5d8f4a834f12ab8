#!/usr/bin/perl

# Fetches of keys that fail: whatever the answer, the last good set stays, the
# log says why, and nothing is left behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Compress::Gzip qw(gzip);
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

use EntraMDM::Backend;
use EntraMDM::File qw(slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $key = new_key();
my $weak = new_key(bits => 1024);
my $set = jwks($key);
my $good = mint($key, claims_v2());
my $unknown = mint($key, claims_v2(), header => { kid => 'unknown' });
my $long = '{"keys":[],"pad":"' . 'x' x 200000 . '"}';
my $sixty = $set =~ s/^\{/'{"pad":"' . 'x' x 65500 . '",'/er;

sub chunked {
    my ($body) = @_;
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        . join('', map { sprintf "%x\r\n%s\r\n", length, $_ }
               unpack '(a5000)*', $body) . "0\r\n\r\n";
}

gzip(\$set => \my $zipped);

# A policy each: [ name, answer, what the log says, more of its location ]

my @bad = (
    [ closed => { close => 1 }, 'status 502' ],
    [ refused => { }, 'status 502' ],
    [ slow => { body => $set, delay => 3 }, 'status 504',
        'proxy_read_timeout 300ms;' ],
    [ empty => { body => '' }, 'an empty answer' ],
    [ none => { status => 204 }, 'status 204' ],
    [ large => { body => $long },
        length($long) . ' bytes, the limit is 131072' ],
    [ chunks => { raw => chunked($long) },
        'broke off or has more than 131072 bytes' ],
    [ unbuffered => { raw => chunked($long) },
        'broke off or has more than 131072 bytes', 'proxy_buffering off;' ],
    [ short => { raw => "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n$set" },
        'broke off' ],
    [ html => { body => "<html>$set</html>" }, 'no key set' ],
    [ gzip => { body => $zipped, headers => [ 'Content-Encoding', 'gzip' ] },
        'a compressed answer' ],
    [ notmodified => { status => 304 }, 'status 304' ],
    [ partial => { status => 206, body => $set }, 'status 206' ],
    [ missing => { status => 404, body => $set }, 'status 404' ],
    [ broken => { status => 500, body => $set }, 'status 500' ],
    [ moved => { status => 302, headers => [ Location => '/elsewhere' ] },
        'status 302' ],
    [ page => { status => 404 }, 'status 404',
        'proxy_intercept_errors on; error_page 404 =200 /keys/moved;' ],
    [ nokeys => { body => '{"keys":[]}' }, 'no key set' ],
    [ unusable => { body => jwks($weak) }, 'no key set' ],
    [ other => { body => '{"keys":{}}' }, 'no key set' ],
);
my @fine = (
    [ plain => { body => $set } ],
    [ sixty => { body => $sixty } ],
    [ sixtychunks => { raw => chunked($sixty) } ],
    [ sixtyraw => { raw => chunked($sixty) }, '', 'proxy_buffering off;' ],
    [ accel => { headers => [ 'X-Accel-Redirect' => '/keys/plain' ] } ],
);

my $http = $Headers . 'client_max_body_size 2m;'
    . join('', map { fleet_policy('zone 512k;', "p_$_->[0]",
        "request=/keys/$_->[0] min_interval=1s") } @bad, @fine)
    . "server {\n listen 127.0.0.1:%%PORT_8080%%;\n"
    . join('', map { my ($name, $more) = @$_[ 0, 3 ];
        my $port = $name eq 'refused' ? 'dead' : 'idp';
        "location /$name/ { entra_mdm p_$name;"
            . " proxy_pass http://127.0.0.1:%%PORT_fleet%%; }\n"
            . "location = /keys/$name { internal;"
            . " proxy_pass http://127.0.0.1:%%PORT_$port%%; "
            . ($more // '') . " }\n" } @bad, @fine)
    . "}\n";

my $t = EntraMDM::Nginx->new(http => $http);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $idp = EntraMDM::Backend->new($t, 'idp');
my $dead = EntraMDM::Backend->new($t, 'dead');

$_->answer('*' => { body => $set }) for $idp, $dead;
$t->start;
for (@bad, @fine) {
    my $name = $_->[0];
    is(http_get("/$name/", bearer => $good)->status, 200, "$name: at first");
}

$dead->stop;
$idp->answer(map { ("/keys/$_->[0]" => $_->[1]) } @bad, @fine);
sleep 1.05;
$fleet->requests;
$t->mark;

for (@bad) {
    my ($name, $answer, $said) = @$_;

    verdict("$name: no new key", http_get("/$name/", bearer => $unknown),
        $fleet, '401 key_unknown refused 0');
    ok($t->wait_for_log(qr/\[error\].*"p_$name" no key set/),
        "$name: the log says so");
    ok($t->wait_for_log(qr/"p_$name" refused, key_unknown.*failed:.*\Q$said/),
        "$name: and why, with the refusal");
    verdict("$name: the last good key", http_get("/$name/", bearer => $good),
        $fleet, '200 ok accepted 1');
}

for (@fine) {
    my ($name) = @$_;

    $t->mark;
    verdict("$name: a fetch that succeeds", http_get("/$name/",
        bearer => $unknown), $fleet, '401 key_unknown refused 0');
    unlike($t->new_log, qr/"p_$name" (?:no key set|.*last fetch failed)/,
        "$name: no complaint");
    verdict("$name: the keys", http_get("/$name/", bearer => $good),
        $fleet, '200 ok accepted 1');
}
$t->settle;


# a set that has become too old; backoff; a fetch that never ends

$http = $Headers . 'client_max_body_size 2m;'
    . fleet_policy('', 'stale',
        'request=/keys/stale refresh=1s min_interval=1s max_stale=2s')
    . fleet_policy('', 'backoff', 'request=/keys/backoff min_interval=1s')
    . fleet_policy('', 'hang', 'request=/keys/hang')
    . "server {\n listen 127.0.0.1:%%PORT_8080%%;\n"
    . join('', map {
        "location /$_/ { entra_mdm $_;"
            . " proxy_pass http://127.0.0.1:%%PORT_fleet%%; }\n"
            . "location = /keys/$_ { internal;"
            . " proxy_pass http://127.0.0.1:%%PORT_idp%%; }\n" }
        qw(stale backoff hang))
    . "}\n";

$idp->answer('/keys/stale' => { body => $set },
    '/keys/backoff' => { status => 500 },
    '/keys/hang' => { body => $set, delay => 60 });
$t->change(http => $http);
$t->start;
my $begun = time;

verdict('fresh', http_get('/stale/', bearer => $good), $fleet,
    '200 ok accepted 1');
$idp->answer('/keys/stale' => { status => 500 });
ok((wait_for { http_get('/stale/', bearer => $good)->status == 503 }),
    'max_stale has passed');
$fleet->requests;
my $r = http_post('/stale/', enroll_message($good));
verdict('SOAP', $r, $fleet, '500 keys_unavailable refused 0');
is($r->header('Retry-After'), 30, 'with Retry-After');
ok($t->wait_for_log(qr/keys_unavailable.*seconds old, the last fetch failed/,
    'error.log'), 'the log says so');
$idp->answer('/keys/stale' => { body => $set });
ok((wait_for { http_get('/stale/', bearer => $good)->status == 200 }),
    'until they can be fetched again');
$fleet->requests;

sleep 5 - (time - $begun) if time - $begun < 5;
my $failures = () = $t->error_log =~ /"backoff" no key set but status 500/g;
cmp_ok($failures, '>=', 2, 'it is tried again');
cmp_ok($failures, '<=', 4, 'less and less often');
$idp->answer('/keys/backoff' => { body => $set });
verdict('whoever needs the keys has them fetched at once',
    http_get('/backoff/', bearer => $good), $fleet, '200 ok accepted 1');

ok($t->wait_for_log(qr/"hang" no answer within 10 seconds/, 'error.log'),
    'a fetch has an end of its own');
cmp_ok(time - $begun, '<', 12, 'after ten seconds');
$t->settle;


# nginx quits, or reloads, while a fetch hangs

my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
    or die $@;                          # it never answers
$t->change(http => $http . fleet_policy('', 'dns', 'request=/keys/dns')
    . "server { listen 127.0.0.1:%%PORT_second%%; location = /keys/dns {"
    . " internal; resolver 127.0.0.1:@{[ $dns->sockport ]};"
    . ' set $name login.example.com; proxy_pass http://$name; } }');
$idp->answer('/keys/backoff' => { body => $set, delay => 60 });
$t->start;
ok(IO::Select->new($dns)->can_read(10), 'a name is being resolved');
ok((wait_for { grep { $_->uri eq '/keys/hang' } $idp->requests }),
    'a fetch hangs');
$idp->answer('/keys/hang' => { body => $set });
ok($t->reload, 'reload');
verdict('the new worker fetches at once', http_get('/hang/', bearer => $good),
    $fleet, '200 ok accepted 1');
$begun = time;
$t->settle;
cmp_ok(time - $begun, '<', 5, 'nginx quits though a fetch hangs');

$t->change(main => 'worker_shutdown_timeout 1s;', http => $http);
$t->start;
my $waits = http_connect();
$waits->send([ "GET /backoff/ HTTP/1.1\r\nHost: a\r\n"
    . "Authorization: Bearer $good\r\n\r\n" ]);
ok(!IO::Select->new($waits->{socket})->can_read(0.3), 'a request waits');
$begun = time;
$t->settle;
cmp_ok(time - $begun, '<', 3, 'worker_shutdown_timeout ends it');
$t->change(main => '');


# a reload names another source, while an old worker fetches from the last

my $stranger = new_key();
$idp->answer('/keys/hang' => { body => $set, delay => 1.5 },
    '/keys/backoff' => { body => jwks($stranger), delay => 3 });
$idp->requests;
$t->start;
my $c = http_connect();
$c->send([ "GET /hang/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    . "Authorization: Bearer $good\r\n\r\n" ]);
ok((wait_for { grep { $_->uri eq '/keys/hang' } $idp->requests }),
    'it fetches');
ok($t->reload(http => $http =~ s/request=\/keys\/hang/request=\/keys\/backoff/r),
    'reload');
verdict('what it gets is not published', $c->response, $fleet,
    '503 keys_unavailable refused 0');
is(scalar(grep { $_->uri eq '/keys/hang' } $idp->requests), 0,
    'nor does it fetch again');
verdict('by the keys of the new source',
    http_get('/hang/', bearer => mint($stranger, claims_v2())), $fleet,
    '200 ok accepted 1');
verdict('not by those of the last', http_get('/hang/', bearer => $good),
    $fleet, '401 key_unknown refused 0');
$t->settle;


# a reload leaves the source its name, but has it served from elsewhere: an
# old worker, to which a message still comes, does not go to the old place

$idp->answer('/keys/hang' => { body => $set },
    '/keys/backoff' => { body => jwks($key, $stranger) });
my $soon = $http =~ s/(keys\/hang)(?=;)/$1 min_interval=1s/r;
my $late = mint($stranger, claims_v2());
my $message = enroll_message($late);
$t->change(http => $soon);
$t->start;
verdict('keys', http_get('/hang/', bearer => $good), $fleet,
    '200 ok accepted 1');
$c = http_connect();
$c->send([ "POST /hang/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    . "Content-Length: @{[ length $message ]}\r\n\r\n"
    . substr $message, 0, 100 ]);
ok($t->reload(http => $soon =~
    s/(keys\/hang \{ internal; proxy_pass [^;]+)/$1\/keys\/backoff/r), 'reload');
sleep 1.05;
$idp->requests;
$c->send([ substr $message, 100 ]);
verdict('the message', $c->response, $fleet, '500 key_unknown refused 0');
is($idp->requests, 0, 'has nothing fetched');
verdict('new workers fetch', http_get('/hang/', bearer => $late), $fleet,
    '200 ok accepted 1');
is(join(' ', map { $_->uri } $idp->requests), '/keys/backoff',
    'from the new place');
$t->settle;


# the worker that fetches dies

sub fetching {
    my ($port) = map { sprintf '%04X', $_->port } $idp;
    my %socket;

    for (split /\n/, slurp('/proc/net/tcp')) {
        my ($remote, $state, $inode) = (split)[ 2, 3, 9 ];
        $socket{"socket:[$inode]"} = 1
            if $state eq '01' && substr($remote, -4) eq $port;
    }
    return grep { my $pid = $_;
        grep { $socket{ readlink($_) // '' } } glob "/proc/$pid/fd/*"
    } $t->children;
}

$idp->answer('/keys/hang' => { body => $set, delay => 60 },
    '/keys/backoff' => { body => $set });
$t->change(workers => 2, http => $http =~ s/(keys\/hang)(?=;)/$1 min_interval=1s/r);
$t->start;
$t->expect_log(qr/worker process \d+ exited on signal 9/);
my ($pid) = @{ (wait_for { my @pids = fetching(); @pids && \@pids }) || [] };
ok($pid, 'a worker fetches');
sleep 1.05;
$idp->answer('/keys/hang' => { body => $set });
kill KILL => $pid;
$begun = time;
verdict('another one does it', http_get('/hang/', bearer => $good), $fleet,
    '200 ok accepted 1');
cmp_ok(time - $begun, '<', 4, 'at once');
$t->settle;


# nothing is left behind

my @names = map { "n$_" } 1 .. 40;
$idp->answer('/keys/good' => { body => $set }, '/keys/bad' => { close => 1 });
$t->change(workers => 1, events => 'worker_connections 128;', http => $Headers
    . join('', map { fleet_policy('zone 512k;', $_,
        'request=/keys/' . (/[05]$/ ? 'bad' : 'good')
        . ' refresh=1s min_interval=1s') } @names)
    . <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location = /status { stub_status; access_log off; }
        location = /keys/good {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%;
        }
        location = /keys/bad {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_idp%%;
        }
    }
EOC
$idp->requests;
$t->start;

my ($worker) = $t->workers;
my $fetched = 0;
my $kb;

# What is open belongs to fetches under way: one a policy, two sockets at most.

for my $n (80, 280) {
    ok((wait_for { ($fetched += $idp->requests) >= $n } 30), "$n fetches");
    ok((wait_for {
        my $sockets = grep { (readlink($_) // '') =~ /socket/ }
                      glob "/proc/$worker/fd/*";
        my ($reading) = http_get('/status')->body =~ /Reading: (\d+)/;
        $sockets < 2 + @names && $reading < @names;
    }), 'no socket is left open, no request left over');

    my ($now) = slurp("/proc/$worker/status") =~ /VmRSS:\s+(\d+)/;
    $kb //= $now;
    cmp_ok($now - $kb, '<', 1024, 'nor any memory')
        if !$ENV{ENTRA_MDM_SANITIZED};
}

$t->done;
