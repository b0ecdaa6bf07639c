#!/bin/sh
# Bake data into an image that is built without layers: baked.sh NAMES DIGEST (see data.sh).
# Downloads go to the mounted cache, or else to a temporary one that is removed at the end.
set -eu
here=$(dirname "$0")
if ! mountpoint -q /var/cache/antscache; then
    ANTSCACHE_DIR=$(mktemp -d)
    export ANTSCACHE_DIR ANTSCACHE_MOUNTED=0
fi
sh "$here/data.sh" "$1" "$2" /opt/antscache --format dir
[ -z "${ANTSCACHE_MOUNTED:-}" ] || rm -r "$ANTSCACHE_DIR"
sh "$here/links.sh" antspynet
