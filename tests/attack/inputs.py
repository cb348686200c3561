"""Sound inputs of every kind, and the commands that read them; a test damages them between."""

import csv
import io

import numpy as np
from PIL import Image

from attack import jobs

_QUICK = ("--config.train.num_steps=1", "--config.train.batch_size=8", "--config.model.hidden=8")
CONFIG = '''"""A quick run of any fields."""

from lsjax import config as config_lib


def get_config():
  config = config_lib.default_config()
  config.update_from_flattened_dict({!r})
  return config
'''


def train(place, **fields):
  """Returns the arguments of a quick run with some fields, which a config file sets."""
  path = place / "config.py"
  path.write_text(CONFIG.format({name.replace("__", "."): value for name, value in fields.items()}))
  return ["train", f"--config={path}", *_QUICK, f"--workdir={place / 'run'}"]


def npz(place, draws):
  """Writes an .npz file of a data set; returns it and the command that trains on it."""
  own = np.random.default_rng(draws.randrange(2**32))
  path = place / "data.npz"
  labels = np.arange(60) % 4
  arrays = {
    "train_images": own.integers(0, 256, (60, 4, 4, 1), np.uint8),
    "train_labels": labels,
    "test_images": own.integers(0, 256, (20, 4, 4, 1), np.uint8),
    "test_labels": np.arange(20) % 4,
    "crowd": own.permutation(labels),
    "train_ids": np.array([f"image {i}" for i in range(60)]),
  }
  if draws.random() < 0.4:  # sound files whose arrays are wrong
    name = draws.choice(list(arrays))
    arrays[name] = draws.choice(_ODD_ARRAYS)(arrays[name])
    if draws.random() < 0.3:
      del arrays[draws.choice(list(arrays))]
  draws.choice((np.savez, np.savez_compressed))(path, allow_pickle=True, **arrays)
  noise = {"noise__kind": "given", "noise__labels": "crowd"} if draws.random() < 0.5 else {}
  return path, train(place, data__name="npz", data__path=str(path), **noise)


_ODD_ARRAYS = (
  lambda x: x[:-1],
  lambda x: x[:0],
  lambda x: x[None],
  lambda x: x.astype("U"),
  lambda x: x.astype("S"),
  lambda x: x.astype(object),
  lambda x: np.full(x.shape, np.nan),
  lambda x: np.full(x.shape, np.inf, np.float16),
  lambda x: np.full(x.shape, -1),
  lambda x: np.full(x.shape, 2**62),
  lambda x: np.full(x.shape, 10**6),
  lambda x: np.full(x.shape, 0.5),
  lambda x: np.zeros(x.shape, bool),
  lambda x: np.zeros(x.shape, complex),
  lambda x: np.zeros(x.shape, "M8[s]"),
  lambda x: np.zeros(x.shape, [("a", int), ("b", float)]),
  lambda x: np.array(3),
  lambda x: np.zeros((0, 0)),
  lambda x: np.asfortranarray(x),
  lambda x: np.broadcast_to(x.reshape(-1)[:1].reshape((1,) * x.ndim), x.shape),
)


def matrix(place, draws):
  """Writes a matrix over the ten digits; returns it and a command that reads it."""
  kind = draws.choice((".npy", ".npz", ".txt", ".csv"))
  path = place / f"matrix{kind}"
  values = 0.8 * np.eye(10) + 0.02
  if draws.random() < 0.4:
    values = draws.choice(_ODD_MATRICES)(values)
  if kind == ".npy":
    np.save(path, values)
  elif kind == ".npz":
    np.savez(path, matrix=values)
  else:
    np.savetxt(path, np.atleast_2d(values).reshape(len(values), -1), delimiter=" ")
  fields = draws.choice(
    (
      {"noise__kind": "file", "noise__path": str(path)},
      {"loss__name": "smearing", "loss__matrix": str(path)},
      *(
        {"loss__name": name, "loss__transition": "file", "loss__transition_path": str(path)}
        for name in ("forward_correction", "backward_correction")
      ),
    )
  )
  return path, train(place, data__name="digits", **fields)


_ODD_MATRICES = (
  lambda x: x[:-1],
  lambda x: x[:, :-1],
  lambda x: x[:3, :3],
  lambda x: -x,
  lambda x: x * 2,
  lambda x: x * np.nan,
  lambda x: x * np.inf,
  lambda x: np.ones_like(x) / 10,
  lambda x: np.zeros_like(x),
  lambda x: x.T[::-1],
  lambda x: x.astype(np.float16),
  lambda x: (100 * x).astype(int),
  lambda x: x[None],
  lambda x: x[0],
)


def table(place, draws):
  """Writes a table of features; returns it and the command that trains on it."""
  text = place / "table.csv"
  jobs.write_pets(text, rows=40)
  rows = [line.split(",") for line in text.read_text().splitlines()]
  rows = [[f"{i - 1}", *row, row[1]] for i, row in enumerate(rows)]
  rows[0] = ["row", "size", "kind", "truth"]
  suffix = draws.choice((".csv", ".csv", ".tsv", ".parquet"))
  path = place / f"mine{suffix}"
  mark = "\t" if suffix == ".tsv" else ","
  buffer = io.StringIO()
  csv.writer(buffer, delimiter=mark, lineterminator="\n").writerows(rows)
  if suffix == ".parquet":
    import pandas

    pandas.read_csv(io.StringIO(buffer.getvalue())).to_parquet(path)
  else:
    path.write_text(buffer.getvalue())
  fields = {"data__name": "table", "data__path": str(path), "data__label": "kind"}
  if draws.random() < 0.5:
    fields |= {"data__true_label": "truth", "noise__kind": "given"}
  if draws.random() < 0.5:
    fields |= {"data__id": "row"}
  return path, train(place, **fields)


def images(place, draws):
  """Writes a folder of images; returns one of them and the command that trains on all."""
  root, paths = place / "images", []
  for i in range(12):
    kind = draws.choice(("png", "jpg"))
    path = root / ("dark", "light")[i % 2] / f"{i}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = draws.choice(("L", "RGB"))
    Image.new(mode, (9, 7), 20 + 10 * i if mode == "L" else (9 * i, 99, 40)).save(path)
    paths.append(path)
  fields = {"data__name": "folder", "data__path": str(root), "data__image_size": 8}
  return draws.choice(paths), train(place, **fields)


def advice(place, draws):
  """Writes what advise reads; returns the file to damage and the command."""
  path, checked = place / "pets.csv", place / "checked.csv"
  jobs.write_pets(path)
  rows = [line.split(",") for line in path.read_text().splitlines()]
  votes = [["ann", "bob"], *([row[1], draws.choice(("cat", "dog"))] for row in rows[1:])]
  written = [",".join([*row, *vote]) for row, vote in zip(rows, votes)]
  path.write_text("\n".join([*written, ""]))
  args = ["--votes=ann,bob"] if draws.random() < 0.4 else ["--label=kind"]
  damaged = path
  if args == ["--label=kind"] and draws.random() < 0.6:
    damaged = checked
    lines = [f"{i},{rows[i + 1][1]},cat,1,{draws.choice(('cat', 'dog', ''))}" for i in range(30)]
    checked.write_text("\n".join(["id,given,proposed,chance,true", *lines, ""]))
    args.append(f"--checked={checked}")
  return damaged, ["advise", str(path), *args, "--minutes=0", f"--workdir={place / 'run'}"]
