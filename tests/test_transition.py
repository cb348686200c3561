"""Transition matrices: their inverses, checks and files."""

import numpy as np
import pytest

from lsjax import transition


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
  (tmp_path / "broken.npz").write_bytes(b"PK broken")
  np.savetxt(tmp_path / "wide.txt", np.ones((2, 3)))
  np.savetxt(tmp_path / "sums.txt", np.ones((2, 2)))
  for name in ("words.txt", "broken.npz", "wide.txt", "sums.txt", "absent.npy"):
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
