#!/usr/bin/perl

# What `nginx -t` says of "redis": each mistake is named with value, file and
# line, and with what to write instead, and no message has a password.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Nginx;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new;
my $dir = $t->dir;
my $password = 'correct-horse';

$t->write_file('keys.json', jwks(new_key()));
$t->write_file('password', "$password\n");
$t->write_file('empty', '');
$t->write_file('line', "\n");
$t->write_file('large', 'x' x 5000);
mkdir "$dir/folder";

sub conf {
    my ($redis, %o) = @_;
    my $jwks = $o{jwks} // 'file=%%DIR%%/keys.json';
    return ($o{http} // '') . "entra_mdm_policy fleet {\n"
        . "tenant_id ${\TENANT}; client_id ${\CLIENT_V2}; jwks $jwks;\n"
        . "$redis\n}\n"
        . "client_max_body_size 4m;\n"
        . "server { listen 127.0.0.1:%%PORT_8080%%;"
        . " location / { entra_mdm fleet; } }\n";
}

sub refused {
    my ($name, $http, $text, @says) = @_;
    my ($code, $said) = $t->nginx_t(http => $http);
    my ($error) = $said =~ /(\[emerg\].*)/;
    my ($before) = split /\Q$text/, $t->file('tried.conf'), 2;
    my $line = 1 + ($before =~ tr/\n//);

    return fail("$name: accepted") if $code == 0;
    like($error // '', qr{ in \S+/tried\.conf:$line$}, "$name: where")
        or diag($said);
    like($error, $_, $name) for @says;
    unlike($said, qr/\Q$password/, "$name: no password");
}

sub accepted {
    my ($name, $http) = @_;
    my ($code, $said) = $t->nginx_t(http => $http);
    is($code, 0, "$name: accepted") or diag $said;
    unlike($said, qr/\[warn\]|\Q$password/, "$name: without a word");
}


# the URL; t/core/test_redis_url.c has the whole of it

my $begin = qr/must begin with redis:/;

for (
    [ 'redis 127.0.0.1:6379',             $begin ],
    [ 'redis http://127.0.0.1',           $begin ],
    [ 'redis ""',                         $begin ],
    [ 'redis redis://',                   qr/must have a host/ ],
    [ 'redis redis://h:0',                qr/port is a number from 1/ ],
    [ 'redis redis://::1',                qr/stand in brackets/ ],
    [ 'redis redis://127.0.0.1/x',        qr/database is a number/ ],
    [ 'redis redis://127.0.0.1,127.0.0.2', qr/several are for redis-sent/ ],
    [ 'redis redis://127.0.0.1?db=1',     qr/options follow it after/ ],
    [ "redis redis://a:$password%\@h",    qr/"redis:\/\/h".* written %25/ ],
    [ "redis redis://a:$password\@:1",    qr/"redis:\/\/:1".* have a host/ ],
    [ "redis //a:$password\@h",           $begin, qr/"\/\/h"|"h"/ ],
    [ "redis a:$password\@h",             $begin ],
    [ "redis redis://a:$password\@h\@h/x", qr/database is a number/ ],
    [ 'redis unix:redis.sock',            qr/absolute path/ ],
    [ 'redis redis-sentinel://127.0.0.1', qr/name of the master must follow/ ],
    [ 'redis redis-cluster://127.0.0.1/1', qr/no databases/ ],
    [ "redis redis-cluster://a:$password\@127.0.0.1", qr/password_file=/ ],
) {
    my ($text, @says) = @$_;
    refused($text =~ s/$password/.../r, conf("$text;"), $text, @says);
}

# options

my $url = 'redis redis://127.0.0.1:6379/0';
my $file = 'password_file=%%DIR%%';

for (
    [ 'pool=30s',            qr/parameter "pool=30s".*"poll=".*"tls_name="/ ],
    [ 'poll',                qr/parameter "poll"/ ],
    [ '30s',                 qr/parameter "30s"/ ],
    [ 'poll=',               qr/"poll=".*a time of 100ms or more/ ],
    [ 'poll=0',              qr/a time of 100ms or more/ ],
    [ 'poll=99ms',           qr/a time of 100ms or more/ ],
    [ 'poll=soon',           qr/a time of 100ms or more/ ],
    [ 'poll=-1s',            qr/a time of 100ms or more/ ],
    [ 'timeout=99ms',        qr/"timeout=99ms".*a time of 100ms or more/ ],
    [ 'max_stale=0',         qr/a time of 1s or more, or off/ ],
    [ 'max_stale=on',        qr/a time of 1s or more, or off/ ],
    [ 'max_stale=500ms',     qr/a time of 1s or more, or off/ ],
    [ 'prefix=',             qr/start of a key/ ],
    [ 'user=',               qr/name of a user/ ],
    [ 'user=ann',            qr/a user needs a password/ ],
    [ 'poll=1s poll=2s',     qr/"poll=" is repeated/ ],
    [ "$file/password $file/password", qr/"password_file=" is repeated/ ],
    [ 'password_file=',      qr/must be a path/ ],
    [ "$file/none",          qr/none".*password_file.* cannot be opened/ ],
    [ "$file/folder",        qr/folder".*password_file.* is not a file/ ],
    [ "$file/large",         qr/5000 bytes, the limit is 4096/ ],
    [ "$file/empty",         qr/empty".*password_file.* is empty/ ],
    [ "$file/line",          qr/line".*password_file.* is empty/ ],
    [ 'tls_ca=ca.pem',       qr/are for rediss:/ ],
    [ 'tls_name=h',          qr/are for rediss:/ ],
    [ 'tls_cert=a tls_key=b', qr/are for rediss:/ ],
    [ 'tls_cert=a',          qr/need each other/ ],
    [ 'tls_key=a',           qr/need each other/ ],
    [ 'tls_ca=',             qr/must be a path/ ],
) {
    my ($options, @says) = @$_;
    refused("redis $options" =~ s/%%DIR%%//gr, conf("$url $options;"),
        "redis redis://", @says);
}

# what does not go together

for (
    [ "redis redis://ann\@127.0.0.1;", qr/a user needs a password/ ],
    [ "redis redis://ann:$password\@127.0.0.1 user=ann;",
      qr/"user=" and a user in the URL/ ],
    [ "redis redis://:$password\@127.0.0.1 $file/password;",
      qr/"password_file=" and a password in the URL/ ],
    [ 'redis redis-cluster://127.0.0.1 prefix=fleet:;', qr/part in braces/ ],
    [ 'redis redis-cluster://127.0.0.1 "prefix=x{}:";', qr/part in braces/ ],
    [ 'redis redis-cluster://127.0.0.1 "prefix=}x{:";', qr/part in braces/ ],
) {
    my ($line, @says) = @$_;
    refused($line =~ s/$password/.../r =~ s/%%DIR%%//r, conf($line),
        'redis redis', @says);
}

refused('two of them', conf("$url;\nredis redis://127.0.0.2;"),
    'redis redis://127.0.0.2', qr/"redis" directive is duplicate/);
refused('none', conf('redis;'), 'redis;', qr/one value or more/);
refused('jwks redis alone', conf('', jwks => 'redis'), 'entra_mdm_policy',
    qr/"jwks redis".*needs "redis"/);

# a name nobody knows

my $unknown = 'redis redis://redis.invalid;';
refused('a name', conf($unknown), 'entra_mdm_policy',
    qr/redis\.invalid".* can be resolved.*"resolver".*"state"/);
{
    my ($code, $said) = $t->nginx_t(http => conf($unknown,
        http => "resolver 127.0.0.1:1;\n"));
    is($code, 0, 'a name and a resolver') or diag $said;
    like($said, qr/\[warn\].*redis\.invalid.*tried again/,
        'a name and a resolver: a warning');
}
{
    my ($code, $said) = $t->nginx_t(http => conf(
        'redis redis-cluster://redis.invalid,127.0.0.1;'));
    is($code, 0, 'one of two names') or diag $said;
    like($said, qr/\[warn\].*redis\.invalid/, 'one of two names: a warning');
}

# what is right, nobody being there

for (
    "$url;", 'redis redis://127.0.0.1;', 'redis redis://[::1]:1/65535;',
    "redis redis://ann:$password\@127.0.0.1;",
    "redis redis://:$password\@127.0.0.1;",
    "redis redis://ann\@127.0.0.1 $file/password;",
    "$url user=ann $file/password;", "$url $file/password;",
    "$url password_file=password;",
    'redis redis://localhost;', 'redis unix:%%DIR%%/none.sock;',
    'redis redis-sentinel://127.0.0.1,127.0.0.2:1/mymaster/3;',
    'redis redis-cluster://127.0.0.1:1,[::1];',
    'redis redis-cluster://127.0.0.1 "prefix=a{b}c:";',
    "$url prefix=x poll=100ms timeout=1m max_stale=off;",
    "$url 'prefix=a b*?[c]:' poll=1h max_stale=1s;",
) {
    accepted(s/$password/.../r =~ s/%%DIR%%//r, conf($_));
}

accepted('jwks redis', conf("$url;", jwks => 'redis'));
accepted('redis after jwks, lists only there',
    conf("$url;") =~ s/tenant_id \S+ client_id \S+//r);

done_testing();
