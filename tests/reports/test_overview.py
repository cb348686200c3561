"""Methods over several noises: what noisy validation chooses, gains, the smearing path."""

import pathlib

import numpy as np
import pytest

from lsjax import config as config_lib
from lsjax.reports import figures, leaderboard, overview, tables
from lsjax.reports.cell import CellResults
from lsjax.reports.results import SweepResults
from lsjax.sweeps import cells

NOISES = {"symmetric 20 %": 0.2, "symmetric 40 %": 0.4}
SEEDS = range(5)
WOBBLE = (0.0, 0.01, -0.01, 0.02, -0.02)  # of both methods alike, by seed


def cell(name, changes, final, best, validation=(0.5, 0.6), candidate_of="", jitter=0.0):
  """A cell whose runs have these test and noisy-validation accuracies, and wobble by seed."""
  config = config_lib.default_config()
  config.update_from_flattened_dict({"data.validation_examples": 100, **changes})
  results = {}
  for seed in SEEDS:
    extra = WOBBLE[seed] + jitter * (-1) ** seed
    moments = {
      moment: {"test": {"accuracy": test + extra}, "validation": {"accuracy": noisy}}
      for moment, test, noisy in zip(("final", "best"), (final, best), validation, strict=True)
    }
    results[seed] = {"status": "finished", **moments}
  nested = config_lib.to_dict(config_lib.from_config_dict(config))
  workdirs = {seed: pathlib.Path(f"{name}/{seed}") for seed in SEEDS}
  return CellResults(name, nested, workdirs, results, candidate_of)


def sweep_of(*found):
  return SweepResults(pathlib.Path("nowhere"), "made up", "made up", found, None, None)


@pytest.fixture
def sweep():
  found = []
  for noise, rate in NOISES.items():
    drop = rate - 0.2  # accuracy falls with the rate
    of_noise = cells.symmetric_noise(rate)
    point = {"loss.generalized_cross_entropy.q": 0.4}
    made = {
      "CE": (cells.method("CE"), 0.7, 0.8),
      "GCE": (cells.method("GCE"), 0.8, 0.85),
      "MAE": (cells.method("MAE"), 0.71, 0.8),
      "NCE": (cells.method("NCE"), 0.5, 0.5),
      "CR": (cells.method("CR"), 0.6, 0.7),
    }
    for name, (changes, final, best) in made.items():
      jitter = 0.05 if name == "MAE" else 0.004 if name != "CE" else 0.0
      one = cell(f"{name}, {noise}", changes | of_noise, final - drop, best - drop, jitter=jitter)
      found.append(one)
    for q, validation in ((0.4, (0.4, 0.7)), (0.9, (0.9, 0.3))):
      changes = cells.method("GCE") | of_noise | {**point, "loss.generalized_cross_entropy.q": q}
      grid = cell(f"GCE {q}, {noise}", changes, 0.6, q, validation, f"GCE, {noise}")
      found.append(grid)
    for beta in (-1.0, 0.5):
      changes = cells.method("CR", beta=beta) | of_noise
      found.append(cell(f"CR {beta}, {noise}", changes, 0.65, 0.75, candidate_of=f"CR, {noise}"))
  return sweep_of(*found)


def test_means_over_noises(sweep):
  found = overview.overview(sweep)
  assert found.noises == list(NOISES)
  assert [row.label for row in found.rows] == ["GCE q 0.7", "MAE", "CE", "CR beta 2", "NCE"]
  rows = {row.label: row for row in found.rows}
  ce = rows["CE"]
  assert ce.accuracy(overview.FINAL).mean == pytest.approx(0.7 - 0.1)
  assert ce.accuracy(overview.STOPPED).mean == pytest.approx(0.8 - 0.1)
  assert ce.accuracy(overview.CHOSEN).mean == pytest.approx(0.8 - 0.1)
  assert ce.accuracy(overview.FINAL).sd == pytest.approx(np.std(WOBBLE, ddof=1))
  gain = rows["GCE q 0.7"].gain(ce, overview.FINAL, overview.FINAL)
  assert (gain.n, gain.mean) == (5, pytest.approx(0.1 + 0.004 / 5))
  assert gain.sd < 0.01  # paired: the common wobble is gone
  # Noisy validation at the best step prefers q = 0.4 (70 %) to its own (60 %) and to 0.9 (30 %).
  assert rows["GCE q 0.7"].accuracy(overview.CHOSEN).mean == pytest.approx(0.4)


def test_gains_are_told_from_zero_with_correction(sweep):
  found = overview.overview(sweep)
  for noise in NOISES:
    gains = found.gains(overview.FINAL, noise)
    assert set(gains) == {"GCE q 0.7", "MAE", "NCE", "CR beta 2"}
    assert {label for label, (_, apart) in gains.items() if apart} == {
      "GCE q 0.7",
      "NCE",
      "CR beta 2",
    }
    assert gains["NCE"][0].mean == pytest.approx(-0.2 + 0.004 / 5)


def test_tables(sweep):
  made = {table.id: table for table in tables.tables(sweep, [])}
  over = made["overview"]
  assert [row[0] for row in over.rows] == ["GCE q 0.7", "MAE", "CE", "CR beta 2", "NCE"]
  assert str(over.rows[2][1]) == "60.00 ± 1.58"
  assert over.rows[2][2] == ""
  board = made["leaderboard_digits_mlp_symmetric_20_"]
  names = [row[1] for row in board.rows]
  assert names[:2] == ["GCE, symmetric 20 %", "CE, symmetric 20 %, stopped early"]
  chosen = board.header.index("chosen values")
  assert board.rows[0][chosen] == "q 0.4"
  assert board.rows[1][chosen] == "-"
  gains = made["gains_by_noise"]
  assert len(gains.header) == 1 + 2 * len(NOISES)
  assert [number.bold for number in gains.rows[1][1:3]] == [False, False]  # MAE
  path = made["path"]
  betas = [row[1] for row in path.rows if row[0] == "symmetric 20 %"]
  assert betas == ["-1", "0", "0.5", "2"]


def test_stopped_early_takes_part_where_there_is_a_best_step(sweep):
  of_noise = [c for c in sweep.listed if c.noise == "symmetric 20 %"]
  ranked = leaderboard.standings(of_noise, stopped_early=True)
  assert [s.moment for s in ranked if s.cell.method == "CE"] == ["best", "final"]
  assert len(leaderboard.standings(of_noise)) == len(of_noise)
  plain = cell("CE", cells.method("CE"), 0.7, 0.8)
  for result in plain.results.values():
    result["best"] = None
  assert len(leaderboard.standings([plain], stopped_early=True)) == 1


def test_only_values_that_differ_from_most_are_said():
  found = [cell(f"cell {i}", cells.method("CE"), 0.7, 0.8) for i in range(3)]
  clipped = cell("BC", cells.method("BC", 0.1), 0.7, 0.8)
  said = leaderboard.differences([*found, clipped])
  assert said[:3] == ["", "", ""]
  assert said[3] == "loss.cross_entropy_steps 100, optim.clip_norm 1.0"


def test_figures(sweep):
  drawn = {drawing.id: drawing for drawing in figures.draw(sweep)}
  assert {"gains", "smearing_path"} <= set(drawn)
  assert "symmetric 20 %, symmetric 40 %" in drawn["gains"].caption
  assert "(n = 5)" in drawn["gains"].caption
  labels = [text.get_text() for text in drawn["gains"].figure.axes[0].get_yticklabels()]
  assert labels[-1] == "GCE q 0.7"
  assert len(drawn["smearing_path"].figure.axes) == len(NOISES)
  assert (
    "mean over seeds with the 95 % interval of the mean (n = 5)" in drawn["smearing_path"].caption
  )
  one_noise = sweep_of(*(c for c in sweep.cells if c.noise == "symmetric 20 %"))
  assert "gains" not in {drawing.id for drawing in figures.draw(one_noise)}
