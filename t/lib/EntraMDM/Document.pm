package EntraMDM::Document;

# A page of the documentation: its fenced blocks, tables, links and headings.
#
#   my $page = EntraMDM::Document->new('docs/fleet.md');
#   for my $block ($page->blocks) {
#       $block->{language}          # the first word behind the fence, or ''
#       $block->{option}{name}      # of "name=value"; 1 of a word alone
#       $block->{text}, $block->{line}
#   }
#   $page->documented('name')       # commands of the block with that name
#   $page->table('reason')          # rows below the head that begins so
#   documents()                     # README.md, and docs/*.md

use strict;
use warnings;

use Carp qw(croak);
use Exporter 'import';

use EntraMDM::File qw(root slurp);

our @EXPORT = qw(documents);


sub documents {
    my $root = root();
    return ('README.md', map { s{^\Q$root\E/}{}r } sort glob "$root/docs/*.md");
}

sub new {
    my ($class, $name) = @_;
    return bless { name => $name, text => slurp(root() . "/$name") }, $class;
}

sub name { return $_[0]{name} }
sub text { return $_[0]{text} }


# A fence may stand in a list: what it is indented by is taken off its lines.

sub blocks {
    my ($self) = @_;
    my (@blocks, $block, $fence, $indent);
    my $line = 0;

    for (split /\n/, $self->{text}) {
        $line++;
        if ($block) {
            if (/^ *\Q$fence\E\s*$/) {
                push @blocks, $block;
                undef $block;
            } else {
                $block->{text} .= s/^ {0,$indent}//r . "\n";
            }
        } elsif (/^( *)(```+)(.*)$/) {
            ($indent, $fence) = (length $1, $2);
            my ($language, @words) = split ' ', $3;
            $block = { language => $language // '', line => $line, text => '',
                option => { map { /^([\w-]+)=(.*)$/ ? ($1, $2) : ($_, 1) }
                    @words } };
        }
    }
    croak "$self->{name}: a block has no end" if $block;
    return @blocks;
}


# The commands of the block that has name=NAME.

sub documented {
    my ($self, $name) = @_;
    my @found = grep { ($_->{option}{name} // '') eq $name } $self->blocks;

    croak "$self->{name}: not one block is named $name" if @found != 1;
    return split /\n/, $found[0]{text} =~ s/\\\n\s*//gr;
}


# Rows of the table whose head begins with that cell; the first of several.
# \| within a cell is read as "or".

sub table {
    my ($self, $head) = @_;
    my ($rows) = $self->{text}
        =~ /^\| \Q$head\E \|.*\n\|(?:-+\|)+\n((?:\|.*\n)+)/m
        or croak "$self->{name}: no table of $head";
    my @rows;

    for my $row (split /\n/, $rows) {
        $row =~ s/\\\|/or/g;
        push @rows, [ $row =~ /\| (.*?) (?=\|)/g ];
    }
    return @rows;
}


# What is outside of blocks: links, as they are written, and the anchors of
# headings, as GitHub makes them.

sub prose {
    my ($self) = @_;
    return $self->{text} =~ s/^ *(```+).*?^ *\1\s*$//msgr;
}

sub links { return $_[0]->prose =~ /\]\(([^)]+)\)/g }

sub anchors {
    my ($self) = @_;
    return map { lc =~ tr/`*\\//dr =~ s/[^\w\s-]//gr =~ s/ /-/gr }
        $self->prose =~ /^#+ (.*)$/mg;
}

1;
