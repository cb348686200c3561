"""Trains every cell of a sweep and writes its report.

    python -m lsjax.sweep --config=configs/sweeps/paper_digits.py

Runs that share shapes train as one compiled program, packed on each device and spread over
all of them. Each is an ordinary work directory, <config hash> in --workdir (by default
runs/<sweep config>): finished ones are skipped, and the same command resumes after a kill.
On a CPU each core is a device.

Job arrays: --shard=i/n takes the i-th of n parts, counted from 0. With --shard=n the index
comes from SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX; in a SLURM array no flag is needed.
Shards share the directory; whichever is last writes the report.

Exit status: 0 done (diverged cells are recorded, not fatal), 2 bad input, 143 stopped by
SIGTERM with everything saved.
"""

import os
import pathlib
import sys
from collections.abc import Callable, Sequence

import jax
from absl import flags

from lsjax import cli, garbage, reports
from lsjax import config as config_lib
from lsjax.sweeps import estimate, execution, plan, shards
from lsjax.training import devices, loop
from lsjax.validation import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string("shard", None, "Which part: i/n, or n with the index from the environment.")
flags.DEFINE_bool("dry_run", False, "Print cells, programs and an estimate of time; write nothing.")
flags.DEFINE_string(
  "packing",
  None,
  "How a device trains several runs at once, and how many: sequential, vmap, grouped or im2col, a "
  "colon and a number, such as vmap:4. Default: the fastest that benchmarks/packing.py measured.",
)


def _check_name(name: str) -> None:
  """Checks the name of an override: the config file's own fields, or base.section.field."""
  if name.startswith("base."):
    try:
      config_lib.check_field_name(name.removeprefix("base."))
    except config_lib.ConfigError as error:
      why = error.why.replace("config.", "config.base.")
      raise config_lib.ConfigError(name, why=why) from None


def train_and_report(
  planned: Sequence[plan.PlannedCell],
  directory: pathlib.Path,
  label: str,
  shard: tuple[int, int],
  *,
  on_call: Callable[[int], None] | None = None,
  packing: tuple[devices.Packing, int] | None = None,
) -> str:
  """Trains one shard's part of a sweep, then writes the report if no run is left.

  See `sweeps.execution.run_sweep` for the arguments.

  Returns:
    A summary for a terminal.
  """
  done, left = execution.run_sweep(
    planned, directory, label, shard, on_call=on_call, packing=packing
  )
  if left or not (directory / "theory.json").exists():
    return f"{done} runs of this shard are done; {left} of others are not yet"
  with garbage.not_collected():
    return reports.write(directory)


def main(argv: Sequence[str]) -> None:
  """Trains the sweep, or with --dry_run says what it would do."""
  del argv
  if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
  if "://" in (FLAGS.workdir or ""):
    why = "must be on a disk: the processes of a sweep share it by leases, which a bucket has not"
    raise UserError(f"--workdir = {FLAGS.workdir!r}: {why}")
  packing = None if FLAGS.packing is None else execution.packing_of(FLAGS.packing)
  directory = cli.workdir(f"runs/{cli.config_name()}")
  planned = plan.plan(FLAGS.config)
  shard = shards.shard_of(FLAGS.shard, os.environ)
  with cli.jax_set_up():
    if FLAGS.dry_run:
      print(estimate.dry_run(planned, directory, shard, packing))
      return
    try:
      print(train_and_report(planned, directory, FLAGS.config.label, shard, packing=packing))
    except loop.Stopped as stopped:
      cli.fail(128 + stopped.signum, f"{stopped}; the same command resumes the sweep")


def run() -> None:
  """Runs the command with the process's arguments."""
  cli.run(main, _check_name, sys.modules[__name__])


if __name__ == "__main__":
  run()
