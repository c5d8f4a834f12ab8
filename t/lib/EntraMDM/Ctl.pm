package EntraMDM::Ctl;

# The command entra-mdmctl, of the same build as the module.
#
#   my $run = ctl($t, qw(get client-ids --url), $url);
#   my $run = ctl($t, 'explain', { in => $token, env => { NAME => 'value' } });
#   $run->{code}; $run->{out}; $run->{err};
#   says('name', $run, 0, qr/^.../m, qr/error/);
#
# It runs without a terminal, and without the caller's environment.

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(dirname);
use POSIX ();
use Test::More;

use EntraMDM::File qw(root slurp spew);

our @EXPORT = qw(ctl ctl_binary ctl_environment says);


sub ctl_binary {
    return dirname($ENV{ENTRA_MDM_MODULE} // root() . '/build/module.so')
        . '/entra-mdmctl';
}

sub ctl_environment {
    my ($t) = @_;
    my $log = 'log_path=' . $t->dir . '/san';

    return (PATH => $ENV{PATH}, HOME => $t->dir, LC_ALL => 'C',
        ASAN_OPTIONS => "$log:detect_leaks=1",
        UBSAN_OPTIONS => "$log:print_stacktrace=1");
}

sub ctl {
    my ($t, @arguments) = @_;
    my %o = ref $arguments[-1] ? %{ pop @arguments } : ();
    my ($in, $out, $err) = map { $t->dir . "/ctl.$_" } qw(in out err);

    spew($in, $o{in} // '');
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        POSIX::setsid();
        open STDIN, '<', $in;
        open STDOUT, '>', $o{stdout} // $out;
        open STDERR, '>', $err;
        %ENV = (ctl_environment($t), %{ $o{env} // {} });
        chdir $t->dir;
        exec { ctl_binary() } 'entra-mdmctl', @arguments
            or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    return { code => $? & 127 ? "signal $?" : $? >> 8,
        out => $o{stdout} ? '' : slurp($out), err => slurp($err) };
}

# Whatever it says, it says in printable ASCII.

sub says {
    my ($name, $run, $code, $out, $err) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $ok = $run->{code} eq $code
        && (ref $out ? $run->{out} =~ $out : $run->{out} eq $out)
        && (!defined $err || (ref $err ? $run->{err} =~ $err
                                       : $run->{err} eq $err))
        && "$run->{out}$run->{err}" !~ /[^\n -~]/;
    ok($ok, $name) or diag("exit code $run->{code}, not $code\n",
        "stdout:\n$run->{out}stderr:\n$run->{err}");
    return $ok;
}

1;
