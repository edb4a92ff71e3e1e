#!/usr/bin/env bash
# Any verb of raycner as a job of a Ray cluster; the same line again, after any failure, goes on where the job stopped.
#   jobs/submit.sh run jobs/demo.yaml clusters/on_premise/compute.yaml
# RAY_API_SERVER_ADDRESS says where (by default the head on this machine, or what `ray dashboard` leads there).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export RAY_API_SERVER_ADDRESS="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}"
exec ray job submit --runtime-env jobs/runtime_env.yaml --working-dir . -- python -m raycner "$@"
