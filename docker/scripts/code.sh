#!/bin/sh
# Install ANTsPyNet from /wheels, and the packages in the arguments, into the image's Python.
set -eu
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
release=$(basename /wheels/*.whl | cut -d- -f1,2 | sed 's/-/==/')
# By its version, so that `pip freeze` prints the version; and from the wheel alone, never from the index.
python3 -m pip --quiet install --no-deps --no-index --find-links /wheels "$release"
# shellcheck disable=SC2048,SC2086  # packages, separated by blanks
python3 -m pip --quiet install "$release" $*
