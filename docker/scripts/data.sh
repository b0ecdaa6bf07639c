#!/bin/sh
# Export ANTsPyNet's data and networks as a lower cache: those of the wheel in /wheels, or else of the antspynet installed here.
#     data.sh NAMES DIGEST TARGET [OPTION...]
# NAMES: entries, or files in /local with one entry a line, separated by blanks; empty for all entries.
# ANTSXNET_LOCK in the environment: a lockfile in /local that names the files instead, and their bytes.
# DIGEST: the digest that the data must have (sha256:...), or empty. TARGET and OPTIONs go to `antscache export`.
set -eu
antscache=/usr/local/lib/antscache/bin/antscache
names=$1 digest=$2 target=$3
shift 3
lock=${ANTSXNET_LOCK:+/local/$ANTSXNET_LOCK}
if [ -n "$lock" ] && [ -n "$names" ]; then
    echo "error: give ANTSXNET_NAMES or ANTSXNET_LOCK" >&2
    exit 2
fi
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
source=
for wheel in /wheels/*.whl; do
    [ ! -f "$wheel" ] || source=$wheel
done
exported=$(mktemp)
if [ -n "$lock" ]; then
    "$antscache" lock --check -o "$lock" ${source:+--from "$source"}
    "$antscache" prefetch --lock "$lock" >&2
    release=$lock
    "$antscache" export --lock "$lock" "$@" --json >"$exported"
else
    # shellcheck disable=SC2086  # options
    home=$("$antscache" prefetch ${source:+--from "$source"} $chosen)
    release=$(basename "$home" | sed 's/-/==/')
    # shellcheck disable=SC2086
    "$antscache" export "$release" "$@" $chosen --json >"$exported"
fi
cat "$exported"
if [ -n "$digest" ] && ! grep -q "\"$digest\"" "$exported"; then
    echo "error: the data of $release is not $digest" >&2
    exit 5
fi
