#!/usr/bin/perl
# once

# The administration page, as conf-examples/admin.conf serves it, in a
# headless Chromium; the scenarios are in t/ui/.  Screenshots in both themes
# and two widths are left in build/t/page.
#
#   ENTRA_MDM_ONLY=conflict prove -It/lib t/page.t      # one scenario

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw(make_path);
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::FakeAPI;
use EntraMDM::File qw(root slurp);
use EntraMDM::HTTP;
use EntraMDM::Nginx;

my $tools = root() . '/build/ui/node_modules';
my ($chromium) = grep { -x } '/usr/bin/chromium', '/usr/bin/chromium-browser';
my $node = grep { -x "$_/node" } split /:/, $ENV{PATH};

plan skip_all => 'no chromium: tools/setup test' if !$chromium;
plan skip_all => 'no node: tools/setup test' if !$node;
plan skip_all => 'no playwright-core in build/ui: tools/setup test'
    if !-e "$tools/playwright-core/package.json";


# The server of the example, with the paths and ports of this test.

my $example = slurp(root() . '/conf-examples/admin.conf');
my ($map) = $example =~ /^(    map .*?^    \})/ms or die;
my ($server) = $example =~ /^(    server \{.*?^    \})/ms or die;

my $stand_in = 'proxy_pass http://127.0.0.1:%%PORT_api%%;
    proxy_set_header Host $http_host;
    proxy_set_header X-Remote-User $remote_user;
    proxy_set_header';

for ($server) {
    s{listen\s+443 ssl;}{listen 127.0.0.1:%%PORT_8080%%;};
    s{^\s*ssl_certificate.*\n}{}gm;
    s{/etc/nginx/entra-mdm/}{%%DIR%%/}g;
    s{/usr/share/entra-mdm/ui/}{${\ root()}/ui/};

    # the stand-in: without this line, the module itself is tested
    s{entra_mdm_api .*\n *entra_mdm_api_role}{$stand_in X-Role};
}

my $t = EntraMDM::Nginx->new(http => "include /etc/nginx/mime.types;\n$map\n"
    . $server);
my $api = EntraMDM::FakeAPI->new($t, 'api');

$t->write_file(admins => join '', map { "$_:{PLAIN}secret\n" }
    qw(anna otto pipeline mallory));
$t->start;


# what the gateway adds

my @anna = (headers =>
    [ Authorization => 'Basic ' . encode_base64('anna:secret', '') ]);

is(http_get('/entra-mdm/')->status, 401, 'not without a password');
is(http_get('/entra-mdm/api/config')->status, 401, 'nor the API');
is(http_get($_, @anna)->header('Location'), '/entra-mdm/', "$_ leads on")
    for '/', '/entra-mdm';

my %types = (
    '' => 'text/html', 'page.css' => 'text/css', 'nothing' => 'text/html',
    map { m{([^/]+)\z}, 'application/javascript' } glob root() . '/ui/*.js',
);
for my $file (sort keys %types) {
    my $answer = http_get("/entra-mdm/$file", @anna);

    is($answer->status, $file eq 'nothing' ? 404 : 200, "/$file");
    is($answer->header('Content-Type'), $types{$file}, "/$file: its type");
    is($answer->header('Content-Security-Policy'), "default-src 'none'; "
        . "script-src 'self'; style-src 'self'; connect-src 'self'; "
        . "img-src 'self' data:; base-uri 'none'; form-action 'none'; "
        . "frame-ancestors 'none'", "/$file: CSP");
    is($answer->header('X-Content-Type-Options'), 'nosniff',
        "/$file: nosniff");
    is($answer->header('X-Frame-Options'), 'DENY', "/$file: no frames");
    is($answer->header('Referrer-Policy'), 'no-referrer',
        "/$file: no referrer");
}

my $page = slurp(root() . '/ui/index.html');
my $script = join '', map { slurp($_) } glob root() . '/ui/*.js';

unlike($page, qr/<script(?![^>]*src=)|<style|\bstyle=|\bon\w+=/i,
    'nothing inline in the page');
unlike($page . $script . slurp(root() . '/ui/page.css'),
    qr{https?://(?!www\.w3\.org/)}, 'nothing from elsewhere');
unlike($script, qr/\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write
    |eval|DOMParser|setHTML\w*)\b/x, 'no markup from strings');


# the scenarios

my $shots = root() . '/build/t/page';
make_path($shots);

my %claims;
my $ended;
my @names;
my $settings = encode_json({
    page => 'http://127.0.0.1:' . $t->port(8080) . '/entra-mdm/',
    control => 'http://127.0.0.1:' . $api->port, shots => $shots,
    chromium => $chromium, only => $ENV{ENTRA_MDM_ONLY},
});

{
    local $ENV{NODE_PATH} = $tools;
    delete local @ENV{grep { /_proxy$/i } keys %ENV};
    open my $out, '-|', 'node', root() . '/t/ui/run.js', $settings
        or die "node: $!";

    while (my $line = <$out>) {
        my $claim = decode_json($line);

        if ($claim->{end}) {
            $ended = 1;
            next;
        }
        my $name = $claim->{scenario};
        push @names, $name if !$claims{$name};
        push @{ $claims{$name} }, $claim;
    }
    close $out;
}

ok($ended, 'the browser ran to its end');
for my $name (@names) {
    subtest $name => sub {
        for my $claim (@{ $claims{$name} }) {
            ok($claim->{ok}, $claim->{name}) or diag $claim->{diag} // '';
        }
    };
}

is($api->state->{spoofed}, 0, 'no change looked like a cross-site one');

$t->done;
