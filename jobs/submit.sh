#!/usr/bin/env bash
# Submit any verb of raycner as a job to a Ray cluster; submit the same command again to resume after a failure.
#   jobs/submit.sh run jobs/demo.yaml clusters/on_premise/compute.yaml
# RAY_API_SERVER_ADDRESS is the cluster (default: the head on this machine, or where `ray dashboard` forwards to).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export RAY_API_SERVER_ADDRESS="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}"
exec ray job submit --runtime-env jobs/runtime_env.yaml --working-dir . -- python -m raycner "$@"
