#!/usr/bin/perl

# A body that does not tell its length: up to max_body it goes on byte for
# byte, beyond that it is refused, however it arrives and wherever nginx keeps
# it.  A dry run passes it on whole.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::Body;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

my $t = EntraMDM::Nginx->new(http => $Policies . <<'EOC' . $Locations . <<'EOC'
    limit_req_zone $binary_remote_addr zone=fast:1m rate=1000r/s;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
EOC

        location /delayed   { limit_req zone=fast burst=99;
                              proxy_pass http://fleet; }
        location /company   { satisfy all; allow all; auth_request /yes;
                              mirror /mirror; proxy_pass http://fleet; }
        location /any       { satisfy any; deny all; auth_request /no;
                              proxy_pass http://fleet; }
        location = /yes     { entra_mdm off; internal; return 204; }
        location = /no      { entra_mdm off; internal; return 403; }
        location = /mirror  { entra_mdm off; internal;
                              proxy_pass http://127.0.0.1:%%PORT_mirror%%; }
        location /dry       { entra_mdm_dry_run on; proxy_pass http://fleet;
            location /dry/file { client_body_buffer_size 1k;
                                 proxy_pass http://fleet; }
            location /dry/kept { client_body_in_file_only clean;
                                 proxy_pass http://fleet; }
        }
    }

    # head and body in one buffer

    server {
        listen 127.0.0.1:%%PORT_head%%;
        client_header_buffer_size 64k;
        entra_mdm fleet;
        location /        { proxy_pass http://fleet; }
        location /in-file { client_body_in_file_only on;
                            proxy_pass http://fleet; }
    }
EOC
);

my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $mirror = EntraMDM::Backend->new($t, 'mirror');
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

my $message = enroll_message(mint($key, claims_v2()));
my ($full, $over) = map { padded($message, $_) } MAX, MAX + 1;
my $much = padded($message, 5 * MAX);

is(length $full, MAX, 'a message of max_body');

sub accepted {
    my ($name, $r, $sent) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $seen = verdict($name, $r, $fleet, '200 ok accepted 1') // return;
    ok($seen->body eq $sent, "$name: the same bytes");
}

sub refused {
    my ($name, $r) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    verdict($name, $r, $fleet, '413 body_too_large refused 0');
    is(fault($r)->{subcode}, 's:MessageFormat', "$name: a fault");
}

# every way of arrival, and the most different ones wherever it is kept

my %uris = (
    '/' => [ sort keys %Arrivals ],
    map { $_ => [ 'chunks', 'byte by byte', 'in pieces' ] }
        qw(/to-file /in-file /clean /single /stream /wide /delayed
           /company /any),
);

for my $uri (sort keys %uris) {
    for my $how (@{ $uris{$uri} }) {
        my @how = @{ $Arrivals{$how} };
        accepted("$uri, max_body, $how", http_post($uri, $full, @how), $full);
        refused("$uri, a byte more, $how", http_post($uri, $over, @how));
        refused("$uri, much more, $how", http_post($uri, $much, @how))
            if $how ne 'byte by byte';
    }
    accepted("$uri, max_body, HTTP/2", chunked2($t, $uri, $full), $full);
    refused("$uri, a byte more, HTTP/2", chunked2($t, $uri, $over));
}

is(join(' ', map { length $_->body } $mirror->requests), join(' ', (MAX) x 4),
    'mirrored is what was accepted, whole, and nothing else');

for my $uri (qw(/ /in-file)) {
    for my $chunk (1 << 20, 1000, 1) {
        my $name = "$uri, with the head, chunks of $chunk";
        my @to = (port => $t->port('head'));
        accepted("$name, max_body",
            http_raw(chunked_head($uri) . chunked($full, $chunk), @to), $full);
        refused("$name, a byte more",
            http_raw(chunked_head($uri) . chunked($over, $chunk), @to));
        refused("$name, the end still to come", http_raw(chunked_head($uri)
            . substr(chunked($over, $chunk), 0, -5), @to));
    }
}

# The buffer is not full when the limit is passed, then it is: nginx would
# have what it holds written.

for my $size (MAX - 1000, MAX - 1) {
    my $head = sprintf "%s%x\r\n", chunked_head('/'), length $much;
    refused("$size bytes, then all at once", http_raw([ $head,
        substr($much, 0, $size), substr($much, $size) . "\r\n0\r\n\r\n" ],
        pause => 0.02));
    refused("$size bytes at the end of 4k", http_raw([ $head =~ s/ \K/\/small/r
        . substr($much, 0, $size - 14_000 > 0 ? $size - 14_000 : 1),
        substr($much, $size - 14_000) . "\r\n0\r\n\r\n" ], pause => 0.02));
}

# what was refused is not kept even where bodies are

my $before = named($t);

refused("in-file, $_: nothing left", http_post('/in-file', $much,
    @{ $Arrivals{$_} })) for 'chunks', 'in one piece', 'in tiny pieces';
is(scalar(named($t)), $before, 'no file of a refused body');
accepted('in-file: kept', http_post('/in-file', $full, chunked => 700), $full);
is(scalar(named($t)), $before + 1, 'the file of an accepted one');

# a dry run passes it on, whole

for my $uri (qw(/dry /dry/file /dry/kept)) {
    for my $how ('chunks', 'in tiny pieces', '100-continue') {
        my $seen = verdict("$uri, $how", http_post($uri, $much,
            @{ $Arrivals{$how} }), $fleet, '200 body_too_large would_refuse 1');
        ok($seen && $seen->body eq $much, "$uri, $how: whole");
        is(identity($seen), '', "$uri, $how: no identity");
    }
    my $seen = verdict("$uri, HTTP/2", chunked2($t, $uri, $much), $fleet,
        '200 body_too_large would_refuse 1');
    ok($seen && $seen->body eq $much, "$uri, HTTP/2: whole");
}

$t->done;
