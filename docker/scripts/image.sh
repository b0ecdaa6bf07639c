#!/bin/sh
# What every image has beside code and data: its user, the hook, antscache on the PATH, a place to mount a cache at, and the
# scripts that people call by name.
set -eu
tool=/usr/local/lib/antscache
home=/home/antspyuser
id antspyuser >/dev/null 2>&1 || useradd --create-home --home-dir "$home" --shell /bin/bash antspyuser
chmod 755 "$home"
ln -sf "$tool/bin/antscache" /usr/local/bin/antscache
antscache hook enable --python "$(command -v python)"

# With `docker run --read-only` nothing but /dev/shm can be written to, and matplotlib needs a temporary directory.
cat >"$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/antsxnet_image.pth" <<'PTH'
import os; any(os.access(each, os.W_OK) for each in ("/tmp", "/var/tmp")) or os.environ.setdefault("TMPDIR", "/dev/shm")
PTH

mkdir -p /var/cache/antscache /opt/bin
chmod 1777 /var/cache/antscache # a volume begins with these modes, and any user may fill it

for name in get_antsxnet_data.py download_antsxnet_data.py; do # what it is called tells it what is meant
    ln -sf get_antspynet_data.py "$tool/bin/$name"
    cat >"/opt/bin/$name" <<PYTHON
#!/usr/bin/env python3
"""As upstream's script of this name, on top of antscache: get_antspynet_data.py --help."""
import os
import sys

os.execv("$tool/bin/$name", ["$name", *sys.argv[1:]])
PYTHON
    chmod 755 "/opt/bin/$name"
done

mkdir -p "$home/.keras" # the user cannot write here: what is downloaded would be gone with the container
