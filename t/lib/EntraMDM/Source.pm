package EntraMDM::Source;

# What the code says of itself, for tests that compare it with the pages.
#
#   rows_of('ngx_http_entra_mdm_directives')    # names of a C table
#   value_of('zone_size')                       # "zone_size = 2 * 1024 * 1024"
#   reasons()           # [ key, status, "Receiver `s:...`", HRESULT, text, remedy ]

use strict;
use warnings;

use Carp qw(croak);
use Exporter 'import';

use EntraMDM::File qw(root slurp);

our @EXPORT = qw(source body_of rows_of value_of reasons);


# The nginx side, as one text.

sub source {
    my ($pattern) = @_;
    return join "\n", map { slurp($_) } sort
        glob root() . '/ngx_http_entra_mdm_module/' . ($pattern // '*.[ch]');
}

# Between the braces of that table.

sub body_of {
    my ($table) = @_;
    my ($body) = source() =~ /\b$table\[\w*\]\s*=\s*\{(.*?)\n\s*\};/s
        or croak "no table $table";
    return $body;
}

sub rows_of {
    my ($table) = @_;
    return body_of($table) =~ /(?:ngx_string|OPTION)\("([^"]+)"/g;
}

# A number that is assigned to a member, once.

sub value_of {
    my ($member) = @_;
    my %seen = map { $_ => 1 } source() =~ /->$member = ([\d *]+);/g;
    my ($value, @more) = keys %seen;

    croak "$member is set to: " . join ', ', keys %seen
        if @more || !defined $value;
    my $product = 1;
    $product *= $_ for $value =~ /\d+/g;
    return $product;
}

sub reasons {
    my $map = source('core/entra_reason.h') =~ s/\\\n//gr;
    my %hresult = source('core/entra_reason.c')
        =~ /ENTRA_STR_INIT\("([as]:\w+)"\), 0x(\w{8})/g;
    my @reasons;

    while ($map =~ /X\(\w+, \s* "(\w+)", \s* (\d+), \s* (\w+), \s* "([^"]*)",
        \s* "[^"]*", \s* ((?:"[^"]*"\s*)+), \s* ((?:"[^"]*"\s*)+) \)/gx)
    {
        my ($key, $status, $code, $subcode, @texts) = ($1, $2, $3, $4, $5, $6);
        push @reasons, [ $key, $status, ucfirst(lc $code) . " `$subcode`",
            $hresult{$subcode}, map { join '', /"([^"]*)"/g } @texts ];
    }
    return @reasons;
}

1;
