"""Trains on noisy labels: python -m lsjax.main --config=configs/digits_noisy.py

The run lives in --workdir, by default runs/<config>/<config hash>. With a teacher in the
config (configs/digits_distill.py) it trains the teacher first.

Several processes are one job with --distributed, or when the environment says so; the first of
them writes. When one of them dies the others end.

Exit status: 0 done, 2 bad input (one line on stderr, nothing written), 3 diverged, 4 another
process of the job was lost or never came, 143 stopped by SIGTERM with a checkpoint saved (130 by
Ctrl-C).
"""

import os
import sys
from collections.abc import Sequence

from absl import flags

from lsjax import cli
from lsjax import config as config_lib

flags.DEFINE_bool(
  "distributed",
  False,
  "One job of several processes that JAX finds by itself (Cloud TPU, GKE, SLURM). Not needed "
  "where the environment says so: several SLURM tasks, a TPU slice on GKE, or LSJAX_COORDINATOR, "
  "LSJAX_NUM_PROCESSES and LSJAX_PROCESS_ID.",
)


def main(argv: Sequence[str]) -> None:
  """Trains the run, or the teacher and its student, and prints a summary."""
  del argv
  config = config_lib.from_config_dict(cli.FLAGS.config)
  config_lib.check_overrides(config, cli.overrides())
  default = f"runs/{cli.config_name()}/{config_lib.config_hash(config)}"
  workdir = cli.workdir(default)

  # Imported here, so that bad input is reported before JAX is imported.
  import jax

  from lsjax.distillation import stages
  from lsjax.reports import summary
  from lsjax.runs import execution
  from lsjax.training import distributed, loop

  if distributed.arguments(cli.FLAGS.distributed, os.environ) is not None:
    cli.end_aborts_in_one_line()
  try:
    distributed.initialize(cli.FLAGS.distributed, os.environ)
    with cli.jax_set_up():
      if config.teacher is None:
        result = execution.train_and_evaluate(config, workdir)
      else:
        result, workdir = stages.teach_and_train(config, workdir)
  except loop.Stopped as stopped:
    # A normal exit, unlike `cli.fail`: the processes of a job end together.
    print(cli.line(f"{stopped}; the same command resumes it"), file=sys.stderr)
    sys.exit(128 + stopped.signum)
  except distributed.PeerLostError as error:
    cli.fail(cli.PEER_LOST, str(error))
  except (jax.errors.JaxRuntimeError, ValueError) as error:
    if not distributed.is_peer_lost(error):
      raise
    cli.fail(cli.PEER_LOST, f"another process of the job was lost ({str(error)[:200]})")
  if distributed.is_first_process():
    print(summary.table(result, workdir))
  if result["status"] == "diverged":
    sys.exit(cli.DIVERGED)


def run() -> None:
  """Runs the command with the process's arguments."""
  cli.run(main, config_lib.check_field_name, sys.modules[__name__])


if __name__ == "__main__":
  run()
