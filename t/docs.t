#!/usr/bin/perl
# once

# Every block of README.md and docs/*.md is tried, each page in a machine of
# its own, from top to bottom, as a reader would.  What stands behind the
# fence says how; a block that no rule covers fails.
#
#   sh                  is run; "exit=N" if it is to fail, "http-error" if curl
#                       is to get an answer that is an error
#   nginx               nginx -t takes it, in the frame it belongs into; a whole
#                       gate admits one device and refuses another
#   text, json, yaml, xml     behind an sh block: what that printed, where "…"
#                       stands for anything
#   ... log             each line is in error.log
#   ... file=PATH       is written there, append=PATH at the end of it; the
#                       configuration of nginx must be one afterwards
#   ... run-by=FILES    is run where these files, with commas, say so: they
#                       have each of its lines, or its name=NAME
#   text picture        is looked at
#
# "warns" lets nginx -t warn.  Each page but those below begins with a gate
# that runs: conf-examples/admin.conf, with Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;

use EntraMDM::Document;
use EntraMDM::File qw(root slurp spew wait_for);
use EntraMDM::Machine;
use EntraMDM::Site;
use EntraMDM::Soap;
use EntraMDM::Token;

my %Begins = (
    'docs/installing.md'      => sub { },
    'docs/fleet.md'           => sub { $_[0]->install },
    'docs/troubleshooting.md' => sub { $_[0]->gate_running; $_[0]->refusals },
);

my $Any = "\xe2\x80\xa6";               # an ellipsis

my $Wrong = 't/data/docs-wrong.md';

my %Rules = (
    sh    => \&run_commands,
    nginx => \&try_configuration,
    map { $_ => \&compare } qw(text json yaml xml),
);


# Outside: a machine for each page.

if (!$ENV{ENTRA_MDM_MACHINE}) {
    plan(skip_all => 'takes root, and a kernel that lets it mount')
        if !EntraMDM::Machine::possible();

    if (!@ARGV) {
        my $wrong = EntraMDM::Document->new($Wrong);
        my ($code, @tap) = EntraMDM::Machine::run($0, $Wrong);
        is_deeply([ map { /^not ok \d+ - line (\d+)/ } @tap ],
            [ map { $_->{line} } grep { $_->{option}{wrong} || !$_->{language} }
                $wrong->blocks ], 'blocks that are wrong are told');
    }

    my @pages = grep { my $name = $_; !@ARGV || grep { $name =~ /\Q$_/ } @ARGV }
        documents();
    for my $page (@pages) {
        my ($code, @tap) = EntraMDM::Machine::run($0, $page);
        my $ended = grep { /^1\.\.\d/ } @tap;

        for (@tap) {
            ok($1 eq 'ok', "$page: $2") if /^(ok|not ok) \d+ - (.*)/;
        }
        ok($ended && $code == 0, "$page: to the end");
    }
    done_testing();
    exit;
}


# Inside: one page.

my $page = EntraMDM::Document->new($ARGV[0]);
my ($machine, $site, $printed);

if (grep { !$_->{option}{picture} && !$_->{option}{'run-by'} } $page->blocks) {
    $machine = EntraMDM::Machine->enter;
    $site = EntraMDM::Site->new($machine);
    ($Begins{ $page->name } // sub { $_[0]->gate_running })->($site);
}

if ($page->name eq $Wrong) {
    # what it says of them is of no interest
    Test::More->builder->failure_output(\my $nothing);
}

for my $block ($page->blocks) {
    my $rule = $Rules{ $block->{language} };
    my $name = "line $block->{line}, $block->{language}";

    if (!$rule) {
        fail("line $block->{line}: no rule covers a block of "
            . "\"$block->{language}\"");
    } elsif ($block->{option}{'run-by'}) {
        run_elsewhere($block, $name);
    } elsif ($block->{option}{file} // $block->{option}{append}) {
        put_down($block, $name);
    } else {
        $rule->($block, $name);
    }
    undef $printed if $block->{language} eq 'nginx';
}
pass('no block is left');
$machine->sh('systemctl stop nginx') if $machine;
done_testing();


# sh

sub run_commands {
    my ($block, $name) = @_;
    my $run = $machine->sh($block->{text},
        typed => EntraMDM::Site::PASSWORD);

    my $code = $block->{option}{'http-error'} ? 22 : $block->{option}{exit} // 0;

    is($run->{code}, $code, $name)
        or diag("$block->{text}\n$run->{out}$run->{err}");
    $printed = ($run->{out} . $run->{err}) =~ tr/\r//dr;
    $printed =~ s/^curl: \(22\) .*\n//mg if $code == 22;
    $site->installed if $block->{text} =~ /\bmake install\b/;
}


# What is run elsewhere: the files say so, and not in a comment.

sub run_elsewhere {
    my ($block, $name) = @_;
    my $files = $block->{option}{'run-by'};
    my $told = $block->{option}{name};
    my $text = join "\n", map { s/\\\n//gr =~ s/^\s*#.*//mgr =~ tr/ / /sr }
        map { slurp(root() . "/$_") } split /,/, $files;

    if ($told) {
        ok($text =~ /documented\W+\Q$told\E\b/, "$name: run by $files");
    } elsif ($block->{language} ne 'sh') {
        ok($text =~ /\Q@{[ $page->name ]}/, "$name: checked by $files");
    } else {
        for my $command (grep { /^[^#]/ }
            split /\n/, $block->{text} =~ s/\\\n//gr)
        {
            $command =~ tr/ / /s;
            ok($text =~ /\Q$command\E/, "$name: $command: run by $files");
        }
    }
}


# What a reader writes into a file.

sub put_down {
    my ($block, $name) = @_;
    my ($path, $append) = @{ $block->{option} }{qw(file append)};

    if ($append) {
        EntraMDM::Site::add($append, $block->{text});
    } else {
        spew($path, $block->{text});
    }
    nginx_t($name, '', $block) if $block->{language} eq 'nginx';
    pass($name) if $block->{language} ne 'nginx';
}


# What something has printed.

sub compare {
    my ($block, $name) = @_;
    my $option = $block->{option};

    if ($option->{picture}) {
        pass("$name: a picture");
    } elsif ($option->{log}) {
        for my $line (grep { /\S/ } split /\n/, $block->{text}) {
            my $pattern = pattern($line);
            ok(scalar(wait_for { slurp('/var/log/nginx/error.log')
                =~ /$pattern/ } 2), "$name: $line");
        }
    } elsif (!defined $printed) {
        fail("$name: output of what? Say log, file=, run-by= or picture");
    } elsif ($block->{language} eq 'json') {
        my ($is, $shown) = map { eval { canonical($_) } // "no JSON: $@$_" }
            $printed, $block->{text};
        like($is, lines($shown), $name);
    } else {
        like("$printed\n" =~ s/\n+\z/\n/r, lines($block->{text}), $name);
    }
}

# A line of nothing but "…" stands for any lines, or none.

sub lines {
    my ($text) = @_;
    my @lines = map { /^\s*$Any$/ ? '(?:.*\n)*' : pattern($_) . ' *\n' }
        split /\n/, $text;

    return qr/\A@{[ join '', @lines ]}\z/;
}

sub pattern {
    my ($line) = @_;
    return join '.*?', map { quotemeta } split /$Any/, $line, -1;
}

sub canonical {
    my ($text) = @_;
    my $json = JSON::PP->new->utf8->canonical->indent;
    return $json->encode($json->decode($text));
}


# nginx: the frame is found by the directives.

my %Context;

sub context {
    my ($directive) = @_;

    if (!%Context) {
        my ($inner) = slurp(root() . '/ngx_http_entra_mdm_module'
            . '/ngx_http_entra_mdm_policy.c')
            =~ /mdm_directives\[\] = \{(.*?)\n\};/s;
        %Context = (
            (map { $_ => 'policy' } $inner =~ /ngx_string\("(\w+)"\)/g),
            (map { $_ => 'main' } qw(load_module user worker_processes pid
                events http error_log thread_pool)),
            (map { $_ => 'http' } qw(entra_mdm_policy map log_format upstream
                resolver server limit_req_zone geo proxy_cache_path)),
            (map { $_ => 'server' } qw(location listen server_name
                ssl_certificate ssl_certificate_key)),
        );
    }
    return $Context{$directive} // 'location';
}

# The names that stand outside of all braces.

sub directives {
    my ($text) = @_;
    my ($depth, $fresh, @names) = (0, 1);

    while ($text =~ /\G(?:\s+|\#.*|("(?:\\.|[^"])*"|'(?:\\.|[^'])*'
        |\$\{\w+\}|(?:\{\w+\}|[^\s;{}"'])+|[;{}]))/gcx)
    {
        my $word = $1 // next;
        if ($word =~ /^[;{}]$/) {
            $depth += { '{' => 1, '}' => -1, ';' => 0 }->{$word};
            $fresh = 1;
        } else {
            push @names, $word if $fresh && $depth == 0;
            $fresh = 0;
        }
    }
    return @names;
}

sub framed {
    my ($text) = @_;
    my @names = directives($text);
    my %in = map { context($_) => 1 } @names;
    my ($context) = grep { $in{$_} } qw(main http server policy location);
    my %has = map { $_ => 1 } $text =~ /^\s*(\w+)/mg;
    my $folder = EntraMDM::Site::FOLDER;

    return $text if $context eq 'main';

    my $policy = "tenant_id ${\TENANT};\n"
        . ($has{client_id} ? '' : "client_id ${\CLIENT_V2};\n")
        . ($has{jwks} ? '' : "jwks file=$folder/keys.json;\n");
    if ($context eq 'policy') {
        $policy =~ s/tenant_id.*\n// if $has{tenant_id};
        $text = "entra_mdm_policy fleet {\n$policy$text}\n";
    }
    $text = "location /shown/ {\n$text}\n" if $context eq 'location';

    my $fetches = $text =~ m{request=/_entra/jwks}
        && $text !~ /include.*jwks-/;
    my $server = $context eq 'http' ? '' : $context eq 'policy'
        ? "server { listen 8099; include $folder/jwks-public.conf; }\n"
        : "server {\nlisten 8099;\nclient_max_body_size 2m;\n$text}\n";
    $server = "server { listen 8099; include $folder/jwks-public.conf; }\n"
        if $context eq 'http' && $fetches;

    return "user www-data;\nload_module modules/ngx_http_entra_mdm_module.so;\n"
        . "events { }\nhttp {\n"
        . ($has{resolver} ? '' : "resolver 127.0.0.53;\n")
        . ($context eq 'policy' || $context eq 'http' ? $text : '')
        . ($has{entra_mdm_policy} || $context eq 'policy' ? ''
            : "entra_mdm_policy fleet {\n${policy}state "
            . "/var/lib/nginx/entra_mdm/shown.json;\n}\n")
        . ($has{map} || $text =~ /map \$/ ? ''
            : "map \$remote_user \$admin_role { default ''; anna admin; }\n")
        . "$server}\n";
}

sub nginx_t {
    my ($name, $file, $block) = @_;
    my $run = $machine->sh('nginx -t ' . ($file && "-c $file"));
    my $warns = $block->{option}{warns} ? '\[emerg\]' : '\[(?:warn|emerg)\]';

    # there is no other way to write it before nginx 1.25.1
    my $said = $run->{err} =~ s/.*"listen ... http2" directive is deprec.*\n//r;
    my $ok = ok($run->{code} == 0 && $said !~ /$warns/, "$name: nginx -t");
    diag($said, $file ? slurp($file) : '') if !$ok;
    return $ok;
}

sub try_configuration {
    my ($block, $name) = @_;
    my $file = '/etc/nginx/shown.conf';
    my $text = $block->{text};

    spew($file, framed($text));
    nginx_t($name, $file, $block) or return;
    serve($text, $file, $name)
        if $text =~ /^http \{/m && $text =~ /^\s*entra_mdm\s|\{ entra_mdm\s/m;
}

# A whole gate, in place of the one that runs.

sub serve {
    my ($text, $file, $name) = @_;
    my ($port, $ssl) = $text =~ /listen\s+(?:[\w.]+:)?(\d+)( ssl)?/;
    my $running = -s '/run/nginx.pid';
    my $enroll = '/api/mdm/microsoft/enroll';
    my $good = enroll_message(mint($site->key, claims_v2()));
    my $bad = enroll_message(mint($site->key,
        claims_v2(aud => EntraMDM::Site::STRANGER)));
    my $fleet = $site->fleet;
    my $ask = sub { my ($message, $path) = @_;
        $path //= $enroll;
        return $ssl ? $site->ask(POST => $path, body => $message,
            port => $port) : EntraMDM::HTTP::http_post($path, $message,
            port => $port) };

    $machine->sh('systemctl stop nginx') if $running;
    my $run = $machine->sh("nginx -c $file");
    is($run->{code}, 0, "$name: it starts") or diag $run->{err};
    $fleet->requests;
    is($ask->($good)->status, 200, "$name: a device is admitted");
    is($fleet->last->header('X-Entra-UPN'), 'bob@example.com',
        "$name: and Fleet knows by whom");
    is(fault($ask->($bad))->{subcode}, 's:Authorization',
        "$name: another is refused");
    is($ask->('x', "/#/..$enroll")->status, 400,
        "$name: nor is a path that others may read on");
    is(scalar $fleet->requests, 0, "$name: and does not reach Fleet");
    $machine->sh('systemctl stop nginx');
    $machine->sh('systemctl start nginx') if $running;
}
