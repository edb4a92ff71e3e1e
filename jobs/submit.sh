#!/usr/bin/env bash
# Submit any verb of raycner as a job to a Ray cluster; submit the same command again to resume after a failure.
#   jobs/submit.sh run jobs/demo.yaml clusters/on_premise/compute.yaml
# RAY_API_SERVER_ADDRESS is the cluster (default: the head on this machine, or where `ray dashboard` forwards to).
# The token is RAY_AUTH_TOKEN, or the file RAY_AUTH_TOKEN_PATH (default: ~/.ray/auth_token). RAY_AUTH_MODE=disabled
# submits to a cluster without one. jobs/runtime_env.yaml lists the folders that are uploaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export RAY_API_SERVER_ADDRESS="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}"
export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"
exec ray job submit --runtime-env jobs/runtime_env.yaml -- python -m raycner "$@"
