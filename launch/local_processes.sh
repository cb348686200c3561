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
# others end too, and so does this script, with its status. SIGTERM and Ctrl-C reach all.
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
pids=()
interrupted=false
stop() { kill -TERM "${pids[@]}" 2>/dev/null || true; }
trap 'interrupted=true; stop' TERM INT
for ((i = 0; i < count; i++)); do
  output=/dev/stdout errors=/dev/stderr
  if ((i > 0)); then
    output=$logs/process_$i.log errors=$output
  fi
  LSJAX_COORDINATOR=127.0.0.1:$port LSJAX_NUM_PROCESSES=$count LSJAX_PROCESS_ID=$i \
    XLA_FLAGS=$flags python -m lsjax.main "$@" >>"$output" 2>>"$errors" &
  pids+=($!)
done

status=0
while true; do
  code=0
  wait -n || code=$?
  if $interrupted; then # by a signal to this script: no process need have ended
    interrupted=false
    continue
  fi
  if ((code == 127)); then # none is left
    break
  fi
  if ((code != 0 && status == 0)); then
    status=$code
    stop
  fi
done
if ((status != 0)); then
  echo "$0: a process ended with status $status; the ends of the logs in $logs:" >&2
  for ((i = 1; i < count; i++)); do
    tail -n 1 "$logs/process_$i.log" >&2
  done
fi
exit "$status"
