package EntraMDM::Redis;

# Redis servers that really run, on ports of the test's own and below its
# folder.  They end with the test, however it ends.
#
#   my $redis = EntraMDM::Redis->new($t, 'redis');      # %%PORT_redis%%
#   $redis->cmd(SADD => 'entra_mdm:{fleet}:client_ids', $guid);
#   $redis->stop; $redis->kill9; $redis->start; $redis->start(empty => 1);
#   $redis->pause; $redis->resume;      # SIGSTOP, SIGCONT
#
# Options: address and port (of one's own), conf (more lines), save => 1 (every write is on disk), acl (lines of
# an ACL file; the harness adds a user of its own), password (of the default
# user), socket => 1 (also on $redis->socket), tls => a hash of cert, key, ca
# (then nothing else is served), down => 1 (not started yet).
#
#   my $replica = $redis->replica('second');
#   my $sentinel = EntraMDM::Redis->sentinel($t, 'sentinel', mymaster => $redis);
#   $sentinel->master('mymaster');      # the port
#   my $cluster = EntraMDM::Redis->cluster($t, { acl => $lines }, qw(n1 n2 n3));
#   $cluster->owner($key); $cluster->move($key => $cluster->other($key));
#
# What Redis answers is a value: a string, undef for nil, a list; an error is
# a string that begins with a minus.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

use EntraMDM::File qw(slurp spew wait_for TIMEOUT);

use constant { USER => 'harness', NAME => 'harness' };


sub new {
    my ($class, $t, $name, %o) = @_;
    my $self = bless {
        t => $t, name => $name, port => $o{port} // $t->port($name),
        address => '127.0.0.1', owner => $$,
        dir => $t->dir . "/$name", conf => '', pid => 0, %o,
    }, $class;

    mkdir $self->{dir};
    $self->start unless $o{down};
    return $self;
}

sub port   { return $_[0]{port} }
sub pid    { return $_[0]{pid} }
sub socket { return "$_[0]{dir}/socket" }
sub log    { return eval { slurp("$_[0]{dir}/log") } // '' }


# Running.

sub conf_text {
    my ($self) = @_;
    my $dir = $self->{dir};
    my @lines = ("bind $self->{address}", "dir $dir", "logfile $dir/log",
        "daemonize no", $self->{conf});

    push @lines, $self->{tls}
        ? ("port 0", "tls-port $self->{port}",
           "tls-cert-file $self->{tls}{cert}",
           "tls-key-file $self->{tls}{key}",
           "tls-ca-cert-file $self->{tls}{ca}")
        : "port $self->{port}";
    return join "\n", @lines, '' if $self->{sentinel};

    push @lines, 'save ""', 'repl-diskless-sync-delay 0';
    push @lines, 'appendonly yes', 'appendfsync always' if $self->{save};
    push @lines, "unixsocket $dir/socket" if $self->{socket};
    push @lines, "requirepass $self->{password}" if defined $self->{password};

    if (defined $self->{acl}) {
        spew("$dir/acl", "user ${\USER} on >${\USER} ~* &* +\@all\n"
            . $self->{acl} . "\n");
        push @lines, "aclfile $dir/acl";
    }
    return join "\n", @lines, '';
}

# With the data it had, if it saves, or without.  A sentinel has written what
# it knows into its own configuration, and keeps it.

sub start {
    my ($self, %o) = @_;
    my $conf = "$self->{dir}/conf";

    croak "$self->{name} is running" if $self->{pid};
    system 'rm', '-rf', "$self->{dir}/appendonlydir" if $o{empty};
    spew($conf, $self->conf_text) unless $self->{sentinel} && -e $conf;

    $self->{pid} = fork // croak "fork: $!";
    if (!$self->{pid}) {
        setpgrp;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$self->{dir}/out";
        open STDERR, '>&', \*STDOUT;
        exec qw(setpriv --pdeathsig KILL redis-server), $conf,
            $self->{sentinel} ? '--sentinel' : () or POSIX::_exit(127);
    }

    wait_for {
        croak "$self->{name} does not start:\n" . slurp("$self->{dir}/out")
            . $self->log if waitpid($self->{pid}, WNOHANG) != 0;
        ($self->try('PING') // '') eq 'PONG';
    } or croak "$self->{name} does not answer";
    return $self;
}

sub stop {
    my ($self) = @_;

    return if !$self->{pid};
    kill $_, $self->{pid} for qw(CONT TERM);
    wait_for { waitpid($self->{pid}, WNOHANG) != 0 }
        or croak "$self->{name} does not stop";
    $self->gone;
}

sub kill9 {
    my ($self) = @_;

    kill KILL => $self->{pid};
    waitpid $self->{pid}, 0;
    $self->gone;
}

sub gone   { my ($self) = @_; $self->{pid} = 0; delete $self->{admin} }
sub pause  { my ($self) = @_; kill STOP => $self->{pid} }
sub resume { my ($self) = @_; kill CONT => $self->{pid} }

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    return if !$self->{pid} || $self->{owner} != $$;
    kill KILL => $self->{pid};
    waitpid $self->{pid}, 0;
}


# Commands.

sub cmd {
    my ($self, @command) = @_;
    my $reply = $self->try(@command);
    return $self->{answered} ? $reply
        : croak "$self->{name} does not answer @command: $self->{why}";
}

# undef also if nobody is there

sub try {
    my ($self, @command) = @_;

    for my $again (1, 0) {
        my $was = $self->{admin} && $self->{admin}{pid} == $$;
        my $reply = eval { $self->ask(@command) };
        $self->{answered} = !$@;
        return $reply if $self->{answered};
        $self->{why} = $@;
        delete $self->{admin};
        return undef if !$was || !$again;       # else: it was restarted
    }
}

sub ask {
    my ($self, @command) = @_;
    my $c = $self->{admin};

    if (!$c || $c->{pid} != $$) {
        $c = $self->{admin} = $self->connect;
        $self->greet($c);
    }
    return $c->call(@command);
}

sub connect {
    my ($self) = @_;
    my $address = "$self->{address}:$self->{port}";
    my $socket;

    if ($self->{tls}) {
        require IO::Socket::SSL;
        $socket = IO::Socket::SSL->new(PeerAddr => $address,
            SSL_verify_mode => 0, SSL_cert_file => $self->{tls}{cert},
            SSL_key_file => $self->{tls}{key});
    } else {
        $socket = IO::Socket::INET->new($address);
    }
    return EntraMDM::Redis::Connection->new($socket // die "no connection\n");
}

sub greet {
    my ($self, $c) = @_;
    my @auth = defined $self->{acl} ? $self->login : $self->{password} // ();

    $c->call(AUTH => @auth) if @auth;
    $c->call(qw(CLIENT SETNAME), NAME);
}

sub login { return (USER, USER) }


# What others have connected: hashes of CLIENT LIST, without the harness,
# replicas and sentinels.

sub clients {
    my ($self) = @_;
    my $list = $self->try(qw(CLIENT LIST TYPE normal)) // return;
    my $more = $self->try(qw(CLIENT LIST TYPE pubsub)) // return;
    my @clients = map { +{ map { /^([^=]+)=(.*)/ } split / / } }
                  split /\n/, "$list\n$more";

    return grep { %$_ && $_->{name} !~ /^(?:${\NAME}|sentinel-)/ } @clients;
}

sub subscribers {
    my ($self) = @_;
    return grep { $_->{flags} =~ /P/ } $self->clients;
}


# Replicas and their sentinel.

sub replica {
    my ($self, $name, %o) = @_;
    my $replica = EntraMDM::Redis->new($self->{t}, $name, %o,
        conf => "replicaof 127.0.0.1 $self->{port}\n" . ($o{conf} // ''));

    wait_for { $replica->cmd(qw(INFO replication)) =~ /link_status:up/ }
        or croak "$name has no link";
    return $replica;
}

sub sentinel {
    my ($class, $t, $name, $service, $master, %o) = @_;
    my $port = $master->{port};

    return $class->new($t, $name, %o, sentinel => 1,
        conf => <<EOC . ($o{conf} // ''));
sentinel monitor $service 127.0.0.1 $port 1
sentinel down-after-milliseconds $service 500
sentinel failover-timeout $service 1000
EOC
}

sub master {
    my ($self, $service) = @_;
    my $address = $self->try(SENTINEL => 'get-master-addr-by-name', $service);
    return ref $address ? $address->[1] : 0;
}

# A sentinel hears of the replicas from their master, by and by.

sub knows_replica {
    my ($self, $service) = @_;

    wait_for {
        my $list = $self->try(qw(SENTINEL REPLICAS), $service);
        ref $list && grep { "@$_" =~ /master-link-status ok/ } @$list;
    } 20 or croak "$self->{name} knows no replica";
}

sub cluster { my $class = shift; return EntraMDM::Redis::Cluster->new(@_) }


# One connection, and the protocol of redis.io/docs/reference/protocol-spec.

package EntraMDM::Redis::Connection;

sub new {
    my ($class, $socket) = @_;
    $socket->blocking(0) if !$socket->isa('IO::Socket::SSL');
    return bless { socket => $socket, in => '', pid => $$ }, $class;
}

sub call {
    my ($self, @command) = @_;
    $self->send(@command);
    return $self->reply;
}

sub send {
    my ($self, @command) = @_;
    my $out = '*' . @command . "\r\n"
        . join '', map { '$' . length($_) . "\r\n$_\r\n" } @command;
    local $SIG{PIPE} = 'IGNORE';

    while (length $out) {
        IO::Select->new($self->{socket})->can_write(EntraMDM::File::TIMEOUT)
            or die "does not read\n";
        my $n = syswrite($self->{socket}, $out) // die "closed\n";
        substr $out, 0, $n, '';
    }
}

sub reply {
    my ($self) = @_;
    my ($type, $rest) = $self->line =~ /^(.)(.*)/s;

    return $rest if $type eq '+' || $type eq ':';
    return "-$rest" if $type eq '-';
    return undef if $rest < 0;
    return [ map { $self->reply } 1 .. $rest ] if $type eq '*';
    die "odd reply $type$rest\n" if $type ne '$';

    $self->fill while length $self->{in} < $rest + 2;
    my $bulk = substr $self->{in}, 0, $rest;
    substr $self->{in}, 0, $rest + 2, '';
    return $bulk;
}

sub line {
    my ($self) = @_;

    $self->fill while index($self->{in}, "\r\n") < 0;
    my $line = substr $self->{in}, 0, index $self->{in}, "\r\n";
    substr $self->{in}, 0, 2 + length $line, '';
    return $line;
}

sub fill {
    my ($self) = @_;
    my $socket = $self->{socket};

    ($socket->isa('IO::Socket::SSL') && $socket->pending)
        || IO::Select->new($socket)->can_read(EntraMDM::File::TIMEOUT)
        or die "no answer\n";
    sysread $socket, $self->{in}, 65536, length $self->{in} or die "closed\n";
}


# A cluster: masters that share the slots, and one replica of the first if
# there are more than three.

package EntraMDM::Redis::Cluster;

use Carp qw(croak);

sub new {
    my ($class, $t, @names) = @_;
    my %o = ref $names[0] ? %{ shift @names } : ();
    my @nodes = map { EntraMDM::Redis->new($t, $_, save => 1, %o,
        conf => join "\n", 'cluster-enabled yes',
        'cluster-port ' . $t->port("$_-bus"), 'cluster-node-timeout 2000')
    } @names;
    my $self = bless { nodes => \@nodes, names => \@names, t => $t }, $class;
    my @masters = @nodes[ 0 .. ($#nodes < 2 ? $#nodes : 2) ];
    my $share = 16384 / @masters;

    for my $i (0 .. $#masters) {
        $masters[$i]->cmd(qw(CLUSTER ADDSLOTSRANGE), int($share * $i),
            int($share * ($i + 1)) - 1);
    }
    $nodes[0]->cmd(qw(CLUSTER MEET 127.0.0.1), $nodes[$_]->port,
        $t->port("$names[$_]-bus")) for 1 .. $#nodes;
    $self->whole or croak 'the cluster does not form';

    for my $replica (@nodes[ 3 .. $#nodes ]) {
        $replica->cmd(qw(CLUSTER REPLICATE), $nodes[0]->cmd(qw(CLUSTER MYID)));
        EntraMDM::File::wait_for {
            $replica->cmd(qw(INFO replication)) =~ /link_status:up/
        } or croak 'the replica has no link';
    }
    return $self;
}

# Do all nodes know each other, and that every slot is served?

sub whole {
    my ($self) = @_;
    my @nodes = grep { $_->pid } @{ $self->{nodes} };

    return EntraMDM::File::wait_for {
        @nodes == grep {
            my $info = $_->try(qw(CLUSTER INFO)) // '';
            $info =~ /cluster_state:ok/
                && $info =~ /cluster_known_nodes:${\ scalar @{$self->{nodes}}}\b/
        } @nodes;
    } 20;
}

sub nodes { return @{ $_[0]{nodes} } }

# The node that serves the slot of a key, as the nodes see it themselves.

sub owner {
    my ($self, $key) = @_;

    for my $node (grep { $_->pid } $self->nodes) {
        my $reply = $node->try(EXISTS => $key) // next;
        return $node if $reply !~ /^-/
            && $node->cmd('ROLE')->[0] eq 'master';
    }
    return undef;
}

# The masters that do not.

sub others {
    my ($self, $key) = @_;
    my $owner = $self->owner($key) // croak "nobody serves $key";
    return grep { $_ != $owner } $self->masters;
}

sub masters {
    my ($self) = @_;
    return grep { $_->pid && $_->cmd('ROLE')->[0] eq 'master' } $self->nodes;
}

sub cmd {
    my ($self, $command, $key, @more) = @_;
    my $owner = EntraMDM::File::wait_for { $self->owner($key) }
        or croak "nobody serves $key";
    return $owner->cmd($command, $key, @more);
}

# The slot of a key to another master, with all its keys.  The function in
# between is called when half of the keys have moved.

sub move {
    my ($self, $key, $to, $between) = @_;
    my $from = $self->owner($key);
    my $slot = $from->cmd(qw(CLUSTER KEYSLOT), $key);
    my ($source, $target) = map { $_->cmd(qw(CLUSTER MYID)) } $from, $to;

    $to->cmd(qw(CLUSTER SETSLOT), $slot, IMPORTING => $source);
    $from->cmd(qw(CLUSTER SETSLOT), $slot, MIGRATING => $target);
    my @keys = @{ $from->cmd(qw(CLUSTER GETKEYSINSLOT), $slot, 1000) };
    for my $i (0 .. $#keys) {
        my $reply = $from->cmd(MIGRATE => '127.0.0.1', $to->port, $keys[$i], 0,
            5000, defined $to->{acl} ? (AUTH2 => $to->login) : ());
        croak "MIGRATE $keys[$i]: $reply" if $reply ne 'OK';
        $between->() if $between && $i == int($#keys / 2);
    }
    $_->cmd(qw(CLUSTER SETSLOT), $slot, NODE => $target) for $to, $from,
        grep { $_ != $to && $_ != $from } $self->masters;
}

1;
