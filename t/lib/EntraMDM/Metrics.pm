package EntraMDM::Metrics;

# What entra_mdm_metrics shows, read as strictly as Prometheus reads it.
#
#   my $m = metrics();                       # dies of what is no such text
#   $m->{'entra_mdm_keys{policy="fleet"}'}   # a value
#   value('keys', policy => 'fleet');        # asked now
#   families($text);                         # [ name, type, help ] ...
#   table();                                 # name => { type, labels, help },
#                                            # as the code has it
#
# Requests go to /metrics.

use strict;
use warnings;

use Carp qw(croak);
use Exporter 'import';

use EntraMDM::File qw(root slurp);
use EntraMDM::HTTP;

our @EXPORT = qw(metrics value families parse_metrics table);

my $Value = qr/"((?:[^"\\\n]|\\["\\n])*)"/;
my $Label = qr/[a-z_]+=$Value/;


sub metrics {
    my $r = http_get('/metrics', @_);
    croak $r->raw if $r->status != 200;
    return parse_metrics($r->body);
}

sub value {
    my ($name, @labels) = @_;
    my $m = metrics();

    return $m->{ "entra_mdm_$name\{" . join(',', map {
        my ($label, $value) = splice @labels, 0, 2;
        qq($label="$value")
    } 0 .. @labels / 2 - 1) . '}' };
}

# Samples by name and labels, as written.  Each family is announced once, by
# HELP and TYPE, and its samples follow; no sample comes twice.

sub parse_metrics {
    my ($text) = @_;
    my (%samples, %types, $name, $type);

    $text =~ /\n\z/ or croak 'no new line at the end';
    for (split /\n/, $text) {
        if (/^# HELP (\S+) \S.*$/) {
            $types{$1}++ and croak "$1 comes twice";
            $name = $1;
            undef $type;
        } elsif (/^# TYPE (\S+) (counter|gauge|histogram)$/) {
            defined $name && $1 eq $name && !$type or croak "out of place: $_";
            $type = $2;
        } elsif (/^(([a-z_]+)\{$Label(?:,$Label)*\}) (\d+(?:\.\d+)?)$/) {
            my ($sample, $of, $value) = ($1, $2, $+);
            $of =~ s/_(?:bucket|sum|count)$// if $type eq 'histogram';
            $of eq $name or croak "in another family: $_";
            ($type eq 'counter') == ($of =~ /_total$/) or croak "no $type: $_";
            exists $samples{$sample} and croak "comes twice: $_";
            $samples{$sample} = $value;
        } else {
            croak "no such line: $_";
        }
    }
    return \%samples;
}

sub families {
    my ($text) = @_;
    return map { [ (/^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)/)[ 0, 2, 1 ] ] }
        $text =~ /^(# HELP .*\n# TYPE .*)$/mg;
}

# Rows of the table in the code, in its order: [ name, type, labels, help ].

sub rows {
    my ($text) = slurp(root() . '/ngx_http_entra_mdm_module/'
        . 'ngx_http_entra_mdm_metrics.c') =~ /metric_table\[\] = \{(.*?)\n\};/s;
    my @rows;

    while ($text =~ /\{ "(\w+)", "(\w+)", \{ ([^}]+) \},\s*\w+,\s*"([^"]+)" \}/g)
    {
        my ($name, $type, $labels, $help) = ($1, $2, $3, $4);
        push @rows, [ $name, $type, [ 'policy', $labels =~ /"(\w+)"/g ],
            $help ];
    }
    return @rows;
}

sub table {
    return { map { my ($name, @row) = @$_; my %row;
        @row{qw(type labels help)} = @row; ($name => \%row) } rows() };
}

1;
