#!/usr/bin/env bash
# Trains one run with N processes on this machine, as N hosts would.
#
#   launch/local_processes.sh 2 --config=configs/digits_noisy.py --workdir=runs/two
#   DEVICES=2 launch/local_processes.sh 2 --config=...   # CPU devices of each process (default 1)
#   launch/local_processes.sh --dry_run 2 --config=...
#
# Needs: lsjax's requirements. Costs: nothing but this machine's time.
# Does: starts N times `python -m lsjax.main`, told of each other by LSJAX_COORDINATOR,
# LSJAX_NUM_PROCESSES and LSJAX_PROCESS_ID. Process 0 writes to the terminal, the others to
# <log directory>/process_<i>.log (LOGS, default a new temporary one). If one ends with an error the
# others end too, and so does this script, with the status of the first that failed. SIGTERM, SIGHUP
# and SIGINT (Ctrl-C) reach all processes as SIGTERM. If this script is killed (kill -9), a watcher
# sends them SIGTERM. What has not ended GRACE seconds (default 120) after SIGTERM is killed.
set -euo pipefail

dry_run=false
if [[ ${1-} == --dry_run ]]; then
  dry_run=true
  shift
fi
if [[ ! ${1-} =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: $0 [--dry_run] <processes> <arguments of lsjax.main>" >&2
  exit 2
fi
count=$1
shift

port=${PORT:-$(python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')}
flags="${XLA_FLAGS-} --xla_force_host_platform_device_count=${DEVICES:-1}"

if $dry_run; then
  for ((i = 0; i < count; i++)); do
    echo "LSJAX_COORDINATOR=127.0.0.1:$port LSJAX_NUM_PROCESSES=$count LSJAX_PROCESS_ID=$i" \
      "XLA_FLAGS='${flags# }' python -m lsjax.main $*"
  done
  exit 0
fi

logs=${LOGS:-$(mktemp -d)}
mkdir -p "$logs"

# The watcher reads process ids from a pipe that only this script holds open. The line "stop", or the
# end of the pipe (this script was killed), makes it end the processes; "done" says that none is left.
watch() {
  trap '' TERM INT HUP
  local line code pids=() deadline='' # deadline: set once the processes have been told to end
  while [[ -z $deadline ]] || kill -0 "${pids[@]}" 2>/dev/null; do
    code=0
    read -r ${deadline:+-t 0.2} line || code=$?
    if ((code == 0)) && [[ $line == "done" ]]; then
      return
    elif ((code == 0)) && [[ $line != stop ]]; then
      pids+=("$line")
    elif [[ -z $deadline ]]; then
      deadline=$((SECONDS + ${GRACE:-120}))
      kill -TERM "${pids[@]}" 2>/dev/null || true
    elif ((SECONDS >= deadline)); then
      kill -KILL "${pids[@]}" 2>/dev/null || true
    else
      sleep 0.2
    fi
  done
}
exec {watcher}> >(watch <&0 >/dev/null 2>&1 &) # in the background: not a process that is waited for

interrupted=false
stop() {
  echo stop >&"$watcher" || true
  kill -TERM "${pids[@]}" 2>/dev/null || true
}
trap '' PIPE
trap 'interrupted=true; stop' TERM INT HUP
pids=()
for ((i = 0; i < count; i++)); do
  if $interrupted; then
    break
  fi
  output=/dev/stdout errors=/dev/stderr
  if ((i > 0)); then
    output=$logs/process_$i.log errors=$output
  fi
  (
    trap - PIPE
    trap '' HUP # a closed terminal signals all; they are to get SIGTERM, at which they save
    echo "$BASHPID" >&"$watcher" # before it is python, so that none is ever unknown
    exec {watcher}>&-
    export LSJAX_COORDINATOR=127.0.0.1:$port LSJAX_NUM_PROCESSES=$count LSJAX_PROCESS_ID=$i
    XLA_FLAGS=$flags exec python -m lsjax.main "$@" >>"$output" 2>>"$errors"
  ) &
  pids+=($!)
done
if $interrupted; then # between the start of a process and the note of its id
  stop
fi

status=0 ended=0 fallback=143
if ((${#pids[@]} == 0)); then # a signal came before the first was started
  status=$fallback
fi
while ((ended < ${#pids[@]})); do
  code=0
  wait -n || code=$?
  if $interrupted && ((code > 128)); then # by a signal to this script: no process need have ended
    interrupted=false
    continue
  fi
  if ((code == 127)); then # none is left; the status of one may have been taken for the signal's
    status=$((status == 0 ? fallback : status))
    break
  fi
  ended=$((ended + 1))
  if ((code != 0 && status == 0)); then
    status=$code
    stop
  fi
done
echo "done" >&"$watcher" || true
if ((status != 0)); then
  echo "$0: a process ended with status $status; the ends of the logs in $logs:" >&2
  for ((i = 1; i < ${#pids[@]}; i++)); do
    tail -n 1 "$logs/process_$i.log" >&2 || true
  done
fi
exit "$status"
