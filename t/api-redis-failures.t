#!/usr/bin/perl

# What can go wrong between the API and Redis, and what is said of it; data
# that was lost, and its confirmation; clients that do not wait.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::File qw(slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Live qw(live_http live_start token everywhere list);
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

sub http {
    my ($options) = @_;
    return live_http("redis redis://127.0.0.1:$options; zone 4m;",
        http => api_map(), server => api_location());
}

my $t = EntraMDM::Nginx->new(workers => 2,
    http => http('%%PORT_line%% poll=1s timeout=4s'));
my $redis = EntraMDM::Redis->new($t, 'redis', acl => <<'EOC');
user default on nopass ~* &* +@all
user polls on >polls ~* &* +@all -client|tracking
EOC
my ($clients, $tenants) = map { list($_) } qw(client_ids tenant_ids);


# The line to Redis.  It may break when a word comes along: before that word
# has reached Redis, or after, so that the answer is lost; or hold it until the
# mode is another one.  In a journal it notes which words came on which of its
# connections, and when nginx has closed one.

my $mode = $t->dir . '/line-mode';
my $journal = $t->dir . '/line-journal';
spew($mode, '');
spew($journal, '');

sub noted { my ($what) = @_; return slurp($journal) =~ /^(\d+) $what$/m && $1 }

sub write_down {
    open my $out, '>>', $journal or return;
    syswrite $out, join '', map { "$$ $_\n" } @_;
}

sub line {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $t->port('line'), Listen => 64, ReuseAddr => 1) or die;
    my $test = getppid;

    $SIG{CHLD} = 'IGNORE';
    while (getppid == $test) {
        IO::Select->new($listen)->can_read(1) or next;
        my $client = $listen->accept or next;
        my $pid = fork // next;
        if (!$pid) {
            eval { relay($client) };
            POSIX::_exit(0);
        }
    }
}

sub relay {
    my ($client) = @_;
    my $server = IO::Socket::INET->new('127.0.0.1:' . $redis->port) or return;
    my $select = IO::Select->new($client, $server);

    while (my @ready = $select->can_read) {
        for my $from (@ready) {
            my $bytes;
            if (!sysread $from, $bytes, 65536) {
                write_down('closed') if $from == $client;
                return;
            }
            my ($when, $word) = split / /, slurp($mode);
            my $cut = $from == $client && $word && $bytes =~ /\b$word\r/;
            write_down($bytes =~ /\b(WATCH|EXEC|SSCAN)\r/g) if $from == $client;
            return if $cut && $when eq 'before';
            wait_for(sub { slurp($mode) ne "hold $word" })
                if $cut && $when eq 'hold';
            syswrite $from == $client ? $server : $client, $bytes;
            if ($cut && $when eq 'after') {
                IO::Select->new($server)->can_read;
                return;
            }
        }
    }
}

$t->port('line');                      # reserved here, for both
my $line = fork // die;
if (!$line) {
    setpgrp;
    line();
    POSIX::_exit(0);
}
END { local $?; kill KILL => -$line if $line }

live_start($t);
everywhere(token(guid(1)), 'audience_not_allowed', 'at first');
ok((patch([ guid(1) ], [ guid(2) ]))[0] == 200, 'a change');


# the line breaks

for my $word (qw(WATCH SMEMBERS MULTI EXEC)) {
    spew($mode, "before $word");
    error_is("broken before $word", [ patch([ guid(3) ], undef) ], 503,
        [ base => $word eq 'EXEC' ? qr/^outcome unknown:/
            : qr/nothing was changed/ ]);
    spew($mode, '');
    is_deeply($redis->cmd(SMEMBERS => $clients), [ guid(1) ],
        "broken before $word: nothing was changed");
}

for my $word (qw(WATCH SMEMBERS MULTI)) {
    spew($mode, "after $word");
    error_is("broken after $word", [ patch([ guid(3) ], undef) ], 503,
        [ base => qr/nothing was changed/ ]);
    spew($mode, '');
    is_deeply($redis->cmd(SMEMBERS => $clients), [ guid(1) ],
        "broken after $word: nothing was changed");
}

spew($mode, 'after EXEC');
error_is('broken after EXEC', [ patch([ guid(3) ], undef) ], 503,
    [ base => qr/^outcome unknown:.*read the lists again/ ]);
spew($mode, '');
is_deeply($redis->cmd(SMEMBERS => $clients), [ guid(3) ],
    'here it was made');
everywhere(token(guid(3)), 'ok', 'and is read');
everywhere(token(guid(1)), 'audience_not_allowed', 'by all');
ok((wait_for { (patch([ guid(1) ], undef))[0] == 200 }), 'and on');


# a client that goes as soon as that word has come along; and nginx knows

sub hurry {
    my ($word, @lists) = @_;
    my $c = http_connect();
    my $body = json->encode(lists(@lists));

    spew($journal, '');
    $t->mark;
    $c->send([ "PATCH /entra-mdm/api/config HTTP/1.1\r\nHost: x\r\n"
        . "X-Role: admin\r\nContent-Type: application/json\r\n"
        . "Content-Length: @{[ length $body ]}\r\n\r\n$body" ]);
    ok((wait_for { noted($word) }), "$word is on its way");
    $c->close;
    ok($t->wait_for_log('client prematurely closed'), 'the client has gone');
}

$redis->pause;
hurry(WATCH => [ guid(5) ]);
my $asked = noted('WATCH');
ok((wait_for { slurp($journal) =~ /^$asked closed$/m }),
    'Redis is not asked any more');
$redis->resume;
ok((wait_for { (patch(undef, [ guid(4) ]))[0] == 200 }), 'another one does');
is_deeply($redis->cmd(SMEMBERS => $clients), [ guid(1) ],
    'whose client has gone before: nothing was changed');

spew($mode, 'hold EXEC');
hurry(EXEC => [ guid(1), guid(9) ]);
spew($mode, '');
like($t->wait_for_log('added_microsoft_entra_client_id ' . guid(9)) // '',
    qr/actor: "admin"/, 'what has been sent is made, and logged');
is_deeply([ sort @{ $redis->cmd(SMEMBERS => $clients) } ],
    [ guid(1), guid(9) ], 'in Redis');
everywhere(token(guid(9)), 'ok', 'in force');
patch([ guid(1) ], undef);


# data that was lost

sub lose {
    my ($name) = @_;
    everywhere(token(guid(1), guid(4)), 'ok', "$name: before");
    ok((wait_for { (api(GET => 'config'))[1]{source} eq 'redis' }),
        "$name: from Redis");
    $redis->cmd('FLUSHALL');
    ok((wait_for { (api(GET => 'config'))[1]{source} eq 'lost' }),
        "$name: lost");
    is_lists("$name: the last lists are shown", [ guid(1) ], [ guid(4) ]);
    everywhere(token(guid(1), guid(4)), 'ok', "$name: and in force");
}

patch([ guid(1) ], [ guid(4) ]);
lose('confirmed as it is');
my ($status, $json) = api(PATCH => 'config', { mdm => {} });
is($status, 200, 'nothing is changed');
is_lists('answered', [ guid(1) ], [ guid(4) ], $json);
is_deeply($redis->cmd(SMEMBERS => $clients), [ guid(1) ], 'Redis has it back');
is_deeply($redis->cmd(SMEMBERS => $tenants), [ guid(4) ], 'both lists');
ok((wait_for { (api(GET => 'config'))[1]{source} eq 'redis' }), 'from Redis');
is($redis->cmd(XLEN => list('activities')), 0, 'no activity for what stays');

lose('confirmed with one list');
my $tag = (api(GET => 'config'))[2]->header('ETag');
error_is('with another tag', [ patch([ guid(1) ], undef, match => '"x"') ],
    412);
($status, $json) = patch([ guid(1), guid(6) ], undef, match => $tag);
is($status, 200, 'a list is given');
is_lists('the other one is kept', [ guid(1), guid(6) ], [ guid(4) ], $json);
everywhere(token(guid(6), guid(4)), 'ok', 'in force');
is_deeply($redis->cmd(SMEMBERS => $tenants), [ guid(4) ], 'and in Redis');
(undef, my $activities) = api(GET => 'activities');
is_deeply([ map { $_->{details}{client_id} } @{ $activities->{activities} } ],
    [ guid(6) ], 'an activity for what is new');
patch([ guid(1) ], undef);

lose('confirmed as emptied');
($status, $json) = patch([], []);
is($status, 200, 'nobody');
is_lists('answered', [], [], $json);
everywhere(token(guid(1)), 'audience_not_allowed', 'in force');
everywhere(token(CLIENT_V2, guid(4)), 'tenant_not_allowed', 'both');
ok((wait_for { (api(GET => 'config'))[1]{source} eq 'redis' }), 'from Redis');
spew($journal, '');
ok((wait_for { my @read = slurp($journal) =~ /SSCAN/g; @read >= 4 }),
    'polled twice');
everywhere(token(guid(1)), 'audience_not_allowed', 'and so it stays');


# at the same time

my ($n, $each) = (6, 8);
my @pids = map {
    my $i = $_;
    my $pid = fork // die;
    if (!$pid) {
        my $ok = eval {
            for my $k (1 .. $each) {
                my $status = 412;
                while ($status == 412) {
                    my (undef, $json, $r) = api(GET => 'config');
                    ($status) = patch([ guid($i * 100 + $k),
                        @{ $json->{mdm}{windows_entra_client_ids} } ], undef,
                        match => $r->header('ETag'));
                }
                die "$status\n" if $status != 200;
            }
            1;
        };
        POSIX::_exit($ok ? 0 : 1);
    }
    $pid;
} 1 .. $n;
is(scalar(grep { waitpid($_, 0); $? } @pids), 0, 'all changes are made');
is($redis->cmd(SCARD => $clients), $n * $each, 'and none is lost');


# a feed that is not told of changes

spew($t->dir . '/pw', 'polls');
ok($t->reload(http => http('%%PORT_redis%% poll=60s timeout=1s user=polls '
    . 'password_file=%%DIR%%/pw')), 'polling once a minute');
ok($t->wait_for_log('connected, polling'), 'it does');
($status) = patch([ guid(8) ], undef);
is($status, 200, 'PATCH is answered once it is in force');
everywhere(token(guid(8)), 'ok', 'in force', 0.2);

$t->done;
