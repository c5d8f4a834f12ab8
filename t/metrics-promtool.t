#!/usr/bin/perl
# once

# What Prometheus' own promtool says of the metrics and of the alert rules;
# that rules and dashboard know no other metrics; and what a scrape costs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json encode_json);
use POSIX ();
use Test::More;

use EntraMDM::File qw(root slurp wait_for);
use EntraMDM::HTTP;
use EntraMDM::Metrics;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $folder = root() . '/conf-examples/prometheus';
my $key = new_key();
my $t = EntraMDM::Nginx->new(http => <<'EOC'
    keepalive_requests 100000;
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        root %%DIR%%;
        location = /metrics { access_log off; entra_mdm_metrics; }
        location = /_keys   { internal; alias %%DIR%%/keys.json; }
        location = /gate    { entra_mdm fleet; try_files /keys.json =404; }
    }
EOC
    . fleet_policy('redis redis://127.0.0.1:%%PORT_redis%%; zone 4m;
                    state %%DIR%%/state/fleet.json;', 'fleet',
                   'request=/_keys')
    . fleet_policy('redis redis://127.0.0.1:%%PORT_redis%%; zone 4m;
                    state %%DIR%%/state/other.json;', '"other \"\\\\"'));

# 60,000 live IDs each, of which one is configured as well

my @ids = map { sprintf '%08x-1111-2222-3333-444444444444', $_ } 1 .. 59_999;

mkdir $t->dir . '/state';
$t->write_file('keys.json', jwks($key));
$t->write_file('state/fleet.json', state_text(policy => 'fleet',
    lists_source => 'redis', redis_generation => 1,
    client_ids => [ @ids, CLIENT_V2 ], tenant_ids => []));
$t->write_file('state/other.json', state_text(policy => 'other "\\',
    lists_source => 'redis', redis_generation => 1,
    client_ids => [ @ids, CLIENT_V2 ], tenant_ids => []));
$t->start;
ok(wait_for { value(keys => policy => 'fleet') }, 'keys are there');
is(http_get('/gate', bearer => mint($key, claims_v2()))->status, 200,
    'a request');


# the text

sub promtool {
    my ($name, @arguments) = @_;
    my $said = `promtool @arguments 2>&1`;

    return is($?, 0, $name) || diag $said;
}

my $text = http_get('/metrics')->body;
my @shown = map { $_->[0] } families($text);

is_deeply(\@shown, [ map { $_->[0] } EntraMDM::Metrics::rows() ],
    'all metrics are shown, in the order of the table');
$t->write_file('metrics.txt', $text);
promtool('promtool check metrics', 'check metrics <', $t->dir . '/metrics.txt');

$t->write_file('wrong.txt', $text =~ s/^# HELP entra_mdm_keys .*\n//mr);
isnt(system("promtool check metrics <$t->{dir}/wrong.txt >/dev/null 2>&1"), 0,
    'which finds what is wrong');

is(value(list_size => policy => $_, list => 'client_ids'), 60_000,
    'the live lists are there') for 'fleet', 'other \"\\\\';


# rules

promtool('promtool check rules', "check rules $folder/alerts.yml");
promtool('promtool test rules', 'test rules', root() . '/t/data/alerts.yml');

my $alerts = slurp("$folder/alerts.yml");
my $tested = slurp(root() . '/t/data/alerts.yml');
my @alerts = $alerts =~ /^ *- alert: (\w+)$/mg;
is(scalar @alerts, 12, 'alerts');
for my $alert (@alerts) {
    like($tested, qr/eval_time: \w+, alertname: $alert \}/,
        "$alert: when it does not come");
    like($tested, qr/alertname: $alert\n +exp_alerts:/, "$alert: when it does");
}


# names of metrics

sub known {
    my ($text) = @_;
    my $histogram = qr/_(?:bucket|sum|count)$/;
    my %names = map { s/^(entra_mdm_verification_seconds)$histogram/$1/r => 1 }
        $text =~ /\b(entra_mdm_\w+)/g;

    return \%names;
}

sub strangers { my ($names) = @_;
    return [ grep { !table()->{$_} } sort keys %$names ];
}

# without what is only spoken of, the directives
my $exprs = join "\n", $alerts =~ /^ +expr: \|\n((?: {10,}.*\n)+)/mg,
    $alerts =~ /^ +expr: ([^|\n].*)/mg;
is_deeply(strangers(known($exprs)), [], 'rules know no other metrics');
cmp_ok(scalar keys %{ known($exprs) }, '>=', 10, 'but many');

my $json = slurp("$folder/dashboard.json");
my $dashboard = eval { decode_json($json) };
ok($dashboard, 'the dashboard is JSON') or diag $@;
my @targets = map { $_->{expr} } map { @{ $_->{targets} } }
    @{ $dashboard->{panels} };
is_deeply(strangers(known("@targets")), [], 'it knows no other metrics');
is_deeply([ sort keys %{ known("@targets") } ], [ sort keys %{ table() } ],
    'and shows each of them');

my %panels = map { $_->{id} => 1 } @{ $dashboard->{panels} };
is(scalar keys %panels, scalar @{ $dashboard->{panels} },
    'each panel has an ID of its own');

# what the expressions are, as recording rules, promtool can tell
$t->write_file('panels.yml', encode_json({ groups => [ { name => 'panels',
    rules => [ map { { record => "panel:$_", expr => $targets[$_]
        =~ s/\$__rate_interval/5m/gr } } 0 .. $#targets ] } ] }));
promtool('its expressions', 'check rules', $t->dir . '/panels.yml');


# the cost: processor time of the one worker, in which clients have no part

sub spent {
    my ($pid) = $t->workers;
    my @stat = split ' ', slurp("/proc/$pid/stat") =~ s/^.*\) //sr;
    return ($stat[11] + $stat[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

my $n = 1000;
my $c = http_connect();
my $before = spent();
my $same = 0;
for (1 .. $n) {
    my $r = $c->request(GET => '/metrics');
    $same += $r->status == 200 && $r->header('Content-Length') > 10_000;
}
my $each = (spent() - $before) / $n;
$c->close;
is($same, $n, 'scrapes');
diag sprintf '%.0f microseconds a scrape', $each * 1e6;
my ($promised) = slurp(root() . '/README.md')
    =~ /A scrape\s+of two policies costs a worker less than (\d+) microseconds/;
cmp_ok($each * 1e6, '<', $promised // 0, 'each costs no more than README says');

$t->done;
