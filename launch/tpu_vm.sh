#!/usr/bin/env bash
# Trains on a Cloud TPU slice: creates it, installs lsjax, runs on all workers, deletes it.
#
#   export PROJECT=my-project ZONE=us-central2-b REPOSITORY=https://github.com/me/lsjax
#   launch/tpu_vm.sh --dry_run run main --config=configs/imagenet_noisy.py --workdir=gs://b/imagenet
#   launch/tpu_vm.sh run main --config=configs/imagenet_noisy.py --workdir=gs://my-bucket/imagenet
#   launch/tpu_vm.sh run sweep --config=configs/sweeps/paper_cifar10.py --workdir=gs://b/paper
#   launch/tpu_vm.sh create | install | start main ... | follow | delete     # the steps alone
#
# Needs: gcloud, logged in, with quota for the accelerator; a bucket for --workdir (and, for
# ImageNet, for data.data_dir) that the slice's service account may write. Nothing secret is in here.
# Environment, with defaults: NAME=lsjax, ACCELERATOR=v4-32, RUNTIME=tpu-ubuntu2204-base,
# SPOT=true (false: on demand), ATTEMPTS=20 (how often a preempted slice is asked for again).
# Costs: chips x hours at the list price of the zone, from the moment the slice is ACTIVE until it is
# deleted; docs/scaling.md gives the chip-hours of each table. `run` deletes the slice at its end,
# whatever the end was; after a failure of this script itself, look: `gcloud compute tpus
# queued-resources list`.
# Does: `main` runs as one job over all workers (--distributed); `sweep` runs a shard per worker.
# A spot slice that is preempted is deleted and asked for again, and the job resumes.
set -euo pipefail

dry_run=false
if [[ ${1-} == --dry_run ]]; then
  dry_run=true
  shift
fi
action=${1-}
shift || true
case $action in
  run | create | install | start | follow | delete) ;;
  *)
    echo "usage: $0 [--dry_run] run|create|install|start|follow|delete [main|sweep <arguments>]" >&2
    exit 2
    ;;
esac
: "${PROJECT:?set PROJECT to the Google Cloud project}"
: "${ZONE:?set ZONE, such as us-central2-b}"
: "${REPOSITORY:?set REPOSITORY to where lsjax is cloned from}"
NAME=${NAME:-lsjax}
ACCELERATOR=${ACCELERATOR:-v4-32}
RUNTIME=${RUNTIME:-tpu-ubuntu2204-base}
SPOT=${SPOT:-true}
ATTEMPTS=${ATTEMPTS:-20}
where=(--project="$PROJECT" --zone="$ZONE")

do_it() {
  if $dry_run; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

on_workers() { # <worker> <command>
  do_it gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker="$1" --command="$2"
}

state() {
  gcloud compute tpus queued-resources describe "$NAME" "${where[@]}" \
    --format='value(state.state)' 2>/dev/null || echo ABSENT
}

create() {
  local spot=()
  if [[ $SPOT == true ]]; then
    spot=(--spot)
  fi
  do_it gcloud compute tpus queued-resources create "$NAME" "${where[@]}" --node-id="$NAME" \
    --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" "${spot[@]}"
  if $dry_run; then
    return
  fi
  local now
  while now=$(state) && [[ $now != ACTIVE ]]; do
    if [[ $now == FAILED || $now == SUSPENDED || $now == ABSENT ]]; then
      echo "$0: the slice is $now" >&2
      return 1
    fi
    echo "waiting for the slice: $now"
    sleep 30
  done
}

install() {
  on_workers all "rm -rf lsjax && git clone --depth 1 $(printf '%q' "$REPOSITORY") lsjax && cd lsjax \
&& python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt 'jax[tpu]>=0.10,<0.12'"
}

# shellcheck disable=SC2016 # what stands in single quotes is for the workers' shells
start() { # main|sweep <arguments>
  local module=${1-}
  if [[ $module != main && $module != sweep ]]; then
    echo "usage: $0 start main|sweep <arguments>" >&2
    return 2
  fi
  shift
  local alone=''
  local attributes=http://metadata/computeMetadata/v1/instance/attributes
  local arguments
  arguments=$(printf '%q ' "$@")
  if [[ $module == main ]]; then
    arguments+=--distributed
  else # each worker is a shard: its index and their number are in the slice's metadata
    # A host of four chips is a slice of its own; otherwise the TPU runtime joins all hosts.
    alone='export TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1 TPU_PROCESS_BOUNDS=1,1,1'
    arguments+="--shard=\$(curl -sH Metadata-Flavor:Google $attributes/agent-worker-number)"
    arguments+="/\$(curl -sH Metadata-Flavor:Google $attributes/worker-network-endpoints"
    arguments+=' | tr , "\n" | grep -c .)'
  fi
  # The status is written when the job ends; `follow` waits for it.
  on_workers all "cd lsjax && rm -f status && cat > job.sh <<'JOB'
. .venv/bin/activate
$alone
python -m lsjax.$module $arguments
echo \$? > status
JOB
nohup bash job.sh > log 2>&1 &"
}

# shellcheck disable=SC2016
follow() { # prints worker 0's log; ends with the job's status
  on_workers 0 'cd lsjax && { tail -n +1 -F log & } && until [ -s status ]; do sleep 2; done
sleep 1; kill %1; exit "$(cat status)"'
}

delete() {
  do_it gcloud compute tpus queued-resources delete "$NAME" "${where[@]}" --force --quiet
}

run() {
  local attempt code
  for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
    code=0
    { create && install && start "$@" && follow; } || code=$?
    if $dry_run; then
      delete
      return 0
    fi
    if [[ $code == 0 || $code == 2 || $code == 3 || $(state) == ACTIVE ]]; then
      delete # done, bad input, diverged, or an error on a slice that is still there
      return "$code"
    fi
    echo "$0: the slice is $(state); attempt $((attempt + 1)) of $ATTEMPTS"
    delete || true
  done
  return 75
}

"$action" "$@"
