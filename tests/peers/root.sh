#!/bin/sh
# Builds the "peer root": a small Debian tree holding SIP software that the host's own Debian release does not carry
# (Asterisk) or carries too old (sipp without TLS, rtpengine, kamailio). Needs root, a minute or two, and 1 GB.
#   root.sh [suite]      default suite: forky; PEERS_ROOT chooses the place (default: target/peers-root)
# The package mirror is the one the host's apt already uses. Fails loudly when the tree cannot be made.
set -eu
SUITE=${1:-forky}
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=${PEERS_ROOT:-$HERE/../../target/peers-root}
PKGS="asterisk asterisk-modules asterisk-core-sounds-en-gsm sip-tester baresip-core \
kamailio kamailio-tls-modules rtpengine-daemon"
[ -e "$ROOT/.ready-$SUITE" ] && { echo "$ROOT is ready"; exit 0; }
[ "$(id -u)" -eq 0 ] || { echo "root.sh: needs root, once: sudo $0" >&2; exit 2; }
mkdir -p "$ROOT"; ROOT=$(cd "$ROOT" && pwd)
command -v debootstrap >/dev/null || { apt-get update -q; apt-get install -qy --no-install-recommends debootstrap; }
MIRROR=$(apt-get indextargets 'Created-By: Packages' 'Origin: Debian' --format '$(SITE)' | head -n1)
[ -n "$MIRROR" ] || { apt-get update -q
    MIRROR=$(apt-get indextargets 'Created-By: Packages' 'Origin: Debian' --format '$(SITE)' | head -n1); }
[ -n "$MIRROR" ] || { echo "root.sh: apt knows no Debian mirror on this host; interop tests need Debian" >&2; exit 2; }
SCRIPT=/usr/share/debootstrap/scripts/$SUITE
[ -e "$SCRIPT" ] || SCRIPT=/usr/share/debootstrap/scripts/sid
if [ ! -e "$ROOT/.debootstrapped-$SUITE" ]; then
    # A tree that was left half made is begun anew.
    find "$ROOT" -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system {} +
    debootstrap --variant=minbase "$SUITE" "$ROOT" "$MIRROR" "$SCRIPT" \
        || { tail -n 20 "$ROOT/debootstrap/debootstrap.log" >&2 || true
             echo "root.sh: debootstrap could not make a $SUITE tree from the mirror of this host" >&2; exit 1; }
    touch "$ROOT/.debootstrapped-$SUITE"
fi
# An old mirror snapshot may carry an expired Release file; services must not start.
echo 'Acquire::Check-Valid-Until "false";' > "$ROOT/etc/apt/apt.conf.d/99peers"
printf '#!/bin/sh\nexit 101\n' > "$ROOT/usr/sbin/policy-rc.d"; chmod +x "$ROOT/usr/sbin/policy-rc.d"
for f in resolv.conf hosts; do [ -e /etc/$f ] && cp -L /etc/$f "$ROOT/etc/$f"; done
for f in /etc/apt/apt.conf.d/*proxy*; do [ -e "$f" ] && cp "$f" "$ROOT/etc/apt/apt.conf.d/"; done
unshare -m sh -eu -c '
  mount --rbind /proc "$1/proc"; mount --rbind /dev "$1/dev"
  chroot "$1" env DEBIAN_FRONTEND=noninteractive sh -euc "apt-get -q update; apt-get -qy install --no-install-recommends $2; apt-get clean"
' sh "$ROOT" "$PKGS"
chroot "$ROOT" asterisk -V
# A tree that is still on its way to the disk would slow down the tests that follow.
sync
touch "$ROOT/.ready-$SUITE"
