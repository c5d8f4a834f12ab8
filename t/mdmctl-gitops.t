#!/usr/bin/perl

# entra-mdmctl and Fleet's YAML: what it reads there, what it refuses, and
# what it makes of it.
#
# t/data/gitops/valid has files with what a dry run says (.says) and warns of
# (.warns) for a gate with one client ID and one tenant; invalid has those that
# change nothing, with the message.  FILE stands for their path.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Basename qw(basename);
use JSON::PP qw(decode_json);
use Test::More;

use EntraMDM::Ctl;
use EntraMDM::File qw(root slurp);
use EntraMDM::Nginx;
use EntraMDM::Recorder;
use EntraMDM::Token;

use constant {
    A => 'aaaaaaaa-1111-4222-8333-444444444444',
    B => 'bbbbbbbb-1111-4222-8333-444444444444',
    C => 'cccccccc-1111-4222-8333-444444444444',
    T => '6d8769e6-0f8b-418d-b385-1a53968781c9',
};

my $t = EntraMDM::Nginx->new(http => <<'EOC' . recorded('gate'));
    entra_mdm_policy gate {
        client_id dddddddd-1111-4222-8333-444444444444;
        jwks      file=%%DIR%%/keys.json;
    }
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_api%%; }
    }
EOC

my $api = EntraMDM::Recorder->new($t, 'api');
$t->write_file('keys.json', jwks(new_key()));
$t->start;

my @url = ('--url', 'http://127.0.0.1:' . $t->port(8080) . '/api/');
my $data = root() . '/t/data/gitops';
my $dry = "a dry run: nothing has changed\n";

sub requests { return join ' ', map { $_->method } $api->requests }

# the lines of a message as the command writes them

sub message {
    my ($file) = @_;
    my $text = -e $file ? slurp($file) : '';
    my $yml = $file =~ s/\.\w+$/.yml/r;

    return $text =~ s/FILE/$yml/gr =~ s/^(?=.)/entra-mdmctl: /gmr;
}


# the files

$api->set(client_ids => [A], tenant_ids => [T]);

for my $file (sort glob "$data/valid/*.yml") {
    my $name = basename($file, '.yml');
    my $says = slurp("$data/valid/$name.says");

    says($name, ctl($t, 'gitops', '-f', $file, '--dry-run', @url), 0,
        $says . ($says =~ /^[-+]/ ? $dry : ''),
        message("$data/valid/$name.warns"));
}

like(requests(), qr/^GET(?: GET)+$/, 'dry runs change nothing');

for my $file (sort glob "$data/invalid/*.yml") {
    my $name = basename($file, '.yml');

    says($name, ctl($t, 'gitops', '-f', $file, @url), 1, '',
        message("$data/invalid/$name.error"));
}

is(requests(), '', 'what is wrong sends nothing');

$t->write_file('keys.yml', "controls: { windows_entra_client_ids: [] }\n"
    . join('', map { "k$_: 1\n" } 1 .. 10_001));
says('too many keys', ctl($t, 'gitops', '-f', 'keys.yml', @url), 1, '',
    qr/keys\.yml:1: more than 10000 keys/);
$t->write_file('deep.yml', 'a: ' . '[' x 200_000);
says('too deep', ctl($t, 'gitops', '-f', 'deep.yml', @url), 1, '',
    qr/deep\.yml:1: more than 100 levels/);
open my $large, '>', $t->dir . '/large.yml';
truncate $large, (16 << 20) + 1;
says('too much', ctl($t, 'gitops', '-f', 'large.yml', @url), 1, '',
    qr/large\.yml has more than 16777216 bytes/);
says('no file', ctl($t, 'gitops', '-f', 'none.yml', @url), 1, '',
    qr/none\.yml: No such file/);
says('a folder', ctl($t, 'gitops', '-f', '.', @url), 1, '',
    qr/\.: Is a directory/);


# doing it

my $default = "$data/valid/default.yml";

says('a difference that counts', ctl($t, 'gitops', '-f', $default,
    '--dry-run', '--exit-code', @url), 6, "+ client-id ${\B}\n$dry", '');
requests();
says('gitops', ctl($t, 'gitops', '-f', $default, @url), 0,
    "+ client-id ${\B}\n", '');
my @sent = $api->requests;
is(join(' ', map { $_->method } @sent), 'GET PATCH', 'one change');
is_deeply(decode_json($sent[1]->body),
    { mdm => { windows_entra_client_ids => [ A, B ] } },
    'of the list that differs');
is_deeply($api->lists, { client_ids => [ A, B ], tenant_ids => [T] },
    'is made');
says('again', ctl($t, 'gitops', '-f', $default, @url), 0,
    "nothing to change\n", '');
is(requests(), 'GET', 'nothing is sent');
says('and nothing counts', ctl($t, 'gitops', '-f', $default, '--dry-run',
    '--exit-code', '--quiet', @url), 0, '', '');

says('from standard input', ctl($t, 'gitops', '--file=-', @url,
    { in => "controls: { windows_entra_client_ids: [${\C}],"
        . " windows_entra_tenant_ids: [] }" }), 0,
    "- client-id ${\A}\n- client-id ${\B}\n+ client-id ${\C}\n"
    . "- tenant-id ${\T}\n", '');
is_deeply($api->lists, { client_ids => [C], tenant_ids => [] },
    'both lists in one change');
says('an error there', ctl($t, 'gitops', '-f-', @url, { in => "\n\na: [" }),
    1, '', qr/^entra-mdmctl: standard input:4: /);

$api->set(client_ids => [A], tenant_ids => [T]);
$api->race(1);
says('somebody else is faster', ctl($t, 'gitops', '-f', $default, @url), 0,
    "+ client-id ${\B}\n- tenant-id 00000001-ffff-4fff-8fff-ffffffffffff\n",
    '');
is_deeply($api->lists, { client_ids => [ A, B ], tenant_ids => [T] },
    'it is worked out anew');

$api->answer(PATCH => { status => 403 });
$t->write_file('other.yml', "controls: { windows_entra_client_ids: [] }\n");
says('not allowed', ctl($t, 'gitops', '-f', 'other.yml', @url), 3, '',
    qr/HTTP 403/);
$api->answer(PATCH => undef);


# there and back

for my $lists ([ [], [] ], [ [ A, uc B ], [T] ], [ [], [ T, C ] ]) {
    $api->set(client_ids => $lists->[0], tenant_ids => $lists->[1]);
    my $run = ctl($t, 'generate-gitops', @url);
    my $expected = join '', "controls:\n", map {
        my $ids = $lists->[ $_ eq 'tenant' ];
        "  windows_entra_${_}_ids:" . (@$ids ? "\n" : " []\n"),
        map { "    - $_\n" } @$ids } qw(client tenant);

    says('generate-gitops', $run, 0, $expected, '');
    says('which changes nothing', ctl($t, 'gitops', '-f', '-', '--dry-run',
        '--exit-code', @url, { in => $run->{out} }), 0,
        "nothing to change\n", '');
}

$t->done;
