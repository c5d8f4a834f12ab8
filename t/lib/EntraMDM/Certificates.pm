package EntraMDM::Certificates;

# A certification authority of the test's own.
#
#   my $ca = EntraMDM::Certificates->new("$dir/ca");
#   my %server = $ca->certificate('server', 'DNS:redis.test,IP:127.0.0.1');
#   $server{cert}, $server{key}, $server{ca}      # files
#
# Option: days (valid for so many from now on; -1 has expired).

use strict;
use warnings;

use Carp qw(croak);

use EntraMDM::File qw(spew);


sub new {
    my ($class, $dir) = @_;

    mkdir $dir;
    openssl(qw(req -x509 -newkey rsa:2048 -nodes -days 2 -subj),
        "/CN=a test's authority", '-keyout', "$dir/ca.key",
        '-out', "$dir/ca.crt");
    return bless { dir => $dir }, $class;
}

sub certificate {
    my ($self, $name, $alternative, %o) = @_;
    my $dir = $self->{dir};
    my ($key, $csr, $crt) = map { "$dir/$name.$_" } qw(key csr crt);
    my $extensions = spew("$dir/$name.ext", "subjectAltName=$alternative\n");

    openssl(qw(req -newkey rsa:2048 -nodes -subj), "/CN=$name",
        '-keyout', $key, '-out', $csr);
    openssl(qw(x509 -req -in), $csr, '-CA', "$dir/ca.crt", '-CAkey',
        "$dir/ca.key", qw(-CAcreateserial -days), $o{days} // 2,
        '-extfile', $extensions, '-out', $crt);
    return (cert => $crt, key => $key, ca => "$dir/ca.crt");
}

sub openssl {
    my $command = join ' ', map { quotemeta } openssl => @_;
    my $said = `$command 2>&1`;
    croak "$command: $said" if $? != 0;
}

1;
