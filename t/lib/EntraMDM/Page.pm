package EntraMDM::Page;

# The administration page in a headless Chromium: what serves it, and the
# running of the scenarios in t/ui/.
#
#   plan skip_all => $_ for missing_browser() || ();
#   my $t = EntraMDM::Nginx->new(http => page_server());
#   page_run($t, scenarios => ['live']);        # claims, in subtests

use strict;
use warnings;

use Exporter 'import';
use JSON::PP qw(decode_json encode_json);
use Test::More;

use EntraMDM::File qw(root slurp);

our @EXPORT = qw(missing_browser page_server page_users page_run);

my $tools = root() . '/build/ui/node_modules';
my ($chromium) = grep { -x } '/usr/bin/chromium', '/usr/bin/chromium-browser';


# Why the page cannot be tested here; '': it can.

sub missing_browser {
    return 'no chromium: tools/setup test' if !$chromium;
    return 'no node: tools/setup test'
        if !grep { -x "$_/node" } split /:/, $ENV{PATH};
    return 'no playwright-core in build/ui: tools/setup test'
        if !-e "$tools/playwright-core/package.json";
    return '';
}


# The roles and the server of conf-examples/admin.conf, with the paths and
# ports of a test.  A stand-in for the API, if one is named, takes the place
# of the two lines that call the module.

sub page_server {
    my ($stand_in) = @_;
    my $example = slurp(root() . '/conf-examples/admin.conf');
    my ($map) = $example =~ /^(    map .*?^    \})/ms or die;
    my ($server) = $example =~ /^(    server \{.*?^    \})/ms or die;
    my $proxy = 'proxy_pass http://127.0.0.1:%%PORT_' . ($stand_in // '')
        . '%%; proxy_set_header Host $http_host; '
        . 'proxy_set_header X-Remote-User $remote_user; '
        . 'proxy_set_header X-Role';

    for ($server) {
        s{listen\s+443 ssl;}{listen 127.0.0.1:%%PORT_8080%%;} or die;
        s{^\s*ssl_certificate.*\n}{}gm;
        s{/etc/nginx/entra-mdm/}{%%DIR%%/}g;
        s{/usr/share/entra-mdm/ui/}{${\ root()}/ui/} or die;
        last if !defined $stand_in;
        s{entra_mdm_api .*\n *entra_mdm_api_role}{$proxy} or die;
    }
    return "include /etc/nginx/mime.types;\n$map\n$server";
}

# Their file of passwords; mallory has no role.

sub page_users {
    my ($t) = @_;
    $t->write_file(admins => join '', map { "$_:{PLAIN}secret\n" }
        qw(anna otto pipeline mallory));
}


sub page_run {
    my ($t, %settings) = @_;
    my (%claims, @names, $ended);
    my $json = encode_json({
        page => 'http://127.0.0.1:' . $t->port(8080) . '/entra-mdm/',
        chromium => $chromium, %settings,
    });

    local $ENV{NODE_PATH} = $tools;
    delete local @ENV{grep { /_proxy$/i } keys %ENV};
    open my $out, '-|', 'node', root() . '/t/ui/run.js', $json
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

    ok($ended && @names, 'the browser ran to its end');
    for my $name (@names) {
        subtest $name => sub {
            for my $claim (@{ $claims{$name} }) {
                ok($claim->{ok}, $claim->{name}) or diag $claim->{diag} // '';
            }
        };
    }
}

1;
