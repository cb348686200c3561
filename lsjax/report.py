"""Writes a report from the result files of a sweep: python -m lsjax.report runs/paper_digits

The report goes to the sweep directory or to --out: report.md, report.html (one file, figures
inside, no network), report.json (claims and tables), results.json (final metrics of every run),
tables/*.csv and *.tex, figures/*.png and *.svg. Only files are read; JAX is not imported.
"""

import argparse
import sys

from lsjax import extras, reports


def run() -> None:
  """Runs the command with the process's arguments; bad input ends in one line and status 2."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("path", help="a sweep directory, such as runs/paper_digits")
  parser.add_argument("--out", help="where the report goes (default: the sweep directory)")
  args = parser.parse_args()
  try:
    print(reports.write(args.path, args.out))
  except (reports.ResultsError, OSError, ModuleNotFoundError) as error:
    reason = extras.hint(error) if isinstance(error, ModuleNotFoundError) else error
    print(f"lsjax: {reason}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  run()
