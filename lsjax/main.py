"""Trains on noisy labels: python -m lsjax.main --config=configs/digits_noisy.py

The run lives in --workdir, by default runs/<config>/<config hash>. With a teacher in the
config (configs/digits_distill.py) it trains the teacher first.

Exit status: 0 done, 2 bad input (one line on stderr, nothing written), 3 diverged,
143 stopped by SIGTERM with a checkpoint saved (130 by Ctrl-C).
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app

from lsjax import cli
from lsjax import config as config_lib


def main(argv: Sequence[str]) -> None:
  del argv
  try:
    config = config_lib.from_config_dict(cli.FLAGS.config)
    config_lib.check_overrides(config, cli.overrides())
  except config_lib.ConfigError as error:
    cli.fail(cli.BAD_INPUT, str(error))
  default = f"runs/{cli.config_name()}/{config_lib.config_hash(config)}"
  workdir = pathlib.Path(cli.FLAGS.workdir or default)

  # Here, so that bad input is told before JAX is imported.
  from lsjax import distill, summary, train

  try:
    with cli.jax_set_up():
      if config.teacher is None:
        result = train.train_and_evaluate(config, workdir)
      else:
        result, workdir = distill.teach_and_train(config, workdir)
  except cli.bad_input() as error:
    cli.fail(cli.BAD_INPUT, str(error))
  except train.Stopped as stopped:
    cli.fail(128 + stopped.signum, f"{stopped}; the same command resumes it")
  print(summary.table(result, workdir))
  if result["status"] == "diverged":
    sys.exit(cli.DIVERGED)


if __name__ == "__main__":
  app.run(main, flags_parser=cli.parser(config_lib.check_field_name))
