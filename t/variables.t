#!/usr/bin/perl

# What the variables say in each state of a request, to upstreams, answers
# and logs: the claims of a request that was not accepted are for logs only.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;

use EntraMDM::Backend;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;

my @all = qw(result action upn tid oid device_id aud iss version kid expires
    claim_name claim_nAmE claim_sub);
my $all = join ' ', map { "$_=[\$entra_mdm_$_]" } @all;
my $claims = join ' ', map { "[\$entra_mdm_claim_$_]" }
    qw(num float exact big array object yes no null empty twice __proto roles);
my $context = join ' ', map { "[\$entra_mdm_context_$_]" }
    qw(DeviceName devicename HWDevID OSVersion Missing Twice);

my $t = EntraMDM::Nginx->new(http => <<"EOC");

    entra_mdm_policy fleet {
        server_url   https://fleet.example.com;
        tenant_id    6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id    1b1b1111-2222-3333-4444-5555555555c1;
        jwks         file=%%DIR%%/keys.json;
        device_token pass;
    }
    entra_mdm_policy other {
        tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id 1b1b1111-2222-3333-4444-5555555555c1;
        jwks      file=%%DIR%%/keys.json;
    }

    log_format all     "\$uri $all";
    log_format claims  escape=none "\$uri $claims";
    log_format context "\$uri $context";

    map "\$entra_mdm_action/\$entra_mdm_upn" \$fresh {
        volatile; default "\$entra_mdm_action/\$entra_mdm_upn";
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        access_log %%DIR%%/all.log all;
        access_log %%DIR%%/claims.log claims;
        access_log %%DIR%%/context.log context;
        log_subrequest on;
        client_max_body_size 2m;

        # asked before there is anything to say; nothing may stick
        set \$early "$all \$fresh";

        add_header X-Result  \$entra_mdm_result always;
        add_header X-Action  \$entra_mdm_action always;
        add_header X-Claims  "$all" always;
        proxy_set_header Set   "\$early";
        proxy_set_header Fresh "\$fresh";
        proxy_set_header All   "$all";
        entra_mdm fleet;

        location /      { proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /off   { entra_mdm off;
                          proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /dry   { entra_mdm_dry_run on;
                          proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /then-other { entra_mdm_dry_run on; error_page 418 = /second;
                          proxy_intercept_errors on;
                          proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /second { entra_mdm other;
                          proxy_pass http://127.0.0.1:%%PORT_backend%%; }

        # what is still to be sent upstream when the answer has begun
        location /static { entra_mdm_dry_run on; mirror /mirrored;
                          alias %%DIR%%/page; }
        location /ssi    { entra_mdm_dry_run on; ssi on; ssi_types *;
                          alias %%DIR%%/ssi; }
        location /mirrored { internal; entra_mdm off;
                          proxy_pass http://127.0.0.1:%%PORT_backend%%; }
        location /after-dry { entra_mdm_dry_run on; post_action /then-dry;
                          alias %%DIR%%/page; }
        location /after-refused { post_action /then-refused;
                          alias %%DIR%%/page; }
        location /after-accepted { post_action /then-accepted;
                          alias %%DIR%%/page; }
        location /then   { internal; entra_mdm off;
                          proxy_pass http://127.0.0.1:%%PORT_backend%%; }
    }

EOC

my $backend = EntraMDM::Backend->new($t);
my $key = new_key();
my $kid = $key->kid;

$t->write_file('keys.json', jwks($key));
$t->write_file('page', "page\n");
$t->write_file('ssi', '<!--# include virtual="/mirrored" -->' . 'x' x 70000);
$backend->answer('/then-other' => { status => 418 });
$t->start;

my $exp = time + 4000;
my @v1 = (exp => $exp);
my $v1 = mint($key, claims_v1(exp => $exp));
my $foreign = mint($key, claims_v1(exp => $exp + 0.5,
    aud => [ 'urn:a', 'urn:b,c', 'https://other.example.com' ]));
my $expired = mint($key, claims_v2(exp => 86400, iat => undef, nbf => undef));
my $forged = mint(new_key(kid => $kid), claims_v1());
my $device = '{"type":1}';
my $device_type = 'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/'
    . 'Enrollment/DeviceEnrollmentUserToken';

# what the variables are to hold, as a text

sub text {
    my (%v) = @_;
    $v{claim_nAmE} = $v{claim_name};
    return join ' ', map { "$_=[" . ($v{$_} // '') . ']' } @all;
}

my $nothing = text();
my %of_v1 = (upn => 'ann@example.com', tid => TENANT, version => '1.0',
    oid => '8c1b7e6a-5d4c-4b3a-9281-706f5e4d3c2b', kid => $kid,
    device_id => '11ea4b2e-0c39-4a7a-9a09-1a2b3c4d5e6f', expires => $exp,
    aud => 'https://fleet.example.com', claim_name => 'Ann Doe',
    iss => 'https://sts.windows.net/' . TENANT . '/',
    claim_sub => 's0me-sUbJect');
my %of_foreign = (%of_v1, aud => 'urn:a,urn:b,c,https://other.example.com');
my %of_expired = (upn => 'bob@example.com', tid => TENANT, version => '2.0',
    oid => '0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9', kid => $kid,
    aud => CLIENT_V2, expires => 86400, claim_name => 'Bob Roe',
    iss => 'https://login.microsoftonline.com/' . TENANT . '/v2.0',
    claim_sub => 'an0ther-sUbJect');

# A log has one line more for each subrequest; the last is the request's own.

sub logged {
    my ($uri, $file) = @_;
    my $line = $t->wait_for_log(qr{^\Q$uri\E }, $file // 'all.log') // '';
    $line =~ s/(?<=\[)-(?=\])//g;               # how nginx writes nothing
    return substr $line, 1 + length $uri;
}


# The states of a request: what upstreams, answers and logs are told.

my @states = (
    # name, uri, token, result, action, at the backend, in the log
    [ 'no gate',              '/off', $v1,      '', '', {}, {} ],
    [ 'accepted',             '/',    $v1,      'ok', 'accepted',
      \%of_v1, \%of_v1 ],
    [ 'accepted in dry run',  '/dry', $v1,      'ok', 'accepted',
      \%of_v1, \%of_v1 ],
    [ 'refused, no token',    '/',    undef,    'no_token', 'refused', undef, {} ],
    [ 'refused, bad form',    '/',    'a.b.c',  'token_malformed', 'refused',
      undef, {} ],
    [ 'refused, forged',      '/',    $forged,  'signature_invalid', 'refused',
      undef, {} ],
    [ 'refused, verified',    '/',    $foreign, 'audience_not_allowed',
      'refused', undef, \%of_foreign ],
    [ 'refused, expired',     '/',    $expired, 'token_expired', 'refused',
      undef, \%of_expired ],
    [ 'would refuse, none',   '/dry', undef,    'no_token', 'would_refuse',
      {}, {} ],
    [ 'would refuse, forged', '/dry', $forged,  'signature_invalid',
      'would_refuse', {}, {} ],
    [ 'would refuse, verified', '/dry', $foreign, 'audience_not_allowed',
      'would_refuse', {}, \%of_foreign ],
    [ 'would refuse, expired', '/dry', $expired, 'token_expired',
      'would_refuse', {}, \%of_expired ],
);

my $n = 0;

for (@states) {
    my ($name, $under, $jwt, $result, $action, $upstream, $log) = @$_;
    my @verdict = (result => $result, action => $action);

    for my $soap (0, 1) {
        my $uri = ($under eq '/' ? '' : $under) . '/state-' . $n++;
        my $how = $name . ($soap ? ', SOAP' : ', bearer');
        my $r = $soap
            ? http_post($uri, defined $jwt ? enroll_message($jwt)
                              : enroll_message('', security => ''))
            : http_get($uri, bearer => $jwt);
        my @seen = $backend->requests;
        my $accepted = $action eq 'accepted';

        is(join('/', map { $r->header($_) // '' } qw(X-Result X-Action)),
            "$result/$action", "$how: verdict");
        is($r->header('X-Claims'), text(@verdict, $accepted ? %$log : ()),
            "$how: in the answer");
        is(logged($uri), text(@verdict, %$log), "$how: in the log");
        is(@seen, defined $upstream ? 1 : 0, "$how: requests at the backend");
        next if !@seen;
        is($seen[0]->header('All'), text(@verdict, %$upstream),
            "$how: to the backend");
        is($seen[0]->header('Set'), "$nothing /", "$how: nothing before");
        is($seen[0]->header('Fresh'), "$action/" . ($upstream->{upn} // ''),
            "$how: nothing has stuck");
    }
}

my $r = http_post('/passed', enroll_message($device,
    value_type => $device_type));
my @passed = (result => 'device_token', action => 'passed');
is($backend->last->header('All'), text(@passed), 'passed: to the backend');
is($r->header('X-Claims'), text(@passed), 'passed: in the answer');
is(logged('/passed'), text(@passed), 'passed: in the log');

# an accepted token in a message that is malformed further on

my $cut = enroll_message($v1, edit => sub { s{</s:Body>.*}{}s });
$r = http_post('/dry/cut', $cut);
my @cut = (result => 'message_malformed', action => 'would_refuse');
is($backend->last->header('All'), text(@cut), 'malformed later: to the backend');
is(logged('/dry/cut'), text(@cut, %of_v1), 'malformed later: in the log');

# another policy decides anew

http_get('/then-other', bearer => $v1);
is(($backend->requests)[-1]->header('All'), text(%of_v1, result => 'ok',
    action => 'accepted'), 'first policy: accepted');
is(logged('/second'), text(%of_v1, result => 'audience_not_allowed',
    action => 'refused'), 'second policy: refused');

# when the answer has begun, upstreams of this request are told no more

for my $uri ('/static', '/ssi') {
    for ([ $foreign, text(result => 'audience_not_allowed',
                          action => 'would_refuse') ],
         [ $v1, text(%of_v1, result => 'ok', action => 'accepted') ])
    {
        my ($jwt, $expected) = @$_;
        my @seen;
        http_get($uri, bearer => $jwt);
        wait_for { push @seen, $backend->requests; @seen };
        is($seen[0] && $seen[0]->header('All'), $expected,
            "$uri: a subrequest while the answer is on its way");
    }
}

# nor is what comes when it has been sent; the log is

for (
    [ 'dry', $foreign, {}, result => 'audience_not_allowed',
        action => 'would_refuse' ],
    [ 'refused', $foreign, {}, result => 'audience_not_allowed',
        action => 'refused' ],
    [ 'accepted', $v1, \%of_v1, result => 'ok', action => 'accepted' ],
) {
    my ($name, $jwt, $upstream, @verdict) = @$_;
    my @seen;
    http_get("/after-$name", bearer => $jwt);
    wait_for { push @seen, $backend->requests; @seen };
    is($seen[0] && $seen[0]->header('All'), text(@verdict, %$upstream),
        "post_action, $name: to the backend");
    like(logged("/then-$name"), qr/ upn=\[ann\@example\.com\] /,
        "post_action, $name: in the log");
}

# any other claim

my $odd = claims_v2();
$odd->{$_} = "one $_" for qw(twice TWICE);
my %odd = (num => '42', float => '1.5', exact => '1.50e1', big => '9007199254740993',
    array => '["a",[1]]', object => '{"k":{"x":null}}', yes => 'true',
    no => 'false', null => 'null', empty => '""', Roles => '"r\u00f6le \"x\""');
my $payload = JSON::PP->new->utf8->encode($odd);
$payload =~ s/\}$/join ',', '', map({ "\"$_\": $odd{$_}" } sort keys %odd), '}'/e;
$payload =~ s/,\}$/}/;
is(decode_json($payload)->{num}, 42, 'a payload with odd claims');

http_get('/odd', bearer => mint($key, $payload));
my $line = logged('/odd', 'claims.log');
utf8::decode($line);
is($line, '[42] [1.5] [1.50e1] [9007199254740993] [["a",[1]]] [{"k":{"x":null}}] '
    . '[true] [false] [null] [] [] [] [röle "x"]', 'claims of every type; two that '
    . 'differ in case are none');

for ([ '1e3' => 'a number of another form', time + 1000 ],
     [ 'int' => 'whole', time + 1000 ], [ 'frac' => 'fractional', time + 0.75 ])
{
    my ($uri, $name, $when) = @$_;
    my $claims = claims_v2(exp => $when + 1000);
    my $text = JSON::PP->new->utf8->encode($claims);
    my $written = $uri eq '1e3' ? sprintf('%.9e', $when + 1000) : $when + 1000;
    $text =~ s/"exp":[\d.]+/"exp":$written/;
    http_get("/exp-$uri", bearer => mint($key, $text));
    like(logged("/exp-$uri"), qr/expires=\[@{[ int $when + 1000 ]}\]/,
        "expires: $name");
}

# what an enroll message says of its device

my $twice = sub {
    s{(?=</ac:AdditionalContext>)}{join '', map {
        qq(<ac:ContextItem Name="Twice"><ac:Value>$_</ac:Value>)
        . '</ac:ContextItem>' } qw(first last)}e };
my $items = '[DESKTOP-0VQ7P2R] [DESKTOP-0VQ7P2R] '
    . '[BCB8C6F2A4D14F57AAE0D84C7F6EE2E0] [10.0.22631.2428] [] [last]';
my $none = '[] [] [] [] [] []';
for (
    [ 'accepted',           enroll_message($v1, edit => $twice), $items ],
    [ 'refused, verified',  enroll_message($foreign, edit => $twice), $items ],
    [ 'passed',             enroll_message($device, edit => $twice,
                                value_type => $device_type), $items ],
    [ 'refused, unread',    enroll_message('a.b.c', edit => $twice), $none ],
    [ 'a policy message',   policy_message($v1), $none ],
) {
    my ($name, $message, $expected) = @$_;
    my $uri = '/context-' . $n++;
    http_post($uri, $message);
    is(logged($uri, 'context.log'), $expected, "context: $name");
}

my $escaped = enroll_message($v1, edit => sub {
    s/DESKTOP-0VQ7P2R/"a&#10;b&lt;"/ });
http_post('/hostile', $escaped);
like(logged('/hostile', 'context.log'), qr/^\[\] /,
    'context: a name with a line break is none');
$escaped = enroll_message($v1, edit => sub {
    s/DESKTOP-0VQ7P2R/"a b&lt;"/ });
http_post('/quoted', $escaped);
like(logged('/quoted', 'context.log'), qr/^\[\\x22a b<\\x22\]/,
    'context: one with quotes cannot forge a log line');

$t->done;
