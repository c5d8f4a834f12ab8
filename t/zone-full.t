#!/usr/bin/perl

# once: sizes are the same with sanitizers

# A zone that its lists have filled to the brim: there is room for new keys of
# 64 KB, and where there is none, no key of a source that is not named any
# more stays in force.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $http = $Headers . fleet_policy('zone 512k; state state/fleet.json;',
    'fleet', 'file=%%DIR%%/keys.json check=1s') . <<'EOC';
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
    }
EOC

my $t = EntraMDM::Nginx->new(workers => 2, http => $http);
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my ($key, $next) = (new_key(), new_key());

sub large {
    my ($bytes, @keys) = @_;
    return jwks(@keys) =~ s/^\{/'{"pad":"' . 'x' x $bytes . '",'/er;
}

sub in_force {
    my ($name, $in, $out) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    verdict($name, http_get('/', bearer => mint($in, claims_v2())), $fleet,
        '200 ok accepted 1');
    verdict("$name, no other", http_get('/', bearer => mint($out, claims_v2())),
        $fleet, '401 key_unknown refused 0');
}

sub named { return http => $http =~ s/keys\.json/$_[0]/r }


sub fits {
    my ($n) = @_;
    write_state($t, tenant_ids => [ map { sprintf
        '1b1b1111-2222-3333-4444-%012x', $_ } 1 .. $n ]);
    return ($t->nginx_t)[0] == 0;
}


# as many IDs as the zone takes

my $n = 9500;
$t->write_file('keys.json', jwks($key));
$n -= 100 while $n > 1000 && !fits($n);
cmp_ok($n, '>', 1000, "$n IDs");
$t->start;
in_force('the first keys', $key, $next);

$t->write_file('keys.json', large(60_000, $next));
ok((wait_for { http_get('/', bearer => mint($next, claims_v2()))->status
    == 200 }), 'keys of 60 KB find room');
$fleet->requests;

$t->write_file('keys.json', large(125_000, $key));
ok($t->wait_for_log(qr/does not fit its zone twice: raise "zone"/),
    'those of 125 KB do not');
in_force('the last good ones stay', $next, $key);
$t->mark;
ok($t->reload, 'reload');
ok($t->wait_for_log(qr/does not fit its zone twice, beside the lists/),
    'the log says it again');
in_force('they stay over a reload', $next, $key);

$t->write_file('large.json', large(125_000, $key));
$t->mark;
ok($t->reload(named('large.json')), 'a reload names another file');
ok($t->wait_for_log(qr/does not fit its zone twice.*there are no keys/),
    'the log says what has become of the keys');
for my $by ($key, $next) {
    verdict('nobody is judged by keys of a file that is not named any more',
        http_get('/', bearer => mint($by, claims_v2())), $fleet,
        '503 keys_unavailable refused 0');
}

$t->write_file('large.json', jwks($key));
ok((wait_for { http_get('/', bearer => mint($key, claims_v2()))->status
    == 200 }), 'until the file is smaller');
$fleet->requests;
in_force('then it is read', $key, $next);

$t->done;
