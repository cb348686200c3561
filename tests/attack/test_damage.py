"""Damaged input of every kind: refused in one line that names it, or read because it is sound."""

import shutil

import pytest

from attack import damage, inputs, jobs
from attack.plugin import line


def attempt(attack, server, place, make, ways, *, whole_every=10):
  """Makes an input for each case, damages it, and runs the command that reads it.

  What is read and found sound is trained in every tenth case; in the others the command ends there.
  """
  for case in attack.cases:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    draws = attack.draws(case)
    path, command = make(place, draws)
    why = ""
    try:
      draws.choice(ways(path))(path, draws)
    except (ValueError, UnicodeError) as error:
      raise AssertionError(f"case {case} cannot be made") from error
    patches = [] if case % whole_every == 0 else ["stop_before_training"]
    ended = server.run(*command, seconds=120, patches=patches)
    why = ended.why_lost((0, 2, 3))
    if not why and ended.status == 2 and not names_it(ended.lines[-1], place):
      why = f"does not name what is wrong: {ended.lines[-1]}"
    attack.record(case, why)


def names_it(message, place):
  """Returns whether a message names a field, or a file of this case."""
  return "config." in message or str(place) in message or "--" in message


def any_way(path):
  return [damage.of_bytes]


def ways_of_table(path):
  if path.suffix == ".parquet":
    return [damage.of_bytes]
  return [damage.of_table, damage.of_table, damage.of_bytes]


def nothing(path, draws):
  """The arrays in the file are odd already."""


@line("damaged_npz", parts=2)
def test_npz(attack, server, tmp_path):
  ways = [damage.of_bytes, nothing]
  attempt(attack, server, tmp_path / "npz", inputs.npz, lambda path: ways)


@line("damaged_matrices", parts=2)
def test_matrices(attack, server, tmp_path):
  ways = [damage.of_bytes, nothing]
  attempt(attack, server, tmp_path / "matrix", inputs.matrix, lambda path: ways)


@line("damaged_tables", parts=2)
def test_tables(attack, server, tmp_path):
  attempt(attack, server, tmp_path / "table", inputs.table, ways_of_table)


@line("damaged_images", parts=2)
def test_images(attack, server, tmp_path):
  attempt(attack, server, tmp_path / "images", inputs.images, any_way)


@line("damaged_advice", parts=2)
def test_advice(attack, server, tmp_path):
  attempt(attack, server, tmp_path / "advice", inputs.advice, ways_of_table, whole_every=65)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, server):
  """A finished sweep."""
  return jobs.make("sweep", tmp_path_factory.mktemp("sweep"), server).whole


@line("damaged_results", parts=2)
def test_results(attack, server, tmp_path, sweep):
  """The files that report reads: of a sweep, or of one run; figures are drawn in every fifth."""
  for case in attack.cases:
    place, draws = tmp_path / "sweep", attack.draws(case)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(sweep, place, symlinks=True)
    runs = sorted(path.parent for path in place.glob("*/result.json"))
    run = draws.choice(runs)
    names = ("config.json", "result.json", "metrics.jsonl", "diagnostics.npz")
    found = [run / name for name in names] + [place / "sweep.json"] * 2 + [place / "theory.json"]
    path = draws.choice(found)
    is_json = path.suffix in (".json", ".jsonl")
    draws.choice([damage.of_json] * 2 * is_json + [damage.of_bytes])(path, draws)
    read = place if draws.random() < 0.5 else run
    patches = [] if case % 5 == 0 else ["no_figures"]
    args = (read, f"--out={tmp_path / 'out'}")
    ended = server.run("report", *args, seconds=120, patches=patches)
    why = ended.why_lost((0, 2))
    if not why and ended.status == 2 and str(place) not in ended.lines[-1]:
      why = f"does not name the file: {ended.lines[-1]}"
    attack.record(case, why)


@line("damaged_records")
def test_records(attack, server, tmp_path, imagenet_directory):
  """The files of a TFDS directory, of which images are streamed."""
  for case in attack.cases:
    place, draws = tmp_path / "tfds", attack.draws(case)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(imagenet_directory, place)
    path = draws.choice(sorted(path for path in place.rglob("*") if path.is_file()))
    damage.of_bytes(path, draws)
    fields = {"data__name": "imagenet2012", "data__data_dir": str(place), "data__image_size": 8}
    command = inputs.train(tmp_path, **fields, train__eval_batch_size=8)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    ended = server.run(*command, seconds=120)
    why = ended.why_lost((0, 2, 3))
    if not why and ended.status == 2 and str(place) not in ended.lines[-1]:
      why = f"does not name the directory: {ended.lines[-1]}"
    attack.record(case, why)
