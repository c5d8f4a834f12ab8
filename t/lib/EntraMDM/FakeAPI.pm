package EntraMDM::FakeAPI;

# A stand-in for the management API, for the tests of the page: what the
# specification says of it, and ways to make it fail.
#
#   my $api = EntraMDM::FakeAPI->new($t, 'api');       # %%PORT_api%%
#   $api->state(client => [...], role => 'observer');
#
# If the gateway says X-Remote-User, that is the actor, and X-Role their role;
# else both come from the state.  POST /_state merges a JSON
# object into the state, GET /_state shows it; nginx must not forward these.
#
# What the specification leaves open, the page expects like this:
#
#   { "policy": "fleet", "time": "2026-11-23T18:00:00Z",
#     "actor": "anna", "role": "admin",         of who asks
#     "may_change": true,                       a PATCH would not get 403
#     "source": "redis",                        redis, state or lost
#     "redis": { "connected": true,             null without Redis
#                "tracking": true, "last_update_seconds": 3, "reconnects": 0,
#                "skipped_members": { "client_ids": 0, "tenant_ids": 0 } },
#     "state": { "written": 12, "failed": 0,    null without a state file
#                "failing": false },
#     "keys": { "usable": true, "count": 8,
#               "age_seconds": 720,             null: never fetched
#               "last_fetch": "succeeded" },    failed, or null: none yet
#     "lists": { "client_ids": { "live": 2, "static": 0 },
#                "tenant_ids": { "live": 1, "static": 1 },
#                "generation": 7 },
#     "decisions": {
#       "total": { "accepted": { "ok": 120 }, "passed": {},
#                  "refused": { "audience_not_allowed": 3 },
#                  "would_refuse": {} },
#       "last_hour": { ... } },
#     "refusals": [ { "time": "2026-11-23T18:00:00Z", "action": "refused",
#                     "key": "audience_not_allowed",
#                     "tenant": "<guid>", "tenant_listed": true,
#                     "audiences": ["<guid>"], "request_id": "<hex>" } ] }
#
# is GET status, with the latest refusal first.  While the source is "lost", a
# PATCH of both lists is the confirmation: what it says is written to Redis,
# even if it is what the node already has.
#
# Ways to fail, in the state: down => 1 (no answer at all), status => 503 (to
# everything; 302 is a sign-in page elsewhere), patch_status => 503 with
# patch_reason, rival => { client => [...] } (somebody else's change, made just
# before the next PATCH), outcome => "unknown" (the PATCH is made, and answered
# 503).  weak => 1 makes entity tags weak, as nginx does when it compresses.

use strict;
use warnings;

use Carp qw(croak);
use Digest::SHA qw(sha256_hex);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();

use EntraMDM::HTTP;

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;
my $GUID = qr/\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\z/i;
my @KINDS = qw(client tenant);
my %READS = map { $_ => 1 }
    qw(admin gitops maintainer observer observer_plus);

use constant MAX_IDS => 25000;


sub new {
    my ($class, $t, $name) = @_;
    my $self = bless {
        port => $t->port($name), owner => $$, state => initial(),
    }, $class;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $self->{port}, Listen => 128, ReuseAddr => 1)
        or croak "API: $@";

    $self->{pid} = fork // croak "fork: $!";
    return $self if $self->{pid};

    setpgrp;
    $SIG{$_} = 'DEFAULT' for qw(TERM INT);
    $self->run($listen, getppid);
    POSIX::_exit(0);
}

sub initial {
    return {
        policy => 'fleet', role => 'admin', actor => 'anna', gitops => 0,
        client => [], tenant => [], static_client => [], static_tenant => [],
        generation => 1, source => 'state', in_force => 1, redis => undef,
        state => { written => 3, failed => 0, failing => \0 },
        keys => { usable => \1, count => 8, age_seconds => 720,
                  last_fetch => 'succeeded' },
        decisions => { total => { accepted => { ok => 120 } },
                       last_hour => {} },
        refusals => [], activities => [], down => 0, status => 0,
        patch_status => 0, patch_reason => '', rival => undef, outcome => '',
        patches => 0, spoofed => 0, weak => 0,
    };
}

sub port { return $_[0]{port} }

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    return if !$self->{pid} || $self->{owner} != $$;
    kill KILL => -$self->{pid};
    waitpid $self->{pid}, 0;
}

# Merges into the state, and returns all of it.

sub state {
    my ($self, %changes) = @_;
    my $answer = http_request(POST => '/_state', port => $self->{port},
        body => $JSON->encode(\%changes));
    return $JSON->decode($answer->body);
}


# One process, so that all connections see one state.

sub run {
    my ($self, $listen, $test) = @_;
    my $select = IO::Select->new($listen);
    my %in;

    while (getppid == $test) {
        for my $socket ($select->can_read(1)) {
            if ($socket == $listen) {
                my $client = $listen->accept or next;
                $client->blocking(0);
                $select->add($client);
                $in{$client} = '';
                next;
            }

            my $n = sysread $socket, $in{$socket}, 65536, length $in{$socket};
            next if !defined $n && $!{EAGAIN};
            my $end = $n ? $self->heed($socket, \$in{$socket}) : 1;
            next if !$end;
            $select->remove($socket);
            delete $in{$socket};
            close $socket;
        }
    }
}

# True once the connection has had its answer.

sub heed {
    my ($self, $socket, $in) = @_;
    my ($head, $rest) = $$in =~ /\A(.*?)\r\n\r\n(.*)\z/s or return 0;
    my ($start, @lines) = split /\r\n/, $head;
    my @headers = map { [ split /:[ \t]*/, $_, 2 ] } @lines;
    my $request = EntraMDM::HTTP::Message->new($start, \@headers, $rest);

    return 0 if length $rest < ($request->header('Content-Length') // 0);

    my ($status, $body, @more) = $self->answer($request);
    return 1 if !$status;

    my $text = $status == 304 ? '' : $JSON->encode($body);
    my $answer = "HTTP/1.1 $status Answer\r\nConnection: close\r\n"
        . "Content-Type: application/json\r\nContent-Length: "
        . length($text) . "\r\n";
    $answer .= join(': ', splice @more, 0, 2) . "\r\n" while @more;
    $socket->blocking(1);
    local $SIG{PIPE} = 'IGNORE';
    print {$socket} "$answer\r\n$text";
    return 1;
}

sub answer {
    my ($self, $r) = @_;
    my $state = $self->{state};
    my ($path, $query) = split /\?/, $r->uri, 2;

    if ($path eq '/_state') {
        if ($r->method eq 'POST') {
            my $new = $JSON->decode($r->body);
            $state = $self->{state} = initial() if delete $new->{reset};
            %$state = (%$state, %$new);
        }
        return (200, $state);
    }

    return if $state->{down};
    return (problem($state->{status}, 'made to fail'),
        Location => 'http://127.0.0.2:9/sign-in') if $state->{status};

    # nginx sends no header that is empty, so a user without a role has none
    my $user = $r->header('X-Remote-User');
    my $who = {
        role => defined $user ? $r->header('X-Role') // '' : $state->{role},
        actor => $user // $state->{actor},
    };
    return problem(403, 'This role may not use the API.')
        if !$READS{ $who->{role} };

    my ($name) = $path =~ m{([^/]*)\z};
    return $self->config($r, $who) if $name eq 'config';
    return only_get() if $r->method ne 'GET';
    return (200, $self->status($who)) if $name eq 'status';
    return (200, $self->activities($query // '')) if $name eq 'activities';
    return problem(404, 'There is no such resource.');
}

sub problem {
    my ($status, $reason, $name) = @_;
    return ($status, { message => $status == 422 ? 'Validation Failed'
        : 'Request Failed',
        errors => [ { name => $name // 'base', reason => $reason } ] });
}

sub only_get {
    my @answer = problem(405, 'This resource can only be read.');
    return (@answer, Allow => 'GET, HEAD');
}

sub may_change {
    my ($self, $who) = @_;
    return $who->{role} eq 'gitops'
        || ($who->{role} eq 'admin' && !$self->{state}{gitops});
}


# config

sub field { return "windows_entra_$_[0]_ids" }
sub truth { return $_[0] ? JSON::PP::true : JSON::PP::false }

sub tag {
    my ($self) = @_;
    my $state = $self->{state};
    return '"' . sha256_hex(join '|', map {
        join ',', sort map { lc } @{ $state->{$_} } } @KINDS) . '"';
}

sub config {
    my ($self, $r, $who) = @_;

    return $self->patch($r, $who) if $r->method eq 'PATCH';
    return (problem(405, 'GET and PATCH only.'), Allow => 'GET, HEAD, PATCH')
        if $r->method ne 'GET';
    return (304, '', ETag => $self->tag)
        if ($r->header('If-None-Match') // '') eq $self->tag;
    return $self->shown;
}

sub shown {
    my ($self) = @_;
    my $state = $self->{state};

    return (200, {
        mdm => { map { field($_) => $state->{$_} } @KINDS },
        static => { map { field($_) => $state->{"static_$_"} } @KINDS },
        generation => $state->{generation}, source => $state->{source},
        $state->{in_force} ? () : (in_force => JSON::PP::false),
        gitops_mode => truth($state->{gitops}),
    }, ETag => ($state->{weak} ? 'W/' : '') . $self->tag);
}

sub patch {
    my ($self, $r, $who) = @_;
    my $state = $self->{state};
    my $own = 'http://' . ($r->header('Host') // '');

    $state->{patches}++;
    return problem(403, "The role $who->{role} may not change the lists.")
        if !$self->may_change($who);
    if (($r->header('Origin') // $own) ne $own
        || ($r->header('Sec-Fetch-Site') // 'none') !~ /^(?:same-origin|none)$/)
    {
        $state->{spoofed}++;
        return problem(403, 'A cross-site request cannot change anything.');
    }
    return problem(415, 'The Content-Type must be application/json.')
        if ($r->header('Content-Type') // '') !~ m{^application/json\b}i;

    my $body = eval { $JSON->decode($r->body) };
    return problem(400, 'The body is not a JSON object.')
        if ref $body ne 'HASH';
    if (my @wrong = wrong($body)) {
        return @wrong;
    }
    return problem($state->{patch_status}, $state->{patch_reason})
        if $state->{patch_status};

    if (my $rival = delete $state->{rival}) {
        $self->replace($_, $rival->{$_}, { actor => 'rival', role => 'admin' })
            for keys %$rival;
    }
    return problem(412, 'The lists have changed.')
        if ($r->header('If-Match') // $self->tag) ne $self->tag;

    for my $kind (@KINDS) {
        my $ids = $body->{mdm}{ field($kind) } // next;
        $self->replace($kind, $ids, $who);
    }
    $state->{source} = 'redis'
        if $state->{source} eq 'lost' && keys %{ $body->{mdm} } == 2;
    return problem(503, 'outcome unknown: the connection to Redis broke')
        if delete $state->{outcome};
    return $self->shown;
}

sub wrong {
    my ($body) = @_;
    my $mdm = $body->{mdm};
    my %known = map { field($_) => $_ } @KINDS;

    return problem(422, 'mdm must be an object.', 'mdm') if ref $mdm ne 'HASH';
    for my $name (sort grep { $_ ne 'mdm' } keys %$body) {
        return problem(422, 'Unknown field.', $name);
    }
    for my $name (sort keys %$mdm) {
        return problem(422, 'Unknown field.', "mdm.$name") if !$known{$name};
        return problem(422, 'Must be a list.', "mdm.$name")
            if ref $mdm->{$name} ne 'ARRAY';
        return problem(413, 'At most ' . MAX_IDS . ' IDs a list.')
            if @{ $mdm->{$name} } > MAX_IDS;
        for my $id (@{ $mdm->{$name} }) {
            return problem(422, "Invalid Entra $known{$name} ID: $id",
                "mdm.$name") if !defined $id || ref $id || $id !~ $GUID;
        }
    }
    return;
}

sub replace {
    my ($self, $kind, $ids, $who) = @_;
    my $state = $self->{state};
    my %old = map { lc $_ => $_ } @{ $state->{$kind} };
    my (%new, @list);

    for my $id (@$ids) {
        push @list, $old{lc $id} // $id if !$new{lc $id}++;
    }
    my $noun = $kind eq 'client' ? 'client_id' : 'tenant';
    $self->note("added_microsoft_entra_$noun", $kind, $_, $who)
        for grep { !$old{lc $_} } @list;
    $self->note("deleted_microsoft_entra_$noun", $kind, $_, $who)
        for grep { !$new{lc $_} } @{ $state->{$kind} };
    $state->{$kind} = \@list;
    $state->{generation}++;
}

sub note {
    my ($self, $type, $kind, $id, $who) = @_;
    my $list = $self->{state}{activities};

    unshift @$list, {
        id => 1 + @$list, created_at => stamp(time), type => $type,
        details => { "${kind}_id" => $id }, %$who,
    };
}

sub stamp { return POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]) }


# activities and status

sub activities {
    my ($self, $query) = @_;
    my @all = @{ $self->{state}{activities} };
    my ($page) = $query =~ /\bpage=(\d+)/;
    my ($size) = $query =~ /\bper_page=(\d+)/;
    my $from = ($page // 0) * ($size //= 20);

    return {
        activities => [ grep { defined } @all[ $from .. $from + $size - 1 ] ],
        meta => { has_next_results => truth(@all > $from + $size),
                  has_previous_results => truth($from > 0) },
    };
}

sub status {
    my ($self, $who) = @_;
    my $state = $self->{state};
    my %own = map { $_ => $state->{$_} }
        qw(policy source redis state keys decisions refusals);

    return {
        %own, %$who, in_force => truth($state->{in_force}),
        may_change => truth($self->may_change($who)),
        time => stamp(time), lists => {
            generation => $state->{generation},
            map { ; "${_}_ids" => { live => 0 + @{ $state->{$_} },
                static => 0 + @{ $state->{"static_$_"} } } } @KINDS,
        },
    };
}

1;
