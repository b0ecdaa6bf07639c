#!/bin/sh
# A wheel of ANTsPyNet in /wheels, of what pip would install: a requirement, git+https://...@REF, or what is in /local.
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
    if [ -d "/local/$1" ]; then # built in a copy: builds write where the source is
        cp -r "/local/$1" /tmp/source
        source=/tmp/source
    fi
    ;;
esac
python3 -m pip --quiet --disable-pip-version-check wheel --no-deps --wheel-dir /wheels "$source"
