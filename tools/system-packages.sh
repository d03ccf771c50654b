#!/bin/sh
# Install the system packages that the tests (with the argument "bench": the
# benchmarks) need and that are missing, where that is possible (Debian's apt, as
# root); else say in one line what is missing and what goes without it: tests
# fail, benchmarks have no figures of that peer. Ends with 0 either way.
set -u
purpose=${1:-test} missing='' tests=''

# need PACKAGE "TESTS" COMMAND...: COMMAND fails where the package is missing
need() {
    package=$1 users=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing="$missing $package"
        case "$tests" in *"$users"*) ;; *) tests="$tests${tests:+, }$users" ;; esac
    fi
}

# Whether a program including this header compiles with these arguments.
compiles() {
    header=$1
    shift
    printf '#include <%s>\nint main() {}\n' "$header" | "$@" -x c++ - -o /dev/null
}

look() {
    missing='' tests=''
    "look_for_$purpose"
}

look_for_bench() {
    PATH=$PATH:/usr/sbin
    need redis-server 'Celery, RQ, Dramatiq, Huey' command -v redis-server
    need gearman-job-server gearmand command -v gearmand
    need libgearman-dev gearmand compiles libgearman/gearman.h g++ -fsyntax-only
    need beanstalkd beanstalkd command -v beanstalkd
    need parallel 'GNU parallel' command -v parallel
    need task-spooler task-spooler command -v tsp
    need g++ 'the C++ client' compiles iostream g++
}

look_for_test() {
    need netcat-openbsd 'those with nc in docs and examples' sh -c 'nc -h 2>&1 | grep -q -e -U'
    need perl 'the client in Perl' perl -MJSON::PP -MIO::Socket::UNIX -e 1
    need nodejs 'the client for Node.js' command -v node
    need cmake 'tests/cpp' command -v cmake
    need pkg-config 'tests/cpp' command -v pkg-config
    need g++ 'tests/cpp' compiles iostream g++
    need libssl-dev 'tests/cpp' compiles openssl/ssl.h g++ -fsyntax-only
    need nlohmann-json3-dev 'tests/cpp' compiles nlohmann/json.hpp g++ -fsyntax-only
    if command -v clang++ >/dev/null 2>&1; then
        version=$(clang++ -dumpversion)
        need "libclang-rt-${version%%.*}-dev" 'tests/cpp' compiles iostream clang++ -fsanitize=address
    else
        need clang 'tests/cpp' false
    fi
}

look
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    # Servers are wanted as programs, not as services of this machine.
    wanted=$missing policy=/usr/sbin/policy-rc.d
    if [ "$purpose" = bench ] && [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -q >/dev/null 2>&1
    # The second round knows which clang there is now.
    for round in first second; do
        # shellcheck disable=SC2086 # several words on purpose
        [ -z "$missing" ] || apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1
        look
    done
    for service in redis-server gearman-job-server beanstalkd; do
        case "$wanted " in *" $service "*) systemctl disable -q "$service" >/dev/null 2>&1 ;; esac
    done
    [ -n "$missing" ] || exit 0
fi
case "$purpose" in bench) without='not measured' ;; *) without='these tests will fail' ;; esac
echo "missing:$missing (apt-get install$missing); without them $without: $tests" >&2
