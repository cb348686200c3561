"""A run is what its files hold: changed data, matrices and results are never taken for its own."""

import json
import os
import pathlib
import random
import shutil

import conftest
import numpy as np
import pytest
from tqdm import tqdm

from lsjax import config as config_lib
from lsjax import files, transition
from lsjax.distillation import teachers
from lsjax.reports import results
from lsjax.runs import checkpoints as checkpoints_lib
from lsjax.runs import contents, digests, execution, reading
from lsjax.runs import directory as directory_lib
from lsjax.sweeps import execution as sweep_execution
from lsjax.sweeps import plan

# Each field that names a file, what else makes a run read it, and how the file is changed.
MATRIX = transition.symmetric(3, 0.2)
FILES = {
  "data.path": {"data.name": "npz"},
  "noise.path": {"noise.kind": "file"},
  "loss.matrix": {"loss.name": "smearing"},
  "loss.transition_path": {"loss.name": "forward_correction", "loss.transition": "file"},
}


def write(path, field, pixel=0):
  """Writes data, or a matrix; the labels are the same whatever the pixel."""
  if field != "data.path":
    # A small change of one row, which may leave every drawn label as it was.
    np.save(path, MATRIX + pixel * 1e-7 * np.array([[1, -1, 0], [0, 0, 0], [0, 0, 0]]))
    return
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (60, 5, 5, 1), dtype=np.uint8)
  images[3, 2, 2] = pixel
  labels = np.arange(60) % 3
  np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)


def config_of(tmp_path, field, **changes):
  """Writes the files of a small run, of which one belongs to a field; returns its config."""
  suffixes = {"data.path": ".npz"}
  data = tmp_path / "data.npz"
  write(data, "data.path")
  fields = {"data.name": "npz", "data.path": str(data), **FILES[field]}
  fields[field] = str(tmp_path / f"file{suffixes.get(field, '.npy')}")
  write(fields[field], field)
  return config_lib.from_config_dict(conftest.small(**{**fields, **changes}))


def one_line_about_both(caught, path, field, digest):
  message = str(caught.value)
  assert "\n" not in message
  assert message.startswith(f"{path} (config.{field}) has changed since ")
  assert digest[:12] in message
  assert digests.file_sha256(path)[:12] in message


@pytest.mark.parametrize("field", FILES)
def test_changed_content_is_no_finished_run(tmp_path, field):
  """Nor an unfinished one; put back, it is the run again."""
  config, workdir = config_of(tmp_path, field), tmp_path / "run"
  path = contents.paths(config)[field]
  whole = pathlib.Path(path).read_bytes()
  digest = digests.file_sha256(path)
  result = execution.train_and_evaluate(config, workdir)
  assert result["contents"][field] == digest
  assert files.read_json(workdir / "config.json")["contents"] == result["contents"]
  assert execution.train_and_evaluate(config, workdir) == result
  write(path, field, pixel=1)
  with pytest.raises(reading.WorkdirError) as caught:
    execution.train_and_evaluate(config, workdir)
  one_line_about_both(caught, path, field, digest)
  (workdir / "result.json").unlink()
  shutil.rmtree(workdir / "checkpoints/6")
  with pytest.raises(reading.WorkdirError) as caught:
    execution.train_and_evaluate(config, workdir)
  one_line_about_both(caught, path, field, digest)
  pathlib.Path(path).write_bytes(whole)
  assert execution.train_and_evaluate(config, workdir) == result


def test_checkpoints_know_the_content_too(tmp_path):
  """The file that says what a run was begun with may be gone."""
  config, workdir = config_of(tmp_path, "data.path"), tmp_path / "run"
  execution.train_and_evaluate(config, workdir)
  (workdir / "result.json").unlink()
  (workdir / "config.json").unlink()
  write(config.data.path, "data.path", pixel=1)
  # The mean of the images, which is a fact about the inputs, may differ first.
  with pytest.raises(reading.WorkdirError, match=r"was not made by .*config\.json"):
    execution.train_and_evaluate(config, workdir)


def test_a_result_stands_without_its_data(tmp_path):
  config, workdir = config_of(tmp_path, "data.path"), tmp_path / "run"
  result = execution.train_and_evaluate(config, workdir)
  pathlib.Path(config.data.path).unlink()
  assert execution.train_and_evaluate(config, workdir) == result


def test_a_run_from_before_there_were_digests(tmp_path):
  """Nothing is known about its files, so that nothing is claimed: it is what it was."""
  config, workdir = config_of(tmp_path, "data.path"), tmp_path / "run"
  execution.train_and_evaluate(config, workdir)
  for name, key in (("config.json", "contents"), ("result.json", "contents")):
    content = files.read_json(workdir / name)
    del content[key]
    content.pop("sha256", None)
    files.write_json(workdir / name, content)
  write(config.data.path, "data.path", pixel=1)
  assert execution.train_and_evaluate(config, workdir)["status"] == "finished"


def test_older_runs_on_data_that_is_redrawn_now(tmp_path):
  """Their seeds shared training and test examples; a sweep would mix the two kinds in silence."""
  config, workdir = config_lib.from_config_dict(conftest.small()), tmp_path / "run"
  assert config.data.name in config_lib.REDRAWN
  execution.train_and_evaluate(config, workdir)
  assert execution.train_and_evaluate(config, workdir)["status"] == "finished"
  content = files.read_json(workdir / "config.json")
  del content["contents"]
  files.write_json(workdir / "config.json", content)
  with pytest.raises(
    reading.WorkdirError, match="made by an older lsjax, in which all seeds of digi"
  ):
    execution.train_and_evaluate(config, workdir)


def test_the_matrix_of_a_teacher_is_content_of_its_student(tmp_path):
  student, teacher = conftest.small(), conftest.small(**FILES["loss.matrix"])
  teacher.loss.matrix = str(tmp_path / "m.npy")
  config = config_lib.from_config_dict(config_lib.with_teacher(student, teacher))
  assert contents.paths(config) == {"teacher.loss.matrix": str(tmp_path / "m.npy")}
  assert contents.paths(config_lib.from_config_dict(conftest.small())) == {}


def test_a_file_is_read_once(tmp_path, monkeypatch):
  path = tmp_path / "file"
  path.write_bytes(b"one")
  first = digests.file_sha256(path)
  opened = []
  monkeypatch.setattr("builtins.open", lambda *args: opened.append(args) or path.open(args[1]))
  assert digests.file_sha256(path) == first
  assert not opened
  status = path.stat()
  path.write_bytes(b"two")
  os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as some copying programs do
  assert digests.file_sha256(path) != first
  assert len(opened) == 1


def test_a_file_that_cannot_be_read(tmp_path):
  config = config_of(tmp_path, "loss.matrix", **{"loss.matrix": str(tmp_path)})
  with pytest.raises(config_lib.ConfigError, match=r"^config\.loss\.matrix = .*cannot be read"):
    contents.digests_of(config)


def test_data_that_change_between_two_runs_of_a_sweep(tmp_path):
  """The later run has the data that its files name, not those that the process had loaded."""
  runner = sweep_execution.Runner([], tqdm(disable=True))
  for pixel in (7, 9):
    config = config_of(tmp_path, "data.path", **{"seed.init": pixel})
    write(config.data.path, "data.path", pixel)
    prepared = runner._prepare(plan.PlannedRun(config, tmp_path / str(pixel)))
    assert prepared.splits["train"].images[3, 2, 2] == pixel


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A finished run on digits, and its config."""
  workdir = tmp_path_factory.mktemp("runs") / "run"
  config = config_lib.from_config_dict(conftest.small())
  execution.train_and_evaluate(config, workdir)
  return config, workdir


@pytest.fixture
def finished(tmp_path, trained):
  return trained[0], shutil.copytree(trained[1], tmp_path / "run")


def test_the_digest_of_a_result_is_its_last_field(trained):
  content = files.read_json(trained[1] / "result.json")
  assert list(content)[-1] == "sha256"
  assert digests.is_sealed(content)
  assert digests.sealed({k: v for k, v in content.items() if k != "sha256"}) == content


@pytest.mark.parametrize(
  "change",
  [
    lambda text: text.replace('"accuracy": 0.', '"accuracy": 0.9', 1),
    lambda text: text.replace('"num_train": 1', '"num_train": 2'),
    lambda text: text.replace('"finished"', '"diverged"'),
    lambda text: text.replace('"sha256": "', '"sha256": "0'),
    lambda text: text.replace('"sha256": "', '"sha257": "'),
    lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "sha256"}),
  ],
)
def test_a_changed_result_is_never_adopted(finished, change):
  """By no reader; without the file, the run ends anew from its checkpoint."""
  config, workdir = finished
  path = workdir / "result.json"
  text = path.read_text()
  assert change(text) != text
  path.write_text(change(text))
  for read in (
    lambda: directory_lib.finished_result(config, workdir),
    lambda: reading.result_json(workdir),
    lambda: execution.train_and_evaluate(config, workdir),
  ):
    with pytest.raises(reading.WorkdirError, match=r"result\.json is damaged \(.*; remove it") as e:
      read()
    assert "\n" not in str(e.value)
  with pytest.raises(config_lib.ConfigError, match=r"result\.json is damaged"):
    teachers.load(workdir)
  path.unlink()
  execution.train_and_evaluate(config, workdir)
  assert path.read_text() == text


def test_a_changed_result_is_in_no_report(tmp_path, finished):
  config, workdir = finished
  (tmp_path / "sweep").mkdir()
  workdir = workdir.rename(tmp_path / "sweep" / config_lib.config_hash(config))
  plan.write_index([plan.PlannedCell("one", (config,))], tmp_path / "sweep", "digits")
  (cell,) = results.read(tmp_path / "sweep").cells
  assert cell.results[0] == files.read_json(workdir / "result.json")
  path = workdir / "result.json"
  for text in (path.read_text().replace('"accuracy": 0.', '"accuracy": 0.9'), "{", "[3]"):
    path.write_text(text)
    found = results.read(tmp_path / "sweep")
    assert found.cells[0].statuses == {0: "missing"}
    (line,) = found.unreadable
    assert line.startswith(f"{path} is damaged (")
    assert "\n" not in line


def test_a_flipped_bit_in_a_result(finished):
  """Whatever is read is what was written, or it is an error in one line."""
  config, workdir = finished
  path, draws, refused = workdir / "result.json", random.Random(0), 0
  whole = path.read_bytes()
  for _ in range(300):
    flipped = bytearray(whole)
    flipped[draws.randrange(len(whole))] ^= 1 << draws.randrange(8)
    path.write_bytes(flipped)
    try:
      assert reading.result_json(workdir, config_lib.config_hash(config)) == json.loads(whole)
    except reading.WorkdirError as error:
      assert "\n" not in str(error)
      refused += 1
  assert refused > 200


def test_a_result_of_a_run_that_diverged(tmp_path):
  fields = {"optim.learning_rate": 1e9, "train.num_steps": 30}
  config = config_lib.from_config_dict(conftest.small(**fields))
  result = execution.train_and_evaluate(config, tmp_path)
  assert result["status"] == "diverged"
  assert digests.is_sealed(result)
  assert reading.result_json(tmp_path) == result
  checkpoints_lib.Checkpoints(tmp_path).close()
