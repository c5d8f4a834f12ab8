package EntraMDM::API;

# A stand-in for the API of a gate: GET config and PATCH config, below /api/.
#
#   my $api = EntraMDM::API->new($t, 'api');            # %%PORT_api%%
#   $api->set(client_ids => [...], tenant_ids => [...], race => 2);
#   $api->lists;                                        # as JSON has them
#   $api->answer(PATCH => { status => 503, body => ... });      # instead
#   $api->answer(PATCH => undef);                       # the API again
#
# Other settings: static_client_ids, static_tenant_ids, gitops_mode, source,
# and race => how many PATCHes find that somebody else was faster.

use strict;
use warnings;

use parent 'EntraMDM::Backend';

use Digest::MD5 qw(md5_hex);
use JSON::PP ();

use EntraMDM::File qw(slurp spew);

my $JSON = JSON::PP->new->ascii->canonical;
my $GUID = qr/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\z/i;


sub new {
    my ($class, $t, $name) = @_;
    my $self = $class->SUPER::new($t, $name);

    $self->set;
    return $self;
}

sub state_file { return $_[0]{rules} =~ s/rules$/state/r }
sub state      { return $JSON->decode(slurp($_[0]->state_file)) }

sub set {
    my ($self, %new) = @_;
    spew($self->state_file, $JSON->encode({ client_ids => [],
        tenant_ids => [], static_client_ids => [], static_tenant_ids => [],
        race => 0, generation => 1, %new }));
}

sub lists {
    my ($self) = @_;
    my $state = $self->state;
    return { map { $_ => $state->{$_} } qw(client_ids tenant_ids) };
}


sub choose {
    my ($self, $request) = @_;
    my $canned = $JSON->decode(slurp($self->{rules}))->{ $request->method };

    return $canned if $canned;
    return { status => 404 } if $request->uri ne '/api/config';
    return { status => 405, headers => [ Allow => 'GET, PATCH' ] }
        if $request->method !~ /^(?:GET|PATCH)$/;
    return $request->method eq 'GET' ? $self->config : $self->patch($request);
}

sub etag {
    my ($state) = @_;
    return '"' . md5_hex(map { join ' ', sort map { lc } @{ $state->{$_} } }
        qw(client_ids tenant_ids)) . '"';
}

sub config {
    my ($self) = @_;
    my $state = $self->state;
    my %lists = map {
        my $prefix = $_;
        $prefix => { map { ("windows_entra_$_" => $state->{"$prefix$_"}) }
            qw(client_ids tenant_ids) };
    } '', 'static_';

    return {
        headers => [ 'Content-Type' => 'application/json',
                     ETag => etag($state) ],
        body => $JSON->encode({ mdm => $lists{''}, static => $lists{static_},
            generation => $state->{generation},
            source => $state->{source} // 'state',
            gitops_mode => $state->{gitops_mode} ? \1 : \0 }),
    };
}

sub patch {
    my ($self, $request) = @_;
    my $state = $self->state;
    my $match = $request->header('If-Match') // '*';

    if ($state->{race}) {
        my $id = sprintf '%08x-ffff-4fff-8fff-ffffffffffff', $state->{race}--;
        push @{ $state->{tenant_ids} }, $id;
        $self->set(%$state);
    }

    return { status => 415 }
        if ($request->header('Content-Type') // '') ne 'application/json';
    return { status => 412, body => '{"message":"Precondition Failed"}' }
        if $match ne '*' && $match ne etag($state);

    my $mdm = (eval { $JSON->decode($request->body) } // {})->{mdm}
        // return { status => 400 };

    for my $what (qw(client tenant)) {
        my $field = "windows_entra_${what}_ids";
        my $ids = $mdm->{$field} // next;
        my ($bad) = grep { $_ !~ $GUID } @$ids;
        my %seen;

        return { status => 422, body => $JSON->encode({
            message => 'Validation Failed', errors => [ { name => "mdm.$field",
            reason => "Invalid Entra $what ID: $bad" } ] }) } if defined $bad;
        $state->{"${what}_ids"} = [ grep { !$seen{lc $_}++ } @$ids ];
    }

    $self->set(%$state, generation => $state->{generation} + 1);
    return $self->config;
}

1;
