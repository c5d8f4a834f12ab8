#!/usr/bin/perl

# Identity beyond the HTTP proxy: what a FastCGI, uwsgi, SCGI or gRPC backend
# reads as HTTP_X_ENTRA_UPN and its kin is ours alone, byte for byte.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(spew);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

# gRPC ends in another nginx, without the module, that hands it to a backend.

my $plain = EntraMDM::Nginx->new(module => 0);
my $backend = EntraMDM::Backend->new($plain);

$plain->change(http => <<'EOC');
    underscores_in_headers on;
    ignore_invalid_headers off;
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        location / { proxy_pass http://127.0.0.1:%%PORT_backend%%; }
    }
EOC
$plain->start;

my %pass = (
    fastcgi => 'fastcgi_pass 127.0.0.1:%%PORT_fastcgi%%;
                fastcgi_param REQUEST_METHOD $request_method;',
    uwsgi   => 'uwsgi_pass 127.0.0.1:%%PORT_uwsgi%%;
                uwsgi_param REQUEST_METHOD $request_method;',
    scgi    => 'scgi_pass 127.0.0.1:%%PORT_scgi%%;
                scgi_param REQUEST_METHOD $request_method;',
    grpc    => 'grpc_pass grpc://127.0.0.1:' . $plain->port('h2') . ';',
);

my $locations = join '', map { <<"EOC" } sort keys %pass;
        location /$_/     { $pass{$_} }
        location /$_/off  { entra_mdm off; $pass{$_} }
        location /$_/dry  { entra_mdm_dry_run on; $pass{$_} }
EOC
my $ungated = join '', map { "location /$_/ { $pass{$_} }\n" } sort keys %pass;

my $t = EntraMDM::Nginx->new(http => <<"EOC");

    entra_mdm_policy fleet {
        tenant_id    6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id    1b1b1111-2222-3333-4444-5555555555c1;
        jwks         file=%%DIR%%/keys.json;
        device_token pass;
    }

    underscores_in_headers on;
    ignore_invalid_headers off;
    client_max_body_size 2m;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        add_header X-Result \$entra_mdm_result always;
        add_header X-Action \$entra_mdm_action always;
        entra_mdm fleet;
        $locations
    }

    server {
        listen 127.0.0.1:%%PORT_ungated%%;
        $ungated
    }

EOC

my $key = new_key();

$t->write_file('keys.json', jwks($key));


# Gateways that keep the request they got, raw, and say "ok".  `whole` tells
# when it has arrived, `names` what is in it: [name, value] pairs.

my %gateway = (
    fastcgi => {
        whole => sub { (fastcgi_streams($_[0]))[1] },
        names => sub { fastcgi_pairs((fastcgi_streams($_[0]))[0]) },
        answer => pack('CCnnCx', 1, 6, 1, 23, 0) . "Status: 200 OK\r\n\r\nok\n\r\n"
            . pack('CCnnCx', 1, 6, 1, 0, 0) . pack('CCnnCxNCx3', 1, 3, 1, 8, 0,
                0, 0),
    },
    uwsgi => {
        whole => sub { length $_[0] >= 4
            && length $_[0] >= 4 + unpack 'xv', $_[0] },
        names => sub {
            my @parts = unpack '(v/a)*', substr $_[0], 4, unpack 'xv', $_[0];
            return map { [ splice @parts, 0, 2 ] } 1 .. @parts / 2;
        },
        answer => "HTTP/1.1 200 OK\r\n\r\nok\n",
    },
    scgi => {
        whole => sub { $_[0] =~ /^(\d+):/
            && length $_[0] >= $1 + length($1) + 2 },
        names => sub {
            my ($length) = $_[0] =~ /^(\d+):/;
            my @parts = split /\0/, substr($_[0], 1 + length $length, $length),
                -1;
            return map { [ splice @parts, 0, 2 ] } 1 .. int(@parts / 2);
        },
        answer => "Status: 200 OK\r\n\r\nok\n",
    },
);

# The parameters so far, and whether the request has ended.

sub fastcgi_streams {
    my ($bytes) = @_;
    my $params = '';

    while (length $bytes >= 8) {
        my ($type, $length, $padding) = unpack 'xCxxnC', $bytes;
        return $params if length $bytes < 8 + $length + $padding;
        $params .= substr $bytes, 8, $length if $type == 4;
        return ($params, 1) if $type == 5 && $length == 0;
        substr $bytes, 0, 8 + $length + $padding, '';
    }
    return $params;
}

sub fastcgi_pairs {
    my ($params) = @_;
    my @pairs;

    while (length $params) {
        my @length = map {
            my ($length) = unpack 'C', $params;
            $length = unpack('N', $params) & 0x7fffffff if $length > 127;
            substr $params, 0, $length > 127 ? 4 : 1, '';
            $length;
        } 1, 2;
        push @pairs, [ map { substr $params, 0, $_, '' } @length ];
    }
    return @pairs;
}

sub serve {
    my ($name) = @_;
    my $gateway = $gateway{$name};
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $t->port($name), Listen => 16, ReuseAddr => 1) or die $@;

    spew($t->dir . "/$name.raw", '');
    my $test = $$;
    my $pid = fork // die;
    return $pid if $pid;

    while (getppid == $test) {
        IO::Select->new($listen)->can_read(1) or next;
        my $client = $listen->accept or next;
        my $bytes = '';
        while (!$gateway->{whole}->($bytes)) {
            sysread $client, $bytes, 65536, length $bytes or last;
        }
        spew($t->dir . "/$name.raw", $bytes);
        syswrite $client, $gateway->{answer};
    }
    POSIX::_exit(0);
}

my @pids = map { serve($_) } sort keys %gateway;
$t->start;


# What a backend takes for identity: "NAME=value", as it reads names.

sub identity {
    my ($name) = @_;
    my @pairs;

    if ($name eq 'grpc') {
        my $seen = $backend->last or return 'nothing';
        @pairs = map { [ "HTTP_$_->[0]", $_->[1] ] } @{ $seen->{list} };

    } else {
        my $raw = $t->file("$name.raw") or return 'nothing';
        spew($t->dir . "/$name.raw", '');
        @pairs = $gateway{$name}{names}->($raw);
    }

    return [ map { uc($_->[0] =~ s/[^a-z0-9]/_/gir) . "=$_->[1]" }
             grep { $_->[0] =~ /^HTTP.X.Entra/i } @pairs ];
}

my $token = mint($key, claims_v1(aud => CLIENT_V2, upn => "ann lee\@\x{fc}"));
my $device = enroll_message('{"type":1}', value_type => 'http://schemas.'
    . 'microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/'
    . 'DeviceEnrollmentUserToken');
my @ann = ('HTTP_X_ENTRA_UPN=ann%20lee@%C3%BC',
    'HTTP_X_ENTRA_TENANT_ID=' . TENANT,
    'HTTP_X_ENTRA_OBJECT_ID=8c1b7e6a-5d4c-4b3a-9281-706f5e4d3c2b',
    'HTTP_X_ENTRA_DEVICE_ID=11ea4b2e-0c39-4a7a-9a09-1a2b3c4d5e6f',
    'HTTP_X_ENTRA_AUDIENCE=' . CLIENT_V2, 'HTTP_X_ENTRA_TOKEN_VERSION=1.0');

my @forged = map { ($_ => 'eve') } map({ ($_, lc, uc, tr/-/_/r, tr/-/./r,
    s/-/_/r) } map { "X-Entra-$_" }
    qw(UPN Tenant-ID Object-ID Device-ID Audience Token-Version)),
    'X~Entra!UPN', 'X Entra-UPN' =~ tr/ /|/r, "X\xa0Entra\xa0UPN";

for my $name (qw(fastcgi uwsgi scgi grpc)) {
    my @ungated = (port => $t->port('ungated'));

    for (
        [ 'accepted',     \@ann, "/$name/",    bearer => $token ],
        [ 'accepted, SOAP', \@ann, "/$name/",  body => enroll_message($token) ],
        [ 'passed',       [],    "/$name/",    body => $device ],
        [ 'off',          [],    "/$name/off", bearer => $token ],
        [ 'would refuse', [],    "/$name/dry", bearer => 'a.b.c' ],
        [ 'no gate',      [],    "/$name/",    bearer => $token, @ungated ],
    ) {
        my ($state, $expected, $uri, %o) = @$_;
        my $r = http_request($o{body} ? 'POST' : 'GET', $uri, %o,
            headers => [ @forged, Last => 'one' ]);

        is($r->status, 200, "$name, $state: answered");
        is_deeply(identity($name), $expected, "$name, $state: identity");
    }

    my $r = http_get("/$name/", bearer => 'a.b.c', headers => \@forged);
    is($r->header('X-Result'), 'token_malformed', "$name, refused");
    is(identity($name), 'nothing', "$name, refused: nothing arrives");
}

# the captures see what is there

http_get('/scgi/off', headers => [ 'X-Entra-Other' => 1, Twin => 2 ]);
my %seen = map { @$_ } $gateway{scgi}{names}->($t->file('scgi.raw'));
is("$seen{HTTP_X_ENTRA_OTHER} $seen{HTTP_TWIN} $seen{REQUEST_METHOD}",
    '1 2 GET', 'what is not identity goes through');

kill KILL => @pids;
$plain->settle;
$t->done;
