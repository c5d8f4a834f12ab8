#!/usr/bin/perl

# Every call by which the API may fail does: what it answers is whole or a
# failure, a change is made as a whole, with its activity, or not at all, and
# whoever was told so finds it in force.  So it is with zones and
# configurations that find no memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use EntraMDM::ApiClient;
use EntraMDM::Fault;
use EntraMDM::File qw(wait_for);
use EntraMDM::HTTP;
use EntraMDM::Metrics;
use EntraMDM::Nginx;
use EntraMDM::State;
use EntraMDM::Token;
use EntraMDM::Verdict;

use constant KINDS => 'pool heap nginx library';

my $http = $Headers . fleet_policy('state state/fleet.json;')
    . fleet_policy('', 'other') . api_conf('', <<'EOC');
        location = /metrics { entra_mdm_metrics; }
        location = /gated   { entra_mdm fleet; try_files /page =404; }
EOC
my $t = EntraMDM::Nginx->new(http => $http);
my $fault = EntraMDM::Fault->new($t);
my $key = new_key();

$t->write_file('keys.json', jwks($key));
$t->write_file('page', "page\n");
$t->start;


# what is read

patch([ map { guid($_) } 1 .. 100 ], [ map { guid($_, 7) } 1 .. 100 ]);
http_get('/gated', bearer => mint($key, claims_v2(aud => guid(1000))));

my %read = map { my $path = $_;
    $path => sub { return api(GET => $path) } }
    qw(config status activities activities?per_page=1000&order_direction=asc);

sub whole {
    my ($r) = @_;
    return $r->status == 200 && !$r->truncated
        && ($r->header('Content-Length') // length $r->body) == length $r->body;
}

for my $path (sort keys %read) {
    my @wrong;
    my $keys = join ' ', sort keys %{ ($read{$path}->())[1] };
    my $failed = $fault->each(KINDS, sub {
        my ($status, $json, $r) = $read{$path}->();
        my $what = $fault->disarm // return undef;

        push @wrong, "$what: $status" if $status !~ /^(?:0|200|50[03])$/;
        push @wrong, "$what: not whole" if $status == 200
            && (!whole($r) || join(' ', sort keys %{ $json // {} }) ne $keys)
            && !$r->truncated;
        ($status, $json) = $read{$path}->();
        push @wrong, "$what: afterwards $status" if $status != 200
            || join(' ', sort keys %{ $json // {} }) ne $keys;
        return $what;
    });
    cmp_ok($failed, '>', 0, "GET $path: $failed faults");
    is(join("\n", @wrong), '', "GET $path: whole, or none");
}

my @wrong;
my $families = () = http_get('/metrics')->body =~ /^# HELP/mg;
my $failed = $fault->each(KINDS, sub {
    my $r = http_get('/metrics');
    my $what = $fault->disarm // return undef;

    push @wrong, "$what: " . $r->status if $r->status !~ /^(?:0|200|500)$/;
    push @wrong, "$what: not whole" if $r->status == 200 && !$r->truncated
        && $families != (() = $r->body =~ /^# HELP/mg);
    push @wrong, "$what: afterwards" if !eval { metrics() };
    return $what;
});
cmp_ok($failed, '>', 0, "metrics: $failed faults");
is(join("\n", @wrong), '', 'metrics: whole, or none');


# what is changed

@wrong = ();
patch([], []);
my $n = 0;
$failed = $fault->each(KINDS, sub {
    my ($before, $new) = (guid($n), guid(++$n));
    my ($status, $json, $r) = patch([$new], undef);
    my $what = $fault->disarm // return undef;
    my ($again, $now, $answer) = api(GET => 'config');
    my ($in_force) = @{ $now->{mdm}{windows_entra_client_ids} // [] };
    my ($last) = @{ (api(GET => 'activities'))[1]{activities} };
    my $tag = $answer->header('ETag');

    $in_force //= $before;
    push @wrong, "$what: $status" if $status !~ /^(?:0|200|50[03])$/;
    push @wrong, "$what: 200, but $in_force" if $status == 200
        && $in_force ne $new;
    push @wrong, "$what: $status, but changed" if $status == 503
        && $in_force eq $new;
    push @wrong, "$what: neither as before nor as told"
        if $in_force ne $new && $in_force ne $before;
    push @wrong, "$what: no activity of it" if $in_force eq $new
        && json->encode($last) !~ /\Q$new\E/;
    push @wrong, "$what: an activity of what was not done"
        if $in_force eq $before && json->encode($last) =~ /\Q$new\E/;

    # by what is in force now, whatever it is
    ($status) = patch([$new], undef, match => $tag);
    push @wrong, "$what: afterwards $status" if $status != 200;
    return $what;
});
cmp_ok($failed, '>', 20, "PATCH: $failed faults");
is(join("\n", @wrong), '', 'PATCH: all or nothing, and as told');
ok(state_with($t, sub { "@{ $_[0]{client_ids} // [] }" eq guid($n) }),
    'the state has the last');


# a configuration that finds no memory: nginx -t fails, and so does a reload,
# with the old one in force

for my $kinds ('slab', 'pool heap library') {
    my @fine;

    $failed = 0;
    for (my $n = 1; ; $n++) {
        $fault->arm($n, $kinds);
        my ($code, $said) = $t->nginx_t;
        my $what = $fault->disarm // last;
        $failed++;
        push @fine, "$what: $code $said" if $code != 1;
    }
    cmp_ok($failed, '>', 5, "nginx -t: $failed faults of $kinds");
    is(join("\n", @fine), '', 'nginx -t fails');
}

my $larger = $http =~ s/(?=state state)/zone 4m; /r;
my $tag = (api(GET => 'config'))[2]->header('ETag');

for my $kinds ('slab', 'pool') {
    $fault->arm(1, $kinds, 1);
    $t->change(http => $larger);
    $t->write_file('error.conf', $t->conf_text('error'));
    kill HUP => $t->{pid};
    ok((wait_for { $fault->failed }), "a reload without memory of $kinds");
    $fault->disarm;
    is((api(GET => 'config'))[2]->header('ETag'), $tag, 'the lists stay');
    is(http_get('/gated', bearer => mint($key, claims_v2(aud => guid($n))))
        ->header('X-Result'), 'ok', 'and are enforced');
}
ok($t->reload, 'a reload with memory');
is((api(GET => 'config'))[2]->header('ETag'), $tag, 'has the lists');

$t->expect_log(qr/no memory to log changes/);
$t->done;
