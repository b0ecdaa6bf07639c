#!/bin/sh
# Export the example files of an antspyx ($1) to /bake/opt/antscache-examples, a lower cache.
set -eu
antscache=/usr/local/lib/antscache/bin/antscache
"$antscache" prefetch "$1" >/dev/null
mkdir -p /bake/opt
"$antscache" export "$1" /bake/opt/antscache-examples --format dir
touch -d @0 /bake/opt
