package EntraMDM::HTTP2;

# HTTP/2 by hand, frame by frame, where curl is too polite.
#
#   my $c = h2_connect($t->port('h2'), 0);          # takes no answer yet
#   $c->send([ h2_post(1, '/enroll'), h2_frame(H2_DATA, 0, 1, $part) ]);
#   ok(h2_until($c, H2_HEADERS, 1), 'answered');

use strict;
use warnings;

use Exporter 'import';

use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;

use constant {
    H2_DATA => 0, H2_HEADERS => 1, H2_RST => 3, H2_SETTINGS => 4,
    H2_PING => 6, H2_WINDOW => 8,
};

our @EXPORT = qw(h2_connect h2_head h2_post h2_frame h2_frames h2_until H2_DATA
    H2_HEADERS H2_RST H2_SETTINGS H2_PING H2_WINDOW);


# The window: how much of an answer each stream takes before it says more.

sub h2_connect {
    my ($port, $window) = @_;
    my $c = http_connect(port => $port);

    $c->send([ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        . h2_frame(H2_SETTINGS, 0, 0, pack 'nN', 4, $window) ]);
    return $c;
}

sub h2_frame {
    my ($type, $flags, $stream, $payload) = @_;
    return substr(pack('N', length $payload), 1)
        . pack('CCN', $type, $flags, $stream) . $payload;
}

# literal fields, never indexed; no length is told

sub h2_post { return h2_head(shift, 'POST', @_) }

sub h2_head {
    my ($stream, $method, $uri, @more) = @_;
    my @fields = (':method' => $method, ':scheme' => 'http', ':path' => $uri,
        ':authority' => 'a', @more);
    my $block = '';

    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= "\0" . pack('C/a*', $name) . pack('C/a*', $value);
    }
    return h2_frame(H2_HEADERS, 4, $stream, $block);
}

# what has come, as [ type, flags, stream, payload ]

sub h2_frames {
    my ($c) = @_;
    my ($in, @frames) = $c->{in};

    while (length $in >= 9) {
        my ($high, $low, $type, $flags, $stream) = unpack 'CnCCN', $in;
        my $length = ($high << 16) + $low;
        last if length $in < 9 + $length;
        push @frames, [ $type, $flags, $stream, substr $in, 9, $length ];
        substr $in, 0, 9 + $length, '';
    }
    return @frames;
}

sub h2_until {
    my ($c, $type, $stream) = @_;
    my $found;

    wait_for {
        $c->fill(0.01);
        ($found) = grep { $_->[0] == $type && $_->[2] == $stream }
                   h2_frames($c);
    };
    return $found;
}

1;
