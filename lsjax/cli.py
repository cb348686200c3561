"""What the commands share: flags read with one-line errors, and exit statuses."""

import contextlib
import hashlib
import os
import pathlib
import platform
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence

from absl import flags, logging
from ml_collections import config_flags

from lsjax import config as config_lib

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Config file, path[:variants].")
flags.DEFINE_string("workdir", None, "Where it lives; default runs/<config>...")
flags.DEFINE_string(
  "compilation_cache",
  None,
  "Where compiled programs are kept for the next process: a directory, or off. Default: "
  "$JAX_COMPILATION_CACHE_DIR, or lsjax/ in the user's cache directory.",
)
flags.DEFINE_string("profile", None, "Write a trace of the whole process for TensorBoard here.")
BAD_INPUT, DIVERGED, PEER_LOST = 2, 3, 4


def line(message: str) -> str:
  """Returns what is said of an end that is no result: one line."""
  return f"lsjax: {' '.join(message.split())}"


def fail(status: int, message: str) -> typing.NoReturn:
  """Ends the process with one line on stderr, without waiting for other processes of the job."""
  print(line(message), file=sys.stderr)
  if (jax := sys.modules.get("jax")) and jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the usual way out waits for all, and aborts if one is dead
  sys.exit(status)


def parser(check_name: Callable[[str], None]) -> Callable[[Sequence[str]], list[str]]:
  """Returns a flags parser for `app.run`: whatever is wrong ends in one line and status 2.

  Args:
    check_name: raises `ConfigError` for the name of a --config.name override that is unknown.
  """

  def parse(argv: Sequence[str]) -> list[str]:
    try:
      for argument in argv[1:]:
        if override := re.match(r"--?config\.([^=]+)", argument):
          name = override[1].split("[")[0]
          check_name(name)
          if "=" not in argument:
            fail(BAD_INPUT, f"--config.{name}: write the value as --config.{name}=value")
      rest = FLAGS(list(argv))
      if FLAGS.config is None:
        fail(BAD_INPUT, "--config=<file> is missing, such as --config=configs/digits_noisy.py")
      FLAGS.config.items()  # a config file that failed to load raises on first use
    except Exception as error:  # a config file may raise anything
      # ml_collections puts a whole traceback into the message; its last line says it.
      lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
      if section := re.fullmatch(r"\W*(teacher|student)\W*", lines[-1]):
        fail(BAD_INPUT, f"config.{section[1]}: this config file trains without a teacher")
      fail(BAD_INPUT, re.sub(r"^([\w.]+(Error|Exception): )?", "", lines[-1].strip(), count=1))
    if len(rest) > 1:
      fail(BAD_INPUT, f"unexpected argument {rest[1]!r}")
    # Orbax reports every file it touches, and with a traceback what it raises as well.
    if not FLAGS["verbosity"].present:
      logging.set_verbosity(logging.FATAL)
    return rest

  return parse


@contextlib.contextmanager
def jax_set_up() -> Iterator[None]:
  """Sets the compilation cache as --compilation_cache says and profiles as --profile says."""
  import jax

  if FLAGS.compilation_cache != "off":
    named = FLAGS.compilation_cache or os.environ.get("JAX_COMPILATION_CACHE_DIR")
    jax.config.update("jax_compilation_cache_dir", named or str(_default_cache()))
    # Small programs too: a run on digits compiles a dozen of them.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  with jax.profiler.trace(FLAGS.profile) if FLAGS.profile else contextlib.nullcontext():
    yield


def _default_cache() -> pathlib.Path:
  """Returns the user's cache directory for this kind of processor.

  Programs for a CPU use its instructions: a home directory that machines share must not hand
  one the programs of another.
  """
  base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    processor = "\n".join(
      sorted({x for x in lines if x.startswith(("flags", "Features", "model name"))})
    )
  except OSError:
    processor = platform.processor()
  kind = hashlib.sha256(processor.encode()).hexdigest()[:8]
  return pathlib.Path(base) / "lsjax" / f"{platform.machine()}-{kind}"


def overrides() -> list[str]:
  """Returns the names of the config's fields that the command line sets."""
  return list(config_flags.get_override_values(FLAGS["config"]))


def config_name() -> str:
  """Returns the config file's name without directory and suffix."""
  path = config_flags.get_config_filename(FLAGS["config"])
  return re.sub(r"\.py$", "", path.rpartition("/")[2])


def bad_input() -> tuple[type[Exception], ...]:
  """Returns the errors that are the user's to mend: one line, status 2.

  An OSError that nobody made a sentence of (a full disk, a directory that vanished) names its
  file itself.
  """
  from lsjax import checkpoint, record

  return (config_lib.ConfigError, record.WorkdirError, checkpoint.CheckpointError, OSError)
