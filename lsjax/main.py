"""Trains on noisy labels: python -m lsjax.main --config=configs/digits_noisy.py

With a teacher in the config (configs/digits_distill.py) it trains the teacher first.

Exit status: 0 done, 2 bad input (one line on stderr, nothing written), 3 diverged,
143 stopped by SIGTERM with a checkpoint saved (130 by Ctrl-C).
"""

import pathlib
import re
import sys
import typing
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from lsjax import config as config_lib

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Config file, path[:variants].")
flags.DEFINE_string("workdir", None, "Where the run lives; default runs/<config>/<config hash>.")

_BAD_INPUT, _DIVERGED = 2, 3


def _exit(status: int, message: str) -> typing.NoReturn:
  print(f"lsjax: {' '.join(message.split())}", file=sys.stderr)
  sys.exit(status)


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses flags; anything wrong with them ends in one line and status 2."""
  try:
    for argument in argv[1:]:
      if override := re.match(r"--?config\.([^=]+)", argument):
        name = override[1].split("[")[0]
        config_lib.check_field_name(name)
        if "=" not in argument:
          _exit(_BAD_INPUT, f"--config.{name}: write the value as --config.{name}=value")
    rest = FLAGS(list(argv))
    if FLAGS.config is None:
      _exit(_BAD_INPUT, "--config=<file> is missing, such as --config=configs/digits_noisy.py")
    FLAGS.config.items()  # a config file that failed to load raises on first use
  except Exception as error:  # a config file may raise anything
    # ml_collections puts a whole traceback into the message; its last line says it.
    lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
    if section := re.fullmatch(r"\W*(teacher|student)\W*", lines[-1]):
      _exit(_BAD_INPUT, f"config.{section[1]}: this config file trains without a teacher")
    _exit(_BAD_INPUT, re.sub(r"^([\w.]+(Error|Exception): )?", "", lines[-1].strip(), count=1))
  if len(rest) > 1:
    _exit(_BAD_INPUT, f"unexpected argument {rest[1]!r}")
  return rest


def main(argv: Sequence[str]) -> None:
  del argv
  if not FLAGS["verbosity"].present:  # Orbax reports every file it touches
    logging.set_verbosity(logging.WARNING)
  try:
    config = config_lib.from_config_dict(FLAGS.config)
    config_lib.check_overrides(config, config_flags.get_override_values(FLAGS["config"]))
  except config_lib.ConfigError as error:
    _exit(_BAD_INPUT, str(error))
  name = pathlib.Path(config_flags.get_config_filename(FLAGS["config"])).stem
  workdir = pathlib.Path(FLAGS.workdir or f"runs/{name}/{config_lib.config_hash(config)}")

  # Here, so that bad input is told before JAX is imported.
  from lsjax import checkpoint, distill, record, summary, train

  try:
    if config.teacher is None:
      result = train.train_and_evaluate(config, workdir)
    else:
      result, workdir = distill.teach_and_train(config, workdir)
  except (config_lib.ConfigError, record.WorkdirError, checkpoint.CheckpointError) as error:
    _exit(_BAD_INPUT, str(error))
  except train.Stopped as stopped:
    _exit(128 + stopped.signum, f"{stopped}; the same command resumes it")
  print(summary.table(result, workdir))
  if result["status"] == "diverged":
    sys.exit(_DIVERGED)


if __name__ == "__main__":
  app.run(main, flags_parser=_parse)
