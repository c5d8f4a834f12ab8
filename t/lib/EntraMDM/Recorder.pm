package EntraMDM::Recorder;

# What stands between a client of the API and the real one: it has every
# request on record, hands it on, and can be told to do something else.
#
#   my $t = EntraMDM::Nginx->new(http => recorded('fleet') . ...);
#   my $api = EntraMDM::Recorder->new($t, 'api');       # %%PORT_api%%
#   $api->set(client_ids => [...], tenant_ids => [...]);
#   $api->lists;                                # as JSON has them
#   $api->race(2);              # for two PATCHes somebody else is faster
#   $api->answer(PATCH => { status => 503, body => ... });      # instead
#   $api->answer(PATCH => undef);                               # the API again
#   $api->says(source => 'lost');               # the API's answer, with that
#
# recorded() is a server whose location /NAME/ is the API of that policy, open
# to everybody; /api/ is that of the first one, which set and lists are about,
# unless set(at => 'NAME', ...) or lists('NAME') says otherwise.  Their requests
# are not on record.

use strict;
use warnings;

use parent 'EntraMDM::Backend';

use Exporter 'import';
use JSON::PP ();

use EntraMDM::File qw(slurp spew);
use EntraMDM::HTTP;

our @EXPORT = qw(recorded);
our $Real;                      # the port of the API itself

my $JSON = JSON::PP->new->utf8->canonical;
my @LISTS = qw(client_ids tenant_ids);


sub recorded {
    my ($first, @others) = @_;
    my %at = (api => $first, map { $_ => $_ } @others);

    return "server {\nlisten 127.0.0.1:%%PORT_recorded%%;\n"
        . "client_max_body_size 8m;\n" . join('', map {
            "location /$_/ { entra_mdm_api $at{$_};"
            . " entra_mdm_api_role admin; }\n" } sort keys %at) . "}\n";
}

sub new {
    my ($class, $t, $name) = @_;

    $Real = $t->port('recorded');
    return $class->SUPER::new($t, $name);
}

sub start {
    my ($self) = @_;

    $self->race(0);
    return $self->SUPER::start;
}

sub race {
    my ($self, $times) = @_;
    spew("$self->{rules}.race", $times);
}


# The API itself.

sub ask {
    my ($self, $method, $uri, $body, @headers) = @_;
    return http_request($method, $uri, port => $Real,
        headers => \@headers, (length $body ? (body => $body) : ()));
}

sub config {
    my ($self, $at) = @_;
    my $r = $self->ask(GET => '/' . ($at // 'api') . '/config', '');

    return { status => $r->status, body => $r->body,
        headers => [ ETag => $r->header('ETag') ] };
}

sub lists {
    my ($self, $at) = @_;
    my $mdm = $JSON->decode($self->config($at)->{body})->{mdm};
    return { map { $_ => $mdm->{"windows_entra_$_"} } @LISTS };
}

sub set {
    my ($self, %lists) = @_;
    my $at = $lists{at} // 'api';
    my $r = $self->ask(PATCH => "/$at/config", $JSON->encode({ mdm =>
        { map { ("windows_entra_$_" => $lists{$_} // []) } @LISTS } }),
        'Content-Type' => 'application/json');

    die 'cannot set: ', $r->raw if $r->status != 200;
}

sub says {
    my ($self, %other) = @_;
    my $answer = $self->config;

    $answer->{body} = $JSON->encode(
        { %{ $JSON->decode($answer->{body}) }, %other });
    $self->answer(GET => $answer);
}


# Between it and the client.

sub choose {
    my ($self, $request) = @_;
    my $canned = $JSON->decode(slurp($self->{rules}))->{ $request->method };
    my %own = map { $_ => 1 } qw(host connection content-length);

    return $canned if $canned;
    $self->somebody_else if $request->method eq 'PATCH';

    my $sent = $request->headers;
    my $r = $self->ask($request->method, $request->uri, $request->body,
        map { my $name = $_; map { $name => $_ } @{ $sent->{$name} } }
        grep { !$own{$_} } sort keys %$sent);
    my $got = $r->headers;

    return { status => $r->status, body => $r->body, headers => [
        map { my $name = $_; map { $name => $_ } @{ $got->{$name} } }
        grep { !$own{$_} } sort keys %$got ] };
}

sub somebody_else {
    my ($self) = @_;
    my $left = slurp("$self->{rules}.race") or return;
    my $lists = $self->lists;

    $self->race($left - 1);
    push @{ $lists->{tenant_ids} },
        sprintf '%08x-ffff-4fff-8fff-ffffffffffff', $left;
    $self->set(%$lists);
}

1;
