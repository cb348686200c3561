"""Writes a report from the result files of a sweep or of runs.

    python -m lsjax.report runs/paper_digits                  # a sweep directory
    python -m lsjax.report runs/mine                          # the work directory of a run
    python -m lsjax.report runs/a runs/b --out=runs/a_and_b   # several runs side by side
    python -m lsjax.report results/digits --out=runs/again    # what a report kept of its runs

The report goes to --out, by default to the sweep directory or to report/ in the work directory:
report.md, report.html (one file, figures inside, no network), report.json (claims and tables),
results.json (settings and metrics of every run), cells.json (configs of the cells), tables/*.csv
and *.tex, figures/*.png, *.svg and *.pdf. Without the runs, results.json and cells.json give the
same tables, and the figures that need no more. Only files are read; JAX is not imported.
"""

import argparse
import sys

from lsjax import extras, garbage, reports, terminal


def run() -> None:
  """Runs the command with the process's arguments; bad input ends in one line and status 2."""
  terminal.protect()
  garbage.collect_rarely()
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("path", nargs="+", help="a sweep directory, or work directories of runs")
  parser.add_argument("--out", help="where the report goes")
  args = parser.parse_args()
  try:
    with garbage.not_collected():
      print(reports.write(args.path, args.out))
  except (reports.ResultsError, OSError, ModuleNotFoundError) as error:
    reason = extras.hint(error) if isinstance(error, ModuleNotFoundError) else error
    print(f"lsjax: {' '.join(str(reason).split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  run()
