package EntraMDM::Soap;

# The messages a Windows device sends, and a reading of the fault it gets.
#
#   enroll_message($token)                      # as a device writes it
#   policy_message($token, indented => 1, value_type => '...')
#   enroll_message($token, security => '')      # no Security header at all
#   is(fault(http_post(...))->{subcode}, 's:Authentication');
#
# Other options: text (instead of base64 of the token), encoding_type,
# message_id, edit => sub { s/// } upon the finished document.
#
# The fault is read by libxml2 (libxml-libxml-perl), since the module under
# test uses expat.

use strict;
use warnings;

use Exporter 'import';
use MIME::Base64 qw(encode_base64);
use Test::More ();
use XML::LibXML;
use XML::LibXML::XPathContext;

use EntraMDM::File qw(data);

our @EXPORT = qw(policy_message enroll_message discover_message fault);

my %NS = (
    s => 'http://www.w3.org/2003/05/soap-envelope',
    a => 'http://www.w3.org/2005/08/addressing',
    e => 'http://schemas.microsoft.com/windows/pki/2009/01/enrollment',
    xml => 'http://www.w3.org/XML/1998/namespace',
);


sub policy_message   { return message('policy.xml', @_) }
sub enroll_message   { return message('enroll.xml', @_) }
sub discover_message { return message('discover.xml', '', @_) }

sub message {
    my ($file, $token, %o) = @_;
    my $text = $o{text} // encode_base64($token // '', '');
    local $_ = data($file);

    s/\{\{TOKEN\}\}/$text/;
    if (defined $o{value_type}) {
        s/(<wsse:BinarySecurityToken ValueType=")[^"]*/$1$o{value_type}/;
    }
    s/(EncodingType=")[^"]*/$1$o{encoding_type}/ if defined $o{encoding_type};
    s/(<a:MessageID>)[^<]*/$1$o{message_id}/ if defined $o{message_id};
    s{<wsse:Security.*</wsse:Security>}{$o{security}}s
        if defined $o{security};

    s/^\s+|\s+$//g;
    s/>\s+</></g unless $o{indented};
    $o{edit}->() if $o{edit};
    return $_;
}


# A hash of what a device reads.  Prefixes are given as in the table of the
# protocol (s, a), whatever the document calls them.  What no device could
# read, or must not be sent, is told in `broken`, and nothing else is there.

sub fault {
    my ($response) = @_;
    my $fault = eval { sent_whole($response); parse($response->body) };

    return $fault if $fault;
    chomp(my $why = $@);
    Test::More::diag("not a fault: $why\n" . $response->raw);
    return { broken => $why };
}

sub sent_whole {
    my ($r) = @_;

    die "truncated\n" if $r->truncated;
    die "Content-Type\n" if ($r->header('Content-Type') // '')
        ne 'application/soap+xml; charset=utf-8';
    die "Content-Length\n" if ($r->header('Content-Length') // '')
        ne length $r->body;
    die "$_\n" for grep { defined $r->header($_) }
        qw(Transfer-Encoding Content-Encoding);
}

sub parse {
    my ($body) = @_;
    my $x = XML::LibXML::XPathContext->new(
        XML::LibXML->load_xml(string => $body, no_network => 1));
    my $fault = '/s:Envelope/s:Body/s:Fault';
    my $detail = "$fault/s:Detail/e:DeviceEnrollmentServiceError";

    $x->registerNs($_, $NS{$_}) for qw(s a e);
    one($x, $_) for '/s:Envelope', '/s:Envelope/s:Body/*', $fault;

    return {
        code       => qname(one($x, "$fault/s:Code/s:Value")),
        subcode    => qname(one($x, "$fault/s:Code/s:Subcode/s:Value")),
        text       => one($x, "$fault/s:Reason/s:Text")->textContent,
        lang       => one($x, "$fault/s:Reason/s:Text")
                        ->getAttributeNS($NS{xml}, 'lang'),
        action     => value($x, '/s:Envelope/s:Header/a:Action'),
        relates_to => value($x, '/s:Envelope/s:Header/a:RelatesTo'),
        error_type => value($x, "$detail/e:ErrorType"),
        message    => value($x, "$detail/e:Message"),
        trace_id   => value($x, "$detail/e:TraceId"),
    };
}

sub one {
    my ($x, $path) = @_;
    my @nodes = $x->findnodes($path);

    die scalar(@nodes) . " of $path\n" if @nodes != 1;
    return $nodes[0];
}

sub value {
    my ($x, $path) = @_;
    return $x->exists($path) ? one($x, $path)->textContent : undef;
}

sub qname {
    my ($node) = @_;
    my ($prefix, $name) = $node->textContent =~ /^(\w+):(\w+)$/
        or die "not a qualified name: " . $node->textContent . "\n";
    my $uri = $node->lookupNamespaceURI($prefix)
        // die "prefix $prefix is not declared\n";
    my ($known) = grep { $NS{$_} eq $uri } qw(s a);

    return ($known // die "prefix $prefix is $uri\n") . ":$name";
}

1;
