#!/usr/bin/env perl
# A complete jobd client in Perl with its standard library alone: each argument is a line for the shell, run as a job;
# finishes are printed as they come; exits 0 if all succeeded.
#
#     JOBD_URL=jobd://127.0.0.1:7733 JOBD_TOKEN=... perl client.pl 'sleep 1' 'gzip -k /data/a.log'
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP;

my $url = $ENV{JOBD_URL} // 'jobd://127.0.0.1:7733';
my $daemon = $url =~ m{^jobd\+unix://(.*)}
    ? IO::Socket::UNIX->new(Peer => $1)
    : IO::Socket::INET->new(PeerAddr => $url =~ s{^jobd://}{}r);
unless ($daemon) { warn "client.pl: no daemon at $url: $!\n"; exit 125 }
$daemon->autoflush(1);
$| = 1;

print $daemon "auth $ENV{JOBD_TOKEN}\n" if $ENV{JOBD_TOKEN};
print $daemon 'submit ', encode_json([map { { shell => $_ } } @ARGV]), "\n";

my ($running, $failed) = (scalar @ARGV, 0);
while ($running and defined(my $line = <$daemon>)) {
    if ($line =~ /^error /) { warn "client.pl: $line"; exit 1 }
    next unless $line =~ /^\* \d+ (\d+) (\w+) (.*)/;
    my ($job, $state, $outcome) = ($1, $2, decode_json($3));
    print "job $job $state, exit code $outcome->{exit_code}, $outcome->{wall} s\n";
    $failed++ if $state ne 'succeeded';
    $running--;
}
exit($running || $failed ? 1 : 0);
