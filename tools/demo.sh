#!/usr/bin/env bash
# The main job, for real but for Figshare: two releases from a stand-in for it, into a root of their own.
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

say "What two releases disagree on, under the same file names"
LINES_SHOWN=7 run antscache diff antspynet==0.2.9 antspynet==0.3.2

say "Fetch all of 0.3.2: by identifier, verified, several files at once"
LINES_SHOWN=4 run antscache prefetch antspynet==0.3.2

say "Fetch 0.2.9: only what the two do not share comes over the network"
run antscache prefetch antspynet==0.2.9

say "Again: nothing to do"
run antscache prefetch antspynet==0.3.2 antspynet==0.2.9

say "What they cost together and alone"
run antscache status

say "One name, two releases, two contents, side by side; a name they agree on is one file on disk"
conflict=.keras/ANTsXNet/DeepAtroposHcpT1Weights.h5 shared=.keras/ANTsXNet/S_template3.nii.gz
old=$(antscache path 0.2.9) new=$(antscache path 0.3.2)
run sha256sum "$old/$conflict" "$new/$conflict"
run stat -c '%i %h links  %n' "$old/$shared" "$new/$shared"

say "An unmodified ANTsPyNet sees a release's files when its home is the release's view"
printf "\$ HOME=\$(antscache path 0.3.2) python my_script.py\n"
