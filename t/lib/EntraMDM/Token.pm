package EntraMDM::Token;

# Keys and tokens in Entra's shape, made by CryptX: nothing here shares code
# with what is tested.
#
#   my $key = new_key();                    # RSA 2048, kid as Entra's
#   jwks($key, $other->jwk(use => undef))   # text of a key set
#   mint($key, claims_v2(aud => [], upn => undef))
#   mint($key, $claims, header => { kid => 'another' }, alg => 'RS384')
#   mint($key, '{"raw":"payload"}', header => '{"raw":"header"}')
#   compact(b64url($header), b64url($payload), '')          # by hand
#
# An undef removes a member.  Tokens, and whatever is handed to secret(),
# must never turn up in nginx's logs: EntraMDM::Nginx looks for them.

use strict;
use warnings;

use Crypt::Digest::SHA1 qw(sha1);
use Crypt::Mac::HMAC qw(hmac);
use Crypt::PK::RSA;
use Exporter 'import';
use File::Temp;
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64 encode_base64url);

use EntraMDM::File qw(data);

use constant {
    TENANT    => '6d8769e6-0f8b-418d-b385-1a53968781c9',
    CLIENT_V2 => '1b1b1111-2222-3333-4444-5555555555c1',
    HOST      => 'fleet.example.com',
    ISSUER    => 'https://login.microsoftonline.com/{tenantid}/v2.0',
    LIFETIME  => 4500,
};

our @EXPORT = qw(TENANT CLIENT_V2 HOST new_key jwks claims_v1 claims_v2 mint
    sign compact b64url secret);

our %Secrets;

my $JSON = JSON::PP->new->utf8->canonical;


# Options: bits, kid, issuer, and x5c => 1 for a certificate.

sub new_key {
    my (%o) = @_;
    my $pem = run('openssl', 'genrsa', $o{bits} // 2048);
    my $pk = Crypt::PK::RSA->new(\$pem);
    my $thumbprint = encode_base64url(sha1($pk->export_key_der('public')));
    my %certificate;

    if ($o{x5c}) {
        my $file = File::Temp->new;
        print {$file} $pem;
        $file->flush;
        my $crt = run(qw(openssl req -x509 -batch -days 2 -subj),
            '/CN=accounts.accesscontrol.windows.net', '-key', "$file");
        $crt =~ s/-----[^-]+-----|\s//g;
        $thumbprint = encode_base64url(sha1(decode_base64($crt)));
        $certificate{x5c} = [$crt];
    }

    my $public = $pk->export_key_jwk('public', 1);
    my $kid = $o{kid} // $thumbprint;
    return bless {
        pk => $pk, kid => $kid,
        jwk => merged({
            kty => 'RSA', use => 'sig', kid => $kid, x5t => $kid,
            n => $public->{n}, e => $public->{e}, issuer => ISSUER,
            %certificate,
        }, exists $o{issuer} ? { issuer => $o{issuer} } : {}),
    }, 'EntraMDM::Token::Key';
}

sub run {
    open my $out, '-|', "@{[ map { quotemeta } @_ ]} 2>/dev/null" or die;
    local $/;
    return <$out>;
}

sub jwks {
    my @members = map { ref eq 'HASH' ? $_ : $_->jwk } @_;
    return $JSON->encode({ keys => \@members });
}


sub claims_v1 { return claims('claims-v1.json', @_) }
sub claims_v2 { return claims('claims-v2.json', @_) }

sub claims {
    my ($file, %override) = @_;
    my $now = time;
    my $times = { iat => $now, nbf => $now, exp => $now + LIFETIME };

    return merged({ %{ $JSON->decode(data($file)) }, %$times }, \%override);
}

sub merged {
    my ($members, $override) = @_;
    my %all = (%$members, %$override);

    delete @all{ grep { !defined $override->{$_} } keys %$override };
    return \%all;
}


sub mint {
    my ($key, $claims, %o) = @_;
    my $alg = $o{alg} // 'RS256';
    my $header = $o{header} // {};

    if (ref $header) {
        $header = $JSON->encode(merged(
            { typ => 'JWT', alg => $alg, kid => $key->kid }, $header));
    }
    my $payload = ref $claims ? $JSON->encode($claims) : $claims;
    my $signed = b64url($header) . '.' . b64url($payload);

    return compact(split(/\./, $signed, 2), b64url(sign($key, $signed, $alg)));
}

# HS256 takes the public key's PEM as its secret: the attack on verifiers
# that let the token choose.

sub sign {
    my ($key, $bytes, $alg) = @_;

    return '' if $alg eq 'none';
    return hmac('SHA' . substr($alg, 2), $key->pem, $bytes) if $alg =~ /^HS/;
    return $key->{pk}->sign_message($bytes, 'SHA' . substr($alg, 2),
        $alg =~ /^PS/ ? ('pss', 32) : 'v1.5');
}

sub compact {
    my $token = join '.', @_;

    secret(substr $_, 8, 40) for grep { length > 48 } @_[ 1 .. $#_ ];
    secret(substr encode_base64($token, ''), 120, 40) if length $token > 160;
    return $token;
}

sub b64url { my ($bytes) = @_; return encode_base64url($bytes) }
sub secret { my ($text) = @_; $Secrets{$text} = 1; return $text }


package EntraMDM::Token::Key;

sub kid { return $_[0]{kid} }
sub pem { return $_[0]{pk}->export_key_pem('public_x509') }

sub jwk {
    my ($self, %override) = @_;
    return EntraMDM::Token::merged($self->{jwk}, \%override);
}

1;
