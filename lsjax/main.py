"""Trains on noisy labels: python -m lsjax.main --config=configs/digits_noisy.py

The run lives in --workdir, by default runs/<config>/<config hash>. With a teacher in the
config (configs/digits_distill.py) it trains the teacher first.

Several processes are one job with --distributed, or when the environment says so; the first of
them writes. When one of them dies the others end.

Exit status: 0 done, 2 bad input (one line on stderr, nothing written), 3 diverged, 4 another
process of the job was lost, 143 stopped by SIGTERM with a checkpoint saved (130 by Ctrl-C).
"""

import os
import sys
from collections.abc import Sequence

from absl import app, flags

from lsjax import cli, files
from lsjax import config as config_lib

flags.DEFINE_bool(
  "distributed",
  False,
  "One job of several processes that JAX finds by itself (Cloud TPU, GKE, SLURM). Not needed "
  "where the environment says so: several SLURM tasks, a TPU slice on GKE, or LSJAX_COORDINATOR, "
  "LSJAX_NUM_PROCESSES and LSJAX_PROCESS_ID.",
)


def main(argv: Sequence[str]) -> None:
  del argv
  try:
    config = config_lib.from_config_dict(cli.FLAGS.config)
    config_lib.check_overrides(config, cli.overrides())
  except config_lib.ConfigError as error:
    cli.fail(cli.BAD_INPUT, str(error))
  default = f"runs/{cli.config_name()}/{config_lib.config_hash(config)}"
  workdir = files.path(cli.FLAGS.workdir or default)

  # Here, so that bad input is told before JAX is imported.
  import jax

  from lsjax import cluster, distill, parallel, summary, train

  try:
    cluster.initialize(cli.FLAGS.distributed, os.environ)
    with cli.jax_set_up():
      if config.teacher is None:
        result = train.train_and_evaluate(config, workdir)
      else:
        result, workdir = distill.teach_and_train(config, workdir)
  except cli.bad_input() as error:
    cli.fail(cli.BAD_INPUT, str(error))
  except train.Stopped as stopped:
    # Together, unlike an error: what is said last is that the job's processes part.
    print(cli.line(f"{stopped}; the same command resumes it"), file=sys.stderr)
    sys.exit(128 + stopped.signum)
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() == 1:
      raise
    cli.fail(cli.PEER_LOST, f"another process of the job was lost ({str(error)[:200]})")
  if parallel.is_first_process():
    print(summary.table(result, workdir))
  if result["status"] == "diverged":
    sys.exit(cli.DIVERGED)


if __name__ == "__main__":
  app.run(main, flags_parser=cli.parser(config_lib.check_field_name))
