"""What to do next, and notes on how the advice was made."""

import os
import pathlib
import shlex
from collections.abc import Mapping
from html import escape
from typing import Any

from lsjax.advice.report import wording
from lsjax.advice.report.parts import Section
from lsjax.advice.report.wording import counted

_CLEANED = """import numpy as np
found = np.load({path!r})
found["ids"], found["given"], found["replaced"], found["keep"]"""
_PREDICT = """from lsjax.advice import Advice
Advice({directory!r}).predict(new_data)"""


def next_steps(content: Mapping[str, Any], directory: pathlib.Path) -> Section:
  """Returns the files of the advice with the commands and lines that use them."""
  where = os.fspath(directory)
  check, config, cleaned = (
    os.fspath(directory / name)
    for name in ("check_these.csv", "recommended.py", "labels_cleaned.npz")
  )
  check_some = (
    "Check a few labels",
    "Open check_these.csv in a spreadsheet, write the true label into the column true, and give "
    "the same command again with this option. Every number above becomes more certain.",
    f"--checked={shlex.quote(check)}",
  )
  steps = (
    *(() if content["data"]["checked"] else (check_some,)),
    (
      "Predict with the model",
      "The model takes new data in the form of yours.",
      _PREDICT.format(directory=where),
    ),
    (
      "Use the cleaned labels in your own code",
      "keep says which labels are probably right; replaced has the proposed label in place of the "
      "others. They are guesses, and some of them are wrong.",
      _CLEANED.format(path=cleaned),
    ),
    (
      "Train the recommended model again",
      "Change the config as you like.",
      f"lsjax train --config={shlex.quote(config)}",
    ),
  )
  lines = ["<ol>"]
  for title, text, code in steps:
    lines.append(f"<li><strong>{title}.</strong> {escape(text)}<pre>{escape(code)}</pre></li>")
  files = (
    "Paths are those of the command that made this report. suspects.csv has every label, "
    "methods.csv the ranking, and advice.json all numbers of this page."
  )
  return Section("next", "What to do next", [*lines, "</ol>", f"<p>{escape(files)}</p>"])


def notes(content: Mapping[str, Any]) -> Section:
  """Returns notes on the data, what was left out, and how the advice was made."""
  data = content["data"]
  texts = [wording.sentence(note) for note in data["notes"]]
  if content["left_out"]:
    texts.append(f"Left out for want of time: {'; '.join(content['left_out'])}.")
  known = [
    counted(data[key], noun)
    for key, noun in (("checked", "checked label"), ("test_examples", "test example"))
    if data[key]
  ]
  if data["annotators"]:
    known.append(f"labels of {counted(len(data['annotators']), 'annotator')}")
  texts.append(f"Besides the given labels there were {', '.join(known) or 'no other ones'}.")
  shape = " by ".join(map(str, data["inputs"]))
  texts.append(
    f"Every run: {content['model']} on inputs of {shape}, {counted(content['steps'], 'step')} at "
    f"most, {counted(content['folds'], 'fold')}, {counted(content['seeds'], 'seed')}. The "
    "recommended model is trained on all examples."
  )
  texts.append(f"Made by lsjax {content['lsjax']} in {content['seconds']:,.0f} seconds.")
  lines = ["<ul>", *(f"<li>{escape(wording.shortened(text, 400))}</li>" for text in texts), "</ul>"]
  return Section("notes", "Notes", lines)
