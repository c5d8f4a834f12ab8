package EntraMDM::State;

# State files, made and read by the tests themselves.
#
#   write_state($t, client_ids => [CLIENT_V2], jwks => [$key])
#   my $state = read_state($t);         # a hash, or undef: none, or no JSON
#   my $state = state_with($t, sub { $_[0]{saved} > $then });       # in time
#   kids($state)                        # of its keys
#
# The file is state/fleet.json in the test's folder, or as file => 'name' says
# to write_state(). An undef leaves a member out.

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();

use EntraMDM::File qw(wait_for);

our @EXPORT = qw(write_state state_text read_state state_with kids);

my $JSON = JSON::PP->new->utf8->canonical;


sub state_text {
    my (%o) = @_;
    my %all = (
        version => 1, policy => 'fleet', saved => time, lists_updated => time,
        lists_source => 'state', redis_generation => 0,
        $o{jwks} ? (jwks_source => 'request=/_entra/jwks',
            jwks_fetched => time) : (), %o,
    );

    if (ref $all{jwks} eq 'ARRAY') {
        $all{jwks} = { keys => [ map { $_->jwk } @{ $all{jwks} } ] };
    }
    delete @all{ grep { !defined $all{$_} } keys %all };
    return $JSON->encode(\%all);
}

sub write_state {
    my ($t, %o) = @_;
    my $file = delete $o{file} // 'state/fleet.json';

    mkdir $t->dir . '/state';
    return $t->write_file($file, state_text(%o));
}

sub read_state {
    my ($t, $file) = @_;
    my $text = eval { $t->file($file // 'state/fleet.json') } // return;

    return eval { $JSON->decode($text) };
}

sub state_with {
    my ($t, $condition, $seconds) = @_;

    return wait_for {
        my $state = read_state($t);
        $state && $condition->($state) ? $state : undef;
    } $seconds;
}

sub kids {
    my ($state) = @_;
    return join ' ', sort map { $_->{kid} } @{ $state->{jwks}{keys} // [] };
}

1;
