#!/usr/bin/env bash
# Trains on a Cloud TPU slice: creates it, installs lsjax, runs on all workers, deletes it.
#
#   export PROJECT=my-project ZONE=us-central2-b REPOSITORY=https://github.com/me/lsjax
#   launch/tpu_vm.sh --dry_run run main --config=configs/imagenet_noisy.py --workdir=gs://b/imagenet
#   launch/tpu_vm.sh run main --config=configs/imagenet_noisy.py --workdir=gs://my-bucket/imagenet
#   SETUP='mountpoint -q /shared || (sudo mkdir -p /shared && sudo mount -t nfs HOST:/share /shared)' \
#     launch/tpu_vm.sh run sweep --config=configs/sweeps/paper_cifar10.py --workdir=/shared/paper
#   launch/tpu_vm.sh --keep run main ...   # leaves the slice there and says how to delete it
#   launch/tpu_vm.sh create                # the steps alone; `create` prints the RUN_ID
#   RUN_ID=... launch/tpu_vm.sh install | start main ... | follow | delete
#
# Needs: gcloud, logged in, with quota for the accelerator and an SSH key for the workers; for `main`
# a bucket for --workdir (and, for ImageNet, for data.data_dir) that the slice's service account may
# write; for `sweep` a disk that all workers mount, because shards keep apart by leases. The commit
# must have been pushed to REPOSITORY. Nothing secret is in here.
# Environment, with defaults: ACCELERATOR=v4-32, RUNTIME=tpu-ubuntu2204-base, PYTHON=3.12 (what uv
# installs on the workers), SPOT=true (false: on demand), ATTEMPTS=20 (how often a slice is asked for
# in all), POLL=20 (seconds between two looks at the workers), COMMIT (the full hash to install; by
# default the checkout's HEAD, refused if files differ from it unless ALLOW_DIRTY=true), SETUP (a
# command that each worker runs before the installation, perhaps twice: a lost connection repeats
# it), RUN_ID (<user>-<date>-<random>) and NAME (lsjax-<RUN_ID>).
# Costs: chips x hours at the list price of the zone, from the moment the slice is ACTIVE until it is
# deleted; docs/scaling.md gives the chip-hours of each table.
# Does: `main` runs as one job over all workers (--distributed); `sweep` runs a shard per worker.
# The script asks the workers for the status of their jobs. It deletes the slice once all of them
# have ended, and ends with the largest of their statuses. A lost connection ends nothing: it asks
# again. A slice that is preempted, or whose job ends with 143 (saved), is deleted and asked for
# again, and the job resumes, with the same commit. So it is after 4, 134 or 137 (a process was lost
# or killed, or never came), but at most four times. Statuses of the script's own: 2 (refused) and 75 (the slice is
# not there, or was lost at the last attempt).
# A slice that stands already is never taken over: `run` and `create` refuse its name, and the other
# steps refuse a slice without the labels made-by=lsjax and run-id=<RUN_ID>. SIGTERM, SIGINT (Ctrl-C),
# SIGHUP and errors of the script delete what this invocation has created, unless --keep is given.
# Only a `kill -9` leaves the slice behind: `gcloud compute tpus queued-resources list` shows it.
set -euo pipefail

say() { echo "$0: $*" >&2; }

usage="usage: $0 [--dry_run] [--keep] run|create|install|start|follow|delete [main|sweep <arguments>]"
dry_run=false keep=false
while [[ ${1-} == --* ]]; do
  case $1 in
    --dry_run) dry_run=true ;;
    --keep) keep=true ;;
    *)
      echo "$usage" >&2
      exit 2
      ;;
  esac
  shift
done
action=${1-}
shift || true
case $action in
  run | create | install | start | follow | delete) ;;
  *)
    echo "$usage" >&2
    exit 2
    ;;
esac
: "${PROJECT:?set PROJECT to the Google Cloud project}"
: "${ZONE:?set ZONE, such as us-central2-b}"
if [[ $action == run || $action == install ]]; then
  : "${REPOSITORY:?set REPOSITORY to where lsjax is cloned from}"
fi
ACCELERATOR=${ACCELERATOR:-v4-32}
RUNTIME=${RUNTIME:-tpu-ubuntu2204-base}
PYTHON=${PYTHON:-3.12}
SPOT=${SPOT:-true}
ATTEMPTS=${ATTEMPTS:-20}
POLL=${POLL:-20}
if [[ -z ${RUN_ID-} ]]; then
  if [[ $action != run && $action != create ]]; then
    say "set RUN_ID to what \`create\` (or \`run\`) printed: a slice of another run is not touched"
    exit 2
  fi
  user=$(id -un | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9' | cut -c 1-12)
  RUN_ID=${user:-user}-$(date +%Y%m%d)-$(od -An -N3 -tx1 /dev/urandom | tr -d ' \n')
fi
NAME=${NAME:-lsjax-$RUN_ID}
if [[ ! $RUN_ID =~ ^[a-z0-9][a-z0-9-]{0,54}$ || ! $NAME =~ ^[a-z][a-z0-9-]{0,61}$ ]]; then
  say "RUN_ID=$RUN_ID NAME=$NAME: must be short and of lower-case letters, digits and hyphens"
  exit 2
fi
labels="made-by=lsjax,run-id=$RUN_ID"
where=(--project="$PROJECT" --zone="$ZONE")
again="PROJECT=$PROJECT ZONE=$ZONE NAME=$NAME RUN_ID=$RUN_ID $0"
directory=lsjax-$RUN_ID # in the home directory of each worker

# What is asked for is checked before anything is.
if [[ $action == run || $action == start ]]; then
  if [[ ${1-} != main && ${1-} != sweep ]]; then
    say "$action what? main|sweep <arguments>"
    exit 2
  fi
  if [[ $1 == sweep && " $* " =~ --workdir[=\ ][^\ ]*:// ]]; then
    say "--workdir of a sweep must be on a disk that all workers mount, such as /shared/paper (SETUP)"
    exit 2
  fi
fi
if [[ $action == run || $action == install ]]; then
  if [[ -z ${COMMIT-} ]]; then
    checkout=$(dirname "${BASH_SOURCE[0]}")/..
    if [[ ${ALLOW_DIRTY-} != true && -n $(git -C "$checkout" status --porcelain) ]]; then
      say "files differ from HEAD, which would be installed: commit, or set ALLOW_DIRTY=true or COMMIT"
      $dry_run || exit 2
    fi
    COMMIT=$(git -C "$checkout" rev-parse HEAD) || exit 2
  fi
  if [[ ! $COMMIT =~ ^[0-9a-f]{40}$ ]]; then
    say "COMMIT=$COMMIT: must be the full hash of a commit"
    exit 2
  fi
fi

# The end of this script, whatever its cause. An error ends it through `set -e`, hence through here.
child='' requested=false # requested: this invocation has asked for a slice, and has not deleted it
scratch=$(mktemp -d)
finish() {
  local code=$?
  trap '' INT TERM HUP # a second Ctrl-C must not interrupt the deletion
  trap - EXIT
  set +e
  if [[ -n $child ]]; then
    kill "$child" 2>/dev/null
  fi
  if $requested && $keep; then
    say "the slice is kept, and billed until you run: $again delete"
  elif $requested && ! { delete || { pause "$POLL" && delete; }; }; then
    say "the slice may be left, and billed: look at it, and run: $again delete"
  fi
  rm -rf "$scratch"
  exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
trap '' PIPE # writing to a terminal that is gone is an error, which `finish` then sees

exec 3>&1
do_it() { # runs a command, or says it; a signal to this script is not kept waiting meanwhile
  if $dry_run; then
    printf '%q ' "$@" >&3
    echo >&3
    return
  fi
  local code=0
  "$@" <&0 3>&- &
  child=$!
  wait "$child" || code=$?
  child=''
  return "$code"
}

pause() { do_it sleep "$1" || exit; }

on_workers() { # <worker> <command>
  do_it gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker="$1" \
    --ssh-flag=-oServerAliveInterval=15 --command="$2"
}

look() { # sets `state` of the slice (ABSENT: there is none; UNKNOWN: no answer) and `owner`, its labels
  local made_by run_id code=0
  do_it gcloud compute tpus queued-resources describe "$NAME" "${where[@]}" --format="csv[no-heading]\
(state.state,tpu.nodeSpec[0].node.labels.made-by,tpu.nodeSpec[0].node.labels.run-id)" \
    >"$scratch/slice" 2>"$scratch/errors" || code=$?
  owner=''
  if $dry_run; then
    state=ACTIVE owner=$labels
  elif ((code == 0)); then
    IFS=, read -r state made_by run_id <"$scratch/slice" || true
    owner="made-by=$made_by,run-id=$run_id"
  elif grep -qiE 'not[ _]found' "$scratch/errors"; then
    state=ABSENT
  else
    state=UNKNOWN
  fi
}

gone() { # returns whether the slice is certainly no longer usable
  look
  [[ $state != ACTIVE && $state != UNKNOWN ]]
}

own() { # returns 0 only if the slice is this run's; else says in one line why not
  local tries=10
  look
  while [[ $state == UNKNOWN ]] && ((tries-- > 0)); do
    pause "$POLL"
    look
  done
  case $state in
    ABSENT)
      say "there is no slice $NAME"
      return 75
      ;;
    UNKNOWN)
      say "gcloud does not say whose the slice $NAME is: $(tail -n 1 "$scratch/errors")"
      return 1
      ;;
  esac
  if [[ $owner != "$labels" ]]; then
    say "the slice $NAME has not the labels $labels (but $owner): it was not touched"
    return 2
  fi
}

create() { # asks for the slice and waits until it is there
  look
  if [[ $state == UNKNOWN ]]; then
    say "gcloud does not say whether there is a slice $NAME: $(tail -n 1 "$scratch/errors")"
    return 1
  elif [[ $state != ABSENT ]] && ! $dry_run; then
    say "there is a slice $NAME already ($owner): choose another NAME; it was not touched"
    return 2
  fi
  if do_it gcloud compute tpus tpu-vm describe "$NAME" "${where[@]}" &>"$scratch/vm" \
    && ! $dry_run; then
    say "there is a TPU VM $NAME already: choose another NAME; it was not touched"
    return 2
  fi
  echo "run $RUN_ID: the slice is $NAME"
  local spot=() command
  if [[ $SPOT == true ]]; then
    spot=(--spot)
  fi
  command=(gcloud compute tpus queued-resources create "$NAME" "${where[@]}" --node-id="$NAME"
    --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" --labels="$labels" "${spot[@]}")
  if $dry_run; then
    do_it "${command[@]}"
    return
  fi
  requested=true
  # A signal waits until this is answered, so that `finish` knows what there is to delete.
  if ! (trap '' INT TERM HUP && exec "${command[@]}" 3>&-); then
    local code=0
    own || code=$?
    case $code in
      0) ;; # the slice was asked for all the same
      1) return 1 ;;
      *)
        requested=false # nothing is there, or what is there is another's
        return $((code == 2 ? 2 : 1))
        ;;
    esac
  fi
  while look && [[ $state != ACTIVE ]]; do
    case $state in
      FAILED | SUSPENDING | SUSPENDED | ABSENT)
        say "the slice is $state"
        return 75
        ;;
    esac
    echo "waiting for the slice: $state"
    pause "$POLL"
  done
}

patiently() { # on_workers all, up to three times: a new worker may refuse its first connections
  local code try
  for try in 1 2 3; do
    code=0
    on_workers all "$1" || code=$?
    if ((code == 0 || code == 2)); then
      return "$code"
    fi
    if gone; then
      return 75
    fi
    say "attempt $try of 3 on the workers ended with status $code"
    pause "$POLL"
  done
  return "$code"
}

# For the workers' shells: whether a job runs in this directory.
running="[ -s pid ] && [ ! -s status ] && kill -0 \"\$(cat pid)\" 2>/dev/null"

install() {
  own || return
  local uv=.uv/bin/uv
  patiently "if cd $directory 2>/dev/null; then
  if $running; then echo 'a job is running here' >&2; exit 2; fi
  cd ..
fi
{
${SETUP:-:}
} && rm -rf $directory && git clone -q --no-checkout $(printf '%q' "$REPOSITORY") $directory \
&& cd $directory && git checkout -q --detach $COMMIT \
&& python3 -m venv .uv && .uv/bin/pip install -q uv && $uv venv -q --python $(printf '%q' "$PYTHON") .venv \
&& $uv pip install -q --python .venv/bin/python -r requirements.txt 'jax[tpu]' || exit 1"
}

start() { # main|sweep <arguments>
  own || return
  local module=$1 arguments alone='' metadata=http://metadata/computeMetadata/v1/instance/attributes
  shift
  arguments=$(printf '%q ' "$@")
  if [[ $module == main ]]; then
    arguments+=--distributed
  else
    arguments+="--shard=\$(cat worker)"
    # A host of four chips is a slice of its own; otherwise the TPU runtime joins all hosts.
    alone='export TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1 TPU_PROCESS_BOUNDS=1,1,1'
  fi
  # Each worker keeps `worker` (its index and their number), `pid` of the shell around the job, `log`
  # and, once the job has ended, `status`. The shell outlives SIGTERM, to write the status.
  patiently "cd $directory || exit
attribute() { curl -sfH Metadata-Flavor:Google $metadata/\$1; }
index=\$(attribute agent-worker-number) && names=\$(attribute worker-network-endpoints) || exit 1
echo \"\$index/\$(echo \"\$names\" | tr , '\\n' | grep -c .)\" > worker
cat > job.new <<'JOB'
. .venv/bin/activate
$alone
exec python -m lsjax.$module $arguments
JOB
if $running; then
  cmp -s job.new job.sh && exit 0 # started by an earlier attempt, whose connection was lost
  echo 'another job is running here' >&2; exit 2
fi
mv job.new job.sh; rm -f status
setsid nohup bash -c 'trap : TERM; bash job.sh; echo \$? > status.new; mv status.new status' \
> log 2>&1 < /dev/null &
echo \$! > pid"
}

ask() { # sets `answer`: running, none (no job was started), silent (not all answered), or a status
  # shellcheck disable=SC2016 # what stands in single quotes is for the workers' shells
  on_workers all "cd $directory 2>/dev/null"' && [ -s pid ] || { echo lsjax-worker - none; exit; }
look() {
  if [ -s status ]; then echo "ended $(cat status)"
  elif kill -0 "$(cat pid)" 2>/dev/null; then echo running
  else echo lost; fi
}
state=$(look)
[ "$state" != lost ] || state=$(look) # it may just have ended
echo "lsjax-worker $(cat worker) $state"' >"$scratch/answers" 2>"$scratch/errors" || true
  answer=$(awk '$1 == "lsjax-worker" {
      split($2, at, "/"); count = at[2]; seen[at[1]] = 1
      if ($3 == "none") none = 1
      if ($3 == "running") running = 1
      status = $3 == "lost" ? 137 : $4 + 0
      if (status > worst) worst = status
    }
    END {
      for (i in seen) answered++
      print none ? "none" : !count || answered < count ? "silent" : running ? "running" : worst + 0
    }' "$scratch/answers")
}

shown=0
show_log() { # prints what worker 0's log has more than was shown
  on_workers 0 "tail -c +$((shown + 1)) $directory/log" >"$scratch/log" 2>"$scratch/errors" || true
  cat "$scratch/log"
  shown=$((shown + $(wc -c <"$scratch/log")))
}

follow() { # prints worker 0's log until all jobs have ended; returns the largest of their statuses
  while true; do
    show_log
    ask
    case $answer in
      running) ;;
      none)
        say "no job was started on a worker"
        return 2
        ;;
      silent)
        if gone; then
          return 75
        fi
        say "not all workers answer; their jobs go on, the slice is kept and billed; asking again"
        ;;
      *)
        show_log
        if ((answer != 0)); then
          on_workers all "cd $directory && tail -n 3 log | sed \"s|^|worker \$(cat worker): |\"" >&2 \
            || true
        fi
        return "$answer"
        ;;
    esac
    pause "$POLL"
  done
}

delete() {
  own || return
  do_it gcloud compute tpus queued-resources delete "$NAME" "${where[@]}" --force --quiet || return
  requested=false
}

run() { # `finish` deletes the slice
  if $dry_run; then
    create && install && start "$@" && show_log && ask && delete
    return
  fi
  local attempt code=0 losses=0
  for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
    code=0 shown=0
    { create && install && start "$@" && follow; } || code=$?
    case $code in
      0 | 2 | 3) return "$code" ;; # done, bad input (or refused), diverged
      75 | 143) ;;                 # preempted
      4 | 134 | 137)               # a process was lost or never came, perhaps with its worker
        if ! gone && ((++losses == 5)); then
          return "$code"
        fi
        ;;
      *)
        if ! $requested || ! gone; then
          return "$code" # an error on a slice that is still there
        fi
        ;;
    esac
    if ((attempt < ATTEMPTS)); then
      say "ended with status $code; attempt $((attempt + 1)) of $ATTEMPTS"
      if $requested; then
        delete || [[ $state == ABSENT ]] || return "$code"
        requested=false
      fi
    fi
  done
  return "$code"
}

"$action" "$@"
if [[ $action == create ]]; then
  requested=false # it is meant to stay
  echo "go on by: $again install; delete by: $again delete"
fi
