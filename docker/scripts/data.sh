#!/bin/sh
# What ANTsPyNet asks for, in layers below /bake: of the wheel in /wheels, or else of the antspynet that is installed here.
#     $1  names, with blanks between them, of entries or of files in /local that have one a line; all, if there are none
#     $2  the digest that the data has to have (sha256:...), if it is known
set -eu
antscache=/usr/local/lib/antscache/bin/antscache
digest=$2
# shellcheck disable=SC2086  # names, with blanks between them
set -- $1
for name; do
    shift
    if [ -f "/local/$name" ]; then
        while read -r line; do [ -z "$line" ] || set -- "$@" --name "$line"; done <"/local/$name"
    else
        set -- "$@" --name "$name"
    fi
done
home=
for wheel in /wheels/*.whl; do
    [ ! -f "$wheel" ] || home=$("$antscache" prefetch --from "$wheel" "$@")
done
[ -n "$home" ] || home=$("$antscache" prefetch "$@")
release=$(basename "$home" | sed 's/-/==/')
"$antscache" export "$release" /bake --layers 16 "$@" --json >/tmp/exported
cat /tmp/exported
if [ -n "$digest" ] && ! grep -q "\"$digest\"" /tmp/exported; then
    echo "error: the data of $release is not $digest" >&2
    exit 5
fi
