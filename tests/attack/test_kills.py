"""SIGKILL at random moments, again and again; the same command then ends with the same result."""

import signal

from attack import jobs
from attack.plugin import line


def killed(one, draws, kills, server):
  """Kills a job so many times, then ends it; returns what is lost, or "".

  A command that ends before its kill begins anew from nothing.
  """
  one.reset()
  done = 0
  while done < kills:
    running = server.start(one.command, *one.args)
    if running.wait(draws.uniform(0, one.seconds)):
      ended = running.end()
      if why := ended.why_lost((0,)) or jobs.difference(one.workdir, one.whole):
        return f"after {done} kills: {why}"
      one.reset()
      continue
    running.send(signal.SIGKILL)
    status = running.end(60).status
    if status != -signal.SIGKILL:  # it ended at that moment
      continue
    done += 1
  why = one.finish(server)
  return f"after {done} kills: {why}" if why else ""


def kill_all(attack, one, server, kills=4):
  for case in attack.cases:
    attack.record(case, killed(one, attack.draws(case), kills, server), kills)


@line("kill_train", each=4)
def test_kill_train(attack, job, server):
  kill_all(attack, job("train"), server)


@line("kill_distil", each=4)
def test_kill_distil(attack, job, server):
  kill_all(attack, job("distil"), server)


@line("kill_sweep", each=4)
def test_kill_sweep(attack, job, server):
  kill_all(attack, job("sweep"), server)


@line("kill_advise", each=4)
def test_kill_advise(attack, job, server):
  kill_all(attack, job("advise"), server)


@line("kill_report", each=4)
def test_kill_report(attack, job, server):
  kill_all(attack, job("report"), server)
