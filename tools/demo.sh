#!/usr/bin/env bash
# Show the main job, with a stand-in for Figshare: fetch two releases into a root of their own.
#   make demo        (or, with antscache on the PATH: tools/demo.sh)
set -euo pipefail

work=$(mktemp -d)
python -m antscache.testing --size 500000 >"$work/origins" &
standin=$!
trap 'kill "$standin" 2>/dev/null; wait "$standin" 2>/dev/null; rm -rf "$work"' EXIT
until [ -s "$work/origins" ]; do kill -0 "$standin"; sleep 0.05; done
eval "$(cat "$work/origins")"
export ANTSCACHE_DIR=$work/cache

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@" 2>&1 | if [ "${LINES_SHOWN:-0}" -gt 0 ]; then tail -n "$LINES_SHOWN"; else cat; fi; }

say "Show the files that have the same name and other bytes in two releases"
LINES_SHOWN=7 run antscache diff antspynet==0.2.9 antspynet==0.3.2

say "Fetch all of 0.3.2: by identifier, verified, several files at once"
LINES_SHOWN=4 run antscache prefetch antspynet==0.3.2

say "Fetch 0.2.9: it downloads only the files that 0.3.2 does not have"
run antscache prefetch antspynet==0.2.9

say "Again: nothing to do"
run antscache prefetch antspynet==0.3.2 antspynet==0.2.9

say "Show the disk space of both together and of each alone"
run antscache status

say "One name has other bytes in each release; a shared file is on disk once"
conflict=.keras/ANTsXNet/DeepAtroposHcpT1Weights.h5 shared=.keras/ANTsXNet/S_template3.nii.gz
old=$(antscache path 0.2.9) new=$(antscache path 0.3.2)
run sha256sum "$old/$conflict" "$new/$conflict"
run stat -c '%i %h links  %n' "$old/$shared" "$new/$shared"

say "An unmodified ANTsPyNet uses a release's files if its home is the release's view"
printf "\$ HOME=\$(antscache path 0.3.2) python my_script.py\n"
