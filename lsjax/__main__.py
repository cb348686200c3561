"""The console command: lsjax train, lsjax sweep, lsjax report and lsjax advise.

They are the same as python -m lsjax.main, lsjax.sweep, lsjax.report and lsjax.advice.
`lsjax COMMAND --help` shows what a command takes.
"""

import importlib
import sys

from lsjax import extras, garbage, terminal

_COMMANDS = {
  "train": ("lsjax.main", "trains one run, or a teacher and its student"),
  "sweep": ("lsjax.sweep", "trains every cell of a sweep and writes its report"),
  "report": ("lsjax.report", "writes the report of a sweep again"),
  "advise": ("lsjax.advice.__main__", "says what to use on your own noisy labels"),
}


def main() -> None:
  """Runs the command that the first argument names."""
  terminal.protect()
  garbage.collect_rarely()
  arguments = sys.argv[1:]
  if not arguments or arguments[0] in ("-h", "--help", "help"):
    print("usage: lsjax COMMAND [--flag=value ...]\n")
    for name, (_, what) in _COMMANDS.items():
      print(f"  lsjax {name:8}{what}")
    print("\nlsjax COMMAND --help shows the flags of a command.")
    sys.exit(0 if arguments else 2)
  if arguments[0] not in _COMMANDS:
    print(f"lsjax: {arguments[0]!r}: must be one of {', '.join(_COMMANDS)}", file=sys.stderr)
    sys.exit(2)
  try:
    command = importlib.import_module(_COMMANDS[arguments[0]][0])
  except ModuleNotFoundError as error:
    print(f"lsjax: {extras.hint(error)}", file=sys.stderr)
    sys.exit(2)
  sys.argv = [f"lsjax {arguments[0]}", *arguments[1:]]
  command.run()


if __name__ == "__main__":
  main()
