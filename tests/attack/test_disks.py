"""Disks that are full: one line with status 2, and once there is room the same command goes on."""

import subprocess

from test_faults import memory_disk

from attack import jobs
from attack.plugin import line


def fill_all(attack, job, server, option):
  """Runs a command on a small disk, then makes it larger and runs the command again."""
  for case in attack.cases:
    one, draws = job(jobs.TURNS[case % len(jobs.TURNS)]), attack.draws(case)
    disk = one.workdir.parent
    one.reset()
    for path in disk.iterdir():  # what the report reads
      path.rename(disk.parent / path.name)
    disk.rmdir()
    begun = disk.parent / one.workdir.name
    with memory_disk(disk, "nr_inodes=100000,size=256m"):
      if begun.exists():
        subprocess.run(["mv", begun, disk], check=True)
      resize(disk, option(disk, draws))
      ended = server.run(one.command, *one.args, seconds=300)
      why = ended.why_lost((0, 2))
      if not why and ended.status == 2:
        said = ended.lines[-1]
        named = str(disk) in said and ("cannot be written" in said or "No space" in said)
        why = "" if named else f"does not name the disk: {said}"
      resize(disk, "nr_inodes=100000,size=256m")
      attack.record(case, why or one.finish(server))
      one.reset()


def resize(disk, options):
  subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def used(disk, what):
  """Returns the KiB, or the inodes, that are taken."""
  done = subprocess.run(
    ["df", f"--output={what}", disk], check=True, capture_output=True, text=True
  )
  return int(done.stdout.split()[-1])


@line("disk_size")
def test_size(attack, job, server):
  """From no room at all to about as much as the command needs."""

  def options(disk, draws):
    return f"size={used(disk, 'used') + draws.randint(4, 900)}k"

  fill_all(attack, job, server, options)


@line("disk_inodes")
def test_inodes(attack, job, server):
  def options(disk, draws):
    return f"nr_inodes={used(disk, 'iused') + draws.randint(1, 90)}"

  fill_all(attack, job, server, options)
