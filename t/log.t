#!/usr/bin/perl

# The operator's line: one for each refusal, with what leads to the request
# and what helps to mend it, and with nothing that anybody could abuse.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::Backend;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

use constant STRANGER => 'ffffffff-1111-4222-8333-444444444444';

my @ids = map { sprintf '%08x-1111-4222-8333-444444444444', $_ } 1 .. 23;
my $first = join ', ', @ids[ 0 .. 19 ];
my @levels = qw(info notice warn error);

my $policies = join '', map { <<EOC } @levels;
    entra_mdm_policy $_ {
        tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9;
        jwks file=%%DIR%%/keys.json;
        log_level $_;
    }
EOC

my $locations = join '', map { <<EOC } @levels;
        location /$_ { entra_mdm $_; error_page 401 =401 /nothing; }
        location /loud-$_ {
            entra_mdm $_;
            error_log %%DIR%%/loud.log warn;
        }
EOC

my $http = <<"EOC";

    log_format id '\$request_id \$status \$entra_mdm_result';

    entra_mdm_policy fleet {
        server_url https://fleet.example.com https://mdm.example.com:8443;
        tenant_id  6d8769e6-0f8b-418d-b385-1a53968781c9;
        jwks       file=%%DIR%%/keys.json;
        max_body   20k;
        require_upn on;
    }

    entra_mdm_policy many {
        server_url https://fleet.example.com https://mdm.example.com:8443;
        tenant_id  6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id  @{[ reverse @ids ]};
        jwks       file=%%DIR%%/keys.json;
    }
    $policies

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        access_log %%DIR%%/id.log id;
        client_max_body_size 2m;
        large_client_header_buffers 4 32k;
        entra_mdm fleet;

        location / {
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location /many {
            entra_mdm many;
        }

        location /dry {
            entra_mdm_dry_run on;
            proxy_pass http://127.0.0.1:%%PORT_backend%%;
        }

        location = /nothing { entra_mdm off; internal; return 401; }
        $locations
    }

EOC

my $t = EntraMDM::Nginx->new(http => $http);
my $backend = EntraMDM::Backend->new($t);
my $key = new_key();
my $foreign = new_key();
my $keys = jwks($key, $key->jwk(kid => 'enc', use => 'enc'),
    $key->jwk(kid => 'free', issuer => undef));

$t->write_file('keys.json', $keys);
$t->write_file('loud.log', '');
$t->start;

# What the module wrote while this ran: one line, always of one form.

my $FORM = qr{^\d{4}/\d\d/\d\d\ \d\d:\d\d:\d\d\ \[(?<level>\w+)\]
    \ [\d#]+:\ \*\d+
    \ entra_mdm:\ policy\ "(?<policy>\w+)"\ (?<action>refused|would\ refuse),
    \ (?<key>[a-z_]+):\ [A-Z][^,(]+\w(?:\ \([^)]+\))?
    (?<detail>(?:,\ .*)?),\ request_id:\ (?<id>[0-9a-f]{32}),
    \ client:\ 127\.0\.0\.1,}x;

sub said {
    my ($what) = @_;

    $t->mark;
    my $r = $what->();
    my @lines = grep { /entra_mdm/ } split /\n/, $t->new_log;
    is(scalar @lines, 1, 'one line') or diag(join "\n", @lines);
    ok(($lines[0] // '') =~ $FORM, 'in its form') or diag($lines[0]);
    return { %+, line => $lines[0], response => $r };
}

# each reason, and what it is told with

my $tid = TENANT;
my $soon = time + 3600;

sub token { return mint($key, claims_v1(@_), header => { kid => 'free' }) }
sub header { my $token = shift; return sub { http_get('/', bearer => $token) } }
sub body { my $message = shift; return sub { http_post('/', $message) } }

my $login = secret('Tr0ub4dor-in-the-clear');
my $enrolled = '{"type":1,"payload":{"orbit_node_key":"'
    . secret('n0de-key-of-a-device') . '"}}';

my @reasons = (
    [ no_token => qr/^$/, sub { http_get('/') } ],
    [ no_token => qr/^$/, body(enroll_message('', security => '')) ],
    [ username_token => qr/^$/, body(enroll_message('', security => <<"EOX")) ],
<wsse:Security><wsse:UsernameToken>
<wsse:Username>ann\@example.com</wsse:Username>
<wsse:Password>$login</wsse:Password>
</wsse:UsernameToken></wsse:Security>
EOX
    [ device_token_denied => qr/^$/, body(enroll_message($enrolled,
        value_type => 'http://schemas.microsoft.com/5.0.0.0/'
        . 'ConfigurationManager/Enrollment/DeviceEnrollmentUserToken')) ],
    [ token_malformed => qr/^, 5 bytes$/, header('a.b.c') ],
    [ algorithm_not_allowed => qr/^, \d+ bytes$/,
        header(mint($key, claims_v1(), alg => 'RS384')) ],
    [ key_unknown => qr/^, kid "x", key set of 3 keys, \d+ seconds old$/,
        header(mint($key, claims_v1(), header => { kid => 'x' })) ],
    [ key_not_allowed => qr/^, kid "enc"$/,
        header(mint($key, claims_v1(), header => { kid => 'enc' })) ],
    [ signature_invalid => qr/^, kid "free"$/,
        header(mint($foreign, claims_v1(), header => { kid => 'free' })) ],
    [ token_expired => qr/^, exp 1000000000, .*now 1[0-9]{9}$/,
        header(token(exp => 1_000_000_000)) ],
    [ token_not_yet_valid => qr/, nbf $soon, .*now 1[0-9]{9}$/,
        header(token(nbf => $soon)) ],
    [ claim_invalid => qr/^, tenant "$tid"$/, header(token(aud => undef)) ],
    [ issuer_not_allowed => qr{^, issuer "https://x\.example/"$},
        header(token(iss => 'https://x.example/')) ],
    [ scope_not_allowed =>
        qr{^, scope "User\.Read", expected "mdm_delegation"$},
        header(token(scp => 'User.Read')) ],
    [ audience_not_allowed =>
        qr{^,\ audience\ of\ the\ token:\ "x",\ "https://y",
        \ expected\ host:\ "fleet\.example\.com",\ "mdm\.example\.com:8443",
        \ tenant\ "$tid",\ client\ IDs\ in\ force:\ none$}x,
        header(token(aud => [ 'x', 'https://y' ])) ],
    [ tenant_not_allowed =>
        qr/^, tenant "${\STRANGER}", tenant IDs in force: $tid$/,
        header(token(tid => STRANGER,
            iss => "https://sts.windows.net/${\STRANGER}/")) ],
    [ upn_missing => qr/^, oid "8c1b7e6a-[^"]+", tenant "$tid"$/,
        header(token(upn => undef)) ],
    [ upn_invalid => qr/^, oid "8c1b7e6a-[^"]+", tenant "$tid"$/,
        header(token(upn => "\n")) ],
    [ message_malformed => qr/^$/, body('x') ],
    [ message_malformed => qr/^$/,
        sub { http_get('/', bearer => token(), body => 'x') } ],
    [ security_malformed => qr/^$/,
        body(enroll_message('x', value_type => 'urn:x')) ],
    [ body_too_large => qr/^$/,
        body(enroll_message('x') . ' ' x 20_000) ],
);

for (@reasons) {
    my ($result, $detail, $what) = @$_;
    my $said = said($what);
    my $r = $said->{response};

    is("$said->{level} $said->{policy} $said->{action} $said->{key}",
        "warn fleet refused $result", "$result: told");
    like($said->{detail}, $detail, "$result: what helps");
    like($t->wait_for_log(qr/^$said->{id} /, 'id.log'),
        qr/^\w+ @{[ $r->status ]} $result$/, "$result: and the access log");
    is(fault($r)->{trace_id}, $said->{id}, "$result: and the device's screen")
        if ($r->header('Content-Type') // '') =~ /soap/;
    unlike($r->body, qr/ann\@|Tr0ub4dor|n0de-key|eyJ/, "$result: no echo");
}

is($backend->requests, 0, 'nothing has reached the backend');

my $said = said(sub { http_get('/dry') });
is("$said->{action}, $said->{key}", 'would refuse, no_token', 'dry run');
is($backend->requests, 1, 'which goes on');

$t->mark;
is(http_get('/', bearer => token())->status, 200, 'accepted');
is(http_post('/', policy_message(token()))->status, 200, 'a message as well');
unlike($t->new_log, qr/entra_mdm/, 'nothing to tell of either');

# lists that are long

$said = said(sub { http_get('/many', bearer => token(aud => 'x')) });
like($said->{detail}, qr/client IDs in force: $first and 3 more$/,
    'the first 20 client IDs, and how many more');
$said = said(sub { http_get('/many', bearer => token(aud => [ 1 .. 9 ] )) });
is($said->{key}, 'claim_invalid', 'audiences that are numbers');
$said = said(sub { http_get('/many',
    bearer => token(aud => [ map { "a$_" } 1 .. 9 ])) });
my ($shown, $more) = $said->{detail}
    =~ /token: ((?:"a\d", )*"a\d") and (\d) more, expected host/;
is(($shown // '') =~ tr/a// + ($more // 0), 9,
    'the first audiences, and how many more');

# levels

for my $level (@levels) {
    is(said(sub { http_get("/$level") })->{level}, $level, "log_level $level");
    http_get("/loud-$level");
}

is(join(' ', $t->file('loud.log') =~ /\[(\w+)\] .*entra_mdm/g), 'warn error',
    'what error_log asks for');

# what others wrote: escaped, cut off, and on one line

my $forged = "x\", request_id: 00000000000000000000000000000000\n"
    . '2026/01/01 00:00:00 [error] 1#1: *1 entra_mdm: policy "fleet" refused'
    . ", ok\r\e[2J\t\\\x7f\x{85}\x{2028}";
my $escaped = 'x\x22, request_id: 00000000000000000000000000000000\x0A'
    . '2026/01/01 00:00:00 [error] 1#1: *1 entra_mdm: policy \x22fleet\x22';
my $long = 'https://x.example/' . 'y' x 1000;
my $wide = "\x{e4}" x 500;

for (
    [ 'a kid', key_unknown => sub { mint($key, claims_v1(),
        header => { kid => $_[0] }) } ],
    [ 'an issuer', issuer_not_allowed => sub { token(iss => $_[0]) } ],
    [ 'a scope', scope_not_allowed => sub { token(scp => $_[0]) } ],
    [ 'an audience', audience_not_allowed => sub { token(aud => $_[0]) } ],
    [ 'an oid', upn_missing => sub { token(upn => undef, oid => $_[0]) } ],
) {
    my ($name, $result, $token) = @$_;

    $said = said(header($token->($forged)));
    is($said->{key}, $result, "$name that is forged: told as what it is");
    like($said->{detail}, qr/ "\Q$escaped\E/, "$name that is forged: escaped");
    isnt($said->{id}, '0' x 32, "$name that is forged: the true request");

    for my $value ($long, $wide) {
        $said = said(header($token->($value)));
        is($said->{key}, $result, "$name that is long: told");
        cmp_ok(length $said->{line}, '<', 2048, "$name that is long: cut off");
        like($said->{detail}, qr/"\.\.\./, "$name that is long: and marked");
    }
}

$said = said(header(token(upn => $forged)));
is($said->{key}, 'upn_invalid', 'a user name that is forged');
unlike($said->{line}, qr/x22|2J/, 'is not repeated at all');

for my $aud ($long, $wide, [ ($long) x 4 ], [ ($wide) x 4 ]) {
    $said = said(sub { http_get('/many', bearer => token(aud => $aud)) });
    like($said->{detail},
        qr/expected host: "fleet\.example\.com", "mdm\.example/,
        'audiences leave room for the hosts');
    like($said->{detail}, qr/ $first and 3 more$/,
        'and for the client IDs');
}

# Before the signature has verified, a token is anybody's letter: nothing of
# it is written but its length and the key it names.

my $mark = 'NOBODYS-WORD';
my %claims = map { $_ => $mark } qw(iss tid aud scp upn oid ver sub name);
my %header = (typ => $mark, x5t => $mark, jku => $mark, crit => undef);

for (
    mint($key, \%claims, header => { %header, kid => 'x' }),
    mint($key, \%claims, header => { %header, kid => 'enc' }),
    mint($key, \%claims, header => { %header, alg => $mark }),
    mint($key, \%claims, header => { %header, crit => [$mark] }),
    mint($key, \%claims, header => { %header, nonce => $mark }),
    mint($key, \%claims, header => { %header, kid => [$mark] }),
    mint($foreign, \%claims, header => { %header, kid => 'free' }),
    mint($foreign, claims_v1(%claims, tid => $tid),
        header => { %header, kid => $key->kid }),
    mint($key, "[\"$mark\"]"), "$mark.$mark.$mark", $mark,
) {
    for my $what (header($_), body(enroll_message($_))) {
        $said = said($what);
        unlike($said->{line}, qr/$mark/, "unverified: $said->{key}");
    }
}

# At debug level nginx writes down headers; the module writes down nothing of
# a token, a message or a password.

my $debug = EntraMDM::Nginx->new(level => 'debug', http => $http);
my $behind = EntraMDM::Backend->new($debug);

$debug->write_file('keys.json', $keys);
$debug->start;

$_->[2]->() for @reasons;
http_get('/', bearer => token());
http_get('/dry', bearer => token(aud => 'x'));
http_post('/', enroll_message(token()), pieces => 500);
http_post('/dry', enroll_message(token(aud => 'x')), chunked => 100);
is($behind->requests, 4, 'debug: accepted, or in a dry run');

my @secret = grep { my $line = $_;
    grep { index($line, $_) >= 0 } keys %EntraMDM::Token::Secrets
} split /\n/, $debug->error_log;
my @theirs = grep { /^Authorization: |\[debug\] .* http (?:proxy )?header: / }
    @secret;

is(join("\n", grep { my $line = $_; !grep { $_ eq $line } @theirs } @secret),
    '', 'debug: no token, message or password by the module');
ok(@theirs || $debug->error_log !~ /\[debug\]/, 'debug: nginx has its own');
$debug->settle;

$t->done;
