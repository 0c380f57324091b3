#!/bin/sh
# Runs a command in a network namespace of its own: `tests/netns.sh CMD ARG...`
#
# Inside there is `lo`, and a veth pair 10.77.0.1 - 10.77.0.2 because the media peer (ntgcalls) takes no loopback
# interface for a candidate. There is no route anywhere else, so nothing a test does can leave the machine.
# No root is needed where the kernel gives users namespaces of their own (Debian does).
set -eu
if [ "${STROWGER_NETNS:-}" != inside ]; then
    [ $# -gt 0 ] || { echo "usage: tests/netns.sh CMD ARG..." >&2; exit 2; }
    command -v unshare >/dev/null && PATH=$PATH:/usr/sbin:/sbin command -v ip >/dev/null || {
        echo "tests/netns.sh: needs unshare (util-linux) and ip; type: apt-get install iproute2 util-linux" >&2
        exit 2
    }
    # The processes get a namespace too where that is allowed: whatever a test leaves behind ends with it.
    own="--net --mount"
    [ "$(id -u)" -eq 0 ] || own="--user --map-root-user $own"
    pids="--pid --fork --kill-child --mount-proc"
    # shellcheck disable=SC2086 # lists of words
    unshare $own $pids true 2>/dev/null || pids=""
    # shellcheck disable=SC2086
    unshare $own true 2>/dev/null || {
        echo "tests/netns.sh: this machine does not allow a network namespace (run as root, or set" >&2
        echo "kernel.unprivileged_userns_clone=1)" >&2
        exit 2
    }
    # shellcheck disable=SC2086
    STROWGER_NETNS=inside exec unshare $own $pids "$0" "$@"
fi
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
ip link add tg0 type veth peer name tg1
ip addr add 10.77.0.1/24 dev tg0
ip addr add 10.77.0.2/24 dev tg1
ip link set tg0 up
ip link set tg1 up
# The tests hand out ports from 10000 to 49999 themselves; the kernel's own choices stay above.
echo "50000 65535" >/proc/sys/net/ipv4/ip_local_port_range 2>/dev/null || true
# No exec: this shell is process 1 of the namespace and collects what the launchers leave to it.
unset STROWGER_NETNS
status=0
"$@" || status=$?
exit $status
