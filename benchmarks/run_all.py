"""Runs every benchmark in a process of its own and prints all rows in a table.

    python benchmarks/run_all.py                          # about an hour on 2 cores
    python benchmarks/run_all.py --only=startup,packing
    python benchmarks/run_all.py --only=none              # only the table of earlier results
    python benchmarks/run_all.py --only=none --readme     # and writes it to the pages

Results are written to results/benchmarks/<name>.json. What needs PyTorch (`pip install torch`) or
XLA's compiler for GPUs (`pip install "jax[cuda12]"`) is left out without it. After the table the
missed targets are listed; benchmarks/README.md says what was tried. This process does not import
JAX.
"""

import argparse
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "results/benchmarks"
NAMES = (
  "floor",
  "step_time",
  "peer_torch",
  "peer_torch_table",
  "packing",
  "startup",
  "loop_overhead",
  "loss_cost",
  "table_time",
  "whole_command",
  "growth",
  "memory",
  "input_pipeline",
  "scaling",
  "kernels",
)
# The packages without which a benchmark is left out.
NEEDED = {"peer_torch": "torch", "peer_torch_table": "torch", "kernels": "jax_cuda12_plugin"}
HEADER = ("benchmark", "measured", "median (min to max)", "ratio", "target", "peak host MiB")
BEGIN, END = "<!-- made by: python benchmarks/run_all.py --only=none --readme -->", "<!-- end -->"


def read(name: str) -> dict[str, Any] | None:
  """Returns the results of a benchmark, or None if there are none."""
  path = RESULTS / f"{name}.json"
  return json.loads(path.read_text()) if path.exists() else None


def met(row: dict[str, Any]) -> bool | None:
  """Returns whether the median of a row meets its target, or None for a row without a target."""
  target = row["target"]
  if target is None:
    return None
  median = row[target["of"]]["median"]
  if target["bound"] == "at most":
    return bool(median <= target["number"])
  return bool(median >= target["number"])


def number(x: float) -> str:
  """Formats a number with three or four significant digits, without an exponent."""
  return f"{x:.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def spread(summary: dict[str, float]) -> str:
  """Formats a median with the least and the greatest value."""
  median, low, high = (number(summary[k]) for k in ("median", "min", "max"))
  return median if low == high else f"{median} ({low} to {high})"


def cells(name: str, row: dict[str, Any]) -> tuple[str, ...]:
  """Formats a row of results as the cells of a table under `HEADER`."""
  target, ratio = row["target"], row["ratio"]
  goal = ""
  if target is not None:
    goal = f"{'ratio ' if target['of'] == 'ratio' else ''}{target['bound']} {target['number']:g}"
    goal += ": met" if met(row) else ": MISSED"
  return (
    name,
    row["name"],
    f"{spread(row['value'])} {row['unit']}",
    "" if ratio is None else f"{spread(ratio)} of {row['ratio_to']}",
    goal,
    "" if row["peak_host_mib"] is None else f"{row['peak_host_mib']:.0f}",
  )


def markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
  """Formats a table in Markdown."""
  lines = [header, ("---",) * len(header), *rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(rows: list[tuple[str, ...]]) -> str:
  """Formats a table in plain text with aligned columns."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    for row in rows
  )


def all_cells() -> list[tuple[str, ...]]:
  """Returns the cells of all rows of all results."""
  results = {name: read(name) for name in NAMES}
  return [cells(name, row) for name, r in results.items() if r for row in r["rows"]]


def machines() -> str:
  """Names the machines and versions of the results, each once."""
  found = [r["environment"] for name in NAMES if (r := read(name))]
  texts = [f"{e['cpu']}, {e['backend']}, Python {e['python']}, jax {e['jax']}" for e in found]
  return "; ".join(dict.fromkeys(texts))


def missed() -> list[str]:
  """Returns a line of text for each target that was missed."""
  return [", ".join(filter(None, c[:5])) for c in all_cells() if "MISSED" in c[4]]


def section(rows: list[tuple[str, ...]], more: str = "") -> str:
  """Returns a table of rows with their machine, and more, between the marks of a page."""
  return f"{BEGIN}\nMeasured on {machines()}.\n\n{markdown(HEADER, rows)}{more}\n{END}"


def parts() -> str:
  """Returns the table of what each part of a whole command takes, empty without results."""
  found = read("whole_command")
  watched = {r["name"]: r["details"] for r in found["rows"] if r["details"]} if found else {}
  commands = [name for name in watched if ", before" not in name]
  if not commands:
    return ""
  before = [name.replace(", clock", ", before, clock") for name in commands]
  total = {name: sum(spent[0] for spent in watched[name].values()) for name in commands}
  longest = watched[max(commands, key=lambda name: total[name])]
  others = {part for details in watched.values() for part in details} - {*longest}

  def seconds(name: str, part: str) -> str:
    spent = watched.get(name, {}).get(part)
    return "" if spent is None else f"{spent[0]:.2f} / {spent[1]:.2f}"

  header = ("part", *(n.removesuffix(", clock") for pair in zip(commands, before) for n in pair))
  rows = [
    (part, *(seconds(name, part) for pair in zip(commands, before) for name in pair))
    for part in (*longest, *sorted(others))
  ]
  return (
    "\n\nSeconds on the clock / of processors of each part of a whole command, in its last "
    f"round:\n\n{markdown(header, rows)}"
  )


def pages() -> dict[pathlib.Path, str]:
  """Returns the generated section of each page: the rows with a target, and all rows."""
  every = all_cells()
  return {
    ROOT / "docs/benchmarks.md": section([c for c in every if c[4]]),
    ROOT / "benchmarks/README.md": section(every, parts()),
  }


def write_pages() -> None:
  """Writes the generated section of each page."""
  pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
  for path, text in pages().items():
    before, after = pattern.split(path.read_text())
    path.write_text(f"{before}{text}{after}")


def main() -> None:
  """Runs the command."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--only", default=",".join(NAMES), help="names with commas, or none")
  parser.add_argument(
    "--readme",
    action="store_true",
    help="rewrite the tables of docs/benchmarks.md and benchmarks/README.md",
  )
  args = parser.parse_args()
  names = [] if args.only == "none" else args.only.split(",")
  for name in names:
    if name not in NAMES:
      parser.error(f"--only={name}: must be none or some of {', '.join(NAMES)}")
  failed = []
  for name in names:
    needed = NEEDED.get(name)
    if needed and importlib.util.find_spec(needed) is None:
      print(f"{name}: left out, {needed} is not installed")
      continue
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", f"--out={RESULTS / name}.json"]
    if subprocess.run(command, cwd=ROOT).returncode:
      failed.append(name)
  print(plain([HEADER, *all_cells()]))
  print(machines())
  lines = missed()
  print(f"{len(lines)} targets missed{':' if lines else ''}")
  print(*(f"  {line}" for line in lines), sep="\n")
  if args.readme:
    write_pages()
  if failed:
    sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
  main()
