#!/bin/sh
# Installs what is missing on this machine: `tests/setup.sh build|tests|interop`
#   build     what compiling needs (a C compiler and cmake: libopus and the crypto library are C)
#   tests     build, the SIP programs of Debian, and target/peers-venv with the Python peers
#   interop   tests, and target/peers-root with Asterisk
# As root it installs with apt; otherwise it says the line to type. It does nothing that is done already.
set -eu
cd "$(dirname "$0")/.."
what=${1:-build}
missing=""
need() { # COMMAND PACKAGE...
    command=$1; shift
    PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null 2>&1 || missing="$missing $*"
}

need cmake cmake
need cc gcc libc6-dev
need c++ g++
need make make
command -v cargo >/dev/null || {
    echo "Rust is missing. Debian 12's own is too old: install it by rustup, as https://rustup.rs says." >&2
    exit 2
}
if [ "$what" != build ]; then
    need sipp sip-tester
    need baresip baresip-core
    need dnsmasq dnsmasq-base
    need turnserver coturn
    need ip iproute2
    need unshare util-linux
    need openssl openssl
    need faketime faketime
    need python3 python3 python3-venv
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
fi
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # a list of words
    missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
    line="apt-get update && apt-get install -y --no-install-recommends $missing"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "installing: $missing"
        apt-get -qq update
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get -qqy install --no-install-recommends $missing >/dev/null
        # The tests start their own; the package's service, open to the world, is not wanted.
        case $missing in *coturn*) systemctl disable --now coturn >/dev/null 2>&1 || true ;; esac
    else
        echo "Some programs are missing. As root, type:" >&2
        echo "    $line" >&2
        exit 2
    fi
fi
[ "$what" = build ] && exit 0

venv=target/peers-venv
stamp=$venv/.stamp-$(cksum <tests/peers/requirements.txt | tr ' ' -)
if [ ! -e "$stamp" ]; then
    echo "making $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --use-pep517 -r tests/peers/requirements.txt
    touch "$stamp"
fi
[ "$what" = tests ] && exit 0

tests/peers/root.sh
