#!/bin/sh
# Install the programs that the slow tests need from Debian's packages, if this is Debian and we are root.
# A test that needs a missing program is skipped with a reason; in CI (ANTSCACHE_TESTS_REQUIRED=1) it fails.
set -eu
missing=
for program in skopeo umoci docker-registry unshare setpriv strace filefrag mksquashfs mkfs.btrfs mkfs.xfs mkfs.vfat \
    busybox shellcheck; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    packages=$(echo "$missing" | sed 's/unshare\|setpriv/util-linux/g; s/filefrag/e2fsprogs/
        s/mkfs\.btrfs/btrfs-progs/; s/mkfs\.xfs/xfsprogs/; s/mkfs\.vfat/dosfstools/; s/busybox/busybox-static/; s/mksquashfs/squashfs-tools/')
    apt-get -qq -o DPkg::Lock::Timeout=300 update >/dev/null
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $packages >/dev/null
else
    echo "not installed, and not Debian as root:$missing (tests that need them are skipped)" >&2
fi
