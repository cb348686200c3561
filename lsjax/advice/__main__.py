"""Says what to use on noisy labels: python -m lsjax.advice mine.csv --label=species

The examples are a table (.csv, .tsv, .parquet), a folder with a directory of images for each class,
an .npz file or the name of a TFDS data set. The answer lies in --workdir: report.html to read,
advice.json for programs, suspects.csv with every label by the chance that it is wrong,
check_these.csv with the labels that a person should check, methods.csv, labels_cleaned.npz,
recommended.py and the recommended model. The same command resumes after a kill.

Exit status: 0 done, 2 bad input (one line on stderr), 143 stopped by SIGTERM with everything saved.
"""

import os
import pathlib
import re
import sys
from collections.abc import Sequence

from absl import flags

from lsjax import cli
from lsjax.validation import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string("label", "", "Column, key or TFDS feature of the labels; none for a folder.")
flags.DEFINE_string("id", "", "Column of ids. Default: row numbers.")
flags.DEFINE_string("image", "", "Column with the paths of images.")
flags.DEFINE_list("votes", [], "Columns or keys of several annotators' labels, instead of --label.")
flags.DEFINE_string("trusted", "", "Column or key of labels known to be right, empty elsewhere.")
flags.DEFINE_string("test", None, "Clean data to test on: a table or folder like the first.")
flags.DEFINE_string("checked", None, "check_these.csv with the column `true` filled in.")
flags.DEFINE_integer(
  "image_size", None, "Side of the images in pixels. Default: 32.", lower_bound=1
)
flags.DEFINE_float(
  "minutes",
  None,
  "Time for the training runs of an advice that begins, by an estimate; 0: as few as possible.",
  lower_bound=0,
)


def main(argv: Sequence[str]) -> None:
  """Gives the advice and prints its sentences."""
  if len(argv) != 2:
    raise UserError("the name of one file, folder or data set is needed: lsjax advise mine.csv")
  source = argv[1]
  import jax
  import matplotlib  # noqa: F401 (where it is missing, this is said before the training)

  from lsjax.advice import Advice, inputs, pipeline
  from lsjax.advice.report import write
  from lsjax.training import loop

  if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
  name = re.sub(r"[^\w.-]+", "-", pathlib.PurePath(source).stem) or "advice"
  directory = cli.workdir(f"runs/advice-{name}")
  try:
    problem = inputs.read(
      source,
      label=FLAGS.label,
      id=FLAGS.id,
      image=FLAGS.image,
      votes=FLAGS.votes,
      trusted=FLAGS.trusted,
      test=FLAGS.test,
      checked=FLAGS.checked,
      image_size=FLAGS.image_size,
    )
  except ValueError as error:
    raise UserError(str(error)) from error
  with cli.jax_set_up():
    try:
      pipeline.run(problem, directory, minutes=FLAGS.minutes)
    except loop.Stopped as stopped:
      cli.fail(128 + stopped.signum, f"{stopped}; the same command resumes the advice")
  write(directory)
  print("\n\n".join(map(str, Advice(directory).answers)))
  print(f"\n{directory / 'report.html'}")


def run() -> None:
  """Runs the command with the process's arguments."""
  cli.run(main, None, sys.modules[__name__])


if __name__ == "__main__":
  run()
