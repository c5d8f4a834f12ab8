package EntraMDM::File;

# Whole files in and out, as bytes, and waiting for a condition.

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(slurp spew data root wait_for TIMEOUT);

use constant TIMEOUT => 10;


sub slurp {
    my ($path) = @_;

    open my $fh, '<:raw', $path or croak "$path: $!";
    local $/;
    return scalar(<$fh>) // '';
}


# Renamed into place, so that a reader sees the old file or the new one.

sub spew {
    my ($path, $bytes) = @_;

    open my $fh, '>:raw', "$path.new" or croak "$path.new: $!";
    print {$fh} $bytes;
    close $fh or croak "$path.new: $!";
    rename "$path.new", $path or croak "$path: $!";
    return $path;
}


sub root { return abs_path(dirname(__FILE__) . '/../../..') }
sub data { return slurp(root() . "/t/data/$_[0]") }


# What the condition returned as soon as it is true; else false, in time.

sub wait_for(&;$) {
    my ($condition, $seconds) = @_;
    my $deadline = time + ($seconds // TIMEOUT);

    while (1) {
        my $result = $condition->();
        return $result if $result || time > $deadline;
        sleep 0.01;
    }
}

1;
