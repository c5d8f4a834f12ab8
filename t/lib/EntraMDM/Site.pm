package EntraMDM::Site;

# What a reader of the documentation has around the gate, in a machine of its
# own (EntraMDM::Machine), by the names that the pages use:
#
#   Fleet                   127.0.0.1:8412, which remembers every request
#   fleet.example.com, mdm-admin.example.com, ...     this machine
#   certificates            of an authority that the system trusts, in
#                           /etc/nginx/entra-mdm/fleet.{crt,key}
#   a DNS server            127.0.0.53
#   Redis                   127.0.0.1:6379, by Debian's redis.conf
#   login.microsoftonline.com         this machine, port 8443
#   systemctl               a stand-in for what there is: nginx, redis-server
#
#   my $site = EntraMDM::Site->new($machine);
#   $site->install;             # the module and what belongs to it
#   $site->gate;                # conf-examples/admin.conf, with Redis
#   $site->refusals;            # devices come by: one for each reason
#
# The one thing that is not as everywhere is the port of Microsoft's server,
# which must not be nginx's own.

use strict;
use warnings;

use Carp qw(croak);
use MIME::Base64 qw(encode_base64);

use EntraMDM::Backend;
use EntraMDM::Certificates;
use EntraMDM::DNS;
use EntraMDM::File qw(root slurp spew wait_for);
use EntraMDM::HTTP;
use EntraMDM::Soap;
use EntraMDM::Token;

use constant {
    LOGIN    => 'login.microsoftonline.com',
    FOLDER   => '/etc/nginx/entra-mdm',
    STRANGER => '9c9c1111-2222-3333-4444-5555555555c9',
    PASSWORD => 'hunter2',
};

my @Names = qw(fleet.example.com mdm-admin.example.com gate.example.com
    admin.example.com redis.example.com);
my %Ports = (fleet => 8412, dns => 53);


sub new {
    my ($class, $machine) = @_;
    my $self = bless { machine => $machine, dir => $machine->dir,
        key => new_key() }, $class;

    %{ $machine->{port} } = %Ports;
    $self->names;
    $self->certificates;
    $self->services;
    $self->microsoft;
    $self->files;
    $self->{fleet} = EntraMDM::Backend->new($machine, 'fleet');
    $self->{fleet}->answer('/api/latest/fleet/config' => { body =>
        sprintf '{"mdm":{"windows_entra_client_ids":["%s"],'
            . '"windows_entra_tenant_ids":["%s"]}}', CLIENT_V2, TENANT });
    return $self;
}

sub key   { return $_[0]{key} }

# What CURL_HOME is to be where the body of an error is shown.
sub errors { return "$_[0]{dir}/errors" }
sub fleet { return $_[0]{fleet} }

sub sh {
    my ($self, $script) = @_;
    my $run = $self->{machine}->sh($script, typed => PASSWORD);

    croak "$script\n$run->{out}$run->{err}" if $run->{code} != 0;
    return $run->{out};
}

sub add {
    my ($path, $text) = @_;
    open my $file, '>>', $path or croak "$path: $!";
    print {$file} $text;
    close $file or croak "$path: $!";
}


# Around the gate.

sub names {
    my ($self) = @_;

    add('/etc/hosts', "\n127.0.0.1 localhost @Names @{[ LOGIN ]}\n");
    spew('/etc/resolv.conf', "nameserver 127.0.0.53\n");
    $self->{dns} = EntraMDM::DNS->new($self->{machine}, 'dns',
        address => '127.0.0.53');
    $self->{dns}->answer(map { $_ => ['127.0.0.1'] } @Names, LOGIN);
}

sub certificates {
    my ($self) = @_;
    my $ca = EntraMDM::Certificates->new("$self->{dir}/ca");

    $self->{cert}{fleet} = { $ca->certificate('fleet',
        join ',', map { "DNS:$_" } @Names) };
    $self->{cert}{login} = { $ca->certificate('login', 'DNS:' . LOGIN) };
    add('/etc/ssl/certs/ca-certificates.crt', slurp("$self->{dir}/ca/ca.crt"));
}

# Debian's unit of nginx reloads by a signal, too.  A reader takes longer to
# the next command than nginx to its new workers; a test waits for them.

sub services {
    spew('/usr/local/sbin/systemctl', <<'EOS');
#!/bin/bash
set -e
workers() { pgrep -P "$(cat /run/nginx.pid)" -f 'worker process$' || true; }
case "$1 $2" in
"start nginx")   nginx -t -q; nginx ;;
"stop nginx")    nginx -s quit; while [ -e /run/nginx.pid ]; do sleep .02; done ;;
"restart nginx") if [ -s /run/nginx.pid ]; then $0 stop nginx; fi; $0 start nginx ;;
"reload nginx")  nginx -t -q; old=$(workers); nginx -s reload
                 while [ -n "$old" ] && workers | grep -qxF "$old"; do sleep .02; done
                 while [ -z "$(workers)" ]; do sleep .02; done ;;
"start redis-server")
    install -d -o redis /run/redis
    setpriv --reuid redis --regid redis --clear-groups \
        redis-server /etc/redis/redis.conf
    until redis-cli ping 2>/dev/null | grep -q -e PONG -e NOAUTH; do sleep .02; done ;;
"stop redis-server")
    pid=$(cat /run/redis/redis-server.pid); kill "$pid"
    while [ -e "/proc/$pid" ]; do sleep .02; done ;;
"restart redis-server") $0 stop redis-server; $0 start redis-server ;;
*) echo "this systemctl does not know: $*" >&2; exit 1 ;;
esac
EOS
    chmod 0755, '/usr/local/sbin/systemctl';
    $_[0]->sh('rm -rf /var/lib/redis/* /var/log/nginx/*
        systemctl start redis-server');
}

# Where the signing keys come from: an nginx without the module.

sub microsoft {
    my ($self) = @_;
    my $dir = "$self->{dir}/login";

    mkdir $dir;
    chmod 0755, $self->{dir}, $dir;
    spew("$dir/keys.json", jwks($self->key));
    spew("$dir/nginx.conf", <<"EOC");
pid $dir/pid;
error_log $dir/error.log;
events { }
http {
    access_log $dir/access.log;
    server {
        listen 127.0.0.1:8443 ssl;
        ssl_certificate     $self->{cert}{login}{cert};
        ssl_certificate_key $self->{cert}{login}{key};
        location = /common/discovery/v2.0/keys {
            alias        $dir/keys.json;
            default_type application/json;
        }
    }
}
EOC
    $self->sh("nginx -c $dir/nginx.conf");
}

# What lies about where the commands are typed.  curl takes an answer that is
# an error for one, and finds Microsoft's server.

sub files {
    my ($self) = @_;

    spew('keys.json', jwks($self->key));
    spew('message.xml', enroll_message(mint($self->key, claims_v2())));
    spew('default.yml', "controls:\n  windows_entra_client_ids:\n    - "
        . CLIENT_V2 . "\n");
    my $curl = qq(silent\nshow-error\nconnect-to = "@{[ LOGIN ]}:443:)
        . qq(127.0.0.1:8443"\n);
    spew('/root/.curlrc', "fail\n$curl");
    mkdir $_[0]->errors;
    spew($_[0]->errors . '/.curlrc', "fail-with-body\n$curl");
}


# The gate.

# As the Debian package does it.

sub install {
    my ($self) = @_;

    $self->sh('make install PREFIX=/usr
        install -d -o www-data -g www-data -m 700 /var/lib/nginx/entra_mdm');
    $self->installed;
}

sub installed {
    my ($self) = @_;

    for my $name (glob FOLDER . '/jwks-*.conf') {
        spew($name, slurp($name) =~ s{https://\$entra_login/}
            {https://\$entra_login:8443/}r);
    }
    spew(FOLDER . '/fleet.crt', slurp($self->{cert}{fleet}{cert}));
    spew(FOLDER . '/fleet.key', slurp($self->{cert}{fleet}{key}));
    spew(FOLDER . '/keys.json', jwks($self->key));
    spew(FOLDER . '/admins', join '', map { "$_:{PLAIN}" . PASSWORD . "\n" }
        qw(anna otto pipeline));
}

sub gate_running {
    my ($self) = @_;
    $self->install;
    $self->gate;
}

sub gate {
    my ($self) = @_;
    my $conf = slurp(FOLDER . '/admin.conf');

    $conf =~ s{^(\s+)(state\s.*\n)}
        {$1redis        redis://127.0.0.1:6379/0;\n$1$2}m
        or croak 'no state in admin.conf';
    spew('/etc/nginx/nginx.conf', $conf);
    $self->sh("redis-cli SADD 'entra_mdm:{fleet}:client_ids' ${\CLIENT_V2}
        systemctl start nginx");
    wait_for { $self->try(enroll_message(mint($self->key, claims_v2())))
        ->status == 200 } or croak 'the gate admits nobody';
}

# A second server, with policies that have what the first one lacks.

my $Refusing = <<'EOC';
    entra_mdm_policy strict {
        server_url  https://fleet.example.com;
        tenant_id   6d8769e6-0f8b-418d-b385-1a53968781c9;
        jwks        file=/etc/nginx/entra-mdm/keys.json;
        require_upn on;
        max_body    8k;
    }
    entra_mdm_policy keyless {
        tenant_id 6d8769e6-0f8b-418d-b385-1a53968781c9;
        client_id 1b1b1111-2222-3333-4444-5555555555c1;
        jwks      request=/keys;
    }
    entra_mdm_policy listless {
        jwks  file=/etc/nginx/entra-mdm/keys.json;
        redis redis://127.0.0.1:1/0 max_stale=1s;
    }
    server {
        listen 8080;
        client_max_body_size 2m;
        location /strict   { entra_mdm strict; proxy_pass http://127.0.0.1:8412; }
        location /keyless  { entra_mdm keyless; proxy_pass http://127.0.0.1:8412; }
        location /listless { entra_mdm listless; proxy_pass http://127.0.0.1:8412; }
        location = /keys   { internal; proxy_pass http://127.0.0.1:8412; }
    }
EOC

sub refusals {
    my ($self) = @_;
    my $key = $self->key;
    my $weak = new_key(bits => 1024);
    my $conf = slurp('/etc/nginx/nginx.conf');
    my $other = '72f988bf-86f1-41af-91ab-2d7cd011db47';
    my $by = sub { enroll_message(mint($key, claims_v2(@_))) };
    my $device = '{"type":1,"payload":{"orbit_node_key":"k"}}';

    spew(FOLDER . '/keys.json', jwks($key, $weak));
    spew('/etc/nginx/nginx.conf', $conf =~ s/\n\}\s*\z/\n$Refusing}\n/r);
    $self->sh('systemctl restart nginx');

    for (
        [ no_token => policy_message('', security => '') ],
        [ username_token => policy_message('', security => '<wsse:Security>'
            . '<wsse:UsernameToken><wsse:Username>ann</wsse:Username>'
            . '</wsse:UsernameToken></wsse:Security>') ],
        [ token_malformed => policy_message('no token') ],
        [ algorithm_not_allowed =>
            policy_message(mint($key, claims_v2(), alg => 'RS384')) ],
        [ key_unknown => policy_message(mint(new_key(), claims_v2())) ],
        [ key_not_allowed => policy_message(mint($weak, claims_v2())) ],
        [ signature_invalid => policy_message(mint(new_key(kid => $key->kid),
            claims_v2())) ],
        [ token_expired => $by->(exp => time - 3600) ],
        [ token_not_yet_valid => $by->(nbf => time + 3600) ],
        [ claim_invalid => $by->(scp => undef) ],
        [ issuer_not_allowed => $by->(
            iss => 'https://sts.chinacloudapi.cn/' . TENANT . '/') ],
        [ scope_not_allowed => $by->(scp => 'User.Read') ],
        [ audience_not_allowed => $by->(aud => STRANGER) ],
        [ tenant_not_allowed => $by->(tid => $other,
            iss => 'https://login.microsoftonline.com/' . $other . '/v2.0') ],
        [ upn_invalid => $by->(upn => "a\x01b") ],
        [ message_malformed => '' ],
        [ security_malformed => enroll_message('x', value_type => 'other') ],
        [ upn_missing => policy_message(mint($key, claims_v1(upn => undef))),
            'strict' ],
        [ device_token_denied => enroll_message($device, value_type =>
            'http://schemas.microsoft.com/5.0.0.0/ConfigurationManager'
            . '/Enrollment/DeviceEnrollmentUserToken'), 'strict' ],
        [ body_too_large => 'x' x 9000, 'strict' ],
        [ keys_unavailable => policy_message(mint($key, claims_v2())),
            'keyless' ],
        [ lists_unavailable => policy_message(mint($key, claims_v2())),
            'listless' ],
    )
    {
        my ($reason, $message, $path) = @$_;
        my $seen = -s '/var/log/nginx/error.log';

        $path ? http_post("/$path", $message, port => 8080)
            : $self->try($message);
        wait_for { substr(slurp('/var/log/nginx/error.log'), $seen)
            =~ /refused, $reason:/ } or croak "not refused: $reason\n"
            . substr(slurp('/var/log/nginx/error.log'), $seen);
    }
}

sub ask {
    my ($self, $method, $path, %o) = @_;

    require IO::Socket::SSL;
    my $socket = IO::Socket::SSL->new(PeerAddr => 'fleet.example.com',
        PeerPort => $o{port} // 443) or croak $IO::Socket::SSL::SSL_ERROR;
    return EntraMDM::HTTP->wrap($socket)->request($method, $path,
        close => 1, %o);
}

sub try {
    my ($self, $message) = @_;
    return $self->ask(POST => '/api/mdm/microsoft/enroll', body => $message);
}

1;
