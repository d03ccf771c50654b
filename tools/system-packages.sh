#!/bin/sh
# Install the system packages that the tests need and that are missing, where
# that is possible (Debian's apt, as root); else say in one line what is missing
# and which tests will fail for want of it. Ends with 0 either way.
set -u
missing='' tests=''

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
    apt-get update -q >/dev/null 2>&1
    # The second round knows which clang there is now.
    for round in first second; do
        # shellcheck disable=SC2086 # several words on purpose
        [ -z "$missing" ] || apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1
        look
    done
    [ -n "$missing" ] || exit 0
fi
echo "missing:$missing (apt-get install$missing); without them these tests will fail: $tests" >&2
