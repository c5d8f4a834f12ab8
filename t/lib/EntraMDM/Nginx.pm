package EntraMDM::Nginx;

# An nginx that really runs, in a folder and on ports of its own.
#
#   my $t = EntraMDM::Nginx->new(workers => 2, http => <<'EOC');
#       server { listen 127.0.0.1:%%PORT_8080%%; root %%DIR%%; }
#   EOC
#   $t->write_file('keys.json', $text);
#   $t->start;
#   ... requests, claims ...
#   $t->done;       # stops, then claims that the logs are clean
#
# Other texts: main, events, or conf for a whole file.  Settings: workers,
# level (of error.log), user, module => 0 for a plain nginx.  %%PORT_name%%
# is a free port, the same as $t->port('name'); requests go to 8080.
#
# Environment: ENTRA_MDM_NGINX (binary), ENTRA_MDM_MODULE (.so file),
# ENTRA_MDM_SANITIZED=1 (both are built with sanitizers), ENTRA_MDM_KEEP=1
# (leave the folder).

use strict;
use warnings;

use Carp qw(croak);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX qw(WNOHANG);
use Socket qw(AF_UNIX SOCK_STREAM pack_sockaddr_un);
use Test::More;

use EntraMDM::File qw(slurp spew root wait_for);
use EntraMDM::HTTP ();

my %Live;
my @Temp = qw(client_body proxy fastcgi uwsgi scgi);
my %Known = map { $_ => 1 }
    qw(main events http conf workers level user module binary);

$SIG{$_} //= sub { exit 130 } for qw(INT TERM HUP);


sub new {
    my ($class, %o) = @_;
    my $self = bless {
        main => '', events => '', http => '', workers => 1, level => 'info',
        user => 'root', binary => $ENV{ENTRA_MDM_NGINX} // 'nginx',
        module => $ENV{ENTRA_MDM_MODULE}
            // root() . '/build/ngx_http_entra_mdm_module.so',
        dir => tempdir('entra-mdm-XXXXXX', TMPDIR => 1,
            CLEANUP => !$ENV{ENTRA_MDM_KEEP}),
        pid => 0, owner => $$, mark => 0, expected => [], ports => {},
    }, $class;

    $self->change(%o);
    croak "$self->{module} is not there: run make"
        if $self->{module} && !-f $self->{module};
    mkdir "$self->{dir}/$_" for @Temp;
    chmod 0755, $self->{dir} if $self->{user} ne 'root';
    $EntraMDM::HTTP::Port = $self->port(8080);
    diag("folder: $self->{dir}") if $ENV{ENTRA_MDM_KEEP};
    return $self;
}

sub change {
    my ($self, %o) = @_;

    $Known{$_} or croak "no such setting: $_" for keys %o;
    @$self{ keys %o } = values %o;
}


# Files.

sub dir        { return $_[0]{dir} }
sub file       { return slurp("$_[0]{dir}/$_[1]") }
sub write_file { return spew("$_[0]{dir}/$_[1]", $_[2]) }
sub error_log  { return eval { $_[0]->file('error.log') } // '' }
sub access_log { return eval { $_[0]->file('access.log') } // '' }

# From here on, wait_for_log and new_log heed only what is yet to come.

sub mark    { my ($self) = @_; $self->{mark} = length $self->error_log }
sub new_log { my ($self) = @_; return substr $self->error_log, $self->{mark} }

# Returns the line that matched, or undef after the deadline.

sub wait_for_log {
    my ($self, $pattern, $file) = @_;
    return wait_for {
        my $log = defined $file ? $self->file($file) : $self->new_log;
        (grep { /$pattern/ } split /\n/, $log)[0];
    } || undef;
}


# Ports.  Below the range that outgoing connections use, and locked against
# parallel tests by a socket in the abstract namespace, which is free again
# when this process ends, however it ends.

sub port {
    my ($self, $name) = @_;
    my $lock = $self->{ports}{$name} //= reserve();
    return $lock->{port};
}

sub reserve {
    my ($low) = slurp('/proc/sys/net/ipv4/ip_local_port_range') =~ /(\d+)/;

    $low = 32768 if $low < 16384;
    for (1 .. 1000) {
        my $port = $low - 1 - int rand 12000;
        socket my $lock, AF_UNIX, SOCK_STREAM, 0 or die "socket: $!";
        bind $lock, pack_sockaddr_un("\0entra-mdm-test-$port") or next;
        listening($port) or next;
        return { port => $port, lock => $lock };
    }
    croak 'no free port';
}

sub listening {
    my ($port) = @_;
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
        LocalPort => $port, ReuseAddr => 1);
}


# Configuration.

sub conf_text {
    my ($self, $name) = @_;
    my $dir = $self->{dir};
    my $text = $self->{conf} // join "\n",
        ($self->{module} ? "load_module $self->{module};" : ()),
        ($> == 0 ? "user $self->{user};" : ()),
        "daemon off;", "worker_processes $self->{workers};",
        "pid $dir/$name.pid;", "error_log $dir/$name.log $self->{level};",
        $self->{main}, "events {", $self->{events}, "}", "http {",
        "access_log $dir/access.log;",
        (map { "${_}_temp_path $dir/$_;" } @Temp), $self->{http}, "}", "";

    $text =~ s/%%DIR%%/$dir/g;
    $text =~ s/%%PORT_(\w+)%%/$self->port($1)/ge;
    return $text;
}

# `nginx -t` with these changes: (exit code, what it said).

sub nginx_t {
    my ($self, %change) = @_;
    my $tried = bless { %$self, pid => 0 }, ref $self;

    $tried->change(%change);
    $tried->write_file('tried.conf', $tried->conf_text('tried'));
    my $pid = $tried->spawn('tried', '-t');
    waitpid $pid, 0;
    return ($? >> 8 || $?, $self->file('tried.out'));
}


# Running.

sub spawn {
    my ($self, $name, @arguments) = @_;
    my $dir = $self->{dir};
    my $pid = fork // croak "fork: $!";

    return $pid if $pid;

    setpgrp;
    $ENV{PATH} .= ':/usr/sbin:/usr/local/sbin';
    $self->sanitize(@arguments) if $ENV{ENTRA_MDM_SANITIZED};
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', "$dir/$name.out";
    open STDERR, '>&', \*STDOUT;
    exec $self->{binary}, '-p', $dir, '-e', "$dir/$name.log",
        '-c', "$dir/$name.conf", @arguments or POSIX::_exit(127);
}

# nginx itself leaves its event arrays to the end of the process, and after
# -t everything.

sub sanitize {
    my ($self, @arguments) = @_;
    my %options = (
        ASAN_OPTIONS => 'detect_odr_violation=0:detect_leaks='
            . (@arguments ? 0 : 1),
        UBSAN_OPTIONS => 'print_stacktrace=1',
        LSAN_OPTIONS => 'print_suppressions=0:suppressions='
            . $self->write_file('leaks', "leak:ngx_event_process_init\n"),
    );

    for my $name (keys %options) {
        $ENV{$name} = join ':', $options{$name}, "log_path=$self->{dir}/san",
            grep { defined } $ENV{$name};
    }
}

sub start {
    my ($self) = @_;

    $self->write_file('error.conf', $self->conf_text('error'));
    unlink "$self->{dir}/error.pid";
    $self->{pid} = $self->spawn('error');
    $Live{$self} = $self;

    my $up = wait_for {
        $self->reaped ? 'no' : -s "$self->{dir}/error.pid" && $self->listens;
    };
    return $self if $up && $up ne 'no';
    $self->{settled} = 1;
    croak "nginx does not start:\n" . $self->file('error.out');
}

sub listens {
    my ($self) = @_;
    my $conf = $self->file('error.conf');

    IO::Socket::INET->new("127.0.0.1:$_") or return 0
        for $conf =~ /listen\s+127\.0\.0\.1:(\d+)\s*;/g;
    return 1;
}

sub reaped {
    my ($self) = @_;

    return 1 if !$self->{pid};
    return 0 if waitpid($self->{pid}, WNOHANG) == 0;
    $self->{exit} = $?;
    kill KILL => -$self->{pid};
    $self->{pid} = 0;
    return 1;
}

# True if nginx ended by itself, in time, and well.

sub stop {
    my ($self, $signal) = @_;

    return 1 if !$self->{pid};
    kill $signal // 'QUIT', $self->{pid};
    return $self->{exit} == 0 if wait_for { $self->reaped };
    kill KILL => -$self->{pid};
    wait_for { $self->reaped };
    return 0;
}

# All die at once, the master first, or it would say that workers did.

sub crash {
    my ($self) = @_;
    my @workers = $self->children;

    kill KILL => $self->{pid}, @workers;
    $self->stop;
    wait_for { !grep { glob "/proc/$_/fd/*" } @workers }
        or croak 'a worker outlives SIGKILL';
}

# With these changes, if any.  True once only new workers accept
# connections; false if nginx refused the configuration.

sub reload {
    my ($self, %change) = @_;
    my %old = map { $_ => 1 } $self->workers;
    my $from = length $self->error_log;

    $self->change(%change);
    $self->write_file('error.conf', $self->conf_text('error'));
    kill HUP => $self->{pid};

    my $outcome = wait_for {
        my @now = $self->workers;
        return 'done' if @now >= $self->{workers} && !grep { $old{$_} } @now;
        substr($self->error_log, $from) =~ /\[emerg\]/ && 'refused';
    } or croak 'reload takes too long';
    return $outcome eq 'done';
}

# The processes that accept connections: children of the master that hold
# a listening socket.  A worker that is shutting down holds none.

sub workers {
    my ($self) = @_;
    my %ours = map { sprintf('%04X', $_->{port}) => 1 }
               values %{ $self->{ports} };
    my %socket;

    for (map { split /\n/, slurp("/proc/net/$_") } qw(tcp tcp6)) {
        my ($local, $state, $inode) = (split)[ 1, 3, 9 ];
        $socket{"socket:[$inode]"} = 1
            if $state eq '0A' && $ours{ substr $local, -4 };
    }
    return grep { my $pid = $_;
        grep { $socket{ readlink($_) // '' } } glob "/proc/$pid/fd/*"
    } $self->children;
}

sub children {
    my ($self) = @_;
    my @pids;

    for my $stat (glob '/proc/[0-9]*/stat') {
        my ($pid, $parent) = (eval { slurp($stat) } // '')
            =~ /^(\d+) \(.*\) \S (\d+)/s or next;
        push @pids, $pid if $parent == $self->{pid};
    }
    return @pids;
}


# The end.

sub expect_log { my ($self, $line) = @_; push @{ $self->{expected} }, $line }

sub alerts {
    my ($self) = @_;
    my @lines = grep { /^\S+ \S+ \[(?:alert|emerg)\]/ } split /\n/, $self->error_log;

    for my $expected (@{ $self->{expected} }) {
        @lines = grep { !/$expected/ } @lines;
    }
    return @lines;
}

sub sanitizer_reports {
    my ($self) = @_;
    my @reports = map { "$_:\n" . slurp($_) } glob "$self->{dir}/san*";
    my @said = map { split /\n/, $self->file($_) } qw(error.out error.log);

    push @reports, grep { /Sanitizer|runtime error:/ } @said;
    return @reports;
}

sub secrets_logged {
    my ($self) = @_;
    my $log = $self->error_log . $self->access_log;

    return if $self->{level} =~ /^debug/;       # nginx's own lines have them
    no warnings 'once';
    return grep { index($log, $_) >= 0 } keys %EntraMDM::Token::Secrets;
}

sub settle {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok($self->stop, 'nginx quits');
    is(join("\n", $self->alerts), '', 'no alerts');
    is(join("\n", $self->sanitizer_reports), '', 'no sanitizer reports');
    is(join("\n", $self->secrets_logged), '', 'no token in the log');
    $self->{settled} = 1;
}

sub done {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $self->settle;
    done_testing();
}

END {
    my $status = $?;
    my @ours = grep { $_->{owner} == $$ } values %Live;

    $_->stop('TERM') for @ours;
    for my $t (@ours) {
        if (!Test::More->builder->is_passing || $status) {
            diag('end of error.log: ', substr $t->error_log, -4000);
        }
        next if $t->{settled};
        diag('$t->done was not called');
        $status ||= 1;
    }
    $? = $status;
}

1;
