#!/bin/sh
# ANTsPyNet from /wheels, and the packages that are named, in the image's Python.
set -eu
# shellcheck disable=SC2048,SC2086  # packages, with blanks between them
python3 -m pip --quiet --disable-pip-version-check install --root-user-action=ignore /wheels/*.whl $*
