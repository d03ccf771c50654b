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

need netcat-openbsd 'the nc examples' sh -c 'nc -h 2>&1 | grep -q -e -U'
need openssl 'TLS' command -v openssl

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 ||
        { apt-get update -q >/dev/null 2>&1 && apt-get install -y -q --no-install-recommends $missing >/dev/null; } && exit 0
fi
echo "missing:$missing (apt-get install$missing); without them these tests will fail: $tests" >&2
