"""Integer labels that are wrong are named, wherever concrete ones are taken."""

import jax.numpy as jnp
import numpy as np
import pytest

from lsjax import labels, noise, transition

WRONG = [
  ([0, 4, 9], r"\[1\] = 4 is outside \[0, 4\)$"),
  ([0, 3, -1], r"\[2\] = -1 is outside \[0, 4\)$"),
  ([2, 1, 4], r"\[2\] = 4 is outside \[0, 4\); the labels count from 1, not from 0: subtract 1$"),
  ([0, 2**40, 1], rf"\[1\] = {2**40} is outside \[0, 4\)$"),
  ([0.0, 1.5, 1.0], r"\[1\] = 1\.5 is not an integer in \[0, 4\)$"),
  ([0.0, 1.0, np.nan], r"\[2\] = nan is not an integer in \[0, 4\)$"),
  ([np.inf, 1.0, 2.0], r"\[0\] = inf is not an integer in \[0, 4\)$"),
  ([0.0, 1.0, 2.0], r" must be integers \[N\], not float64 \[3\]: store them as integers$"),
  ([[0, 1, 2]], r" must be integers \[N\], not int64 \[1, 3\]$"),
  ([True, False, True], r" must be integers \[N\], not bool \[3\]$"),
  (["0", "1", "2"], r" must be integers \[N\], not <U1 \[3\]$"),
]
RIGHT = np.array([0, 1, 2])
MATRIX = transition.symmetric(4, 0.2)
# What is called with the labels, and the name of the labels in the message.
FUNCTIONS = {
  "check": (lambda y: labels.check(y, 4, name="mine"), "mine"),
  "check_labels": (lambda y: noise.check_labels(y, 4), "labels"),
  "corrupt": (lambda y: noise.corrupt(y, MATRIX, seed=0), "labels"),
  "Draw": (lambda y: noise.Draw(MATRIX, 0)(y, RIGHT), "labels"),
  "given, noisy": (lambda y: noise.given(y, None, 4, ids=RIGHT), "noisy"),
  "given, clean": (lambda y: noise.given(RIGHT, y, 4, ids=RIGHT), "clean"),
  "estimate, clean": (lambda y: transition.estimate(y, RIGHT, 4), "clean"),
  "estimate, noisy": (lambda y: transition.estimate(RIGHT, y, 4), "noisy"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_labels_are_named(name, wrong, message):
  function, called = FUNCTIONS[name]
  with pytest.raises(ValueError, match=f"^{called}{message}") as caught:
    function(np.array(wrong))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64, jnp.array])
def test_right_labels_of_any_type_of_integer(name, kind):
  FUNCTIONS[name][0](kind(RIGHT))


def test_the_number_of_classes_may_be_unknown():
  assert labels.check([0, 7], None).dtype == np.int32
  assert len(labels.check([], 3)) == 0
  with pytest.raises(ValueError, match=r"^labels\[1\] = -2 is outside \[0, 2\^31\)$"):
    labels.check([1, -2], None)
  with pytest.raises(ValueError, match=r"\[0\] = 3000000000 is outside"):
    labels.check([3_000_000_000], None)


def test_as_many_labels_as_ids():
  with pytest.raises(ValueError, match=r"^there are 3 clean and 1 noisy labels$"):
    transition.estimate(RIGHT, [1], 4)
  for draw in (
    lambda ids: noise.Draw(MATRIX, 0)(RIGHT, ids),
    lambda ids: noise.given(RIGHT, None, 4, ids=ids),
    lambda ids: noise.corrupt(RIGHT, MATRIX, seed=0, ids=ids),
  ):
    with pytest.raises(ValueError, match=r"^ids must be 3 integers or strings$"):
      draw([5])


def test_ids_that_are_no_ids():
  assert len(noise.uniform([], seed=0)) == 0
  for ids in ([1.0, 2.0], [[1, 2]], [None, 1]):
    with pytest.raises(ValueError, match=r"^ids must be integers or strings \[N\], not "):
      noise.uniform(np.array(ids), seed=0)
