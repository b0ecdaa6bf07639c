#!/bin/sh
# Set up the rest of an image, beside code and data: its user, the hook, antscache on the PATH, the directory where a cache is
# mounted, and the scripts in /opt/bin.
set -eu
tool=/usr/local/lib/antscache
home=/home/antspyuser
id antspyuser >/dev/null 2>&1 || useradd --create-home --home-dir "$home" --shell /bin/bash antspyuser
chmod 755 "$home"
ln -sf "$tool/bin/antscache" /usr/local/bin/antscache
antscache hook enable --python "$(command -v python)"

# With `docker run --read-only` only /dev/shm is writable, and matplotlib needs a temporary directory.
cat >"$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/antsxnet_image.pth" <<'PTH'
import os; any(os.access(each, os.W_OK) for each in ("/tmp", "/var/tmp")) or os.environ.setdefault("TMPDIR", "/dev/shm")
PTH

mkdir -p /var/cache/antscache /opt/bin
chmod 1777 /var/cache/antscache # a new volume takes these modes, so that any user can fill it

for name in get_antsxnet_data.py download_antsxnet_data.py; do # the script takes its form from its name
    ln -sf get_antspynet_data.py "$tool/bin/$name"
    cat >"/opt/bin/$name" <<PYTHON
#!/usr/bin/env python3
"""Run get_antspynet_data.py in the form of upstream's script of this name; see its --help."""
import os
import sys

os.execv("$tool/bin/$name", ["$name", *sys.argv[1:]])
PYTHON
    chmod 755 "/opt/bin/$name"
done

mkdir -p "$home/.keras" # root's, so that no download goes here: it would be lost with the container
