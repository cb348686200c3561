"""Processes that want one directory at once: some train, the others are refused in one line."""

import signal
import time

from attack.plugin import line

JOBS = ("train", "sweep", "distil", "train")


def race_all(attack, job, server, patches):
  """Starts two to four processes almost at once; in half of the cases one of them is killed."""
  for case in attack.cases:
    one, draws = job(JOBS[case % len(JOBS)]), attack.draws(case)
    one.reset()
    racing, killed = [], None
    for number in range(draws.randint(2, 4)):
      own = patches[number % len(patches)]
      racing.append(server.start(one.command, *one.args, patches=own))
      time.sleep(draws.choice((0, 0, draws.uniform(0, one.seconds / 2))))
    if draws.random() < 0.5:
      time.sleep(draws.uniform(0, one.seconds))
      killed = racing.pop(draws.randrange(len(racing)))
      killed.send(signal.SIGKILL)  # its end is waited for last: until then it is a zombie
    why = ""
    for running in racing:
      ended = running.end(240)
      why = why or ended.why_lost((0, 2))
      if not why and ended.status == 2 and not _is_refusal(ended.lines[-1]):
        why = f"is refused for another reason: {ended.lines[-1]}"
    attack.record(case, why or one.finish(server, patches=patches[0]))
    if killed is not None:
      killed.end()


def _is_refusal(message):
  return "in use by another process" in message or "was taken over by another process" in message


@line("race_working")
def test_working(attack, job, server):
  race_all(attack, job, server, [[]])


@line("race_failing")
def test_failing(attack, job, server):
  race_all(attack, job, server, [["locks_fail"], ["locks_do_nothing"]])


@line("race_hosts")
def test_hosts(attack, job, server):
  """Each process takes the others for processes of other hosts, whose leases tell if they live."""
  race_all(attack, job, server, [["locks_fail", "on_another_host"]])
