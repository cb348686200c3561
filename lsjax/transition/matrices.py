"""Matrices of noise for any number of classes, and within groups of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def symmetric(
  num_classes: int, rate: float, *, includes_own_class: bool = False
) -> NDArray[np.float64]:
  r"""Makes the matrix of symmetric noise, which treats all wrong classes alike.

  With L classes and the chance $\rho$ that a label is wrong, $T_{ii} = 1 - \rho$ and
  $T_{ij} = \rho / (L - 1)$ for $i \ne j$. Two conventions for the rate are in use. By default
  the rate is $\rho$ itself. With `includes_own_class` the rate is the chance a that a label is
  drawn anew from all L classes, its own among them: $T = (1 - a) I + (a / L) J$, where J is
  the matrix of ones, so that $\rho = a (L - 1) / L$.

  Args:
    num_classes: Number of classes L, at least 2.
    rate: Probability in [0, 1] that a label is wrong, or that it is drawn anew.
    includes_own_class: Whether the rate is the probability that a label is drawn anew.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If `num_classes` is less than 2 or `rate` is outside [0, 1].

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020, section 2.

  Examples:
    >>> symmetric(4, 0.3)[0]
    array([0.7, 0.1, 0.1, 0.1])
    >>> symmetric(4, 0.4, includes_own_class=True)[0]
    array([0.7, 0.1, 0.1, 0.1])
  """
  check(num_classes, rate)
  if includes_own_class:
    rate = rate * (num_classes - 1) / num_classes
  matrix = np.full((num_classes, num_classes), rate / (num_classes - 1))
  np.fill_diagonal(matrix, 1 - rate)
  return matrix


def pair(num_classes: int, rate: float) -> NDArray[np.float64]:
  """Makes the matrix of pair-flip noise, which turns class i into class i + 1 modulo L.

  Args:
    num_classes: Number of classes L, at least 2.
    rate: Probability in [0, 1] that a label is wrong.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If `num_classes` is less than 2 or `rate` is outside [0, 1].

  References:
    Han et al., [Co-teaching](https://arxiv.org/abs/1804.06872), 2018, section 4.

  Examples:
    >>> pair(3, 0.25)
    array([[0.75, 0.25, 0.  ],
           [0.  , 0.75, 0.25],
           [0.25, 0.  , 0.75]])
  """
  check(num_classes, rate)
  eye = np.eye(num_classes)
  return (1 - rate) * eye + rate * np.roll(eye, 1, axis=1)


def one_sided(num_classes: int, rate: float) -> NDArray[np.float64]:
  """Makes the matrix of noise that turns class 0 into class 1 and leaves the other classes alone.

  Args:
    num_classes: Number of classes L, at least 2.
    rate: Probability in [0, 1] that a label of class 0 is wrong.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If `num_classes` is less than 2 or `rate` is outside [0, 1].

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020: the example in two dimensions with asymmetric noise, known from a secondary source.

  Examples:
    >>> one_sided(2, 0.25)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
  """
  check(num_classes, rate)
  matrix = np.eye(num_classes)
  matrix[0, :2] = 1 - rate, rate
  return matrix


def within_groups(groups: Sequence[Sequence[int]], rate: float) -> NDArray[np.float64]:
  r"""Makes the matrix of noise that stays within groups of classes, such as superclasses.

  A label is wrong with chance $\rho$, and then it is each other class of its group with the same
  chance: $T_{ii} = 1 - \rho$ and $T_{ij} = \rho / (n - 1)$ for the other classes j of the group of
  i, which has n classes. One group of all classes gives `symmetric`.

  Args:
    groups: The classes of each group. Together the groups hold each of the integers 0 to L - 1
      once, and each group at least two of them, since a class alone could not become another.
    rate: Probability in [0, 1] that a label is wrong.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If a group has fewer than two classes, if the groups do not hold each class once,
      or if `rate` is outside [0, 1].

  References:
    Hendrycks et al., [Using trusted data to train deep networks on labels corrupted by severe
    noise](https://arxiv.org/abs/1802.05300), 2018: noise within superclasses.

  Examples:
    >>> within_groups([[0, 2, 3], [1, 4]], 0.5)
    array([[0.5 , 0.  , 0.25, 0.25, 0.  ],
           [0.  , 0.5 , 0.  , 0.  , 0.5 ],
           [0.25, 0.  , 0.5 , 0.25, 0.  ],
           [0.25, 0.  , 0.25, 0.5 , 0.  ],
           [0.  , 0.5 , 0.  , 0.  , 0.5 ]])
  """
  members = [list(group) for group in groups]
  for index, group in enumerate(members):
    if len(group) < 2:
      why = "a class alone cannot become another"
      raise ValueError(f"groups[{index}] = {group} must have at least 2 classes: {why}")
  classes = [one for group in members for one in group]
  are_integers = all(isinstance(one, int | np.integer) for one in classes)
  if not are_integers or sorted(classes) != list(range(len(classes))):
    raise ValueError(f"groups = {members} must hold each of the classes 0 to L - 1 once")
  check(len(classes), rate)
  matrix = np.zeros((len(classes), len(classes)))
  for group in members:
    matrix[np.ix_(group, group)] = symmetric(len(group), rate)
  return matrix


def check(num_classes: int, rate: float) -> None:
  """Checks a number of classes and a rate.

  Args:
    num_classes: Number of classes L.
    rate: Probability that a label is wrong.

  Raises:
    ValueError: If `num_classes` is less than 2 or `rate` is outside [0, 1].
  """
  if num_classes < 2:
    raise ValueError(f"num_classes must be at least 2, not {num_classes}")
  if not 0 <= rate <= 1:
    raise ValueError(f"rate must be in [0, 1], not {rate}")
