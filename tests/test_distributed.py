"""Several processes as one job, over loopback: the same run as one process with all devices."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest

from configs import digits_noisy
from lsjax import config as config_lib
from lsjax import files
from lsjax.runs import checkpoints as checkpoints_lib
from lsjax.runs import directory as directory_lib
from lsjax.runs import execution, loading
from lsjax.runs.leases import Lease
from lsjax.training import distributed, setup
from lsjax.validation import UserError

HEARTBEAT_SECONDS = 10
ROOT = pathlib.Path(__file__).parent.parent
CHANGES = {
  "train.num_devices": 0,
  "train.num_steps": 300,
  "train.eval_every": 100,
  "checkpoint.every": 50,
  "train.steps_per_call": 10,
  "optim.learning_rate": 0.02,
}
ARGS = [f"--config.{name}={value}" for name, value in CHANGES.items()]


@pytest.mark.parametrize(
  ("asked", "environment", "expected"),
  [
    (False, {}, None),
    (True, {}, {}),
    (False, {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
    (False, {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, {}),
    (False, {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, None),
    (False, {"SLURM_NTASKS": "4"}, None),  # the batch script itself, outside srun
    (False, {"TPU_WORKER_HOSTNAMES": "a"}, None),
    (False, {"TPU_WORKER_HOSTNAMES": "a,b"}, {}),
    (
      False,
      {"LSJAX_COORDINATOR": "h:1", "LSJAX_NUM_PROCESSES": "2", "LSJAX_PROCESS_ID": "1"},
      {"coordinator_address": "h:1", "num_processes": 2, "process_id": 1},
    ),
  ],
)
def test_detection(asked, environment, expected):
  assert distributed.arguments(asked, environment) == expected


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"LSJAX_COORDINATOR": None}, "LSJAX_COORDINATOR: is missing"),
    ({"LSJAX_COORDINATOR": "host"}, "must be host:port"),
    ({"LSJAX_NUM_PROCESSES": "0"}, "must be an integer from 1"),
    ({"LSJAX_PROCESS_ID": "2"}, r"must be in \[0, 2\)"),
    ({"LSJAX_PROCESS_ID": "-1"}, r"must be in \[0, 2\)"),
  ],
)
def test_bad_environment(changes, message):
  good = {"LSJAX_COORDINATOR": "h:1", "LSJAX_NUM_PROCESSES": "2", "LSJAX_PROCESS_ID": "1"}
  environment = {k: v for k, v in {**good, **changes}.items() if v is not None}
  with pytest.raises(UserError, match=message):
    distributed.arguments(False, environment)


LOST = "UNKNOWN: Gloo AllGather failed: Connection reset by peer"


def raising(*errors):
  """Returns a function that raises an error whose causes are the others."""

  def fail(*_, **__):
    last = errors[-1]
    for error in reversed(errors[:-1]):
      try:
        raise error from last
      except Exception as caught:
        last = caught
    raise last

  return fail


@pytest.fixture
def in_a_job(monkeypatch):
  """As in a job of two processes, for what does not talk to the other one."""
  monkeypatch.setattr(jax, "process_count", lambda: 2)


@pytest.mark.parametrize(
  ("error", "kind"),
  [
    (jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: Barrier timed out"), distributed.PeerLostError),
    (jax.errors.JaxRuntimeError("UNAVAILABLE: failed to connect"), distributed.PeerLostError),
    (jax.errors.JaxRuntimeError("INVALID_ARGUMENT: task 5 of 2"), UserError),
    (ValueError("coordinator_address should be defined."), UserError),
    (RuntimeError("should be called before any JAX computations"), UserError),
  ],
)
def test_processes_that_do_not_meet(monkeypatch, error, kind):
  """Only that they never came may be better after a new start, which is what the kind says."""
  monkeypatch.setattr(jax.distributed, "initialize", raising(error))
  monkeypatch.setattr(jax.config, "update", lambda *_: None)  # of the whole process
  monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
  environment = {"LSJAX_NUM_PROCESSES": "2", "LSJAX_PROCESS_ID": "1"}
  with pytest.raises(UserError, match="the processes did not meet") as caught:
    distributed.initialize(False, environment | {"LSJAX_COORDINATOR": "127.0.0.1:1"})
  assert type(caught.value) is kind
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("errors", "is_lost"),
  [
    ((jax.errors.JaxRuntimeError("ABORTED: heartbeat"),), True),
    ((ValueError(LOST),), True),
    ((OSError("of Orbax"), RuntimeError("of its thread"), ValueError(LOST)), True),
    ((OSError(28, "No space left on device"),), False),
    ((ValueError("of TensorStore"), KeyError("x")), False),
  ],
)
@pytest.mark.parametrize("method", ["save", "wait", "restore"])
def test_a_peer_lost_in_a_barrier_of_orbax(
  tmp_path, monkeypatch, in_a_job, errors, is_lost, method
):
  """It is no fault of the disk: the same start of all may go well."""
  monkeypatch.setattr(checkpoints_lib.ocp, "CheckpointManager", lambda *_, **__: manager)
  manager = types.SimpleNamespace(all_steps=lambda: [3], latest_step=lambda: 2)
  manager.save = manager.wait_until_finished = raising(*errors)
  one = checkpoints_lib.Checkpoints(tmp_path, keep=1)
  monkeypatch.setattr(one, "_seal", raising(*errors))
  state = {"x": np.zeros(3)}
  call = {
    "save": lambda: one.save(3, state), "wait": one.wait, "restore": lambda: one.restore(3, state)
  }[method]  # fmt: skip
  with pytest.raises(UserError) as caught:
    call()
  kind = distributed.PeerLostError if is_lost else checkpoints_lib.CheckpointError
  assert type(caught.value) is kind
  assert "\n" not in str(caught.value)


def test_an_error_of_a_job_of_one_process_is_nobody_elses():
  assert not distributed.is_peer_lost(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED"))


def test_a_lost_peer_is_not_told_of_it(monkeypatch, in_a_job):
  monkeypatch.setattr(distributed, "_gather", lambda value: 1 / 0)
  with pytest.raises(distributed.PeerLostError, match="gone"), distributed.failing_together():
    raise distributed.PeerLostError("gone")


@pytest.mark.parametrize("index", [0, 1])
def test_a_directory_that_the_first_process_cannot_begin(
  tmp_path, monkeypatch, in_a_job, make_config, index
):
  """The others hear of it; they would wait in the next barrier until they take it for dead."""
  monkeypatch.setattr(jax, "process_index", lambda: index)
  prepared = setup.prepare(make_config(**{"train.num_devices": 0}))
  (tmp_path / "noise.npz").write_bytes(b"of another program")
  told = []

  def gather(value):
    told.append(value)
    return [value or "noise.npz cannot be read", None]

  monkeypatch.setattr(distributed, "_gather", gather)
  monkeypatch.setattr(distributed, "_linger", lambda: None)
  message = "noise.npz cannot be read" if index == 0 else "^process 0 of the job: noise.npz cannot"
  with pytest.raises(UserError, match=message):
    directory_lib.RunDirectory(prepared, Lease(tmp_path))
  assert len(told) == 1
  assert (told[0] is None) == (index == 1)


def start(workdir, *, processes, devices, logs):
  """Starts main on that many processes of so many devices each."""
  path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
  env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  env |= {"PATH": path, "DEVICES": str(devices), "LOGS": str(logs)}
  env["LSJAX_HEARTBEAT_SECONDS"] = str(HEARTBEAT_SECONDS)
  return subprocess.Popen(
    [
      *("launch/local_processes.sh", str(processes), "--config=configs/digits_noisy.py"),
      *(*ARGS, f"--workdir={workdir}"),
    ],
    cwd=ROOT,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )


def wait_for_checkpoint(process, workdir):
  deadline = time.monotonic() + 120
  while not list(workdir.glob("checkpoints/[1-9]*0")):
    assert time.monotonic() < deadline
    assert process.poll() is None, process.communicate()
    time.sleep(0.02)


def finish(process):
  out, errors = process.communicate(timeout=240)
  assert process.returncode == 0, errors
  return out


def children(process):
  """Process ids of the Python processes, by their place in the job."""
  found = {}
  for path in pathlib.Path("/proc").glob("[0-9]*"):
    try:
      parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
      environment = (path / "environ").read_bytes().split(b"\0")
    except (OSError, IndexError):
      continue
    if parent == process.pid:
      (place,) = (e for e in environment if e.startswith(b"LSJAX_PROCESS_ID="))
      found[int(place.partition(b"=")[2])] = int(path.name)
  return found


def config():
  """What the flags say."""
  section = digits_noisy.get_config()
  section.update_from_flattened_dict(CHANGES)
  return config_lib.from_config_dict(section)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """The run of one process (this one) with its four devices."""
  workdir = tmp_path_factory.mktemp("alone") / "run"
  execution.train_and_evaluate(config(), workdir)
  return workdir


def assert_same_run(a, b):
  """To float tolerance: the processes add their gradients in another order."""
  assert (a / "noise.npz").read_bytes() == (b / "noise.npz").read_bytes()
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5),
    *(loading.load_run(path)[2] for path in (a, b)),
  )
  rows = [files.read_rows(path / "metrics.jsonl") for path in (a, b)]
  assert [(r["step"], r["split"]) for r in rows[0]] == [(r["step"], r["split"]) for r in rows[1]]
  for x, y in zip(*rows):
    assert x == pytest.approx(y, abs=0.02)
  assert {p.name.split(".")[0] for p in a.iterdir()} == {p.name.split(".")[0] for p in b.iterdir()}


def test_two_processes_are_one_run(tmp_path, alone, capfd):
  """Stopped by SIGTERM once and resumed; only the first writes; one process can go on with it."""
  workdir = tmp_path / "run"
  process = start(workdir, processes=2, devices=2, logs=tmp_path)
  wait_for_checkpoint(process, workdir)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=120)
  assert process.returncode == 143, errors
  assert re.search(r"lsjax: stopped by SIGTERM at step \d+, saved", errors)
  shutil.copytree(workdir, tmp_path / "by_one")
  said = finish(start(workdir, processes=2, devices=2, logs=tmp_path))
  assert re.search(r"resuming \S+ at step \d+", said)
  assert "test accuracy (clean labels)" in said
  assert "accuracy (clean" not in (tmp_path / "process_1.log").read_text()
  assert_same_run(workdir, alone)
  execution.train_and_evaluate(config(), tmp_path / "by_one")
  assert "resuming" in capfd.readouterr().out
  assert_same_run(tmp_path / "by_one", alone)


@pytest.mark.slow
def test_one_process_lost(tmp_path):
  """The other ends with an error within the heartbeat, and leaves a checkpoint to go on from."""
  workdir = tmp_path / "run"
  process = start(workdir, processes=2, devices=2, logs=tmp_path)
  wait_for_checkpoint(process, workdir)
  os.kill(children(process)[1], signal.SIGKILL)
  begin = time.monotonic()
  _, errors = process.communicate(timeout=120)
  assert time.monotonic() - begin < HEARTBEAT_SECONDS + 10
  assert process.returncode == 128 + signal.SIGKILL, errors  # what the first to end ended with
  assert "another process of the job was lost" in errors or "another task died" in errors
  assert not (workdir / "result.json").exists()
  assert execution.train_and_evaluate(config(), workdir)["status"] == "finished"


def free_port():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return free.getsockname()[1]


MAIN = ("-m", "lsjax.main")


def start_job(
  workdir,
  flags,
  *,
  cwds=(ROOT, ROOT),
  port=None,
  places=(0, 1),
  program=MAIN,
  **environment,
):
  """Starts processes of a job of two, each with its own flags and directory."""
  env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  env |= {"LSJAX_COORDINATOR": f"127.0.0.1:{port or free_port()}", "LSJAX_NUM_PROCESSES": "2"}
  env |= {"LSJAX_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS), "PYTHONPATH": str(ROOT)}
  return [
    subprocess.Popen(
      [
        *(sys.executable, *program, f"--config={ROOT}/configs/digits_noisy.py"),
        *(*ARGS, f"--workdir={workdir}", *flags[i]),
      ],
      cwd=cwds[i],
      env=env | {"LSJAX_PROCESS_ID": str(i)} | environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in places
  ]


def run_job(workdir, flags, **kwargs):
  """Runs processes of a job to their end; returns their statuses and what they wrote to stderr."""
  processes = start_job(workdir, flags, **kwargs)
  errors = [process.communicate(timeout=200)[1] for process in processes]
  return [process.returncode for process in processes], errors


def error_lines(errors):
  return [line for line in errors.splitlines() if line.startswith("lsjax: ")]


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--config.noise.rate=0.4"], "config.noise.rate: 0.2 in process 0, 0.4 in process 1"),
    pytest.param(
      ["--config.train.eval_every=7"], "config.train.eval_every: ", marks=pytest.mark.slow
    ),
    pytest.param(["--config.seed.init=5"], "config.seed.init: 0 in", marks=pytest.mark.slow),
    pytest.param(["--config.train.batch_size=64"], "train.batch_size: ", marks=pytest.mark.slow),
  ],
)
def test_processes_with_other_configs_end(tmp_path, flags, message):
  """They would train one run together and write it under the config of the first."""
  statuses, errors = run_job(tmp_path / "run", [[], flags])
  assert statuses == [2, 2], errors
  for lines in map(error_lines, errors):
    assert len(lines) == 1
    assert message in lines[0]
  assert not (tmp_path / "run").exists()


def write_npz(path, seed):
  rng = np.random.default_rng(seed)
  path.parent.mkdir()
  np.savez(
    path,
    train_images=rng.normal(size=(300, 5)),
    train_labels=rng.integers(0, 3, 300),
    test_images=rng.normal(size=(20, 5)),
    test_labels=np.arange(20) % 3,
  )


NPZ = ["--config.data.name=npz", "--config.data.path=mine.npz"]


@pytest.mark.slow
def test_processes_with_other_data_end(tmp_path):
  """The same path may name another file on another host."""
  for i in range(2):
    write_npz(tmp_path / str(i) / "mine.npz", i)
  cwds = [tmp_path / "0", tmp_path / "1"]
  statuses, errors = run_job(tmp_path / "run", [NPZ, NPZ], cwds=cwds)
  assert statuses == [2, 2], errors
  assert all("SHA-256 of the data: '" in error_lines(e)[0] for e in errors)


def test_bad_input_of_one_process_ends_all(tmp_path):
  """The others do not wait for it."""
  write_npz(tmp_path / "0" / "mine.npz", 0)
  (tmp_path / "1").mkdir()
  cwds = [tmp_path / "0", tmp_path / "1"]
  begin = time.monotonic()
  statuses, errors = run_job(tmp_path / "run", [NPZ, NPZ], cwds=cwds)
  assert time.monotonic() - begin < 60
  assert statuses == [2, 2], errors
  first, second = map(error_lines, errors)
  assert len(first) == len(second) == 1
  assert "process 1 of the job: config.data.path = 'mine.npz': no such file" in first[0]
  assert "config.data.path = 'mine.npz': no such file" in second[0]


@pytest.mark.slow
def test_a_port_that_is_taken_and_a_process_that_never_comes(tmp_path):
  """The first process says so at once; the other ends after LSJAX_START_SECONDS."""
  with socket.socket() as taken:
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    statuses, errors = run_job(tmp_path / "run", [[], []], port=port, LSJAX_START_SECONDS="5")
  assert statuses == [2, 4], errors
  assert [len(e.strip().splitlines()) for e in errors] == [1, 1]
  assert f"port {port} of this host is taken by another program" in errors[0]
  assert "was lost or never came" in errors[1]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_process_ends_the_other_in_one_line(tmp_path, victim, signum):
  """Killed or stopped, first process or second: status 4, one line, in bounded time."""
  flags = ["--config.train.num_steps=1000000", "--config.train.eval_every=1000000"]
  processes = start_job(tmp_path / "run", [flags, flags])
  wait_for_checkpoint(processes[0], tmp_path / "run")
  processes[victim].send_signal(signum)
  begin = time.monotonic()
  survivor = processes[1 - victim]
  _, errors = survivor.communicate(timeout=200)
  took = time.monotonic() - begin
  processes[victim].kill()
  processes[victim].communicate()
  assert survivor.returncode == 4, errors
  lines = [line for line in errors.replace("\r", "\n").splitlines() if "%|" not in line]
  lines = [line for line in lines if line.strip()]
  assert len(lines) == 1, errors
  assert lines[0].startswith("lsjax: another process of the job was lost")
  assert took < 2 * HEARTBEAT_SECONDS + 30


# Runs the command, in which the second process ends without a word before it saves.
DYING = """
import os
from lsjax import main
from lsjax.runs import checkpoints
save = checkpoints.Checkpoints.save
def dying(self, *args, **kwargs):
  if os.environ["LSJAX_PROCESS_ID"] == "1":
    os._exit(9)
  save(self, *args, **kwargs)
checkpoints.Checkpoints.save = dying
main.run()
"""


@pytest.mark.slow
def test_a_process_lost_while_a_checkpoint_is_written(tmp_path):
  """The other one waits for it in Orbax, whose error is told as what it is."""
  statuses, errors = run_job(tmp_path / "run", [[], []], program=("-c", DYING))
  assert statuses == [4, 9], errors
  (line,) = error_lines(errors[0].replace("\r", "\n"))
  assert "another process of the job was lost" in line


@pytest.mark.slow
def test_a_damaged_directory_ends_all_processes(tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "run/noise.npz").write_bytes(b"of another program")
  begin = time.monotonic()
  statuses, errors = run_job(tmp_path / "run", [[], []])
  assert time.monotonic() - begin < 60
  assert statuses == [2, 2], errors
  for index, lines in enumerate(map(error_lines, errors)):
    (line,) = lines
    assert ("process 0 of the job: " in line) == (index == 1)
    assert "noise.npz cannot be read" in line


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_a_process_that_waits_in_vain(tmp_path, place):
  """Status 4, which a cluster may answer by a new start."""
  statuses, errors = run_job(tmp_path, [[], []], places=(place,), LSJAX_START_SECONDS="5")
  assert statuses == [4], errors
  assert len(errors[0].strip().splitlines()) == 1
