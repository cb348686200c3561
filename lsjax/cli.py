"""What the commands share: flags, errors in one line, exit statuses and JAX's set-up."""

import contextlib
import ctypes
import hashlib
import os
import pathlib
import platform
import re
import signal
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

from absl import app, flags, logging
from ml_collections import config_flags

from lsjax import compiled, extras, files, garbage, shipped, terminal
from lsjax.validation import UserError, one_line

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
  "config",
  None,
  "Config file or name of a shipped one, with variants behind a colon: "
  "configs/digits_noisy.py:forward or digits_noisy:forward. --config.section.field=value sets a "
  "field.",
)
flags.DEFINE_string("workdir", None, "Where the files go. Default: a directory in runs/.")
flags.DEFINE_string(
  "compilation_cache",
  None,
  "Where compiled programs are kept for the next process: a directory, or off. Default: "
  "$JAX_COMPILATION_CACHE_DIR, or lsjax/ in the user's cache directory.",
)
flags.DEFINE_string("profile", None, "Write a trace of the whole process for TensorBoard here.")
BAD_INPUT, DIVERGED, PEER_LOST = 2, 3, 4

# Errors that the user can mend: one line, status 2. An OSError that nothing has turned into a
# sentence (a full disk, a directory that vanished) names its file itself.
USER_ERRORS = (UserError, OSError)


def line(message: str) -> str:
  """Returns a message as the one line that a command prints when it ends without a result."""
  return f"lsjax: {' '.join(message.split())}"


def fail(status: int, message: str) -> typing.NoReturn:
  """Ends the process with one line on stderr, without waiting for other processes of the job."""
  print(line(message), file=sys.stderr)
  if (jax := sys.modules.get("jax")) and jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a normal exit waits for all processes, and aborts if one is dead
  sys.exit(status)


def end_aborts_in_one_line() -> None:
  """Makes an abort of JAX's runtime end this process in one line and status `PEER_LOST`.

  In a job of several processes the runtime aborts, from a thread of its own, when another process
  is lost or never comes; it logs many lines to file descriptor 2, which are dropped from now on.
  """
  stderr = os.dup(2)
  sys.stderr = terminal.open_output(stderr)
  null = os.open(os.devnull, os.O_WRONLY)
  os.dup2(null, 2)
  os.close(null)
  # On a line of its own: a progress bar may have left the cursor behind it.
  message = "\n" + line("another process of the job was lost or never came")

  @ctypes.CFUNCTYPE(None, ctypes.c_int)
  def end(_: int) -> None:
    with contextlib.suppress(OSError):
      os.write(stderr, f"{message}\n".encode())
    os._exit(PEER_LOST)

  # Python's own handlers run in the main thread alone, which the abort does not wait for.
  libc = ctypes.CDLL(None)
  libc.signal.restype = ctypes.c_void_p
  libc.signal(int(signal.SIGABRT), end)
  _KEPT.append(end)  # the C side holds no reference


_KEPT: list[object] = []


def run(
  main: Callable[[Sequence[str]], None],
  check_name: Callable[[str], None] | None,
  module: ModuleType,
) -> None:
  """Parses the command line and runs a command; wrong flags end in one line and status 2.

  A standard stream that is closed, full or read by nobody is no reason to end.

  Args:
    main: the command, a function of the arguments that are no flags.
    check_name: a function that raises `ConfigError` for the name of an unknown override; None for a
      command that takes arguments instead of --config.
    module: the command's module, for its help text.
  """

  terminal.protect()
  garbage.collect_rarely()

  def guarded(argv: Sequence[str]) -> None:
    try:
      main(argv)
    except USER_ERRORS as error:
      fail(BAD_INPUT, str(error))
    except ModuleNotFoundError as error:
      fail(BAD_INPUT, extras.hint(error))

  app.run(guarded, flags_parser=lambda argv: _parse(list(argv), check_name, module))


def _parse(
  argv: list[str], check_name: Callable[[str], None] | None, module: ModuleType
) -> list[str]:
  if {"--help", "-help", "-h", "--helpshort"} & set(argv):
    _print_help(argv[0], module, () if check_name else ("config",))
    sys.exit(0)
  # Orbax logs every file that it touches, and every error with a traceback. --verbosity, if it is
  # there, is parsed below.
  logging.set_verbosity(logging.FATAL)
  try:
    if check_name is None:
      FLAGS.set_gnu_getopt(True)  # flags may follow the arguments
      rest = FLAGS(argv)
      if FLAGS.config is not None:
        fail(BAD_INPUT, "--config: this command takes none")
      return rest
    argv = _with_config_paths(argv)
    for argument in argv[1:]:
      if override := re.match(r"--?config\.([^=]*)", argument):
        name = override[1].split("[")[0]
        check_name(name)
        if "=" not in argument:
          fail(BAD_INPUT, f"--config.{name}: write the value as --config.{name}=value")
    rest = FLAGS(argv)
    if FLAGS.config is None and FLAGS["config"].present:
      raise ValueError("get_config returns None")
    if FLAGS.config is None:
      fail(BAD_INPUT, "--config=<file> is missing, such as --config=configs/digits_noisy.py")
    _ = FLAGS.config.items  # a config file that failed to load raises on first use
  except Exception as error:  # a config file may raise anything
    # Of a config file, ml_collections puts a whole traceback into the message, whose last line is
    # the reason; of another flag the message may have several lines because its value has.
    if isinstance(error, flags.IllegalFlagValueError) and "Traceback (" not in str(error):
      fail(BAD_INPUT, str(error))
    lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
    if section := re.fullmatch(r"\W*(teacher|student)\W*", lines[-1]):
      fail(BAD_INPUT, f"config.{section[1]}: this config file trains without a teacher")
    reason = re.sub(r"^([\w.]+(Error|Exception): )?", "", lines[-1].strip(), count=1)
    if not re.search(r"\bconfig[.\[]|--|\bflag\b", reason):  # from inside the config file
      file = next((text for text in argv[1:] if re.match(r"--?config=", text)), "--config")
      reason = f"{file}: {reason}"
    fail(BAD_INPUT, reason)
  if len(rest) > 1:
    fail(BAD_INPUT, f"unexpected argument {rest[1]!r}")
  return rest


def _with_config_paths(argv: Sequence[str]) -> list[str]:
  """Returns the arguments with the names of shipped config files replaced by their paths."""
  changed = list(argv)
  for i, argument in enumerate(argv):
    is_separate = argument in ("--config", "-config") and i + 1 < len(argv)
    if not is_separate and not re.match(r"--?config=", argument):
      continue
    flag, _, value = ("", "", argv[i + 1]) if is_separate else argument.partition("=")
    name, colon, variants = value.partition(":")
    if name and not name.endswith(".py") and "/" not in name and not os.path.exists(name):
      value = f"{shipped.find(name)}{colon}{variants}"
    changed[i + is_separate] = value if is_separate else f"{flag}={value}"
  return changed


def _print_help(command: str, module: ModuleType, without: Sequence[str]) -> None:
  print(f"{(module.__doc__ or '').strip()}\n\nflags of {command}:")
  for flag in (*FLAGS.get_flags_for_module(__name__), *FLAGS.get_flags_for_module(module)):
    if flag.name not in without:
      print(f"\n  --{flag.name}\n      {flag.help}")


@contextlib.contextmanager
def jax_set_up() -> Iterator[None]:
  """Sets the compilation cache as --compilation_cache says and profiles as --profile says."""
  import jax

  cache: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
  if FLAGS.compilation_cache != "off":
    directory = FLAGS.compilation_cache or os.environ.get("JAX_COMPILATION_CACHE_DIR")
    directory = os.path.expanduser(directory or _default_cache())
    jax.config.update("jax_compilation_cache_dir", directory)
    cache = compiled.healed(directory)
    # Small programs are worth keeping too: a run on digits compiles a dozen of them.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  with cache, jax.profiler.trace(FLAGS.profile) if FLAGS.profile else contextlib.nullcontext():
    yield


def _default_cache() -> pathlib.Path:
  """Returns a directory in the user's cache for this kind of processor.

  Programs for a CPU use its instructions. Machines that share a home directory must not take
  each other's programs.
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


def workdir(default: str) -> pathlib.Path:
  """Returns the directory that --workdir names, in a bucket too.

  Raises:
    UserError: one line, if it is no path, or if a bucket cannot be reached.
  """
  name = FLAGS.workdir or default
  try:
    directory = files.path(name)
    if "\0" in name:
      raise ValueError("holds a null character")
    if not files.is_local(name):
      directory.exists()
  except Exception as error:  # each kind of bucket has its own
    why = str(error) if type(error) is ValueError else f"cannot be reached ({one_line(error)})"
    raise UserError(f"--workdir = {name!r}: {why}") from error
  return directory


def config_name() -> str:
  """Returns the config file's name and variants as a file name, such as digits_noisy-forward."""
  path, _, variants = config_flags.get_config_filename(FLAGS["config"]).partition(":")
  name = "-".join(filter(None, (pathlib.PurePath(path).stem, variants)))
  return re.sub(r"[^\w.-]+", "-", name)
