"""Tests see four CPU devices and one compilation cache."""

import os
import signal
import tempfile

# Before the first import of jax: the number of devices is fixed then.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes of the tests share the cores
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax
import pytest

from lsjax import config as config_lib

pytest_plugins = ["attack.plugin"]

# A job in the background of a shell ignores SIGINT, and so would every process that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache():
  with tempfile.TemporaryDirectory() as path:
    jax.config.update("jax_compilation_cache_dir", path)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    # Also for the processes that tests start.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = path
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    yield
    jax.config.update("jax_compilation_cache_dir", None)


def small(**changes):
  config = config_lib.default_config()
  fields = {
    "data.name": "digits",
    "noise.kind": "symmetric",
    "noise.rate": 0.2,
    "model.name": "mlp",
    "model.hidden": 16,
    "train.num_steps": 6,
    "train.batch_size": 32,
    "train.log_every": 2,
    "train.eval_every": 3,
    "train.steps_per_call": 2,
    "checkpoint.every": 3,
    "checkpoint.keep": 3,
  }
  config.update_from_flattened_dict(fields | changes)
  return config


@pytest.fixture
def make_config():
  """make_config(**{"section.field": value}) on a small, quick digits run."""
  return lambda **changes: config_lib.from_config_dict(small(**changes))


@pytest.fixture
def make_distillation():
  """make_distillation(**{"section.field": value}): a student of a small, quick digits run."""

  def make(**changes):
    config = config_lib.with_teacher(small(), small())
    config.update_from_flattened_dict({"seed.init": 1, "teacher.loss.name": "label_smoothing"})
    config.update_from_flattened_dict(changes)
    return config_lib.from_config_dict(config)

  return make


@pytest.fixture(scope="session")
def imagenet_directory(tmp_path_factory):
  """A TFDS directory with a small data set of imagenet2012's features; see imagenet_fixture."""
  import imagenet_fixture

  path = tmp_path_factory.mktemp("tfds")
  imagenet_fixture.build(path)
  return path
