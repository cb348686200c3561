"""The options of an attack, what its tests record, and the table at its end."""

import functools
import os
import random
import time

import pytest

from attack import commands, table

_PROPERTY = "attack"


def pytest_addoption(parser):
  group = parser.getgroup("attack", "pytest -m attack")
  group.addoption(
    "--attack-seed", type=int, default=0, help="the seed from which all cases are drawn"
  )
  group.addoption(
    "--attack-share", type=float, default=1.0, help="the share of the cases to try, such as 0.1"
  )
  group.addoption(
    "--attack-case", type=int, help="the number of the only case to try; choose its line by -k"
  )
  group.addoption(
    "--attack-json",
    help=f"where the table goes; by default {table.FILE.name} in results/ for lines that are tried "
    "whole, and nowhere for a share",
  )


class Attack:
  """One part of a line of the table: some of its cases, and what became of them.

  Attributes:
    line: the name of the line.
  """

  def __init__(self, line, cases, config):
    self.line, self._all, self._config = line, cases, config
    self._seed = config.getoption("--attack-seed")
    self._begun = time.monotonic()
    self.tried, self.lost, self.why, self.skipped = 0, 0, list[str](), ""

  @property
  def cases(self):
    """The numbers of the cases to try."""
    one, share = (self._config.getoption(f"--attack-{name}") for name in ("case", "share"))
    if one is not None:
      return [case for case in self._all if case == one]
    return [c for c in self._all if random.Random(f"{self.line} {c}").random() < share]

  def draws(self, case):
    """Returns the generator of a case, which depends on the seed, the line and its number."""
    return random.Random(f"{self._seed} {self.line} {case}")

  def record(self, case, why, count=1):
    """Counts a case as handled, or as lost if `why` says what is wrong.

    Args:
      case: the number of the case.
      why: what is wrong, or "".
      count: how many kills, say, the case was.
    """
    self.tried += count
    if why:
      test = f"pytest -m attack -n 0 -k {self.line} --attack-case={case}"
      seed = f" --attack-seed={self._seed}" if self._seed else ""
      self.lost += count
      self.why.append(f"{self.line} {case}: {why}  [{test}{seed}]")

  def outcome(self):
    """Returns what goes into the table."""
    return {
      **{"line": self.line, "tried": self.tried, "lost": self.lost, "why": self.why},
      **{"skipped": self.skipped, "seconds": time.monotonic() - self._begun},
    }


def line(name, *, parts=1, each=1):
  """Makes the tests of a line, each of which tries a part of its cases.

  Args:
    name: the name of the line.
    parts: the number of tests.
    each: how much a case counts in the table, such as several kills of one job.
  """
  count = table.LINES[name][1]
  assert count % each == 0
  cases = range(count // each)
  chunks = [(name, cases[part::parts]) for part in range(parts)]
  ids = [f"{name}-{part}" for part in range(parts)]

  def decorate(function):
    @functools.wraps(function)
    def test(attack, **fixtures):
      try:
        function(attack=attack, **fixtures)
      except pytest.skip.Exception as skip:
        attack.skipped = str(skip)
        raise
      if attack.lost:
        pytest.fail("\n".join(attack.why), pytrace=False)

    marked = pytest.mark.parametrize("attack", chunks, ids=ids, indirect=True)(test)
    return pytest.mark.attack(marked)

  return decorate


@pytest.fixture
def attack(request):
  """The cases of a test; what it records of them reaches the table from any worker."""
  name, cases = request.param
  found = Attack(name, cases, request.config)
  yield found
  request.node.user_properties.append((_PROPERTY, found.outcome()))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
  """A server of commands; all of the attack share a cache of compiled programs."""
  base = tmp_path_factory.getbasetemp()
  cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "attack_cache"
  cache.mkdir(exist_ok=True)
  started = commands.Server(cache)
  yield started
  started.close()


@pytest.fixture(scope="session")
def job(tmp_path_factory, server):
  """A function that returns a job by its name; it is made once."""
  from attack import jobs  # slow to import, and not needed by other tests

  made = {}

  def get(name):
    if name not in made:
      made[name] = jobs.make(name, tmp_path_factory.mktemp(name), server)
    return made[name]

  return get


def _outcomes(terminal):
  for reports in terminal.stats.values():
    for report in reports:
      if getattr(report, "when", "") == "teardown":
        yield from (v for k, v in report.user_properties if k == _PROPERTY)


def pytest_terminal_summary(terminalreporter, config):
  """Prints the table, and writes it."""
  outcomes = list(_outcomes(terminalreporter))
  if not outcomes:
    return
  lines = table.summed(outcomes)
  rows = table.rows(lines)
  widths = [max(len(row[i]) for row in (table.HEADER, *rows)) for i in range(len(table.HEADER))]
  terminalreporter.section("attack")
  for row in (table.HEADER, *rows):
    cells = [row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:]))]
    terminalreporter.write_line("  ".join(cells))
  for outcome in outcomes:
    for why in outcome["why"]:
      terminalreporter.write_line(why)
  get = config.getoption
  if get("--attack-share") == 1 and get("--attack-case") is None:
    for name, one in lines.items():
      if one["tried"] < table.LINES[name][1]:
        terminalreporter.write_line(f"{name}: {one['tried']} of {table.LINES[name][1]} cases")
  whole = {name: one for name, one in lines.items() if one["tried"] == table.LINES[name][1]}
  path = get("--attack-json")
  if path or whole:
    table.write(path or table.FILE, lines if path else whole, get("--attack-seed"))
