"""The table of the attack: what tests recorded is counted, and the last run is whole."""

import json
import types

from attack import plugin, table


def outcome(line, tried, lost=0, skipped="", seconds=1.0):
  return {"line": line, "tried": tried, "lost": lost, "skipped": skipped, "seconds": seconds}


def test_parts_of_a_line_are_counted_together():
  lines = table.summed([outcome("streams", 3, 1), outcome("kill_train", 4), outcome("streams", 5)])
  assert list(lines) == ["kill_train", "streams"]
  assert lines["streams"] == {
    **{"tried": 8, "handled": 7, "lost": 1, "skipped": "", "seconds": 2.0}
  }
  assert table.rows(lines)[-1] == ["all", "12", "11", "1"]


def test_a_skipped_line_says_why():
  ((what, *counts), _) = table.rows(table.summed([outcome("disk_size", 0, skipped="cannot mount")]))
  assert what == "a disk without space (skipped: cannot mount)"
  assert counts == ["0", "0", "0"]


def test_lines_of_an_earlier_run_stay_beside_new_ones(tmp_path):
  path = tmp_path / "attack.json"
  table.write(path, table.summed([outcome("streams", 24, 1)]), 0)
  table.write(path, table.summed([outcome("kill_train", 60), outcome("streams", 24)]), 0)
  lines = json.loads(path.read_text())["lines"]
  assert [(name, one["tried"], one["lost"]) for name, one in lines.items()] == [
    *(("kill_train", 60, 0), ("streams", 24, 0))
  ]
  table.write(path, table.summed([outcome("streams", 24)]), seed=1)
  assert list(json.loads(path.read_text())["lines"]) == ["streams"]


def options(**given):
  values = {"seed": 0, "share": 1.0, "case": None, **given}
  return types.SimpleNamespace(getoption=lambda name: values[name.removeprefix("--attack-")])


def test_cases_and_their_draws():
  """A share has cases of the whole; a case has its own draws, and says how to try it again."""
  whole = plugin.Attack("streams", range(24), options())
  part = plugin.Attack("streams", range(24), options(share=0.25))
  assert whole.cases == [*range(24)]
  assert 0 < len(part.cases) < 12
  assert plugin.Attack("streams", range(24), options(case=7)).cases == [7]
  draws = [one.draws(4).random() for one in (whole, part)]
  assert draws[0] == draws[1] != whole.draws(5).random()
  assert plugin.Attack("streams", range(24), options(seed=1)).draws(4).random() != draws[0]
  whole.record(3, "")
  whole.record(4, "is gone", 4)
  assert (whole.outcome()["tried"], whole.outcome()["lost"]) == (5, 4)
  assert whole.why == ["streams 4: is gone  [pytest -m attack -n 0 -k streams --attack-case=4]"]


def test_the_counts_are_those_that_were_asked_for():
  sums = {
    start: sum(count for name, (_, count) in table.LINES.items() if name.startswith(start))
    for start in ("kill", "run_configs", "sweep_configs", "damaged", "flip")
  }
  assert sums == {
    **{"kill": 200, "run_configs": 1000, "sweep_configs": 1000, "damaged": 1000, "flip": 300}
  }


def test_the_last_run_is_whole():
  """Every line of the table in the documentation was tried in full, and no case was lost."""
  lines = json.loads(table.FILE.read_text())["lines"]
  assert {name: one["tried"] for name, one in lines.items()} == {
    name: count for name, (_, count) in table.LINES.items()
  }
  assert {name: one["lost"] for name, one in lines.items() if one["lost"]} == {}
