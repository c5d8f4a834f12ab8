#!/usr/bin/perl

# Messages that two parsers could read differently, or that carry no
# credential: each refused for its reason, none of them seen by the backend,
# whatever the pieces it arrives in.

use strict;
use warnings;
use utf8;

use Encode qw(encode);
use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my $t = EntraMDM::Nginx->new(http => <<'EOC');

    entra_mdm_policy fleet {
        tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id 1b1b1111-2222-3333-4444-5555555555c1;
        jwks      file=%%DIR%%/keys.json;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        client_max_body_size 2m;
        entra_mdm fleet;
        add_header X-Result $entra_mdm_result always;
        add_header X-Action $entra_mdm_action always;
        proxy_set_header Host $http_host;

        location / { proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /file {
            client_body_in_file_only clean;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->start;

my $token = mint($key, claims_v2());
my $base64 = encode_base64($token, '');
my $lines = $base64 =~ s/(.{64})/$1\r\n/gr;
my $device = encode_base64('{"type":1,"payload":{}}', '');

my $wsse = 'http://docs.oasis-open.org/wss/2004/01/'
         . 'oasis-200401-wss-wssecurity-secext-1.0.xsd';
my $jwt = 'urn:ietf:params:oauth:token-type:jwt';
my $bst = "<wsse:BinarySecurityToken ValueType=\"$jwt\">$base64"
        . '</wsse:BinarySecurityToken>';
my $bst_of_none = $bst =~ s/wsse://gr;
my $username = '<wsse:UsernameToken><wsse:Username>ann</wsse:Username>'
    . '<wsse:Password>' . secret('hunter2-and-more') . '</wsse:Password>'
    . '</wsse:UsernameToken>';

my %status = (ok => 200, message_malformed => 400, security_malformed => 400);


sub enroll   { return enroll_message($token, @_) }
sub edited   { my ($edit) = @_; return enroll(edit => $edit) }
sub security { return enroll(security => "<wsse:Security>$_[0]</wsse:Security>") }
sub base64   { return enroll(text => $_[0]) }
sub attrs    { my ($a) = @_; return security($bst =~ s/ ValueType="[^"]*"/$a/r) }
sub nested   { my ($n) = @_; return '<d>' x $n . '</d>' x $n }

# Each row of a table: what it is, then the message.

sub verdicts {
    my ($key, @rows) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $expected = $key eq 'ok' ? '200 ok accepted 1'
        : join ' ', $status{$key} // 500, $key, 'refused 0';

    while (my ($name, $message) = splice @rows, 0, 2) {
        for (['/'], [ '/file' ], [ '/', pieces => 900 ]) {
            my ($uri, @how) = @$_;
            my $r = http_post($uri, $message, @how);
            my @seen = $backend->requests;
            is(join(' ', $r->status, map({ $r->header($_) // '-' }
                qw(X-Result X-Action)), scalar @seen), $expected,
                "$name: $key (" . (@how ? 'in pieces' : $uri) . ')');
        }
    }
}


# What is not a message, or not one message to everybody: what stands above
# the Security header.

verdicts(message_malformed =>
    'not XML'              => 'grant_type=password',
    'blanks'               => " \r\n ",
    'a byte order mark'    => "\xef\xbb\xbf",
    'HTML'                 => '<!doctype html><html></html>',
    'only a comment'       => '<!-- -->',
    'DTD'                  => '<!DOCTYPE s:Envelope>' . enroll(),
    'DTD with an entity'   => '<!DOCTYPE a [<!ENTITY t "x">]>' . enroll(),
    'DTD, entity as token' => "<!DOCTYPE a [<!ENTITY t '$base64'>]>"
                                . enroll(text => '&t;'),
    'DTD from elsewhere'   => '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd">'
                                . enroll(),
    'an unknown entity'    => base64("$base64&t;"),
    'XML 1.1'              => '<?xml version="1.1"?>' . enroll(),
    'declared ISO-8859-1'  => '<?xml version="1.0" encoding="ISO-8859-1"?>'
                                . enroll(),
    'declared UTF-16'      => '<?xml version="1.0" encoding="utf-16"?>'
                                . enroll(),
    'declared UTF-7'       => '<?xml version="1.0" encoding="UTF-7"?>'
                                . enroll(),
    'UTF-16'               => encode('UTF-16', enroll()),
    'UTF-16, little end'   => "\xff\xfe" . encode('UTF-16LE', enroll()),
    'UTF-16 without mark'  => encode('UTF-16LE', enroll()),
    'UTF-16 and says so'   => encode('UTF-16',
                                '<?xml version="1.0" encoding="UTF-16"?>'
                                . enroll()),
    'UTF-32'               => encode('UTF-32', enroll()),
    'not UTF-8, Header'    => edited(sub { s/uuid:/uuid:\xff/ }),
    'overlong UTF-8'       => edited(sub { s/uuid:/uuid:\xc0\xaf/ }),
    'a control byte'       => edited(sub { s/uuid:/uuid:\x01/ }),
    'a NUL in the Header'  => edited(sub { s/uuid:/uuid:\0/ }),
    'NUL by reference'     => edited(sub { s/uuid:/uuid:&#0;/ }),

    'SOAP 1.1'             => edited(sub {
                                s{http://www.w3.org/2003/05/soap-envelope}
                                 {http://schemas.xmlsoap.org/soap/envelope/} }),
    'Envelope of no ns'    => "<Envelope>$bst_of_none</Envelope>",
    'envelope'             => edited(sub { s/s:Envelope/s:envelope/g }),
    'two Envelopes'        => enroll() . enroll(),
    'Envelope, wrapped'    => '<x>' . enroll() . '</x>',
    'prefix not declared'  => edited(sub { s/ xmlns:wsse="[^"]*"// }),

    'a second Header, behind'  => edited(sub {
                                s{(</s:Header>)}{$1<s:Header/>} }),
    'a second Header, last'    => edited(sub {
                                s{(</s:Body>)}{$1<s:Header/>} }),
    'Header, other ns, first'  => edited(sub {
                                s{(<s:Header>)}{<a:Header/>$1} }),
    'Header, other ns, behind' => edited(sub {
                                s{(</s:Header>)}{$1<a:Header/>} }),
    'Header, no ns, last'      => edited(sub {
                                s{(</s:Body>)}{$1<Header/>} }),
    'Header of another ns'     => edited(sub { s/s:Header/a:Header/g }),
    'attribute twice, Header'  => edited(sub {
                                s/<s:Header/<s:Header s:x="1" x="2"/ }),
    'attribute twice, Envelope' => edited(sub {
                                s/<s:Envelope/<s:Envelope a:x="1" s:x="2"/ }),
    'same attribute twice'     => edited(sub {
                                s/<s:Header/<s:Header x="1" x="1"/ }),

    'deep, Header'         => edited(sub {
                                s{(<s:Header>)}{$1 . nested(63)}e }),
    'deep, Security'       => security($bst . nested(62)),
    'very deep'            => edited(sub {
                                s{(<s:Header>)}{$1 . nested(20000)}e }),
    'cut off in Security'  => substr(enroll(), 0, index(enroll(), $base64)),
    'cut off in the token' => substr(enroll(), 0, index(enroll(), $base64) + 99),
    'crossed end tags'     => edited(sub {
                                s{</wsse:Security></s:Header>}
                                 {</s:Header></wsse:Security>} }),
);

# What comes after a token that was accepted can still spoil the message.

verdicts(message_malformed =>
    'cut off behind the Header' => edited(sub { s{</s:Header>\K.*}{}s }),
    'cut off in the Body'       => edited(sub { s{</s:Body>.*}{}s }),
    'the last byte missing'     => substr(enroll(), 0, -1),
    'a second Body'             => edited(sub { s{(</s:Body>)}{$1<s:Body/>} }),
    'a Body of another ns'      => edited(sub { s{(</s:Body>)}{$1<a:Body/>} }),
    'not UTF-8, Body'           => edited(sub { s/DESKTOP-/DESKTOP-\xff/ }),
    'a NUL in the Body'         => edited(sub { s/DESKTOP-/DESKTOP-\0/ }),
    'same attribute twice, Body' => edited(sub {
                                    s/Name="MAC"/Name="MAC" Name="MAC"/ }),
    'deep, Body'                => edited(sub {
                                    s{(?=</s:Body>)}{nested(63)}e }),
    'text behind the root'      => enroll() . 'x',
    'an element behind'         => enroll() . '<x/>',
    'a comment behind'          => enroll() . '<!-- -->',
    'an instruction behind'     => enroll() . '<?x?>',
    'CDATA behind'              => enroll() . '<![CDATA[x]]>',
    'a NUL behind'              => enroll() . "\0",
);

# A refused token keeps its reason, whatever follows the Header.

my %refused = (
    token_malformed      => 'a.b.c',
    signature_invalid    => substr($token, 0, -4) . 'AAAA',
    token_expired        => mint($key, claims_v2(exp => time - 3600)),
    audience_not_allowed => mint($key, claims_v2(aud => 'urn:other')),
);
for my $reason (sort keys %refused) {
    my $message = enroll_message($refused{$reason});
    verdicts($reason =>
        'nothing follows'   => $message =~ s{</s:Header>\K.*}{}sr,
        'a second Header'   => $message =~ s{</s:Header>\K}{<s:Header/>}r,
        'not XML follows'   => $message =~ s{</s:Header>\K.*}{<<<}sr,
        'not UTF-8 follows' => $message =~ s{</s:Header>\K.*}{\xff}sr,
        'NUL follows'       => $message =~ s{</s:Header>\K.*}{\0}sr,
        'text at the end'   => "${message}x",
    );
}

# The Security header is ambiguous or unreadable.

verdicts(security_malformed =>
    'two Security'              => edited(sub {
                                    s{(<wsse:Security .*</wsse:Security>)}
                                     {$1$1}s }),
    'an empty Security behind'  => edited(sub {
                                    s{</wsse:Security>\K}{<wsse:Security/>} }),
    'Security, other ns, too'   => edited(sub {
                                    s{(?=<wsse:Security )}{<a:Security/>} }),
    'Security, no ns, too'      => edited(sub {
                                    s{</wsse:Security>\K}{<Security/>} }),
    'Security of another ns'    => edited(sub { s/wsse:Security\b/a:Security/g }),
    'two tokens'                => security($bst . $bst),
    'an empty token behind'     => security("$bst<wsse:BinarySecurityToken/>"),
    'an empty token first'      => security("<wsse:BinarySecurityToken/>$bst"),
    'a token of no ns behind'   => security($bst . $bst_of_none),
    'a token of no ns first'    => security($bst_of_none . $bst),
    'a token of no ns'          => security($bst_of_none),
    'a token of another ns'     => security($bst =~ s/wsse:/a:/gr),
    'an element in the token'   => base64("$base64<x/>"),
    'an element with the token' => base64("<x>$base64</x>"),
    'a comment in the token'    => base64("<!-- -->$base64"),
    'a comment splits it'       => base64($base64 =~ s/^.{9}\K/<!-- -->/r),
    'CDATA in the token'        => base64("<![CDATA[$base64]]>"),
    'empty CDATA in the token'  => base64("$base64<![CDATA[]]>"),
    'an instruction in it'      => base64("$base64<?x y?>"),
    'a token in the token'      => security("<wsse:BinarySecurityToken>$bst"
                                    . '</wsse:BinarySecurityToken>'),

    'no ValueType'              => attrs(''),
    'empty ValueType'           => attrs(' ValueType=""'),
    'unknown ValueType'         => attrs(' ValueType="urn:other"'),
    'ValueType in capitals'     => attrs(" ValueType=\"\U$jwt\""),
    'ValueType and a blank'     => attrs(" ValueType=\"$jwt \""),
    'ValueType of the request'  => attrs(' ValueType="http://schemas.'
                                    . 'microsoft.com/windows/pki/2009/01/'
                                    . 'enrollment#PKCS10"'),
    'valuetype'                 => attrs(" valuetype=\"$jwt\""),
    'ValueType twice'           => attrs(" ValueType=\"$jwt\""
                                    . ' wsse:ValueType="urn:other"'),
    'ValueType twice, alike'    => attrs(" a:ValueType=\"$jwt\""
                                    . " wsse:ValueType=\"$jwt\""),
    'ValueType as a prefix'     => attrs(" ValueType=\"$jwt\""
                                    . ' xmlns:ValueType="urn:other"'),
    'EncodingType of hex'       => attrs(" ValueType=\"$jwt\""
                                    . " EncodingType=\"$wsse#HexBinary\""),
    'EncodingType empty'        => attrs(" ValueType=\"$jwt\" EncodingType=\"\""),
    'EncodingType twice'        => attrs(" ValueType=\"$jwt\""
                                    . " EncodingType=\"$wsse#Base64Binary\""
                                    . " a:EncodingType=\"$wsse#Base64Binary\""),
    'EncodingType as a prefix'  => attrs(" ValueType=\"$jwt\""
                                    . ' xmlns:EncodingType="urn:x"'),
    'another attribute twice'   => attrs(" ValueType=\"$jwt\" x=\"1\" a:x=\"2\""),
    'attribute twice, Security' => edited(sub {
                                    s/<wsse:Security /$&mustUnderstand="0" / }),
);

# There is no token where one counts.

verdicts(no_token =>
    'no Security'               => enroll(security => ''),
    'empty Security'            => security(''),
    'Security without a token'  => security('<wsse:Other/>'),
    'empty token'               => base64(''),
    'CR and LF'                 => base64("\r\n\r\n"),
    'CR and LF by reference'    => base64('&#13;&#10;'),
    'an empty element'          => security($bst =~ s{>.*}{/>}sr),
    'empty, unknown ValueType'  => enroll(text => '', value_type => 'urn:x'),
    'beside Security'           => enroll(security => $bst),
    'below another element'     => security("<wsse:Other>$bst</wsse:Other>"),
    'Security below another'    => edited(sub {
                                    s{<wsse:Security .*</wsse:Security>}
                                     {<x>$&</x>}s }),
    'in the Body'               => enroll(security => '', edit => sub {
                                    s{(<s:Body[^>]*>)}
                                     {$1<wsse:Security>$bst</wsse:Security>} }),
    'Security below Envelope'   => enroll(security => '', edit => sub {
                                    s{(?=<s:Body)}
                                     {<wsse:Security>$bst</wsse:Security>} }),
    'no Header'                 => edited(sub { s{<s:Header>.*</s:Header>}{}s }),
    'an empty Header'           => edited(sub {
                                    s{<s:Header>.*</s:Header>}{<s:Header/>}s }),
    'an empty Header first'     => edited(sub { s{(?=<s:Header>)}{<s:Header/>} }),
    'an empty Envelope'         => '<Envelope xmlns="http://www.w3.org/2003/05/'
                                    . 'soap-envelope"/>',
    'other case, token'         => security($bst =~ s/Binary/binary/gr),
    'other case, Security'      => edited(sub { s/wsse:Security\b/wsse:security/g }),
    'a discovery'               => discover_message(),
);

verdicts(username_token =>
    'a password'                => security($username),
    'a password, another ns'    => security($username =~ s/wsse:/a:/gr),
    'a token inside it'         => security($username =~ s{(?=</wsse:UsernameT)}
                                    {$bst}r),
);

# The text of the token is standard base64 of a compact JWS, and that only.

my ($head, $payload, $signature) = split /\./, $token;
my $unpadded = encode_base64("$token=", '') =~ s/=+$//r;

verdicts(token_malformed =>
    'blanks around it'          => base64(" $base64 "),
    'a blank only'              => base64('&#32;'),
    'a blank in it'             => base64($base64 =~ s/^.{40}\K/ /r),
    'a tab in it'               => base64($base64 =~ s/^.{40}\K/\t/r),
    'indented'                  => base64("\n      $base64\n    "),
    'a no-break space'          => base64("$base64\xc2\xa0"),
    'not coded'                 => base64($token),
    'coded twice'               => base64(encode_base64($base64, '')),
    'a character missing'       => base64(substr $base64, 0, -1),
    'a character too many'      => base64("${base64}A"),
    'padding too much'          => base64("$base64===="),
    'padding in the middle'     => base64(encode_base64('a', '') . $base64),
    'URL alphabet'              => base64('-_-_' . $base64),
    'a scheme'                  => enroll_message("Bearer $token"),
    'a line break inside'       => enroll_message("$token\n"),
    'two parts'                 => enroll_message("$head.$payload"),
    'four parts'                => enroll_message("$token.AAAA"),
    'five parts'                => enroll_message("$token.AAAA.AAAA"),
    'no parts'                  => enroll_message('token'),
    'a padded part'             => enroll_message("$head=.$payload.$signature"),
    'parts not base64url'       => enroll_message("$head.$payload.+++/"),
    'a device token as a JWT'   => base64($device),
    'over max_token'            => enroll_message('a.b.' . 'A' x 16384),
);

# And what looks odd, but reads the same to everybody, is fine.

verdicts(ok =>
    'a byte order mark'         => "\xef\xbb\xbf" . enroll(),
    'an XML declaration'        => '<?xml version="1.0" encoding="utf-8"?>'
                                    . enroll(),
    'mark and declaration'      => "\xef\xbb\xbf<?xml version='1.0'?>" . enroll(),
    'indented'                  => enroll(indented => 1),
    'blanks behind the root'    => enroll() . "\r\n \t",
    'comment, instruction first' => '<!-- a --><?b c?>' . enroll(),
    'comments anywhere else'    => edited(sub {
                                    s/(?=<wsse:S|<wsse:B|<s:Body)/<!-- -->/g }),
    'CDATA in the Body'         => edited(sub { s/DESKTOP/<![CDATA[<]]>/ }),
    'depth 64, Body'            => edited(sub {
                                    s{(?=</s:Body>)}{nested(62)}e }),
    'depth 64, Header'          => edited(sub {
                                    s{(?=</s:Header>)}{nested(62)}e }),
    'other prefixes'            => edited(sub { s/\bwsse\b/sec/g; s/\bs:/soap:/g;
                                    s/xmlns:s=/xmlns:soap=/ }),
    'a token in lines'          => base64("\r\n$lines\r\n"),
    'a token in CRs'            => base64($base64 =~ s/(.{30})/$1&#13;/gr),
    'a character by reference'  => base64($base64 =~ s/^e/&#x65;/r),
    'prefixed attributes'       => attrs(" wsse:ValueType=\"$jwt\" "
                                    . "wsse:EncodingType=\"$wsse#Base64Binary\""),
    'EncodingType in any case'  => attrs(" ValueType=\"$jwt\" EncodingType=\""
                                    . uc("$wsse#base64Binary") . '"'),
    'no EncodingType'           => attrs(" ValueType=\"$jwt\""),
    'a password as well'        => security($username . $bst),
    'a token elsewhere, Body'   => edited(sub {
                                    s{(?=</s:Body>)}
                                     {<wsse:Security>$bst</wsse:Security>} }),
    'UTF-8 in the Body'         => edited(sub {
                                    s/DESKTOP/encode 'UTF-8', "J\x{fc}rgen"/e }),
);

# Only the SOAP namespace, not its prefix, and only UTF-8 bytes: the message
# at the backend is the one that was judged.

my $odd = "\xef\xbb\xbf" . base64("\r\n$lines\r\n") . "\r\n\t";
http_post('/', $odd);
is($backend->last->body, $odd, 'an odd message arrives as it was sent');

$t->done;
