#!/usr/bin/env bash
# Run the tests of the store, of views and of their operations on other filesystems than this machine's, and on this
# machine's with every hard link refused (nolinks; by strace), as across two filesystems. Needs root.
#
#     tools/on_filesystems.sh [ext4|tmpfs|overlay|btrfs|xfs|nolinks]...
#
# REFUSED=EPERM refuses hard links as for another user's file.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=(
    tests/test_{errors,script}.py tests/store/test_{ingest,oci,refs,store,trash}.py tests/views/test_links.py
    tests/operations/test_{adopt,gc,lower_caches,prefetch,remove,verify}.py
)
kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(ext4 tmpfs overlay btrfs xfs nolinks)
# shellcheck disable=SC2054  # commas are of strace
refusing=(strace -f --seccomp-bpf -qq -o /dev/null -e trace=link,linkat -e "inject=link,linkat:error=${REFUSED:-EXDEV}")

place=$(mktemp -d)
chmod 755 "$place" # tests run commands as other users
failed=()
trap 'umount -q "$place/mounted" 2>/dev/null || true; rm -rf "$place"' EXIT

mounted() {
    mkdir -p "$place/mounted"
    case $1 in
    tmpfs) mount -t tmpfs -o size=4g tmpfs "$place/mounted" ;;
    overlay)
        mkdir -p "$place"/{lower,upper,work}
        mount -t overlay overlay -o "lowerdir=$place/lower,upperdir=$place/upper,workdir=$place/work" "$place/mounted"
        ;;
    nolinks)
        mkdir -p "$place/plain"
        command -v strace >/dev/null && mount --bind "$place/plain" "$place/mounted"
        ;;
    *)
        truncate -s 4G "$place/image"
        "mkfs.$1" -q "$place/image"
        mount -o loop "$place/image" "$place/mounted"
        ;;
    esac
}

for kind in "${kinds[@]}"; do
    if ! mounted "$kind"; then
        echo "$kind: this machine cannot make it; left out"
        continue
    fi
    chmod 1777 "$place/mounted"
    echo "== $kind"
    under=()
    [ "$kind" != nolinks ] || under=(env -u ANTSCACHE_TESTS_REQUIRED "${refusing[@]}") # skips the tests that need hard links
    TMPDIR="$place/mounted" "${under[@]}" .venv/bin/pytest -q -n auto -p no:cacheprovider "${tests[@]}" || failed+=("$kind")
    umount "$place/mounted"
    rm -rf "$place"/{image,upper,work,lower,plain}
done
[ ${#failed[@]} -eq 0 ] || { echo "failed on: ${failed[*]}" >&2; exit 1; }
