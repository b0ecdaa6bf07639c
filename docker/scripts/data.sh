#!/bin/sh
# Export ANTsPyNet's data and networks as a lower cache: those of the wheel in /wheels, or else of the antspynet installed here.
#     data.sh NAMES DIGEST TARGET [OPTION...]
# NAMES: entries, or files in /local with one entry a line, separated by blanks; empty for all entries.
# DIGEST: the digest that the data must have (sha256:...), or empty. TARGET and OPTIONs go to `antscache export`.
set -eu
antscache=/usr/local/lib/antscache/bin/antscache
names=$1 digest=$2 target=$3
shift 3
chosen=
for name in $names; do
    if [ -f "/local/$name" ]; then
        name=$(cat "/local/$name")
    fi
    for each in $name; do
        chosen="$chosen --name $each"
    done
done
set -- "$target" "$@"
home=
for wheel in /wheels/*.whl; do
    # shellcheck disable=SC2086  # options
    [ ! -f "$wheel" ] || home=$("$antscache" prefetch --from "$wheel" $chosen)
done
# shellcheck disable=SC2086
[ -n "$home" ] || home=$("$antscache" prefetch $chosen)
release=$(basename "$home" | sed 's/-/==/')
exported=$(mktemp)
# shellcheck disable=SC2086
"$antscache" export "$release" "$@" $chosen --json >"$exported"
cat "$exported"
if [ -n "$digest" ] && ! grep -q "\"$digest\"" "$exported"; then
    echo "error: the data of $release is not $digest" >&2
    exit 5
fi
