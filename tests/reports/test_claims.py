"""Statistics over seeds, and the verdicts of the claims."""

import math

import made_up_sweep
import numpy as np
import pytest
from made_up_sweep import ACCURACY, ANGLE, ECE, STUDENT
from scipy import stats

from lsjax import files
from lsjax.reports import claims, results, statistics


def verdicts(path):
  return {claim.id: claim.verdict for claim in claims.claims(results.read(path))}


def test_statistics_against_scipy():
  values = list(np.random.default_rng(0).normal(size=7))
  got = statistics.summarise(values)
  expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
  assert (got.low, got.high) == pytest.approx((expected.low, expected.high))
  assert got.sd == pytest.approx(stats.tstd(values))
  assert statistics.summarise(values, 100).high == pytest.approx(100 * expected.high)
  single = statistics.summarise([0.5])
  assert single.mean == 0.5
  assert math.isnan(single.sd)
  assert math.isnan(single.low)
  assert math.isnan(statistics.summarise([]).mean)


def test_pairs_are_by_seed():
  got = statistics.paired({0: 1.0, 1: 5.0, 2: 9.0}, {2: 8.0, 0: 0.5, 7: 0.0})
  assert got.n == 2
  assert got.mean == pytest.approx(0.75)


@pytest.mark.parametrize(
  ("values", "sign", "bound", "expected"),
  [
    ([1.0, 1.1, 1.2], 1, 0.0, claims.REPRODUCED),
    ([-1.0, -1.1, -1.2], 1, 0.0, claims.NOT_REPRODUCED),
    ([-1.0, 0.1, 1.2], 1, 0.0, claims.INCONCLUSIVE),
    ([-1.0, -1.1, -1.2], -1, 0.0, claims.REPRODUCED),
    ([1.0, 1.1, 1.2], -1, 0.0, claims.NOT_REPRODUCED),
    ([1.0, 1.1, 1.2], 1, 2.0, claims.NOT_REPRODUCED),
    ([-0.1, 0.1, 0.0], 1, -1.0, claims.REPRODUCED),
    ([5.0], 1, 0.0, claims.UNTESTED),
    ([], 1, 0.0, claims.UNTESTED),
  ],
)
def test_verdicts(values, sign, bound, expected):
  test = claims.Comparison("x", statistics.summarise(values), sign=sign, bound=bound)
  assert test.verdict == expected


def test_every_claim_reproduced_where_it_holds(tmp_path):
  path = made_up_sweep.write(tmp_path)
  assert verdicts(path) == dict.fromkeys((f"C{i}" for i in range(1, 10)), claims.REPRODUCED)


@pytest.mark.parametrize(
  ("table", "key", "value", "claim"),
  [
    (ACCURACY, ("LS", 0.1), 0.79, "C1"),
    (ACCURACY, ("BC", 0.1), 0.88, "C2"),
    (ACCURACY, ("FC", 0.1), 0.87, "C2"),
    (ACCURACY, ("BC", 0.6), 0.70, "C3"),
    (ACCURACY, ("LS", 0.1), 0.75, "C4"),
    (ECE, ("LS", 0.1), 0.15, "C5"),
    (ECE, ("FC", 0.1), 0.05, "C5"),
    (ECE, ("LS", 0.6), 0.02, "C5"),
    (ANGLE, ("one_sided", 0.6), 12.0, "C7"),
    (ANGLE, ("one_sided", 0.0), 0.2, "C7"),
    (STUDENT[0.2], "FC", 0.80, "C8"),
    (STUDENT[0.0], "LS", 0.99, "C9"),
  ],
)
def test_a_claim_that_fails_is_not_reproduced(tmp_path, monkeypatch, table, key, value, claim):
  monkeypatch.setitem(table, key, value)
  assert verdicts(made_up_sweep.write(tmp_path))[claim] == claims.NOT_REPRODUCED


def test_words_of_a_comparison(tmp_path):
  found = {claim.id: claim for claim in claims.claims(results.read(made_up_sweep.write(tmp_path)))}
  assert [test.what for id in ("C2", "C4", "C9") for test in found[id].tests] == [
    "LS 0.1 - BC 0.1, test accuracy, 20 % noise",
    "LS 0.1 - FC 0.1, test accuracy, 20 % noise",
    "LS 0.1 - CE on the mislabelled part, 20 % noise",
    "that gain less the gain on the clean part",
    "student of LS - student of CE, test accuracy, no noise",
  ]
  assert str(found["C2"].tests[1]).endswith("n = 3 (claimed > -1)")
  gain, net_gain = (test.summary.mean for test in found["C4"].tests)
  clean = [cell.summary("train.clean_accuracy").mean for cell in labelled(tmp_path, "LS 0.1", "CE")]
  assert net_gain == pytest.approx(gain - (clean[0] - clean[1]))
  assert found["C7"].note.count("0.00 for") == 2  # the boundaries contain the origin


def labelled(path, *names):
  cells = {cell.name: cell for cell in results.read(path).cells}
  return [cells[f"{name}, noise 0.2"] for name in names]


def test_shrinkage_that_fails(tmp_path):
  path = made_up_sweep.write(tmp_path)
  theory = files.read_json(path / "theory.json")
  files.write_json(path / "theory.json", theory | {"shrinkage_error_float32": 1e-3})
  assert verdicts(path)["C6"] == claims.NOT_REPRODUCED
  (path / "theory.json").unlink()
  assert verdicts(path)["C6"] == claims.UNTESTED
