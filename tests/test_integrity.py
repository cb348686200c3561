"""What a run's files give back is what was written into them, or an error in one line."""

import json
import random
import shutil

import conftest
import jax
import numpy as np
import pytest

from lsjax import config as config_lib
from lsjax import files
from lsjax.distillation import teachers
from lsjax.runs import checkpoints as checkpoints_lib
from lsjax.runs import directory as directory_lib
from lsjax.runs import execution, integrity, loading, reading
from lsjax.runs.leases import Lease
from lsjax.training import setup


def flip(path, draws):
  """Flips one bit of a file."""
  content = bytearray(path.read_bytes())
  content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
  path.write_bytes(content)


def is_same(a, b):
  if jax.tree.structure(a) != jax.tree.structure(b):
    return False
  return all(
    np.asarray(x).dtype == np.asarray(y).dtype and np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))
  )


def one_line_about(caught, *parts):
  message = str(caught.value)
  assert "\n" not in message
  assert all(part in message for part in parts), message


def change_metadata(checkpoint, change):
  path = checkpoint / "_CHECKPOINT_METADATA"
  content = json.loads(path.read_text())
  content["custom_metadata"] = change(content["custom_metadata"])
  path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def config():
  return config_lib.from_config_dict(conftest.small())


@pytest.fixture(scope="module")
def prepared(config):
  return setup.prepare(config)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, config):
  """A finished run with checkpoints of steps 3 and 6."""
  workdir = tmp_path_factory.mktemp("runs") / "run"
  execution.train_and_evaluate(config, workdir)
  return workdir


@pytest.fixture
def finished(tmp_path, trained):
  """A copy of the finished run, to be damaged."""
  return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def stopped(finished):
  """The same as if it had been killed before its result was written."""
  (finished / "result.json").unlink()
  return finished


def state(seed):
  draws = np.random.default_rng(seed)
  return {
    "step": np.int32(seed),
    "params": {name: draws.normal(size=(32, 32)).astype(np.float32) for name in "ab"},
  }


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
  """A directory with small states of steps 1 and 2."""
  workdir = tmp_path_factory.mktemp("small")
  checkpoints = checkpoints_lib.Checkpoints(workdir, keep=2)
  for at_step in (1, 2):
    checkpoints.save(at_step, state(at_step), {"config_hash": "0123abcd", "num_rows": at_step})
    checkpoints.wait()
  checkpoints.close()
  return workdir


def test_a_flipped_bit_in_a_checkpoint_is_never_taken_for_its_content(tmp_path, two_checkpoints):
  """Every outcome is the saved state, the checkpoint before or an error."""
  draws, outcomes = random.Random(0), []
  names = [p.relative_to(two_checkpoints) for p in two_checkpoints.glob("checkpoints/2/**/*")]
  names = [n for n in names if (two_checkpoints / n).is_file()]
  names.sort(key=lambda n: (-(two_checkpoints / n).stat().st_size, n))  # the names are random
  for i in range(60):
    workdir = tmp_path / str(i)
    shutil.copytree(two_checkpoints, workdir)
    # Half of the flips hit the largest file, which holds the arrays.
    flip(workdir / names[i // 2 % len(names) if i % 2 else 0], draws)
    checkpoints = checkpoints_lib.Checkpoints(workdir)
    try:
      at_step, restored = checkpoints.restore_newest(state(0))
      facts = checkpoints.facts(at_step)
    except checkpoints_lib.CheckpointError as error:
      assert "\n" not in str(error)
      outcomes.append("error")
      continue
    finally:
      checkpoints.close()
    assert is_same(restored, state(at_step))
    assert facts in (None, {"config_hash": "0123abcd", "num_rows": at_step})
    outcomes.append(at_step)
  assert outcomes.count(1) > 20  # bits that matter


@pytest.mark.parametrize(
  "damage", ['"commit_timestamp_nseas"', '"custom_netadata"', "{", '{"a": 1}']
)
@pytest.mark.parametrize("at_step", [1, 2])
def test_damaged_metadata_stop_no_other_checkpoint(tmp_path, two_checkpoints, damage, at_step):
  """Of whichever step: the other one is found, restored and followed by a new one."""
  shutil.copytree(two_checkpoints, tmp_path / "run")
  path = tmp_path / f"run/checkpoints/{at_step}/_CHECKPOINT_METADATA"
  key = damage.replace("nseas", "nsecs").replace("netadata", "metadata")
  path.write_text(path.read_text().replace(key, damage) if key != damage else damage)
  checkpoints = checkpoints_lib.Checkpoints(tmp_path / "run", keep=2)
  assert checkpoints.latest() == 2
  restored_step, restored = checkpoints.restore_newest(state(0))
  assert restored_step == 3 - at_step or "commit" in damage
  assert is_same(restored, state(restored_step))
  checkpoints.save(3, state(3))
  checkpoints.close()
  checkpoints = checkpoints_lib.Checkpoints(tmp_path / "run")
  assert is_same(checkpoints.restore_newest(state(0))[1], state(3))
  checkpoints.close()


def test_digest_of_arrays():
  """It tells values, names, shapes and types apart, and not the order of the leaves."""
  x = np.arange(6, dtype=np.float32)
  digests = {
    integrity.arrays_sha256(tree)
    for tree in (
      {"a": x, "b": x + 1},
      {"b": x, "a": x + 1},
      {"a": x, "c": x + 1},
      {"a": x.reshape(2, 3), "b": x + 1},
      {"a": x.view(np.int32), "b": x + 1},
      {"a": -x, "b": x + 1},
    )
  }
  assert len(digests) == 6
  stored = np.asfortranarray(x.reshape(2, 3))
  assert integrity.arrays_sha256([stored]) == integrity.arrays_sha256([x.reshape(2, 3)])
  with pytest.raises(ValueError, match="digests are damaged"):
    integrity.open_seal(integrity.seal([x], {"num_rows": 3}) | {"num_rows": 2})


def other_arrays(workdir):
  """Gives checkpoint 6 the arrays of checkpoint 3, which Orbax reads without complaint."""
  shutil.rmtree(workdir / "checkpoints/6/default")
  shutil.copytree(workdir / "checkpoints/3/default", workdir / "checkpoints/6/default")


def test_resuming_falls_back_from_arrays_that_were_not_saved(stopped, trained, config, capsys):
  other_arrays(stopped)
  execution.train_and_evaluate(config, stopped)
  assert "checkpoints/6 cannot be read (ValueError: its arrays" in capsys.readouterr().out
  for name in ("result.json", "metrics.jsonl"):
    assert (stopped / name).read_bytes() == (trained / name).read_bytes()


def test_loading_refuses_arrays_that_were_not_saved(finished):
  other_arrays(finished)
  for load in (loading.load_run, teachers.load):
    with pytest.raises(checkpoints_lib.CheckpointError) as caught:
      load(finished)
    one_line_about(caught, "checkpoints/6 cannot be read", "its arrays are not those")


def test_loading_refuses_other_inputs(finished):
  """A network that normalises otherwise is another network."""
  path = finished / "config.json"
  content = files.read_json(path)
  content["inputs"]["mean"][0] += 0.5
  files.write_json(path, content)
  with pytest.raises(checkpoints_lib.CheckpointError) as caught:
    loading.load_run(finished)
  one_line_about(caught, "config.json")


def test_checkpoints_without_digests(stopped, prepared, capsys):
  """From before they were written: accepted. Beside an earlier one that has them: not."""
  change_metadata(stopped / "checkpoints/6", lambda _: {})
  opened = directory_lib.RunDirectory(prepared, Lease(stopped))
  assert opened.step == 3
  opened.close()
  assert "its digests are lost; checkpoint 3 has them" in capsys.readouterr().out
  change_metadata(stopped / "checkpoints/3", lambda _: {})
  opened = directory_lib.RunDirectory(prepared, Lease(stopped))
  assert opened.step == 3
  opened.close()
  assert "checkpoints/3 has no digests, so that it cannot be verified" in capsys.readouterr().out
  loading.load_run(stopped)


def damage_rows(workdir, how):
  path = workdir / "metrics.jsonl"
  if how == "deleted":
    path.unlink()
  elif how == "emptied":
    path.write_text("")
  elif how == "truncated":
    path.write_bytes(path.read_bytes()[:-30])
  else:
    text = path.read_text()
    at = text.index('"accuracy": 0.') + len('"accuracy": 0.')
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


@pytest.mark.parametrize("how", ["deleted", "emptied", "truncated", "changed"])
def test_lost_rows_are_no_basis_of_a_result(stopped, prepared, how):
  damage_rows(stopped, how)
  with pytest.raises(directory_lib.WorkdirError) as caught:
    directory_lib.RunDirectory(prepared, Lease(stopped))
  what = "its rows are not those of step 6" if how == "changed" else "rows up to the checkpoint"
  one_line_about(caught, "metrics.jsonl", what)


def test_rows_are_on_the_disk_before_the_checkpoint_that_counts_them(tmp_path, config, monkeypatch):
  calls = []
  sync, save = files.Rows.sync, checkpoints_lib.Checkpoints.save

  def syncing(self):
    sync(self)
    calls.append("sync")

  def saving(self, at_step, state, facts):
    calls.append(("save", at_step, facts["num_rows"]))
    save(self, at_step, state, facts)

  monkeypatch.setattr(files.Rows, "sync", syncing)
  monkeypatch.setattr(checkpoints_lib.Checkpoints, "save", saving)
  execution.train_and_evaluate(config, tmp_path)
  rows = files.read_rows(tmp_path / "metrics.jsonl")
  counts = [sum(row["step"] <= at_step for row in rows) for at_step in (3, 6)]
  assert calls == ["sync", ("save", 3, counts[0]), "sync", ("save", 6, counts[1])]


@pytest.mark.parametrize("with_config", [True, False])
def test_a_checkpoint_of_another_config_is_not_resumed(stopped, with_config):
  """Also when the file that names the config is gone."""
  other = setup.prepare(config_lib.from_config_dict(conftest.small(**{"seed.noise": 1})))
  (stopped / "noise.npz").unlink()

  def open_it():
    if with_config:
      directory_lib.finished_result(other.config, stopped)
    else:
      directory_lib.RunDirectory(other, Lease(stopped))

  if not with_config:
    (stopped / "config.json").unlink()
  with pytest.raises(directory_lib.WorkdirError) as caught:
    open_it()
  one_line_about(caught, str(stopped))
  assert {p.name for p in (stopped / "checkpoints").iterdir()} == {"3", "6"}


def test_a_run_whose_config_file_is_gone_is_resumed(stopped, prepared):
  (stopped / "config.json").unlink()
  opened = directory_lib.RunDirectory(prepared, Lease(stopped))
  opened.close()
  assert opened.step == 6


def test_a_step_beyond_the_last_is_not_resumed(stopped, prepared):
  (stopped / "checkpoints/6").rename(stopped / "checkpoints/60")
  with pytest.raises(directory_lib.WorkdirError) as caught:
    directory_lib.RunDirectory(prepared, Lease(stopped))
  one_line_about(caught, "checkpoints/60", "6 steps")


def without(name):
  return lambda content: {k: v for k, v in content.items() if k != name}


DAMAGES = {
  "cut": lambda content: json.dumps(content)[:40],
  "empty": lambda content: "",
  "no object": lambda content: [content],
  "config_hash": lambda content: content | {"config_hash": "00000000"},
  "no config_hash": without("config_hash"),
}


def damage_json(path, change):
  changed = change(files.read_json(path))
  path.write_text(changed if isinstance(changed, str) else json.dumps(changed))


@pytest.mark.parametrize(
  "change",
  [
    *DAMAGES.values(),
    without("config"),
    without("inputs"),
    lambda content: content | {"config": 3},
    lambda content: content | {"config_hash": 3},
  ],
)
def test_damaged_config_file(finished, config, change):
  damage_json(finished / "config.json", change)
  with pytest.raises(directory_lib.WorkdirError) as caught:
    directory_lib.finished_result(config, finished)
  one_line_about(caught, "config.json")
  with pytest.raises(checkpoints_lib.CheckpointError) as caught:
    loading.load_run(finished)
  one_line_about(caught, "config.json")


@pytest.mark.parametrize(
  "change",
  [
    *DAMAGES.values(),
    without("noise"),
    lambda content: content | {"final": None},
    lambda content: content | {"final": {"step": 6, "test": {"accuracy": "high"}}},
    lambda content: content | {"status": "finisheD"},
  ],
)
def test_damaged_result_file(finished, config, change):
  damage_json(finished / "result.json", change)
  with pytest.raises(directory_lib.WorkdirError) as caught:
    directory_lib.finished_result(config, finished)
  one_line_about(caught, "result.json")
  with pytest.raises(config_lib.ConfigError) as caught:
    teachers.load(finished)
  one_line_about(caught, "teacher.workdir", "result.json")


def test_a_flipped_bit_in_the_labels(tmp_path, trained):
  """The labels that are read are those that were written, or it is an error."""
  draws, path, refused = random.Random(0), tmp_path / "noise.npz", 0
  whole = reading.noise_npz(trained / "noise.npz")
  for _ in range(60):
    shutil.copy(trained / "noise.npz", path)
    flip(path, draws)
    try:
      read = reading.noise_npz(path)
    except directory_lib.WorkdirError as error:
      assert "noise.npz" in str(error)
      assert "\n" not in str(error)
      refused += 1
      continue
    assert (read.sha256(), read.seed) == (whole.sha256(), whole.seed)
  assert refused > 30


def test_labels_that_do_not_have_their_digest(stopped, prepared):
  """A whole file with other labels and the old digest, which no checksum of the file notices."""
  path = stopped / "noise.npz"
  with np.load(path) as saved:
    arrays = dict(saved)
  arrays["noisy_labels"] = arrays["noisy_labels"][::-1]
  np.savez_compressed(path, **arrays)
  for use in (
    lambda: directory_lib.RunDirectory(prepared, Lease(stopped)),
    lambda: reading.noise_npz(path),
  ):
    with pytest.raises(directory_lib.WorkdirError) as caught:
      use()
    one_line_about(caught, "noise.npz is damaged")


def test_a_teacher_with_other_labels_than_its_result(finished):
  path = finished / "noise.npz"
  labels = reading.noise_npz(path)
  path.unlink()
  directory_lib.save_labels(path, type(labels)(labels.ids, labels.clean, labels.clean, None, None))
  with pytest.raises(config_lib.ConfigError, match=r"another noise\.npz"):
    teachers.load(finished)
