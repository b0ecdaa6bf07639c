#!/usr/bin/env bash
# Run a command with Docker, Singularity and base images at hand:
#
#     tools/with_engines.sh .venv/bin/pytest -m images
#
# If there is a script that sets them up ($ENGINES, or shared/tools/engines.sh beside the repository), it is run. Otherwise
# the command uses this host's own.
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
