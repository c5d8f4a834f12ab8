package EntraMDM::Certificates;

# A certification authority of the test's own.
#
#   my $ca = EntraMDM::Certificates->new("$dir/ca");
#   my %server = $ca->certificate('server', 'DNS:redis.test,IP:127.0.0.1');
#   $server{cert}, $server{key}, $server{ca}      # files
#
# Option: expired => 1.

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
    my $year = 1900 + (gmtime)[5];
    my ($from, $to) = $o{expired} ? (2020, 2021) : ($year - 1, $year + 1);

    spew("$dir/$name.conf", <<"EOC");
[ ca ]
default_ca = test
[ test ]
database = $dir/$name.index
new_certs_dir = $dir
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = extensions
[ any ]
commonName = supplied
[ extensions ]
subjectAltName = $alternative
EOC
    spew("$dir/$name.index", '');
    openssl(qw(req -newkey rsa:2048 -nodes -subj), "/CN=$name",
        '-keyout', $key, '-out', $csr);
    openssl(qw(ca -batch -notext -config), "$dir/$name.conf", '-in', $csr,
        '-cert', "$dir/ca.crt", '-keyfile', "$dir/ca.key", '-out', $crt,
        '-startdate', "${from}0101000000Z", '-enddate', "${to}1231000000Z");
    return (cert => $crt, key => $key, ca => "$dir/ca.crt");
}

sub openssl {
    my $command = join ' ', map { quotemeta } openssl => @_;
    my $said = `$command 2>&1`;
    croak "$command: $said" if $? != 0;
}

1;
