#!/usr/bin/perl

# How the feed gets in: user and password, an ACL, a socket, a database.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::File qw(root slurp spew wait_for);
use EntraMDM::Live;
use EntraMDM::Nginx;
use EntraMDM::Redis;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(workers => 2);
my %password = (plain => secret('correct-horse'),
    odd => secret('p@ss:w/rd%?#[1]'), long => secret('x' x 300 . 'y'));
my $encoded = secret($password{odd} =~ s/(\W)/sprintf '%%%02X', ord $1/ger);
my $everything = '~* &* +@all';

my $redis = EntraMDM::Redis->new($t, 'redis', socket => 1, acl => join "\n",
    'user default off', "user plain on >$password{plain} $everything",
    "user odd:u\@er on >$password{odd} $everything",
    "user long on >$password{long} $everything",
    documented_acl());
my $simple = EntraMDM::Redis->new($t, 'simple', password => $password{plain},
    socket => 1);
my $open = EntraMDM::Redis->new($t, 'open', socket => 1);

my $address = '127.0.0.1:%%PORT_redis%%';
my %servers = map { $_->{name} => $_ } $redis, $simple, $open;

spew($t->dir . '/password', "$password{odd}\n");
spew($t->dir . '/password-crlf', "$password{odd}\r\n");
spew($t->dir . '/password-bare', $password{long});
spew($t->dir . '/password-wrong', secret('battery-staple') . "\n");

my $started = 0;

# what gets in

for ([ redis => "redis://plain:$password{plain}\@$address", 'user, password' ],
     [ redis => "redis://odd%3Au%40er:$encoded\@$address", 'percent-encoded' ],
     [ redis => "redis://$address user=plain password_file=%%DIR%%/plain",
       'a file', plain => $password{plain} ],
     [ redis => "redis://$address user=odd:u\@er"
       . ' password_file=%%DIR%%/password', 'a line in a file' ],
     [ redis => "redis://$address user=odd:u\@er"
       . ' password_file=%%DIR%%/password-crlf', 'a line as Windows ends it' ],
     [ redis => "redis://$address user=long"
       . ' password_file=%%DIR%%/password-bare', 'a long one, no line feed' ],
     [ redis => "redis://$address user=reader"
       . ' password_file=%%DIR%%/plain', 'the documented ACL' ],
     [ redis => 'unix:%%DIR%%/redis/socket user=plain'
       . ' password_file=%%DIR%%/plain', 'a socket with a password' ],
     [ simple => "redis://:$password{plain}\@127.0.0.1:%%PORT_simple%%",
       'a password alone' ],
     [ simple => 'redis://127.0.0.1:%%PORT_simple%%'
       . ' password_file=%%DIR%%/plain', 'a password alone, from a file' ],
     [ open => 'redis://127.0.0.1:%%PORT_open%%', 'nothing' ],
     [ open => 'unix:%%DIR%%/open/socket', 'a socket' ],
     [ open => 'redis://127.0.0.1:%%PORT_open%%/0', 'database 0' ],
     [ open => 'redis://127.0.0.1:%%PORT_open%%/7', 'database 7', 7 ])
{
    my ($server, $url, $name, $database) = @$_;
    my $on = $servers{$server};
    my $new = guid(++our $New);

    $t->write_file('plain', $password{plain});
    serve($url);
    $on->cmd(SELECT => $database) if ($database // '') =~ /^\d$/;
    let_in($on, $new);
    everywhere(token($new), 'ok', "$name: the list");
    shut_out($on, $new);
    everywhere(token($new), 'audience_not_allowed', "$name: followed");
    ok((wait_for { $on->subscribers == 1 }), "$name: by tracking");
    $on->cmd(SELECT => 0);
}

is($t->alerts, 0, 'no alert');

# what does not

for ([ "redis://plain:battery-staple\@$address", 'a wrong password' ],
     [ "redis://nobody:$password{plain}\@$address", 'a wrong user' ],
     [ "redis://$address user=plain"
       . ' password_file=%%DIR%%/password-wrong', 'a wrong file' ],
     [ "redis://$address", 'no password' ])
{
    my ($url, $name) = @$_;

    let_in($redis, guid(1000));
    $t->stop if $started;
    $started = 0;
    $t->mark;
    serve($url);
    ok($t->wait_for_log(qr/\[error\].*(?:WRONGPASS|NOAUTH)/), "$name: logged");
    is(said(token(guid(1000))), 'lists_unavailable', "$name: no list");
    is(said(token(CLIENT_V2)), 'ok', "$name: the configuration counts");
}

# a server without AUTH repeats what it was told

my $deaf = EntraMDM::Redis->new($t, 'deaf', conf => 'rename-command AUTH ""');
for my $name (qw(plain long)) {
    $t->mark;
    $t->write_file('plain', $password{$name});
    serve('redis://127.0.0.1:%%PORT_deaf%% user=u password_file=%%DIR%%/plain');
    like($t->wait_for_log(qr/\[error\].*login/), qr/unknown command 'AUTH'/,
        "no AUTH, $name: logged");
    unlike($t->new_log, qr/with args|x{30}|correct-horse/,
        "no AUTH, $name: without the password");
}

# a password that is changed in its file counts after a reload

$t->write_file('plain', 'not yet');
serve("redis://$address user=plain password_file=%%DIR%%/plain");
ok($t->wait_for_log(qr/WRONGPASS/), 'a file: wrong at first');
$t->write_file('plain', $password{plain});
ok($t->reload, 'a file: changed');
everywhere(token(guid(1000)), 'ok', 'a file: right then');

# what cannot be

for ([ "redis://$address password_file=%%DIR%%/missing", qr/missing/,
       'a file that is not there' ],
     [ "redis://plain:$password{plain}\@$address"
       . ' password_file=%%DIR%%/plain', qr/password/,
       'a password twice' ],
     [ 'redis://127.0.0.1:%%PORT_open%%/x', qr/redis/,
       'a database that is no number' ],
     [ 'redis://127.0.0.1:99999', qr/port|99999/, 'a port that is none' ],
     [ 'redis://', qr/redis/, 'no host' ],
     [ 'http://127.0.0.1', qr/http/, 'another scheme' ],
     [ 'redis://127.0.0.1 frequency=1s', qr/frequency/, 'another option' ],
     [ 'redis://127.0.0.1 poll=soon', qr/poll=soon/, 'a time that is none' ],
     [ "redis://plain:%zz\@$address", qr/redis/, 'a wrong escape' ])
{
    my ($url, $says, $name) = @$_;
    my ($code, $said) = $t->nginx_t(http => live_http("redis $url;"));

    isnt($code, 0, "$name: nginx -t fails");
    like($said, qr/\[emerg\].*$says.* in \S+:\d+/, "$name: says why");
    unlike($said, qr/correct-horse|battery/, "$name: and no password");
}

$t->done;


sub serve {
    my ($url) = @_;
    my $http = live_http("redis $url;");

    $started ? ok($t->reload(http => $http), 'reload')
             : ($t->change(http => $http), live_start($t));
    $started = 1;
}

# The line that docs/redis.md gives for an ACL, with another name and password.

sub documented_acl {
    my ($line) = grep { /__redis__:invalidate/ && /\@all/ }
        split /\n/, slurp(root() . '/docs/redis.md');
    my ($rules) = ($line // '') =~ /((?:resetkeys |~)\S.*)/
        or fail('docs/redis.md has an ACL'), return '';

    return "user reader on >$password{plain} $rules";
}
