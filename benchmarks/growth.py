"""The time of a sweep's commands as its cells grow in number: plan, training, resuming, report.

    python -m benchmarks.growth --out=results/benchmarks/growth.json  # 100, 400 and 1,000 cells
    python -m benchmarks.growth --sizes=100,1000,10000 ...  # ten thousand too: twenty minutes

The cells are runs of two steps on digits. For each number of cells the sweep is planned
(`--dry_run`), trained, started again when every run is done, and reported again. A row says what
each further cell costs beyond the number before; its ratio is to the first such cost, which stays
near 1 where the time is linear. Times are those of processors, user and system. About ten minutes
on 2 cores.
"""

import argparse
import itertools
import pathlib
import tempfile
from collections.abc import Iterator

from benchmarks import harness
from benchmarks.whole_command import ROOT, Checkout, Command

LINEAR = 1.5  # the largest ratio that counts as linear


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Runs the commands for each number of cells; yields a row for each further number."""
  sizes = sorted(int(size) for size in args.sizes.split(","))
  seconds: dict[str, dict[int, float]] = {}
  with tempfile.TemporaryDirectory() as place:
    checkout = Checkout(ROOT, pathlib.Path(place) / "caches")
    for size in (sizes[0], *sizes):  # the first one fills the caches
      with tempfile.TemporaryDirectory() as workdir:
        sweep = ("sweep", f"--config=benchmarks/many_cells.py:{size}")
        commands = {
          "plan (--dry_run)": Command("lsjax", (*sweep, "--dry_run")),
          "training": Command("lsjax", sweep),
          "resuming": Command("lsjax", sweep),
          "report": Command("lsjax", ("report", f"{workdir}/run"), is_run=False),
        }
        for name in harness.chosen(list(commands), args.only):
          _, cpu, _ = checkout.run(commands[name], workdir=pathlib.Path(workdir))
          seconds.setdefault(name, {})[size] = cpu
  for name, of_size in seconds.items():
    costs = [1000 * (of_size[b] - of_size[a]) / (b - a) for a, b in itertools.pairwise(of_size)]
    for size, cost in zip(list(of_size)[1:], costs):
      yield harness.Row(
        name=f"{name}, each further cell up to {size}",
        unit="ms",
        values=[cost],
        ratios=[cost / costs[0]],
        ratio_to="the first",
        target=harness.Target("ratio", "at most", LINEAR) if cost != costs[0] else None,
        details={f"seconds for {n} cells": round(t, 2) for n, t in of_size.items()},
      )


def flags(parser: argparse.ArgumentParser) -> None:
  """Adds the flag of the numbers of cells."""
  parser.add_argument("--sizes", default="100,400,1000", help="numbers of cells, with commas")


if __name__ == "__main__":
  harness.run("growth", __doc__, measure, repetitions=1, arguments=flags)
