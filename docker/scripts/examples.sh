#!/bin/sh
# Export the example files of an antspyx ($1) to /bake/opt/antscache-examples, a lower cache: those at Figshare, because
# the build of an image should not fail with the host of another one.
set -eu
antscache=/usr/local/lib/antscache/bin/antscache
names=$("$antscache" list "$1" --format csv | awk -F, '$4 ~ /^figshare:/ { print "--name", $2 }')
# shellcheck disable=SC2086  # several words, without blanks in them
"$antscache" prefetch "$1" $names >/dev/null
mkdir -p /bake/opt
"$antscache" export "$1" /bake/opt/antscache-examples --format dir
touch -d @0 /bake/opt
