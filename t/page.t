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
use MIME::Base64 qw(encode_base64);
use Test::More;

use EntraMDM::FakeAPI;
use EntraMDM::File qw(root slurp);
use EntraMDM::HTTP;
use EntraMDM::Nginx;
use EntraMDM::Page;

plan skip_all => $_ for missing_browser() || ();

# without the name of a stand-in, the module itself is asked
my $t = EntraMDM::Nginx->new(http => page_server('api'));
my $api = EntraMDM::FakeAPI->new($t, 'api');

page_users($t);
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
page_run($t, control => 'http://127.0.0.1:' . $api->port, shots => $shots,
    scenarios => [qw(lists troubles access looks)],
    only => $ENV{ENTRA_MDM_ONLY});

is($api->state->{spoofed}, 0, 'no change looked like a cross-site one');

$t->done;
