"""The event file of a run, read back by a package that writes such files too."""

import math
import pathlib
import struct
import time

import numpy as np
import pytest

from lsjax.runs import events


def read(path: pathlib.Path):
  """Yields the events of a file whose records have the right digests."""
  from tensorboardX.crc32c import crc32c
  from tensorboardX.proto import event_pb2

  def masked(content: bytes) -> int:
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

  content = path.read_bytes()
  while content:
    (length, of_length), content = struct.unpack("<QI", content[:12]), content[12:]
    assert of_length == masked(struct.pack("<Q", length))
    body, (of_body,) = content[:length], struct.unpack("<I", content[length : length + 4])
    assert of_body == masked(body)
    yield event_pb2.Event.FromString(body)
    content = content[length + 4 :]


@pytest.fixture
def written(tmp_path):
  """A file that has been closed, and the time before it was begun."""
  before = time.time()
  file = events.EventFile(tmp_path, first_step=301)
  file.add({"step": 0, "split": "batches", "loss": 0.5, "accuracy": np.float64(0.25), "count": 3})
  file.add({"step": 1 << 40, "split": "tést", "nll": math.inf, "brier": -1e300, "ece": math.nan})
  file.add({"step": 7, "split": "train", "count": 3})
  file.close()
  (path,) = tmp_path.iterdir()
  return path, before


def test_events_are_those_of_tensorflow(written):
  path, before = written
  version, session, first, second = read(path)  # a row without floats leaves no event
  assert version.file_version == "brain.Event:2"
  assert (session.step, session.session_log.status) == (301, session.session_log.START)
  times = [event.wall_time for event in (version, session, first, second)]
  assert times == sorted(times)
  assert before <= times[0]
  assert times[-1] <= time.time()
  assert first.step == 0
  assert {v.tag: v.simple_value for v in first.summary.value} == {
    "batches/loss": 0.5,
    "batches/accuracy": 0.25,
  }
  assert second.step == 1 << 40
  values = {v.tag: v.simple_value for v in second.summary.value}
  assert (values["tést/nll"], values["tést/brier"]) == (math.inf, -math.inf)
  assert math.isnan(values["tést/ece"])
  assert len(values) == 3


def test_tensorboard_finds_the_file_by_its_name(written):
  path, _ = written
  assert path.name.startswith("events.out.tfevents.")


def test_a_row_is_on_the_disk_when_add_returns(tmp_path):
  file = events.EventFile(tmp_path, first_step=1)
  (path,) = tmp_path.iterdir()
  for step in (100, 200):
    file.add({"step": step, "split": "test", "accuracy": 0.5})
    assert list(read(path))[-1].step == step
  file.close()


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
  file = events.EventFile(tmp_path, first_step=1)
  file.close()
  with pytest.raises(ValueError, match="closed"):
    file.add({"step": 1, "split": "test", "accuracy": 0.5})
  with pytest.raises(OSError, match="No such file"):
    events.EventFile(tmp_path / "nowhere", first_step=1)
