"""Standard streams that are closed, full or read by nobody: the same files and the same status."""

from test_hostile_streams import status

from attack import jobs
from attack.plugin import line

STREAMS = (
  *("2>&-", ">&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full"),
  *("| true", "2>&1 | true", "2>&1 | head -c 1 >/dev/null"),
)
BAD = (
  ("main", "--config=/absent.py"),
  ("sweep", "--config=configs/sweeps/digits_distill.py", "--config.seeds=0"),
  ("report", "/absent"),
)
# Of 24 cases: whose streams, and of what command.
CASES = (
  *((streams, "train") for streams in STREAMS),
  *((streams, "report") for streams in STREAMS),
  *((streams, "bad") for streams in (*STREAMS[:4], STREAMS[5], STREAMS[7])),
)


@line("streams", parts=2)
def test_streams(attack, job):
  for case in attack.cases:
    streams, what = CASES[case]
    if what == "bad":
      found = status(streams, *BAD[case % len(BAD)])
      attack.record(case, "" if found == 2 else f"{streams}: status {found}")
      continue
    one = job(what)
    one.reset()
    try:
      found = status(streams, {"train": "main"}.get(what, what), *one.args)
    except AssertionError as error:
      attack.record(case, f"{streams}: {error}")
      continue
    why = "" if found == 0 else f"status {found}"
    why = why or jobs.difference(one.workdir, one.whole)
    attack.record(case, why and f"{streams}: {why}")
