"""Statistics over seeds, and the verdicts of the claims."""

import math

import made_up_sweep
import numpy as np
import pytest
from made_up_sweep import ACCURACY, DISTANCE, ECE, STUDENT, TEMPERED
from scipy import stats

from lsjax import files
from lsjax.reports import claims, results, statistics
from lsjax.sweeps import cells

HOLDS = [-1.0, -1.1, -1.2]


def found(path):
  return {claim.id: claim for claim in claims.claims(results.read(path))}


def verdicts(path, setting=claims.FINAL):
  return {id: claim.verdict_in(setting) for id, claim in found(path).items()}


def claim(*tests, any_of=False):
  """Returns a claim with tests given as (values, sign, bound)."""
  made = [
    claims.Comparison("x", statistics.summarise(values), sign=sign, bound=bound)
    for values, sign, bound in tests
  ]
  return claims.Claim("C1", "text", {claims.FINAL: made}, any_of=any_of)


def test_statistics_against_scipy():
  values = list(np.random.default_rng(0).normal(size=7))
  got = statistics.summarise(values)
  expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
  assert (got.low, got.high) == pytest.approx((expected.low, expected.high))
  assert got.sd == pytest.approx(stats.tstd(values))
  assert statistics.summarise(values, 100).high == pytest.approx(100 * expected.high)
  assert got.scaled(100).high == pytest.approx(100 * expected.high)
  p = stats.ttest_1samp(values, 0.3, alternative="greater").pvalue
  assert statistics.p_above(got, 0.3) == pytest.approx(p)
  single = statistics.summarise([0.5])
  assert single.mean == 0.5
  assert math.isnan(single.sd)
  assert math.isnan(single.low)
  assert math.isnan(statistics.p_above(single, 0))
  assert math.isnan(statistics.summarise([]).mean)


def test_values_without_spread():
  same = statistics.summarise([0.5, 0.5, 0.5])
  assert (same.low, same.high) == (0.5, 0.5)
  assert [statistics.p_above(same, bound) for bound in (0.4, 0.5, 0.6)] == [0.0, 0.5, 1.0]


def test_holm_against_its_definition():
  assert statistics.holm([0.04, math.nan, 0.01, 0.03])[:1] == pytest.approx([0.06])
  assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]
  assert statistics.holm([]) == []


def test_seeds_that_would_decide():
  summary = statistics.summarise([-1.0, 0.1, 1.2])
  needed = statistics.seeds_to_resolve(summary, 0.0)

  def half_width(n):
    return stats.t.ppf(0.975, n - 1) * summary.sd / math.sqrt(n)

  assert half_width(needed) < summary.mean <= half_width(needed - 1)
  assert statistics.seeds_to_resolve(summary, summary.mean) is None
  assert statistics.seeds_to_resolve(summary, summary.mean + 1e-6) is None


def test_pairs_are_by_seed():
  got = statistics.paired({0: 1.0, 1: 5.0, 2: 9.0}, {2: 8.0, 0: 0.5, 7: 0.0})
  assert got.n == 2
  assert got.mean == pytest.approx(0.75)


@pytest.mark.parametrize(
  ("values", "sign", "bound", "expected"),
  [
    ([1.0, 1.1, 1.2], 1, 0.0, claims.REPRODUCED),
    (HOLDS, 1, 0.0, claims.NOT_REPRODUCED),
    ([-1.0, 0.1, 1.2], 1, 0.0, claims.INCONCLUSIVE),
    (HOLDS, -1, 0.0, claims.REPRODUCED),
    ([1.0, 1.1, 1.2], -1, 0.0, claims.NOT_REPRODUCED),
    ([1.0, 1.1, 1.2], 1, 2.0, claims.NOT_REPRODUCED),
    ([-0.1, 0.1, 0.0], 1, -1.0, claims.REPRODUCED),
    ([5.0, 5.1], 1, 0.0, claims.UNTESTED),  # two seeds are too few
    ([5.0], 1, 0.0, claims.UNTESTED),
    ([], 1, 0.0, claims.UNTESTED),
  ],
)
def test_verdicts_of_a_statement(values, sign, bound, expected):
  assert claim((values, sign, bound)).verdict == expected


def test_precedence_of_verdicts():
  right, wrong, open_ = (HOLDS, -1, 0.0), (HOLDS, 1, 0.0), ([-1.0, 0.1, 1.2], 1, 0.0)
  missing = ([], 1, 0.0)
  assert claim(right, right).verdict == claims.REPRODUCED
  assert claim(right, open_).verdict == claims.INCONCLUSIVE
  assert claim(right, open_, missing).verdict == claims.UNTESTED
  # A contradiction is not hidden by a missing or an open statement.
  assert claim(right, open_, missing, wrong).verdict == claims.NOT_REPRODUCED
  assert claim(wrong, open_, right, any_of=True).verdict == claims.REPRODUCED
  assert claim(wrong, open_, any_of=True).verdict == claims.INCONCLUSIVE
  assert claim(wrong, wrong, any_of=True).verdict == claims.NOT_REPRODUCED
  assert claim(wrong, missing, any_of=True).verdict == claims.UNTESTED
  assert claim().verdict == claims.UNTESTED


def test_contradictions_are_corrected_for_their_number():
  """A p value of 0.02 contradicts a claim of one statement, but not a claim of four."""
  values = np.array([-1.0, 0.0, 1.0])
  shift = stats.t.isf(0.02, 2) * values.std(ddof=1) / math.sqrt(3)
  weak = (list(values - shift), 1, 0.0)
  assert claim(weak).verdict == claims.NOT_REPRODUCED
  assert claim(weak, weak, weak, weak).verdict == claims.INCONCLUSIVE
  # Where one statement is enough, it is the reproduction that is corrected.
  strong = (list(values + shift), 1, 0.0)
  assert claim(strong, strong).verdict == claims.REPRODUCED
  assert claim(strong, strong, any_of=True).verdict == claims.INCONCLUSIVE


def test_every_claim_reproduced_where_it_holds(tmp_path):
  path = made_up_sweep.write(tmp_path)
  assert verdicts(path) == dict.fromkeys((f"C{i}" for i in range(1, 10)), claims.REPRODUCED)


def test_early_stopping_changes_a_verdict(tmp_path):
  """The best step gains more for CE than for LS, whose lead turns around."""
  path = made_up_sweep.write(tmp_path)
  assert verdicts(path, claims.BEST)["C1"] == claims.NOT_REPRODUCED
  (test,) = found(path)["C1"].tests[claims.BEST]
  assert test.summary.mean == pytest.approx(0.84 + 0.02 - 0.80 - 0.1, abs=5e-3)


def grid_of_ce(decay):
  """Returns another point of a grid for CE, whose accuracy grows with weight decay."""
  changes = cells.method("CE") | cells.symmetric_noise(0.2) | {"optim.weight_decay": decay}
  of = "CE, noise 0.2"
  return {"name": f"{of}; decay {decay}", "changes": changes, "candidate_of": of}


def test_rate_and_decay_chosen_per_method(tmp_path):
  path = made_up_sweep.write(tmp_path, more_cells=[grid_of_ce(0.002), grid_of_ce(0.005)])
  sweep = results.read(path)
  ce = sweep.trained("CE", 0.2)
  assert ce.name == "CE, noise 0.2"  # candidates do not make it ambiguous
  assert sweep.tuned(ce).name == "CE, noise 0.2; decay 0.005"
  assert sweep.tuned(sweep.trained("LS 0.1", 0.2)) is None
  assert claims.TUNED not in found(path)["C1"].tests  # LS has no grid
  assert verdicts(path)["C1"] == claims.REPRODUCED


@pytest.mark.parametrize(
  ("table", "key", "value", "claim"),
  [
    (ACCURACY, ("LS", 0.1), 0.79, "C1"),
    (ACCURACY, ("BC", 0.1), 0.88, "C2"),
    (ACCURACY, ("FC", 0.1), 0.853, "C2"),  # beyond the margin of 1 pp, by 0.3 pp
    (ACCURACY, ("BC", 0.6), 0.70, "C3"),
    (ACCURACY, ("LS", 0.1), 0.75, "C4"),
    (ECE, ("LS", 0.1), 0.123, "C5"),  # likewise
    (ECE, ("FC", 0.1), 0.05, "C5"),
    (ECE, ("LS", 0.6), 0.02, "C5"),
    (DISTANCE, ("one_sided", 0.6), 0.7, "C7"),
    (DISTANCE, ("one_sided", 0.0), 0.01, "C7"),
    (STUDENT[0.2], "FC", 0.80, "C8"),
    (STUDENT[0.2], "LS", 0.80, "C8"),
  ],
)
def test_a_claim_that_fails_is_not_reproduced(tmp_path, monkeypatch, table, key, value, claim):
  monkeypatch.setitem(table, key, value)
  assert verdicts(made_up_sweep.write(tmp_path))[claim] == claims.NOT_REPRODUCED


@pytest.mark.parametrize(
  ("table", "key", "value", "claim"),
  [
    (ACCURACY, ("FC", 0.1), 0.847, "C2"),  # within the margin of 1 pp
    (ECE, ("LS", 0.1), 0.117, "C5"),
  ],
)
def test_margins(tmp_path, monkeypatch, table, key, value, claim):
  monkeypatch.setitem(table, key, value)
  assert verdicts(made_up_sweep.write(tmp_path))[claim] == claims.REPRODUCED


def test_a_gain_on_the_clean_part_counts_twice(tmp_path, monkeypatch):
  """LS gains 4 points on the mislabelled part: far more than 1 point on the clean part."""
  made = made_up_sweep.result

  def with_clean_gain(gain):
    def result(config, seed):
      content = made(config, seed)
      if config.loss.name == "label_smoothing":
        content["final"]["train"]["clean_accuracy"] += gain
      return content

    return result

  monkeypatch.setattr(made_up_sweep, "result", with_clean_gain(0.01))
  assert verdicts(made_up_sweep.write(tmp_path / "a"))["C4"] == claims.REPRODUCED
  monkeypatch.setattr(made_up_sweep, "result", with_clean_gain(0.03))
  assert verdicts(made_up_sweep.write(tmp_path / "b"))["C4"] == claims.NOT_REPRODUCED


def test_temperatures_of_the_claims_on_students(tmp_path, monkeypatch):
  """C8 is about temperature 1 alone; C9 holds at one temperature of three, and says at which."""
  path = made_up_sweep.write(tmp_path / "a")
  judged = found(path)
  assert len(judged["C8"].tests[claims.FINAL]) == 2
  assert judged["C9"].verdicts(claims.FINAL) == [
    claims.INCONCLUSIVE,
    claims.REPRODUCED,
    claims.NOT_REPRODUCED,
  ]
  assert [test.what[-3:] for test in judged["C9"].tests[claims.FINAL]] == ["T 1", "T 2", "T 4"]
  monkeypatch.setitem(TEMPERED, (0.0, 2.0), 0.02)
  monkeypatch.setitem(STUDENT[0.0], "LS", 0.99)
  assert verdicts(made_up_sweep.write(tmp_path / "b"))["C9"] == claims.NOT_REPRODUCED


def test_words_of_a_statement(tmp_path):
  judged = found(made_up_sweep.write(tmp_path))
  assert [test.what for id in ("C2", "C4") for test in judged[id].tests[claims.FINAL]] == [
    "LS 0.1 - BC 0.1, test accuracy, 20 % noise",
    "LS 0.1 - FC 0.1, test accuracy, 20 % noise",
    "LS 0.1 - CE on the mislabelled part, 20 % noise",
    "that gain less twice the gain on the clean part",
  ]
  close = judged["C2"].tests[claims.FINAL][1]
  assert close.claimed == "> -1 pp"
  assert close.measured.endswith("n = 3")
  gain, net_gain = (test.summary.mean for test in judged["C4"].tests[claims.FINAL])
  clean = [cell.summary("train.clean_accuracy").mean for cell in labelled(tmp_path, "LS 0.1", "CE")]
  assert net_gain == pytest.approx(gain - 2 * (clean[0] - clean[1]))


def labelled(path, *names):
  by_name = {cell.name: cell for cell in results.read(path).cells}
  return [by_name[f"{name}, noise 0.2"] for name in names]


def test_a_diverged_run_counts_as_guessing_and_is_named(tmp_path):
  path = made_up_sweep.write(tmp_path)
  (cell,) = labelled(path, "LS 0.1")
  files.write_json(cell.workdirs[1] / "result.json", {"status": "diverged", "final": None})
  judged = found(path)["C1"]
  (test,) = judged.tests[claims.FINAL]
  assert test.summary.n == 3
  assert test.summary.mean == pytest.approx((0.04 * 2 + 0.1 - 0.8) / 3, abs=2e-3)
  assert test.note == "1 of 3 runs of LS 0.1, noise 0.2 diverged, counted as guessing"
  assert judged.verdict == claims.INCONCLUSIVE


@pytest.mark.parametrize(
  "changes",
  [
    {"noise.kind": "pair"},
    {"optim.learning_rate": 0.02},
    {"loss.transition": "noise", "loss.name": "forward_correction"},
  ],
)
def test_a_cell_of_another_kind_is_not_taken(tmp_path, changes):
  """Pair noise, another rate and another T do not make the paper's cells ambiguous."""
  base = cells.method("LS", 0.1) | cells.symmetric_noise(0.2)
  path = made_up_sweep.write(tmp_path, more_cells=[{"name": "other", "changes": base | changes}])
  assert verdicts(path) == dict.fromkeys((f"C{i}" for i in range(1, 10)), claims.REPRODUCED)


def test_several_cells_that_fit_are_named(tmp_path):
  changes = cells.method("LS", 0.1) | cells.symmetric_noise(0.2) | {"loss.cross_entropy_steps": 3}
  path = made_up_sweep.write(tmp_path, more_cells=[{"name": "warm LS", "changes": changes}])
  judged = found(path)["C1"]
  (test,) = judged.tests[claims.FINAL]
  assert judged.verdict == claims.UNTESTED
  assert test.measured == "not measured (2 cells fit: LS 0.1, noise 0.2; warm LS)"


def test_shrinkage_that_fails(tmp_path):
  path = made_up_sweep.write(tmp_path)
  theory = files.read_json(path / "theory.json")
  files.write_json(path / "theory.json", theory | {"shrinkage_error_float32": 1e-3})
  assert verdicts(path)["C6"] == claims.NOT_REPRODUCED
  (path / "theory.json").unlink()
  assert verdicts(path)["C6"] == claims.UNTESTED
