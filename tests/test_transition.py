"""Transition matrices: their inverses, checks and files."""

import numpy as np
import pytest

from lsjax import transition
from lsjax.transition import cifar


def test_validate_normalises_what_float32_rounded():
  matrix = np.random.default_rng(0).dirichlet(np.ones(50), 50)
  validated = transition.validate(matrix.astype(np.float32))
  assert validated.dtype == np.float64
  np.testing.assert_allclose(validated, matrix, rtol=1e-6)
  np.testing.assert_allclose(validated.sum(1), 1, rtol=1e-15)


@pytest.mark.parametrize(
  ("matrix", "message"),
  [
    (np.ones((2, 3)) / 3, "square"),
    (np.ones(4) / 4, "square"),
    ([[1, 0], [0.5, np.nan]], "row 1 has entries that are negative or not finite"),
    ([[1.1, -0.1], [0, 1]], "row 0 has entries that are negative or not finite"),
    ([[1, 0], [0.5, 0.499]], "row 1 sums to 0.999"),
  ],
)
def test_validate_refuses(matrix, message):
  with pytest.raises(ValueError, match=message):
    transition.validate(matrix)


def test_inverse():
  matrix = transition.symmetric(10, 0.3, includes_own_class=True)
  inverse, condition = transition.inverse(matrix)
  np.testing.assert_allclose(inverse, np.eye(10) / 0.7 - 0.3 / 7, rtol=1e-12, atol=1e-12)
  assert condition == pytest.approx(1 / 0.7)
  with pytest.raises(ValueError, match="singular"):
    transition.inverse(transition.symmetric(10, 0.9))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".txt"])
def test_from_file(tmp_path, suffix):
  matrix = transition.pair(4, 0.3)
  path = tmp_path / f"t{suffix}"
  if suffix == ".npy":
    np.save(path, matrix)
  elif suffix == ".npz":
    np.savez(path, T=matrix)
  else:
    np.savetxt(path, matrix, delimiter="," if suffix == ".csv" else " ")
  np.testing.assert_allclose(transition.from_file(path), matrix)


def test_from_file_errors(tmp_path):
  (tmp_path / "words.txt").write_text("no numbers")
  (tmp_path / "nothing.txt").write_text(" ,\n")
  (tmp_path / "comment.txt").write_text("# no numbers\n")
  (tmp_path / "broken.npz").write_bytes(b"PK broken")
  np.savetxt(tmp_path / "wide.txt", np.ones((2, 3)))
  np.savetxt(tmp_path / "sums.txt", np.ones((2, 2)))
  texts = ("words.txt", "nothing.txt", "comment.txt", "wide.txt", "sums.txt")
  for name in (*texts, "broken.npz", "absent.npy"):
    with pytest.raises(ValueError, match=name) as caught:
      transition.from_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_asymmetric_noise_of_cifar10_by_the_names_of_its_classes():
  classes = ["airplane", "automobile", "bird", "cat", "deer"]
  classes += ["dog", "frog", "horse", "ship", "truck"]
  becomes = {
    "truck": "automobile",
    "bird": "airplane",
    "deer": "horse",
    "cat": "dog",
    "dog": "cat",
  }
  matrix = transition.cifar10_asymmetric(0.3)
  for true, row in zip(classes, matrix, strict=True):
    chances = {noisy: chance for noisy, chance in zip(classes, row, strict=True) if chance}
    expected = {true: 0.7, becomes[true]: 0.3} if true in becomes else {true: 1}
    assert chances == pytest.approx(expected), true


def test_noise_within_groups():
  matrix = transition.within_groups([[4, 0], [1, 2, 3, 5]], 0.3)
  expected = np.zeros((6, 6))
  for true, noisy in ((0, 4), (4, 0)):
    expected[true, true], expected[true, noisy] = 0.7, 0.3
  for true in (1, 2, 3, 5):
    for noisy in (1, 2, 3, 5):
      expected[true, noisy] = 0.7 if true == noisy else 0.1
  np.testing.assert_allclose(matrix, expected, rtol=1e-15)
  # One group of all classes is symmetric noise, two groups of one pair each are pair noise.
  np.testing.assert_array_equal(
    transition.within_groups([range(7)], 0.4), transition.symmetric(7, 0.4)
  )
  np.testing.assert_array_equal(transition.within_groups([[0, 1]], 0.4), transition.pair(2, 0.4))
  np.testing.assert_array_equal(transition.within_groups([[0, 2], [1, 3]], 0), np.eye(4))


@pytest.mark.parametrize(
  ("groups", "rate", "message"),
  [
    ([[0, 1], [2]], 0.2, r"groups\[1\] = \[2\] must have at least 2 classes"),
    ([[0, 1], []], 0.2, r"groups\[1\] = \[\] must have at least 2 classes"),
    ([[0, 1], [1, 2]], 0.2, "each of the classes 0 to L - 1 once"),
    ([[0, 1], [3, 4]], 0.2, "each of the classes 0 to L - 1 once"),
    ([[0.0, 1.0]], 0.2, "each of the classes 0 to L - 1 once"),
    ([], 0.2, "num_classes must be at least 2"),
    ([[0, 1]], 1.2, r"rate must be in \[0, 1\], not 1.2"),
  ],
)
def test_within_groups_refuses(groups, rate, message):
  with pytest.raises(ValueError, match=message) as caught:
    transition.within_groups(groups, rate)
  assert "\n" not in str(caught.value)


def test_groups_of_cifar10_by_the_numbers_of_their_classes():
  matrix = transition.cifar10_groups(0.3)
  vehicles = [0, 1, 8, 9]  # airplane, automobile, ship, truck
  is_vehicle = np.isin(np.arange(10), vehicles)
  for true, row in enumerate(matrix):
    others = np.flatnonzero(is_vehicle == is_vehicle[true])
    expected = np.zeros(10)
    expected[others] = 0.3 / (len(others) - 1)
    expected[true] = 0.7
    np.testing.assert_allclose(row, expected, rtol=1e-15)


# The superclass of each fine class of CIFAR-100 as the data set's files number both: fine and
# coarse names in alphabetical order.
# fmt: off
COARSE_OF_FINE = np.array([
   4,  1, 14,  8,  0,  6,  7,  7, 18,  3,  3, 14,  9, 18,  7, 11,  3,  9,  7, 11,
   6, 11,  5, 10,  7,  6, 13, 15,  3, 15,  0, 11,  1, 10, 12, 14, 16,  9, 11,  5,
   5, 19,  8,  8, 15, 13, 14, 17, 18, 10, 16,  4, 17,  4,  2,  0, 17,  4, 18, 17,
  10,  3,  2, 12, 12, 16, 12,  1,  9, 19,  2, 10,  0,  1, 16, 12,  9, 13, 15, 13,
  16, 19,  2,  4,  6, 19,  5,  5,  8, 19, 18,  1,  2, 15,  6,  0, 17,  8, 14, 13,
])
# fmt: on


def test_superclasses_of_cifar100_by_the_numbers_of_their_classes():
  matrix = transition.cifar100_superclass(0.2)
  same = COARSE_OF_FINE[:, None] == COARSE_OF_FINE[None, :]
  assert (same.sum(1) == 5).all()
  np.testing.assert_allclose(matrix, np.where(same, 0.05, 0) + 0.75 * np.eye(100), atol=1e-15)
  np.testing.assert_array_equal(transition.cifar100_superclass(0), np.eye(100))
  # The five classes of a superclass do not stand side by side.
  blocks = np.arange(100) // 5
  assert not (same == (blocks[:, None] == blocks[None, :])).all()


def test_superclasses_of_cifar100_by_their_names():
  names = sorted(cifar.CIFAR100_SUPERCLASSES)
  assert len(names) == 20
  assert names == list(cifar.CIFAR100_SUPERCLASSES)
  fine = sorted(name for members in cifar.CIFAR100_SUPERCLASSES.values() for name in members)
  assert len(set(fine)) == 100
  by_number = {one: names[coarse] for one, coarse in zip(fine, COARSE_OF_FINE, strict=True)}
  by_name = {one: name for name, members in cifar.CIFAR100_SUPERCLASSES.items() for one in members}
  assert by_number == by_name
  # Some that are easily misplaced, and classes whose numbers are widely known.
  assert by_name["lawn_mower"] == by_name["tractor"] == "vehicles 2"
  assert by_name["worm"] == "non-insect invertebrates"
  assert by_name["mushroom"] == "fruit and vegetables"
  assert by_name["ray"] == "fish"
  numbers = {"apple": 0, "baby": 2, "lawn_mower": 41, "maple_tree": 47, "oak_tree": 52, "worm": 99}
  assert {one: fine.index(one) for one in numbers} == numbers


NAMED = [
  lambda rate: transition.within_groups([[0, 3], [1, 2, 4]], rate),
  transition.cifar10_groups,
  transition.cifar100_superclass,
]


@pytest.mark.parametrize("make", NAMED)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.45, 1.0])
def test_the_rate_is_the_chance_of_a_wrong_label(make, rate):
  matrix = make(rate)
  np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-14)
  np.testing.assert_allclose(1 - np.diag(matrix), rate, atol=1e-15)
  np.testing.assert_array_equal(matrix, matrix.T)
