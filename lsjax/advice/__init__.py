"""The answer to a person with noisy labels: how noisy, which are wrong, what to train and how good.

`advise` gives it and `Advice` reads it back; `python -m lsjax.advice` is the command.

`inputs` reads what the person brings into a `problem.Problem`. `pipeline` runs the stages in order:
`candidates` lists the methods, `sizes` says how large their runs are, `training` trains them,
`noise` estimates what is wrong with the labels, `ranking` judges the methods, `answer` and
`outputs` write what was found, and `report` makes a page of it. Everything is written to one
directory, and what is there is not computed again.
"""

import os
from typing import Any

from lsjax.advice.advice import Advice

__all__ = ["Advice", "advise"]


def advise(
  source: Any,
  workdir: str | os.PathLike[str],
  *,
  minutes: float | None = None,
  **columns: Any,
) -> Advice:
  """Says how noisy labels are, which of them are wrong, what to train on them and how good it is.

  Args:
    source: a table, a folder of images, an .npz file, the name of a TFDS data set, a DataFrame, or
      a pair of arrays (inputs, labels).
    workdir: a directory for this advice alone; an advice that was begun there goes on.
    minutes: the time that all training runs may take, by an estimate; None for what the data need.
    **columns: what else is known of the examples: see `inputs.read`.

  Returns:
    The advice, whose report is report.html in the directory.

  Raises:
    ValueError: one line, for examples or labels that cannot be used.

  ```
  advice = lsjax.advise("plants.csv", "runs/plants", label="species")
  print(advice.noise_rate, advice.recommended["method"], advice.expected_accuracy)
  advice.predict(new_plants)
  ```
  """
  from lsjax.advice import inputs, pipeline
  from lsjax.advice.report import write

  problem = inputs.read(source, **columns)
  pipeline.run(problem, workdir, minutes=minutes)
  write(Advice(workdir).directory)
  return Advice(workdir)
