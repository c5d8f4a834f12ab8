#!/usr/bin/perl
# once

# The examples of administration: who gets to the page, the API and the
# metrics, and what each may do there; by password, by certificate, by address.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::SSL;
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::Certificates;
use EntraMDM::Example;
use EntraMDM::File qw(root slurp wait_for);
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new;
my $key = new_key();
my $ca = example_files($t, $key);
my $v2 = mint($key, claims_v2());
my $enroll = '/api/mdm/microsoft/enroll';
my $api = '/entra-mdm/api/config';

fleet();

sub admin {
    my ($method, $path, %o) = @_;
    return https($method, $path, host => 'mdm-admin.example.com', %o);
}

sub patch {
    my ($ids, %o) = @_;
    return admin(PATCH => $api, %o, body => encode_json({ mdm => {
        windows_entra_client_ids => $ids } }), headers => [
        'Content-Type' => 'application/json', @{ $o{headers} // [] } ]);
}

# What each may do, and whether a change is one: the same for passwords and
# certificates.

sub roles {
    my ($name, %who) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $role (qw(admin gitops observer nobody)) {
        my %as = %{ $who{$role} };
        my $may_read = $role ne 'nobody';
        my $may_change = $role =~ /admin|gitops/;

        is(admin(GET => $api, %as)->status, $may_read ? 200 : 403,
            "$name: $role reads");
        is(patch([CLIENT_V2], %as)->status, $may_change ? 200 : 403,
            "$name: $role lets in");
        is(verdict(), $may_change ? 'accepted' : 's:Authorization',
            "$name: which counts, or not");
        is(patch([], %{ $who{admin} })->status, 200, "$name: shut out again");
        is(verdict(), 's:Authorization', "$name: and at once");
    }
}

sub verdict {
    my $r = https(POST => $enroll, body => enroll_message($v2));
    return $r->status == 200 ? 'accepted' : fault($r)->{subcode};
}

sub page {
    my ($name, %as) = @_;
    my $r = admin(GET => '/', %as);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->header('Location'), '/entra-mdm/', "$name: the way to the page");
    $r = admin(GET => '/entra-mdm/', %as);
    is($r->body, slurp(root() . '/ui/index.html'), "$name: the page");
    like($r->header('Content-Security-Policy'), qr/default-src 'none'/,
        "$name: with its policy");
    is(admin(GET => '/entra-mdm/page.js', %as)->body,
        slurp(root() . '/ui/page.js'), "$name: and its script");
}

# No test has a name server: the server's address will do for a name.

sub by_address {
    my ($conf) = @_;
    $conf =~ s/(server_name mdm-admin\.example\.com)/$1 127.0.0.1/ or die;
    return $conf;
}

# The gate beside it.

sub gate {
    my ($name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(https(POST => $enroll, body => enroll_message(mint($key, claims_v1())))
        ->status, 200, "$name: a v1 token is accepted");
    is(fault(https(POST => $enroll, body => enroll_message(mint(new_key(),
        claims_v1()))))->{subcode}, 's:Authentication',
        "$name: a forged one is refused");
    is(https(GET => $_)->body, "backend\n", "$name: $_ is not on this server")
        for $api, '/entra-mdm/';
}


# admin.conf

my %password = map { $_ => secret("password of $_") }
    qw(anna pipeline otto mallory);

$t->write_file('admins', join '', map {
    "$_:" . `openssl passwd -apr1 '$password{$_}'` } sort keys %password);
$t->change(conf => by_address(example('admin.conf')));
$t->start;

sub as {
    my ($user, $password) = @_;
    return headers => [ Authorization => 'Basic '
        . encode_base64("$user:" . ($password // $password{$user}), '') ];
}

for my $path ('/entra-mdm/', $api) {
    is(admin(GET => $path)->status, 401, "admin.conf: $path without a password");
    is(admin(GET => $path, as('anna', 'x'))->status, 401, 'with a wrong one');
}
is(patch([CLIENT_V2])->status, 401, 'no change either');
is(verdict(), 's:Authorization', 'nobody was let in');
roles('admin.conf', admin => { as('anna') }, gitops => { as('pipeline') },
    observer => { as('otto') }, nobody => { as('mallory') });
page('admin.conf', as('anna'));
gate('admin.conf');
like($t->error_log, qr/\[notice\].*added.*${\CLIENT_V2}.*anna/,
    'error.log says who did it');

# the metrics: by address alone

sub metrics {
    my ($from) = @_;
    my $socket = IO::Socket::SSL->new(LocalAddr => $from,
        PeerAddr => '127.0.0.1', PeerPort => $t->port('tls'),
        SSL_verify_mode => 0, SSL_hostname => 'mdm-admin.example.com') or die;

    return EntraMDM::HTTP->wrap($socket)->request(GET => '/entra-mdm/metrics',
        headers => [ Host => 'mdm-admin.example.com' ], close => 1);
}

my $r = metrics('127.0.0.1');
is($r->status, 200, 'metrics: an address that is allowed');
like($r->body, qr/^entra_mdm_decisions_total\{policy="fleet",action="refused",result="audience_not_allowed"\} [1-9]/m,
    'metrics: what was refused');
is(metrics('127.0.0.2')->status, 403, 'metrics: any other address');
is(https(GET => '/entra-mdm/metrics')->body, "backend\n",
    'metrics: not where devices come');

# prometheus.yml: a Prometheus that really runs

SKIP: {
    my ($prometheus) = grep { -x } map { "$_/prometheus" }
        split /:/, $ENV{PATH};
    skip 'prometheus is not installed', 3 if !$prometheus;

    my $folder = root() . '/conf-examples/prometheus';
    my $conf = slurp("$folder/prometheus.yml");
    my $port = $t->port('prometheus');

    for ($conf) {
        s{mdm-admin\.example\.com:443}{'127.0.0.1:' . $t->port('tls')}e or die;
        s{(scrape|evaluation)_interval: 15s}{$1_interval: 1s}g == 2 or die;
        s{(?=^    static_configs)}{<<"EOC"}me or die;
    tls_config:
      ca_file: $ca->{dir}/ca.crt
      server_name: mdm-admin.example.com
EOC
    }
    $t->write_file('prometheus.yml', $conf);
    $t->write_file('alerts.yml', slurp("$folder/alerts.yml"));
    my $said = `promtool check config $folder/prometheus.yml 2>&1`;
    is($?, 0, 'prometheus.yml: promtool check config') or diag $said;

    my $pid = fork // die;
    if ($pid == 0) {
        open STDOUT, '>', $t->dir . '/prometheus.log';
        open STDERR, '>&', \*STDOUT;
        exec qw(setpriv --pdeathsig KILL), $prometheus,
            '--config.file=' . $t->dir . '/prometheus.yml',
            '--storage.tsdb.path=' . $t->dir . '/prometheus',
            "--web.listen-address=127.0.0.1:$port" or POSIX::_exit(127);
    }
    my $query = sub {
        my $r = eval { EntraMDM::HTTP::http_get("/api/v1/query?query=$_[0]",
            port => $port) } // return [];
        return $r->status == 200 ? decode_json($r->body)->{data}{result} : [];
    };
    ok((wait_for {
        my ($up) = @{ $query->('up{job="entra_mdm"}') };
        $up && $up->{value}[1] == 1
    } 30), 'prometheus.yml: Prometheus is let in')
        or diag slurp($t->dir . '/prometheus.log');
    is(scalar @{ $query->('entra_mdm_keys') }, 1, 'and has the metrics');
    kill TERM => $pid;
    waitpid $pid, 0;
}
$t->settle;


# admin-mtls.conf

my $foreign = EntraMDM::Certificates->new($t->dir . '/foreign');

sub certificate {
    my ($subject, $by) = @_;
    my $dir = ($by // $ca)->{dir};
    my $file = "$dir/client-" . $subject =~ s/\W//gr;

    system("openssl req -newkey rsa:2048 -nodes -subj '$subject' "
        . "-keyout $file.key -out $file.csr 2>/dev/null && "
        . "openssl x509 -req -in $file.csr -CA $dir/ca.crt -CAkey $dir/ca.key "
        . "-CAcreateserial -days 2 -out $file.crt 2>/dev/null") == 0 or die;
    return client => { cert => "$file.crt", key => "$file.key" };
}

# nginx's own, on a certificate that only has the name of its authority right
$t->expect_log(qr/ignoring stale global SSL error/);

unlink $t->dir . '/entra_mdm/fleet.json';
$t->change(conf => example('admin-mtls.conf'));
$t->start;

my %anna = certificate('/O=Example/OU=IT/CN=anna');
my ($print) = slurp(root() . '/conf-examples/admin-mtls.conf')
    =~ /^#   (openssl x509 .*) -in/m;
my $subject = `$print -in $anna{client}{cert}` =~ s/^subject=\s*|\s+$//gr;
like(example('admin-mtls.conf'), qr/"\Q$subject\E"\s+admin;/,
    'admin-mtls.conf: names are as that command prints them');

for my $path ('/', '/entra-mdm/', $api) {
    is(admin(GET => $path)->status, 400,
        "admin-mtls.conf: $path without a certificate");
    is(admin(GET => $path, certificate('/O=Example/OU=IT/CN=anna',
        $foreign))->status, 400, "of another authority");
}
is(patch([CLIENT_V2])->status, 400, 'no change either');
is(verdict(), 's:Authorization', 'nobody was let in');
roles('admin-mtls.conf', admin => \%anna,
    gitops => { certificate('/O=Example/OU=IT/CN=pipeline') },
    observer => { certificate('/O=Example/OU=Helpdesk/CN=otto') },
    nobody => { certificate('/O=Example/OU=Sales/CN=anna') });
page('admin-mtls.conf', %anna);
gate('admin-mtls.conf');
like($t->error_log, qr/\[notice\].*added.*${\CLIENT_V2}.*\Q$subject\E/,
    'error.log says who did it');

# a connection to the devices' server does not lead to the administrators'

is(https(GET => $api, headers => [ Host => 'mdm-admin.example.com' ])->status,
    421, 'by another Host on a connection without a certificate');
is(https(GET => $api, %anna, host => 'mdm-admin.example.com')->status, 200,
    'while a certificate does');

# the command of its head

my ($command) = slurp(root() . '/conf-examples/admin-mtls.conf')
    =~ /^#   (entra-mdmctl .*\\\n.*)/m;
for ($command) {
    s/^#//mg;
    s{entra-mdmctl}{root() . '/build/entra-mdmctl'}e;
    s{mdm-admin\.example\.com}{'127.0.0.1:' . $t->port('tls')}e;
    s{anna\.(crt|key)}{$anna{client}{$1 eq 'crt' ? 'cert' : 'key'}}g;
}
is(patch([CLIENT_V2], %anna)->status, 200, 'listed');
ok($t->reload(conf => by_address(example('admin-mtls.conf'))
    =~ s/ default_server//r), 'without a name for TLS');
like(`$command --cacert $ca->{dir}/ca.crt 2>&1`, qr/${\CLIENT_V2}/,
    'entra-mdmctl by a certificate');
$t->done;
