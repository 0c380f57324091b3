#!/bin/sh
# What the sources of a core must not name: `tests/walls.sh ROOM...`
#
# A core does no IO and knows no clock (ARCHITECTURE.md). Crates are kept out by what a room depends on; this keeps out what the
# standard library has of it. Tests may use all of it.
set -eu
cd "$(dirname "$0")/.."
status=0
for room in "$@"; do
    find "src/$room/src" -name '*.rs' ! -path '*/tests/*' ! -name tests.rs ! -name testing.rs -print0 | sort -z |
        xargs -0 awk '
            was_test && /^mod .*[{]/ { was_test = 0; nextfile }
            { was_test = /^#\[cfg\(test\)\]/ }
            /^[[:space:]]*\/\// { next }
            /Instant::now|SystemTime|\.elapsed\(\)|std::(fs|thread|process|env|os::unix)|(Udp|Tcp)(Socket|Stream|Listener)|Unix(Datagram|Stream|Listener)|thread::(spawn|sleep|Builder)/ {
                print FILENAME ":" FNR ": a core does no IO and knows no clock: " $0
                bad = 1
            }
            END { exit bad }
        ' || status=1
done
exit $status
