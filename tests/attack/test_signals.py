"""Signals at random moments: the command ends in one line, and the same command goes on."""

import signal

from attack import jobs
from attack.plugin import line


def signal_all(attack, job, server, signum, statuses):
  for case in attack.cases:
    one, draws = job(jobs.TURNS[case % len(jobs.TURNS)]), attack.draws(case)
    one.reset()
    running = server.start(one.command, *one.args)
    if not running.wait(draws.uniform(0, one.seconds)):
      running.send(signum)
    ended = running.end(120)
    attack.record(case, ended.why_lost((0, *statuses)) or one.finish(server))


@line("signal_term")
def test_term(attack, job, server):
  """Status 143 with everything saved, or that of the signal where nothing is to be saved yet."""
  signal_all(attack, job, server, signal.SIGTERM, (143, -signal.SIGTERM))


@line("signal_int")
def test_int(attack, job, server):
  signal_all(attack, job, server, signal.SIGINT, (130, -signal.SIGINT))


@line("signal_hup")
def test_hup(attack, job, server):
  """Nobody catches it: as a kill."""
  signal_all(attack, job, server, signal.SIGHUP, (-signal.SIGHUP,))
