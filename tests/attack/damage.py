"""Damage to files: to their bytes, to a table or JSON in them, or by what takes their place."""

import json
import os
import shutil

from test_hostile_inputs import flipped

# Cells of tables, and values of JSON, as spreadsheets and other programs leave them.
CELLS = (
  *("", " ", "x", "NA", "nan", "inf", "-inf", "1e400", "-1", "0", "1.5", "99999999999999999999"),
  *("1,5", "\ud7ff", "é", "\x00", "\x1b[31m", '"', "'", "\\", "=1+1", "True", "None", "\u2028"),
  *("0" * 400, "y" * 70_000, "1970-01-01", "../../etc/passwd", "/dev/zero", "٣"),
)
VALUES = (
  *(None, True, 0, -1, 1.5, 1e308, 10**30, "", "x", "\x1b[31m", "../..", "/", "a\nb", "\u202e"),
  *([], [[]], {}, {"x": 1}, [1, 2], {"": None}, "z" * 5000),
)


def of_bytes(path, draws):
  """Damages a file as a program that knows nothing of its kind would."""
  content = path.read_bytes()
  kind = draws.choice(
    ("flip", "flip", "flip", "cut", "cut", "empty", "noise", "twice", "zeros", "lost", "in place")
  )
  if kind == "flip":
    path.write_bytes(flipped(content, draws, 8))
  elif kind == "cut":
    path.write_bytes(content[: draws.randrange(len(content) or 1)])
  elif kind == "empty":
    path.write_bytes(b"")
  elif kind == "noise":
    path.write_bytes(draws.randbytes(draws.randint(1, 2000)))
  elif kind == "twice":
    path.write_bytes(content * draws.randint(2, 3))
  elif kind == "zeros":
    at = draws.randrange(len(content) or 1)
    path.write_bytes(content[:at] + bytes(min(4096, len(content) - at)) + content[at + 4096 :])
  elif kind == "lost":
    path.unlink()
  else:
    in_its_place(path, draws)


def in_its_place(path, draws):
  """Puts something that is no regular file in the place of a file."""
  path.unlink()
  kind = draws.choice(("directory", "pipe", "device", "loop", "dangling"))
  if kind == "directory":
    path.mkdir()
  elif kind == "pipe":
    os.mkfifo(path)
  else:
    target = {"device": "/dev/zero", "loop": path.name, "dangling": "absent"}[kind]
    path.symlink_to(target)


def of_table(path, draws):
  """Damages the cells, rows, columns or header of a text table."""
  mark = "\t" if path.suffix == ".tsv" else ","
  rows = [line.split(mark) for line in path.read_text().splitlines()]
  for _ in range(draws.randint(1, 3)):
    row = draws.choice(rows)
    kind = draws.random()
    if kind < 0.55:
      row[draws.randrange(len(row))] = draws.choice(CELLS)
    elif kind < 0.65:
      row.pop(draws.randrange(len(row)))
      row or row.append("")
    elif kind < 0.75:
      row.insert(draws.randrange(len(row) + 1), draws.choice(CELLS))
    elif kind < 0.85:
      rows.insert(draws.randrange(len(rows) + 1), list(row))
    elif kind < 0.9:
      rows[:] = rows[: draws.randint(1, len(rows))]
    else:
      column = draws.randrange(len(rows[0]))
      value = draws.choice(CELLS)
      for each in rows[draws.randint(0, 1) :]:
        each[min(column, len(each) - 1)] = value
  ending = draws.choice(("\n", "\n", "\n", "\r\n", "\r"))
  start = draws.choice((b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"))
  text = ending.join(mark.join(row) for row in rows) + ending
  path.write_bytes(start + text.encode("utf-8", "surrogatepass"))


def of_json(path, draws):
  """Replaces, removes or adds a value in a file of JSON, or of a JSON object on each line."""
  text = path.read_text()
  lines = text.splitlines() if path.suffix == ".jsonl" else [text]
  at = draws.randrange(len(lines))
  value = json.loads(lines[at])
  nodes = [value]
  for node in nodes:
    inner = node.values() if isinstance(node, dict) else node
    nodes += [each for each in inner if isinstance(each, (dict, list))]
  node = draws.choice([node for node in nodes if node] or nodes)
  keys = list(node) if isinstance(node, dict) else list(range(len(node)))
  kind = draws.random()
  if keys and kind < 0.7:
    node[draws.choice(keys)] = draws.choice(VALUES)
  elif keys and kind < 0.9:
    del node[draws.choice(keys)]
  elif isinstance(node, dict):
    node[draws.choice(("x", "", "sha256", "\x1b"))] = draws.choice(VALUES)
  else:
    node.append(draws.choice(VALUES))
  lines[at] = json.dumps(value)
  path.write_text("\n".join(lines) + "\n")


def removed(path):
  """Removes a file, a directory or a link."""
  shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
