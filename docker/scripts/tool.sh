#!/bin/sh
# Install antscache from /src into an environment of its own, with the image's settings (docs/configuration.md).
set -eu
place=/usr/local/lib/antscache
python3 -m venv --without-pip "$place"
PIP_CACHE_DIR=/root/.cache/pip python3 -m pip --quiet --disable-pip-version-check --python "$place/bin/python" install /src
cat >"$place/antscache.toml" <<'TOML'
root = "/var/cache/antscache"
mounted = true
baked = ["/opt/antscache", "/opt/antscache-examples", "~/.keras/antscache", "/home/antspyuser/.keras/antscache"]
TOML
