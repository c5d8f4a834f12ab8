package EntraMDM::Page;

# The administration page in a headless Chromium: what serves it, and the
# running of the scenarios in t/ui/.
#
#   plan skip_all => $_ for missing_browser() || ();
#   my $t = EntraMDM::Nginx->new(http => page_server());
#   page_run($t, scenarios => ['live']);        # claims, in subtests
#
# A scenario may have something done outside the browser, by a name: the
# functions are in `asked`.  It is `at` one of `pages`, else at port 8080.

use strict;
use warnings;

use Exporter 'import';
use IPC::Open2 qw(open2);
use JSON::PP qw(decode_json encode_json);
use Test::More;

use EntraMDM::File qw(root slurp);

our @EXPORT = qw(missing_browser page_server page_api page_users page_run);

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
    my ($map) = example() =~ /^(    map .*?^    \})/ms or die;
    my $server = server_of('8080');

    if (defined $stand_in) {
        my $proxy = "proxy_pass http://127.0.0.1:%%PORT_$stand_in%%; "
            . 'proxy_set_header Host $http_host; '
            . 'proxy_set_header X-Remote-User $remote_user; '
            . 'proxy_set_header X-Role';
        $server =~ s{entra_mdm_api .*\n *entra_mdm_api_role}{$proxy} or die;
    }
    return "include /etc/nginx/mime.types;\n$map\n$server";
}

# One more such server: at another port, of another policy, with more lines.

sub page_api {
    my ($port, $policy, $lines) = @_;
    my $server = server_of($port);

    $server =~ s{entra_mdm_api  +\w+;}{entra_mdm_api $policy; $lines} or die;
    return $server;
}

sub example { return slurp(root() . '/conf-examples/admin.conf') }

sub server_of {
    my ($port) = @_;
    my ($server) = example() =~ /^(    server \{.*?^    \})/ms or die;

    for ($server) {
        s{listen\s+443 ssl;}{listen 127.0.0.1:%%PORT_$port%%;} or die;
        s{^\s*ssl_certificate.*\n}{}gm;
        s{/etc/nginx/entra-mdm/}{%%DIR%%/}g;
        s{/usr/share/entra-mdm/ui/}{${\ root()}/ui/} or die;
    }
    return $server;
}

# Their file of passwords; mallory has no role.

sub page_users {
    my ($t) = @_;
    $t->write_file(admins => join '', map { "$_:{PLAIN}secret\n" }
        qw(anna otto pipeline mallory));
}


sub page_run {
    my ($t, %settings) = @_;
    my $asked = delete $settings{asked} // {};
    my (%claims, @names, $ended);
    my %page = map { $_ => 'http://127.0.0.1:' . $t->port($_) . '/entra-mdm/' }
        8080, @{ delete $settings{pages} // [] };
    my $json = encode_json({ page => $page{8080}, pages => \%page,
        chromium => $chromium, %settings });

    local $ENV{NODE_PATH} = $tools;
    delete local @ENV{grep { /_proxy$/i } keys %ENV};
    my $pid = open2(my $out, my $in, 'node', root() . '/t/ui/run.js', $json);

    while (my $line = <$out>) {
        my $claim = decode_json($line);

        if (my $wanted = $claim->{ask}) {
            my $done = eval { $asked->{$wanted}->(); 1 };
            syswrite $in, $done ? "done\n" : "$wanted: $@\n";
            next;
        }
        if ($claim->{end}) {
            $ended = 1;
            close $in;
            next;
        }
        my $name = $claim->{scenario};
        push @names, $name if !$claims{$name};
        push @{ $claims{$name} }, $claim;
    }
    close $_ for $out, $in;
    waitpid $pid, 0;

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
