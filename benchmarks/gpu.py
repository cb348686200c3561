"""Everything that this project measures on one GPU, within a budget of minutes.

    python -m benchmarks.gpu --out=results/gpu/h100 --images=cifar10.npz

The programs are first compiled by several processes at once, into JAX's compilation cache and
PyTorch's; a first short sweep on the images shows that training works from end to end. Then the
benchmarks run one after another: step speed beside PyTorch, CUDA graphs, packing, floors. Each
writes its JSON under --out, so that a killed run leaves what it had finished. The programs are
chosen by autotuning while other processes use the GPU, which may cost some of their speed. On one
H100 with 16 CPU cores, 150 seconds were too few to compile the packings and PyTorch's models.
"""

import argparse
import collections
import gzip
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parent.parent
GRAPHS = "--xla_gpu_enable_command_buffer="
WITH_WHILE = "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,COLLECTIVES,CONDITIONAL,WHILE"

STEP = ("benchmarks.step_time", "--models=resnet32", "--scans=1,100,400")
PACKING = ("benchmarks.packing", "--models=resnet32")
WIDE = r"(sequential x 1|vmap x (2|4|8)|grouped.* x 4|im2col x 4)$"
PEERS = (
  r"eager channels_last|reduce-overhead channels_last|max-autotune channels_last bf|lsjax scan"
)

# The name of a benchmark's JSON, its command, and XLA's flags.
MEASURED: dict[str, tuple[tuple[str, ...], str]] = {
  "step_time": (STEP, ""),
  "packing_bfloat16": ((*PACKING, "--dtype=bfloat16", f"--only={WIDE}"), ""),
  "packing_float32": ((*PACKING, "--only=(sequential x 1|vmap x 4)$"), ""),
  "step_time_no_graphs": ((*STEP, "--only=bfloat16 (plain|scan of 100)"), GRAPHS),
  "step_time_while_graphs": ((*STEP, "--only=bfloat16 scan of 100"), GRAPHS + WITH_WHILE),
  "peer_torch": (("benchmarks.peer_torch", "--steps=200", f"--only={PEERS}"), ""),
  "floor_bfloat16": (("benchmarks.floor", "--models=resnet32", "--dtype=bfloat16"), ""),
}
# What each process of the first phase compiles: a name above, and rows of it.
COMPILED = (
  ("step_time", "float32"),
  ("step_time", "bfloat16"),
  ("packing_bfloat16", r"(sequential x 1|vmap x 2|grouped.* x 4)$"),
  ("packing_bfloat16", r"(vmap x (4|8)|im2col x 4)$"),
  ("packing_float32", ""),
  ("step_time_no_graphs", ""),
  ("step_time_while_graphs", ""),
  ("peer_torch", "PyTorch .*(eager|reduce-overhead)"),
  ("peer_torch", "PyTorch .*max-autotune.* bf"),
  ("floor_bfloat16", ""),
)


def sweep_command(images: str, workdir: pathlib.Path, num_steps: int) -> list[str]:
  """Returns the command that trains two runs of table A for a few steps."""
  settings = {"train.num_steps": num_steps, "train.eval_every": num_steps // 2}
  base = {"data.name": "npz", "data.path": images, "model.dtype": "bfloat16", **settings}
  return [
    *(sys.executable, "-m", "lsjax.sweep", f"--workdir={workdir}"),
    "--config=configs/sweeps/table_a_cifar10.py:resnet32",
    "--config.seeds=1",
    *(f"--config.base.{name}={value}" for name, value in base.items()),
    *("--config.base.optim.boundaries=(200,300)", "--config.base.data.validation_examples=5000"),
  ]


def start(command: list[str], log: pathlib.Path, flags: str = "") -> subprocess.Popen[bytes]:
  """Starts a process whose output goes to a file."""
  environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
  if flags:
    environment["XLA_FLAGS"] = flags
  with log.open("ab") as f:
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=f, stderr=f)


def benchmark(name: str, *more: str) -> tuple[list[str], str]:
  """Returns the command of a benchmark and XLA's flags for it."""
  command, flags = MEASURED[name]
  return [sys.executable, "-m", *command, *more], flags


def wait(processes: dict[str, "subprocess.Popen[bytes]"], until: float) -> None:
  """Waits for processes until a time, kills those that have not ended, and says how each ended."""
  begin = time.monotonic()
  left = dict(processes)
  while left and time.monotonic() < until:
    for name, process in list(left.items()):
      if process.poll() is not None:
        print(
          f"  {name}: status {process.returncode}, {time.monotonic() - begin:.0f} s", flush=True
        )
        del left[name]
    time.sleep(0.2)
  for name, process in left.items():
    process.kill()
    process.wait()
    print(f"  {name}: killed after {time.monotonic() - begin:.0f} s", flush=True)


def write_kernels(trace: pathlib.Path, out: pathlib.Path) -> None:
  """Writes the total time of each GPU kernel in a trace, the longest first."""
  seconds: collections.Counter[str] = collections.Counter()
  calls: collections.Counter[str] = collections.Counter()
  for path in trace.rglob("*.trace.json.gz"):
    with gzip.open(path) as f:
      events = json.load(f)["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e.get("name") == "process_name"}
    threads = {
      (e["pid"], e["tid"]): e["args"]["name"] for e in events if e.get("name") == "thread_name"
    }
    for e in events:
      on_gpu = "GPU" in names.get(e.get("pid"), "")
      if e.get("ph") == "X" and on_gpu and "Stream" in threads.get((e["pid"], e["tid"]), ""):
        seconds[e["name"]] += e["dur"] / 1e6
        calls[e["name"]] += 1
  total = sum(seconds.values()) or 1.0
  print(f"{total:.3f} s in {sum(calls.values())} kernels of {len(calls)} names", flush=True)
  rows = [
    {"kernel": name, "share": s / total, "seconds": s, "calls": calls[name]}
    for name, s in seconds.most_common()
  ]
  for name, s in seconds.most_common(25):
    print(f"  {s / total:7.2%} {calls[name]:7d} {name[:110]}", flush=True)
  out.write_text(json.dumps({"seconds": total, "kernels": rows}, indent=1))


def main() -> None:
  """Runs both phases."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument("--images", help="npz file with the images of the first sweep")
  parser.add_argument("--compile_seconds", type=float, default=300)
  parser.add_argument("--seconds", type=float, default=900, help="of both phases together")
  parser.add_argument("--profile_seconds", type=float, default=60, help="0 for no profile")
  parser.add_argument("--repetitions", type=int, default=5)
  args = parser.parse_args()
  begin = time.monotonic()
  logs = args.out / "logs"
  logs.mkdir(parents=True, exist_ok=True)

  processes = {}
  if args.images:
    command = sweep_command(args.images, args.out / "first_sweep", 400)
    processes["first sweep"] = start(command, logs / "first_sweep.txt")
  for i, (name, only) in enumerate(COMPILED):
    more = ("--repetitions=1", *((f"--only={only}",) if only else ()))
    command, flags = benchmark(name, *more)
    processes[f"{name} {only}"] = start(command, logs / f"compile_{i}.txt", flags)
  print("compiling:", flush=True)
  wait(processes, begin + args.compile_seconds)

  for name in MEASURED:
    out = args.out / f"{name}.json"
    command, flags = benchmark(name, f"--out={out}", f"--repetitions={args.repetitions}")
    log = logs / f"{name}.txt"
    wait({name: start(command, log, flags)}, begin + args.seconds)
    print(log.read_text(errors="replace")[-3000:], flush=True)
  if args.images and args.profile_seconds:
    trace = args.out / "trace"
    command = [*sweep_command(args.images, args.out / "profiled", 400), f"--profile={trace}"]
    until = time.monotonic() + args.profile_seconds
    wait({"profile": start(command, logs / "profile.txt")}, until)
    write_kernels(trace, args.out / "kernels.json")


if __name__ == "__main__":
  main()
