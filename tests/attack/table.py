"""The lines of the table of an attack, and its file results/attack.json."""

import json
import os
import pathlib
import platform
import time

import lsjax

ROOT = pathlib.Path(__file__).parents[2]
FILE = ROOT / "results/attack.json"

# The name of each line, what it says and how many cases a whole attack has.
LINES = {
  "kill_train": ("SIGKILL: train", 60),
  "kill_distil": ("SIGKILL: train, with a teacher", 52),
  "kill_sweep": ("SIGKILL: sweep", 40),
  "kill_advise": ("SIGKILL: advise", 20),
  "kill_report": ("SIGKILL: report", 28),
  "run_configs": ("mutated configs and flags of a run", 1000),
  "sweep_configs": ("mutated configs of a sweep", 1000),
  "damaged_npz": ("damaged .npz data", 200),
  "damaged_matrices": ("damaged matrices (.npy, .npz, text)", 150),
  "damaged_tables": ("damaged tables (.csv, .tsv, .parquet)", 200),
  "damaged_images": ("damaged folders of images", 120),
  "damaged_advice": ("damaged input of advise: tables, votes, checked labels", 130),
  "damaged_results": ("damaged files given to report", 150),
  "damaged_records": ("damaged TFDS records", 50),
  "flip_checkpoints": ("a flipped bit: checkpoints", 100),
  "flip_noise": ("a flipped bit: noise.npz", 50),
  "flip_metrics": ("a flipped bit: metrics.jsonl", 50),
  "flip_result": ("a flipped bit: result.json", 50),
  "flip_config": ("a flipped bit: config.json", 50),
  "disk_size": ("a disk without space", 24),
  "disk_inodes": ("a disk without inodes", 24),
  "signal_term": ("SIGTERM", 24),
  "signal_int": ("SIGINT", 24),
  "signal_hup": ("SIGHUP", 24),
  "streams": ("standard streams closed, full or read by nobody", 24),
  "race_working": ("racing processes, locks of the file system work", 16),
  "race_failing": ("racing processes, locks fail or do nothing", 16),
  "race_hosts": ("racing processes that see each other as on other hosts", 16),
}
HEADER = ("what", "tried", "handled", "lost")


def summed(outcomes):
  """Returns {line: {"tried", "handled", "lost", "skipped", "seconds"}} of outcomes.

  Args:
    outcomes: what tests recorded: dictionaries with line, tried, lost, skipped (a reason, or "")
      and seconds.
  """
  lines = {}
  for outcome in outcomes:
    one = lines.setdefault(
      outcome["line"],
      {"tried": 0, "handled": 0, "lost": 0, "skipped": "", "seconds": 0.0},
    )
    one["tried"] += outcome["tried"]
    one["lost"] += outcome["lost"]
    one["handled"] = one["tried"] - one["lost"]
    one["skipped"] = one["skipped"] or outcome["skipped"]
    one["seconds"] = round(one["seconds"] + outcome["seconds"], 1)
  return {name: lines[name] for name in LINES if name in lines}


def rows(lines):
  """Returns the rows of the table as texts, and a last one with the sums."""
  found = []
  for name, one in lines.items():
    what = LINES[name][0] + (f" (skipped: {one['skipped']})" if one["skipped"] else "")
    found.append([what, *(str(one[column]) for column in HEADER[1:])])
  sums = [str(sum(one[column] for one in lines.values())) for column in HEADER[1:]]
  return [*found, ["all", *sums]]


def merged(old, lines, seed):
  """Returns the content of the file with new lines in place of those of an earlier run.

  Args:
    old: the content of the file, or None.
    lines: the lines that were run whole.
    seed: the seed of the attack.
  """
  kept = old["lines"] if old and old["seed"] == seed else {}
  now = time.strftime("%Y-%m-%d")
  about = {"date": now, "lsjax": lsjax.__version__, "python": platform.python_version()}
  about["cores"] = len(os.sched_getaffinity(0))
  found = kept | {name: {"what": LINES[name][0], **one, **about} for name, one in lines.items()}
  return {"seed": seed, "lines": {name: found[name] for name in LINES if name in found}}


def write(path, lines, seed):
  """Writes lines to a file, beside those lines in it that were not run again."""
  path = pathlib.Path(path)
  old = json.loads(path.read_text()) if path.exists() else None
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(merged(old, lines, seed), indent=2) + "\n")
