"""How often a command looks for garbage."""

import gc
import subprocess
import sys

from lsjax import garbage

CODE = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 1000))
from lsjax import garbage
garbage.collect_rarely()
print(gc.get_freeze_count())
"""


def test_less_often_and_not_at_the_end():
  done = subprocess.run(
    [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60
  )
  assert done.stdout.split() == ["0", "True"]


def test_less_often_than_by_default():
  before = gc.get_threshold()
  try:
    garbage.collect_rarely()
    assert gc.get_threshold()[0] > before[0]
    assert gc.isenabled()
  finally:
    gc.set_threshold(*before)


def test_none_is_looked_for_while_a_report_is_made():
  for is_enabled in (True, False):
    before = gc.isenabled()
    try:
      (gc.enable if is_enabled else gc.disable)()
      with garbage.not_collected():
        assert not gc.isenabled()
      assert gc.isenabled() == is_enabled
    finally:
      (gc.enable if before else gc.disable)()
