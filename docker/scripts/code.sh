#!/bin/sh
# ANTsPyNet from /wheels, and the packages that are named, in the image's Python.
set -eu
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
release=$(basename /wheels/*.whl | cut -d- -f1,2 | sed 's/-/==/')
# By its version, so that `pip freeze` says that; and from the wheel, whatever else has the same version.
python3 -m pip --quiet install --no-deps --no-index --find-links /wheels "$release"
# shellcheck disable=SC2048,SC2086  # packages, with blanks between them
python3 -m pip --quiet install "$release" $*
