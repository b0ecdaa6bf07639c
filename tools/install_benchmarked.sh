#!/bin/sh
# Install the tools that antscache is benchmarked against: aria2 (and curl, openssl, strace) from Debian's packages, if
# this is Debian and we are root; pooch, huggingface_hub and Keras from the package index, in .venvs/benchmark.
# The tables leave out the tools that are missing afterwards, and say so. Tools that are installed stay as they are.
set -eu
cd "$(dirname "$0")/.."
environment=.venvs/benchmark

missing=
for program in aria2c curl openssl strace; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    packages=$(echo "$missing" | sed 's/aria2c/aria2/')
    apt-get -qq -o DPkg::Lock::Timeout=300 update >/dev/null || true
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $packages \
        >/dev/null || echo "not installed:$missing" >&2
elif [ -n "$missing" ]; then
    echo "not installed, and not Debian as root:$missing" >&2
fi

# antscache as users install it, without the developers' tools.
[ -x .venvs/antscache/bin/antscache ] || { "${PYTHON:-python3}" -m venv .venvs/antscache \
    && .venvs/antscache/bin/python -m pip install --quiet --disable-pip-version-check --editable .; }

[ -x $environment/bin/python ] || "${PYTHON:-python3}" -m venv $environment
for packages in pooch huggingface_hub "keras jax"; do # jax: one of the backends without which Keras does not start
    # shellcheck disable=SC2086  # a list of words
    $environment/bin/python -m pip show --quiet $packages >/dev/null 2>&1 \
        || $environment/bin/python -m pip install --quiet --disable-pip-version-check $packages \
        || echo "not installed: $packages" >&2
done
