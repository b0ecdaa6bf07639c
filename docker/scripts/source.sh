#!/bin/sh
# Build a wheel of ANTsPyNet in /wheels, from a requirement, git+https://...@REF, or a wheel or directory in /local.
set -eu
case $1 in
git+*)
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends git >/dev/null
    source=$1
    ;;
*.whl) source=/local/$1 ;;
*)
    source=$1
    if [ -d "/local/$1" ]; then # build in a copy: builds write into the source tree
        cp -r "/local/$1" /tmp/source
        source=/tmp/source
    fi
    ;;
esac
python3 -m pip --quiet --disable-pip-version-check wheel --no-deps --wheel-dir /wheels "$source"
