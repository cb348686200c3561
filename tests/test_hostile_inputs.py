"""Damaged, oversized and misplaced input: one line that names it, at once, and nothing written."""

import io
import os
import random
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from lsjax import archives, data, memory, transition
from lsjax import config as config_lib
from lsjax.config import ConfigError
from lsjax.distillation import stages
from lsjax.runs import contents
from lsjax.sweeps import shards
from lsjax.training import distributed, setup
from lsjax.validation import UserError


def arrays(**changes):
  rng = np.random.default_rng(0)
  return {
    "train_images": rng.integers(0, 256, (40, 4, 4, 1), np.uint8),
    "train_labels": np.arange(40) % 4,
    "test_images": rng.integers(0, 256, (20, 4, 4, 1), np.uint8),
    "test_labels": np.arange(20) % 4,
    **changes,
  }


def load(path, given=""):
  return data.load(config_lib.Data(name="npz", path=str(path)), given_labels=given)


def flipped(content, draws, most):
  """A copy of some bytes in which a few bits are others, and which may be cut off."""
  changed = bytearray(content)
  for _ in range(draws.randint(1, most)):
    changed[draws.randrange(len(changed))] ^= 1 << draws.randrange(8)
  return changed[: draws.randrange(len(changed))] if draws.random() < 0.3 else changed


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_bytes(tmp_path, save):
  """Every damaged file is read, where the damage is in what does not count, or refused."""
  path, draws, refused = tmp_path / "d.npz", random.Random(0), 0
  for read, values in ((load, arrays()), (transition.read_matrix, {"matrix": np.eye(4)})):
    buffer = io.BytesIO()
    save(buffer, **values)
    for _ in range(200):
      path.write_bytes(flipped(buffer.getvalue(), draws, 8))
      try:
        read(path)
      except ValueError as error:
        refused += 1
        assert "cannot be read" in str(error)
        assert "\n" not in str(error)
  assert refused > 300


def zip_of(path, **members):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, content in members.items():
      archive.writestr(f"{name}.npy", content)


def npy(shape, dtype="|u1", content=b""):
  header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
  return b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b"\n" + content


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"no array", "its member x.npy is no array"),
    (b"", "its member x.npy is no array"),
    (npy((10**13,)), "has 128 bytes and declares 10000000000128"),
    (npy((-1,)), "has 128 bytes and declares 127"),
    (npy((2,), content=b"abc"), "has 131 bytes and declares 130"),
    (npy((1,), "|O", bytes(8)), "pickled objects"),
    (b"\x93NUMPY\x03\x00", "version"),
  ],
)
def test_members_that_are_not_what_they_declare(tmp_path, content, message):
  zip_of(tmp_path / "d.npz", x=content)
  for read in (load, transition.read_matrix):
    with pytest.raises(ValueError, match=message) as caught:
      read(tmp_path / "d.npz")
    assert "cannot be read" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_grows_beyond_the_memory(tmp_path, monkeypatch):
  """It is refused by what it declares, before it is unpacked."""
  zip_of(tmp_path / "d.npz", x=npy((50_000_000,), content=bytes(50_000_000)))
  assert (tmp_path / "d.npz").stat().st_size < 100_000
  monkeypatch.setattr(memory, "available", lambda: 1 << 20)
  for read in (load, transition.read_matrix):
    with pytest.raises(ValueError, match=r"declare 47.7 MiB; 1.0 MiB of memory are free"):
      read(tmp_path / "d.npz")
  (tmp_path / "m.txt").write_bytes(b"0 " * (1 << 20))
  with pytest.raises(ValueError, match=r"it has 2.0 MiB; 1.0 MiB of memory are free"):
    transition.read_matrix(tmp_path / "m.txt")


def test_memory():
  assert 1 << 20 < memory.available() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  assert [memory.size(n) for n in (7, 1536, 3 << 29)] == ["7 bytes", "1.5 KiB", "1.5 GiB"]


@pytest.mark.parametrize("kind", ["device", "pipe", "directory"])
@pytest.mark.parametrize("suffix", ["npz", "npy", "txt"])
def test_only_regular_files_are_read(tmp_path, kind, suffix):
  """A device never ends, and a pipe waits for a writer for ever."""
  path = tmp_path / f"x.{suffix}"
  if kind == "device":
    path.symlink_to("/dev/zero")
  elif kind == "pipe":
    os.mkfifo(path)
  else:
    path.mkdir()
  for read in (load, transition.read_matrix):
    with pytest.raises(ValueError, match="not a regular file"):
      read(path)
  config = config_lib.from_config_dict({"data": {"name": "npz", "path": str(path)}})
  with pytest.raises(ConfigError, match=r"config.data.path = .*not a regular file"):
    contents.digests_of(config)


@pytest.mark.parametrize(
  ("labels", "message"),
  [
    ([99_500], r"train_labels\[0\] = 99500 is outside \[0, 1000\): 40 examples cannot"),
    ([0, 10**9], r"train_labels\[1\] = 1000000000 is outside \[0, 1000\)"),
    ([0, 10**10], r"train_labels\[1\] = 10000000000 is outside \[0, 2\^31\)"),
  ],
)
def test_labels_that_would_be_too_many_classes(tmp_path, labels, message):
  values = arrays()
  values["train_labels"][: len(labels)] = labels
  np.savez(tmp_path / "d.npz", **values)
  with pytest.raises(ValueError, match=message):
    load(tmp_path / "d.npz")
  values["train_labels"][:] = np.arange(40) + 960  # a part of a known data set
  np.savez(tmp_path / "d.npz", **values)
  assert load(tmp_path / "d.npz").num_classes == 1000


def test_matrices_over_the_classes_that_do_not_fit(tmp_path, monkeypatch):
  values = arrays()
  values["train_labels"][0] = 900
  np.savez(tmp_path / "d.npz", **values)
  path = str(tmp_path / "d.npz")
  config = config_lib.from_config_dict({"data": {"name": "npz", "path": path}})
  monkeypatch.setattr(memory, "available", lambda: 10 << 20)
  with pytest.raises(ConfigError, match=r"config.data.path = .*has 901 classes .* 24.8 MiB, 10.0"):
    setup.prepare(config)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"model.hidden": 2**31 - 1}, r"config.model.hidden = 2147483647: makes a state that takes "),
    (
      {"train.eval_batch_size": 2**31 - 1},
      r"config.train.eval_batch_size = .* batches of 512.0 GiB",
    ),
    ({"model.name": "resnet56"}, r"config.model.name = 'resnet56': makes a state"),
  ],
)
def test_networks_that_do_not_fit(make_config, monkeypatch, fields, message):
  monkeypatch.setattr(memory, "available", lambda: 5 << 20)
  with pytest.raises(ConfigError, match=message):
    setup.prepare(make_config(**fields))
  setup.prepare(make_config())


def test_paths_in_a_home_directory(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  np.savez(tmp_path / "d.npz", **arrays())
  assert load("~/d.npz").num_classes == 4
  np.save(tmp_path / "m.npy", np.eye(4))
  fields = {
    "data": {"name": "npz", "path": "~/d.npz"},
    "noise": {"kind": "file", "path": "~/m.npy"},
    "loss": {"name": "smearing", "matrix": "~/m.npy"},
    "train": {"batch_size": 8, "eval_batch_size": 8},
  }
  config = config_lib.from_config_dict(fields)
  assert setup.prepare(config).noisy_labels.realised_rate == 0
  assert len(contents.digests_of(config)) == 3


@pytest.mark.parametrize(
  ("variables", "flag", "message"),
  [
    ({"SLURM_ARRAY_TASK_ID": "x"}, "3", "SLURM_ARRAY_TASK_ID = 'x': must be an integer"),
    ({"SLURM_ARRAY_TASK_ID": "²"}, "3", "SLURM_ARRAY_TASK_ID = '²': must be"),
    ({"SLURM_ARRAY_TASK_ID": "9" * 5000}, "3", "must be an integer"),
    ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": ""}, None, "TASK_COUNT = ''"),
    ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "-"}, "3", "TASK_MIN = '-'"),
    ({"JOB_COMPLETION_INDEX": "1.0"}, "3", "JOB_COMPLETION_INDEX = '1.0'"),
    ({}, "٣/٤", "must be i/n"),
    ({}, "0/" + "9" * 5000, "must be i/n"),
  ],
)
def test_shards_of_odd_numbers(variables, flag, message):
  with pytest.raises(UserError, match=message):
    shards.shard_of(flag, variables)


def test_processes_of_odd_numbers():
  several = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}
  assert distributed.arguments(False, several) == {}
  for odd in ("²", "9" * 5000, "٣", ""):
    assert distributed.arguments(False, {**several, "SLURM_NTASKS": odd}) is None
    own = {"LSJAX_COORDINATOR": "x:1", "LSJAX_NUM_PROCESSES": "2", "LSJAX_PROCESS_ID": "0"}
    for name in ("LSJAX_NUM_PROCESSES", "LSJAX_PROCESS_ID"):
      with pytest.raises(UserError, match=name):
        distributed.arguments(False, {**own, name: odd})
    with pytest.raises(UserError, match="LSJAX_COORDINATOR"):
      distributed.arguments(False, {**own, "LSJAX_COORDINATOR": f"x:{odd}"})
  with pytest.raises(UserError, match="below 65536"):
    distributed.arguments(False, {**own, "LSJAX_COORDINATOR": "x:65536"})


ONE_STEP = ("--config=configs/digits_noisy.py", "--config.train.num_steps=1")


def command(*args, module="main", **variables):
  """Runs a command that ought to refuse its input; returns the one line on its stderr."""
  begun = time.monotonic()
  done = subprocess.run(
    [sys.executable, "-m", f"lsjax.{module}", *args],
    env=os.environ | variables,
    capture_output=True,
    text=True,
    timeout=120,
  )
  (line,) = done.stderr.splitlines()
  assert line.startswith("lsjax: ")
  assert done.returncode == 2
  assert time.monotonic() - begun < 60
  return line


@pytest.mark.parametrize("module", ["main", "sweep"])
@pytest.mark.parametrize(
  ("workdir", "message"),
  [
    ("http://host/run", "--workdir = 'http://host/run': http:// is no kind of bucket"),
    ("gs://bucket/run", "--workdir = 'gs://bucket/run': "),
  ],
)
def test_work_directories_that_are_no_directories(module, workdir, message):
  pytest.importorskip("etils")
  if module == "sweep":
    args = ["--config=configs/sweeps/digits_distill.py"]
    assert "must be on a disk" in command(*args, f"--workdir={workdir}", module=module)
  elif workdir.startswith("gs") and _has_gcsfs():
    pytest.skip("would reach for a real bucket")
  else:
    assert message in command(*ONE_STEP, f"--workdir={workdir}", module=module)


@pytest.mark.parametrize("workdir", ["http://host/run", "gs://bucket/run"])
def test_teachers_that_are_no_directories(tmp_path, workdir):
  if workdir.startswith("gs") and _has_gcsfs():
    pytest.skip("would reach for a real bucket")
  fields = {"teacher": {"workdir": workdir}, "student": {}}
  with pytest.raises(ConfigError, match=r"config\.teacher\.workdir = ") as caught:
    stages.teach_and_train(config_lib.from_config_dict(fields), tmp_path / "run")
  assert "\n" not in str(caught.value)


def _has_gcsfs():
  import importlib.util

  return importlib.util.find_spec("gcsfs") is not None


def test_a_network_beyond_the_memory_writes_nothing(tmp_path):
  args = (*ONE_STEP, "--config.model.hidden=2147483647", f"--workdir={tmp_path / 'run'}")
  assert "config.model.hidden = 2147483647: makes a state that takes" in command(*args)
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_home_directory_as_work_directory(tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", "lsjax.main", *ONE_STEP, "--workdir=~/run"],
    env=os.environ | {"HOME": str(tmp_path)},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "run/result.json").exists()
  assert archives.check_regular(tmp_path / "run/result.json") > 0
