#!/usr/bin/env bash
# Run a command with Docker, Singularity and base images at hand:
#
#     tools/with_engines.sh .venv/bin/pytest -m images
#
# Where a script that sets them up is there ($ENGINES, or shared/tools/engines.sh beside the repository), it does; else they
# are as they are on this host.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
for script in "${ENGINES:-}" "$here/../shared/tools/engines.sh" /work/shared/tools/engines.sh; do
    if [ -x "$script" ]; then
        eval "$("$script" docker)"
        eval "$("$script" singularity)"
        break
    fi
done
exec "$@"
