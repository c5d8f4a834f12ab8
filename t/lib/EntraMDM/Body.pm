package EntraMDM::Body;

# Enrollment messages of a given size, the ways in which a body without a
# Content-Length arrives, and what nginx keeps of it.
#
#   my $over = padded($message, MAX + 1);
#   http_post('/', $over, @$_) for values %Arrivals;
#   http_raw(chunked_head('/') . chunked($over, 100));
#   cmp_ok(stored($t), '<=', MAX, 'in files');
#
# $Locations are gated by a policy of max_body MAX, or "small" with SMALL,
# and reach a backend named fleet; they keep bodies in all of nginx's ways.

use strict;
use warnings;

use Exporter 'import';
use List::Util qw(sum0);

use EntraMDM::File qw(slurp);
use EntraMDM::HTTP;
use EntraMDM::Verdict;

use constant { MAX => 16 * 1024, SMALL => 4 * 1024 };

our @EXPORT = qw(MAX SMALL padded chunked_head chunked chunked2 stored named
    memory %Arrivals $Policies $Locations);

our $Policies = $Headers . fleet_policy('max_body 16k;')
    . fleet_policy('max_body 4k;', 'small') . <<'EOC';
    client_max_body_size 0;
    upstream fleet { server 127.0.0.1:%%PORT_fleet%%; keepalive 4; }
    log_format what "$uri $status $entra_mdm_result $request_length";
    access_log %%DIR%%/what.log what;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
EOC

our $Locations = <<'EOC';
    entra_mdm fleet;
    location /           { proxy_pass http://fleet; }
    location /small      { entra_mdm small; proxy_pass http://fleet; }
    location /to-file    { client_body_buffer_size 1k;
                           proxy_pass http://fleet; }
    location /small-file { entra_mdm small; client_body_buffer_size 1k;
                           proxy_pass http://fleet; }
    location /in-file    { client_body_in_file_only on;
                           proxy_pass http://fleet; }
    location /clean      { client_body_in_file_only clean;
                           client_body_buffer_size 1k;
                           proxy_pass http://fleet; }
    location /single     { client_body_in_single_buffer on;
                           client_body_buffer_size 2k;
                           proxy_pass http://fleet; }
    location /stream     { proxy_request_buffering off;
                           proxy_pass http://fleet; }
    location /wide       { client_body_buffer_size 1m;
                           proxy_pass http://fleet; }
EOC

our %Arrivals = (
    'one chunk'      => [ chunked => 1 << 20 ],
    'chunks'         => [ chunked => 1000 ],
    'byte by byte'   => [ chunked => 1, pieces => 8000 ],
    'in pieces'      => [ chunked => 3000, pieces => 700 ],
    'in tiny pieces' => [ chunked => 1 << 20, pieces => 97 ],
    'in one piece'   => [ chunked => 1 << 20, pieces => 1 << 20 ],
    '100-continue'   => [ chunked => 5000, expect => 1 ],
);


sub padded {
    my ($message, $size) = @_;
    my $more = $size - length($message) - length '<x></x>';

    return $message =~ s{(?=</wst:RequestSecurityToken>)}
        { '<x>' . 'A' x $more . '</x>' }er;
}

sub chunked_head {
    my ($uri, @more) = @_;
    return join "\r\n", "POST $uri HTTP/1.1", 'Host: a',
        'Transfer-Encoding: chunked', @more, '', '';
}

sub chunked { return join '', EntraMDM::HTTP::chunks(@_) }

# curl sends no length then

sub chunked2 {
    my ($t, $uri, $body) = @_;
    return http2(POST => $uri, body => $body, port => $t->port('h2'),
        headers => [ 'Transfer-Encoding' => 'chunked' ]);
}


# Files by name, and those without a name that the workers hold open.

sub named { my ($t) = @_; return map { glob "$_/*" } $t->dir . '/client_body' }

sub stored {
    my ($t) = @_;
    my $folder = $t->dir . '/client_body';
    my @open = grep { (readlink($_) // '') =~ /^\Q$folder\E/ }
               map { glob "/proc/$_/fd/*" } $t->children;
    my %size;

    for my $file (@open, named($t)) {
        my ($inode, $size) = (stat $file)[ 1, 7 ];
        $size{$inode} = $size if defined $inode;
    }
    return sum0(values %size);
}

sub memory {
    my ($t) = @_;
    return 1024 * sum0(map { slurp("/proc/$_/status") =~ /^VmRSS:\s+(\d+)/m }
                       $t->workers);
}

1;
