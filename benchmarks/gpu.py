"""Everything that this project measures on one GPU, in the minutes that there are.

    python -m benchmarks.gpu --out=results/gpu/h100_all --images=cifar10.npz --minutes=25
    python -m benchmarks.gpu --out=/tmp/rehearsal --rehearse   # all of it, tiny, on a CPU

The items are: step speed beside PyTorch, packings, table A (with tables D and E), accuracy against
alpha, students (table C), labels of people, then a profile and table A of ResNet-56. Each may take
a share of the minutes that are left, and is stopped in time. The same command goes on where the
last one stopped, on another machine of the same kind too: all that it needs is under --out. Results
are written there after each row and each run. Its directory work/ holds runs with their checkpoints
and compiled programs, and does not belong in a repository.

First the programs are compiled by as many processes as there are cores, which would otherwise take
most of the time. The fastest packing of item 2 trains the runs of all sweeps. Table A has the
recipe's 64,000 steps, seed by seed, because after 14,400 steps a network has hardly memorised wrong
labels (results/gpu/h100) and a shorter table A says nothing about the paper's. The other sweeps
have --short_steps, which their labels say. Nothing is fetched: the images come from an .npz file
with train_images, train_labels, test_images, test_labels and the label sets of CIFAR-10N.
"""

import argparse
import os
import pathlib
import shlex
import sys
import typing

import numpy as np

from benchmarks import gpu_items, gpu_session, run_all
from benchmarks.gpu_sweeps import CACHE, IMAGES, Settings
from lsjax import files

ROOT = pathlib.Path(__file__).parent.parent
LABEL_SETS = ("aggre_label", "random_label1", "worse_label")
# Examples of a rehearsal, to train on and to test on.
TINY = (200, 80)


def fail(why: str) -> typing.NoReturn:
  """Ends the process with one line and status 2."""
  print(f"benchmarks.gpu: {why}", file=sys.stderr)
  sys.exit(2)


def synthetic() -> dict[str, np.ndarray]:
  """Returns images whose brightness tells their class, in the form of the file of CIFAR-10."""
  rng = np.random.default_rng(0)
  arrays: dict[str, np.ndarray] = {}
  for split, count in zip(("train", "test"), TINY, strict=True):
    labels = np.arange(count, dtype=np.uint8) % 10
    noise = rng.integers(0, 30, (count, 32, 32, 3), dtype=np.uint8)
    arrays[f"{split}_images"] = noise + (labels * 22)[:, None, None, None]
    arrays[f"{split}_labels"] = labels
  for name in LABEL_SETS:
    wrong = rng.random(TINY[0]) < 0.2
    arrays[name] = np.where(wrong, rng.integers(0, 10, TINY[0]), arrays["train_labels"]).astype(
      "u1"
    )
  return arrays


def place_images(images: str, work: pathlib.Path, *, rehearse: bool) -> None:
  """Puts the images, or those of a rehearsal, where the sweeps look for them."""
  place = work / IMAGES
  if rehearse and place.exists():
    return
  if rehearse:
    arrays = synthetic()
    if images:
      with np.load(images) as found:
        arrays = {k: v[: TINY[k.startswith("test_")]] for k, v in found.items()}
    with files.replacing(place) as f:
      np.savez(f, allow_pickle=False, **arrays)
    return
  place.unlink(missing_ok=True)
  place.symlink_to(pathlib.Path(images).resolve())


def check_images(path: str) -> None:
  """Ends the process in one line unless a file has what the sweeps need."""
  try:
    with np.load(path) as found:
      names = set(found.files)
  except (OSError, ValueError) as error:
    fail(f"--images={path}: cannot be read as an .npz file ({error})")
  needed = {"train_images", "train_labels", "test_images", "test_labels", *LABEL_SETS}
  if needed - names:
    fail(f"--images={path}: has no {', '.join(sorted(needed - names))}")


def environment(work: pathlib.Path) -> dict[str, str]:
  """Returns the environment of the commands, with caches under --out so that they come along."""
  cache = work / CACHE
  return os.environ | {
    "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    "PYTHONUNBUFFERED": "1",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # processes that compile share the memory
    "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
    "TORCHINDUCTOR_CACHE_DIR": str(cache / "torch"),
    "TRITON_CACHE_DIR": str(cache / "triton"),
  }


def mib(path: pathlib.Path, pattern: str = "**/*") -> float:
  """Returns the size in MiB of the files below a directory."""
  found = (p for p in path.glob(pattern) if p.is_file() and not p.is_symlink())
  return sum(p.stat().st_size for p in found) / 2**20


def summary(builder: gpu_items.Builder, session: gpu_session.Session, argv: list[str]) -> str:
  """Returns the table of items, what to run next, and how large everything is."""
  best = builder.packing(len(builder.runs("table_a")))
  items = [item for item in builder.items() if item.steps]
  rows = gpu_session.table(items, session.steps, best[1] if best else None)
  open_items = [row for row in rows[-7:] if not row[1].startswith("finished")]
  command = shlex.join(["python", "-m", "benchmarks.gpu", *argv])
  work, out = builder.work, builder.out
  saved = mib(work, "*/*/checkpoints/**/*")
  return "\n".join(
    [
      run_all.plain([gpu_session.HEADER, *rows]),
      "packing: " + (f"{best[0]}, {best[1]:.0f} run-steps/s" if best else "not measured yet"),
      f"sizes: results {mib(out) - mib(work):.1f} MiB; {work} {mib(work):.0f} MiB, of which "
      f"checkpoints {saved:.0f} MiB and compiled programs {mib(work / CACHE):.0f} MiB",
      f"next: {command}  # goes on with {open_items[0][0]!r}"
      if open_items
      else "next: nothing, all is finished",
    ]
  )


def main() -> None:
  """Runs the command."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--out", required=True, type=pathlib.Path, help="results/gpu/<card>")
  parser.add_argument("--images", default="", help="npz file; needed unless --rehearse")
  parser.add_argument("--minutes", type=float, default=25.0, help="of this call")
  parser.add_argument("--label", default="CIFAR-10 (JPEG q75)", help="of the images, in reports")
  parser.add_argument("--steps", type=int, default=64_000, help="of a run of table A")
  parser.add_argument("--short_steps", type=int, default=16_000, help="of runs of other sweeps")
  parser.add_argument("--rehearse", action="store_true", help="everything, at a tiny size")
  args = parser.parse_args()
  for name in ("steps", "short_steps"):
    if getattr(args, name) < 8:
      parser.error(f"--{name}={getattr(args, name)}: must be at least 8")
  if not args.minutes > 0:
    parser.error(f"--minutes={args.minutes}: must be above 0")
  if args.images:
    check_images(args.images)
  elif not args.rehearse:
    parser.error("--images is missing: an .npz file")
  settings = Settings(args.label, args.steps, args.short_steps, rehearse=False)
  if args.rehearse:
    settings = Settings("rehearsal", 8, 8, rehearse=True)
  out = args.out.absolute()
  builder = gpu_items.Builder(out, settings)
  with gpu_session.stop_signals() as stop:
    seconds = 60 * args.minutes
    session = gpu_session.Session(out, builder.work, seconds, environment(builder.work), stop)
    noted = session.state.setdefault("settings", vars(settings))
    for name, value in vars(settings).items():
      if noted[name] != value:
        fail(f"--out={args.out}: {name} was {noted[name]!r} there and is {value!r} now")
    builder.work.mkdir(parents=True, exist_ok=True)
    place_images(args.images, builder.work, rehearse=args.rehearse)
    session.write()
    status = 0
    try:
      session.run(builder.items)
    except gpu_session.Stopped as stopped:
      status = 128 + stopped.signum
    print(summary(builder, session, sys.argv[1:]))
  sys.exit(status)


if __name__ == "__main__":
  main()
