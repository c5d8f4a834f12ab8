#!/usr/bin/perl

# Every call by which a request may fail does, the first, the second, and so
# on, once and from there on: nobody comes in who would be refused, nobody
# reaches the backend without the right name, and the next request finds all
# as it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::Backend;
use EntraMDM::Fault;
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Soap;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant KINDS => 'pool heap nginx library';

my $t = EntraMDM::Nginx->new(http => $Headers . fleet_policy() . api_map()
    . <<"EOC");
    client_max_body_size 2m;
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            entra_mdm fleet;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /named {
            entra_mdm fleet;
            $Headers
            add_header X-Name \$entra_mdm_claim_name\$entra_mdm_upn;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /dry {
            entra_mdm fleet;
            entra_mdm_dry_run on;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /tou {
            entra_mdm fleet;
            entra_mdm_tou_redirect on;
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location /open {
            proxy_pass http://127.0.0.1:%%PORT_fleet%%;
        }
        location = /metrics { entra_mdm_metrics; }
        @{[ api_location() ]}
    }
EOC
my $fleet = EntraMDM::Backend->new($t, 'fleet');
my $fault = EntraMDM::Fault->new($t);
my $key = new_key();
my @forged = (headers => [ 'X-Entra-UPN' => 'evil@example.com',
    'x_entra_tenant-id' => 'evil' ]);

$t->write_file('keys.json', jwks($key));
$t->start;

# A token is verified once, and known from then on: each is another one.

sub token { return mint($key, claims_v2(uti => ++our $Tokens, @_)) }

# [ name, request, the verdict without faults, what the backend may see ]

my $good = token();
my $foreign = token(tid => '2b1b1111-2222-3333-4444-5555555555c2',
    iss => 'https://login.microsoftonline.com/'
    . '2b1b1111-2222-3333-4444-5555555555c2/v2.0');
my $bad = mint(new_key(), claims_v2(), header => { kid => $key->kid });
my $who = identity_of(http_get('/', bearer => $good));

my @requests = (
    [ 'a new token', sub { http_get('/named', bearer => token(), @forged) },
        '200 ok accepted', $who ],
    [ 'a known token', sub { http_get('/', bearer => $good, @forged) },
        '200 ok accepted', $who ],
    [ 'an enrollment', sub { http_post('/', enroll_message(token()), @forged) },
        '200 ok accepted', $who ],
    [ 'a token of another tenant', sub { http_get('/', bearer => $foreign) },
        '403 tenant_not_allowed refused' ],
    [ 'a bad signature', sub { http_get('/', bearer => $bad) },
        '401 signature_invalid refused' ],
    [ 'no token', sub { http_get('/') }, '401 no_token refused' ],
    [ 'another tenant enrolls',
        sub { http_post('/', enroll_message($foreign)) },
        '500 tenant_not_allowed refused' ],
    [ 'no message', sub { http_post('/', '<x/>') },
        '400 message_malformed refused' ],
    [ 'Terms of Use', sub { http_get('/tou?redirect_uri=ms-appx-web%3A%2F%2Fa'
        . '&client-request-id=1', bearer => $foreign) },
        '302 tenant_not_allowed refused' ],
    [ 'a dry run', sub { http_get('/dry', bearer => $foreign, @forged) },
        '200 tenant_not_allowed would_refuse', '' ],
    [ 'no gate', sub { http_get('/open', @forged) }, '200 - -', '' ],
);

sub identity_of { return join ' ', identity(($fleet->requests)[-1] // return) }

sub told {
    my ($r) = @_;
    return join ' ', $r->status, $r->header('X-Result') // '-',
        $r->header('X-Action') // '-';
}

my $worker = join ' ', $t->workers;

$fleet->requests;
for (@requests) {
    my ($name, $request, $expected, $identity) = @$_;
    my ($verdict) = $expected =~ /^\d+ (.*)/;
    my ($failed, @wrong) = (0);

    is(told($request->()), $expected, $name);
    $fleet->requests;

    $failed = $fault->each(KINDS, sub {
        my ($n, $lasting) = @_;
        my $r = $request->();
        my $what = $fault->disarm // return undef;
        my $told = told($r);
        my $by = ($lasting ? 'from ' : '') . "$n, $what: ";

        # the right verdict, a failure, or nothing at all; a dry run
        # lets failures pass
        push @wrong, "$by$told" if $told !~ / \Q$verdict\E$/
            && $told !~ /^(?:0|50[03]) (?!ok)/
            && $told ne '200 internal would_refuse';

        for ($fleet->requests) {
            my $seen = identity($_);
            push @wrong, "${by}backend sees '$seen'"
                if !defined $identity || $seen ne $identity
                || ($_->header('X-Entra-UPN') // '') =~ /evil/;
        }

        $told = told($request->());
        push @wrong, "${by}afterwards $told" if $told ne $expected;
        $fleet->requests;
        return $what;
    });
    cmp_ok($failed, '>', 0, "$name: $failed faults");
    is(join("\n", @wrong), '', "$name: never wrong");
}

is(join(' ', $t->workers), $worker, 'no worker has died');
$t->done;
