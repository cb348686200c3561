"""Noise between the classes of CIFAR-10 and CIFAR-100, with the names of these classes."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from lsjax.transition.matrices import check, within_groups

CIFAR10_GROUPS: Mapping[str, tuple[str, ...]] = {
  "animals": ("bird", "cat", "deer", "dog", "frog", "horse"),
  "vehicles": ("airplane", "automobile", "ship", "truck"),
}
"""The classes of CIFAR-10 in two groups."""

CIFAR100_SUPERCLASSES: Mapping[str, tuple[str, ...]] = {
  "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
  "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
  "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
  "food containers": ("bottle", "bowl", "can", "cup", "plate"),
  "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
  "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
  "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
  "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
  "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
  "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
  "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
  "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
  "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
  "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
  "people": ("baby", "boy", "girl", "man", "woman"),
  "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
  "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
  "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
  "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
  "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
"""The 20 superclasses of CIFAR-100, each with its five classes."""


def cifar10_asymmetric(rate: float) -> NDArray[np.float64]:
  """Makes the matrix of asymmetric noise between classes of CIFAR-10 that look alike.

  Trucks become automobiles, birds become airplanes, deer become horses, and cats and dogs become
  each other. The other five classes keep their labels.

  Args:
    rate: Probability in [0, 1] that a label of one of the five classes is wrong.

  Returns:
    Float64 array of shape [10, 10].

  Raises:
    ValueError: If `rate` is outside [0, 1].

  References:
    Patrini et al., [Making deep neural networks robust to label noise: a loss correction
    approach](https://arxiv.org/abs/1609.03683), 2017, section 5.

  Examples:
    >>> cifar10_asymmetric(0.4)[9].round(1)
    array([0. , 0.4, 0. , 0. , 0. , 0. , 0. , 0. , 0. , 0.6])
  """
  check(10, rate)
  matrix = np.eye(10)
  for true, noisy in ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)):
    matrix[true, true] -= rate
    matrix[true, noisy] += rate
  return matrix


def cifar10_groups(rate: float) -> NDArray[np.float64]:
  """Makes the matrix of noise within the animals and within the vehicles of CIFAR-10.

  A wrong label of one of the six animals (bird, cat, deer, dog, frog, horse) is each other animal
  with the same chance; likewise the four vehicles (airplane, automobile, ship, truck).

  Args:
    rate: Probability in [0, 1] that a label is wrong.

  Returns:
    Float64 array of shape [10, 10].

  Raises:
    ValueError: If `rate` is outside [0, 1].

  Examples:
    >>> cifar10_groups(0.3)[0].round(1)
    array([0.7, 0.1, 0. , 0. , 0. , 0. , 0. , 0. , 0.1, 0.1])
  """
  return within_groups(_classes(CIFAR10_GROUPS.values()), rate)


def cifar100_superclass(rate: float) -> NDArray[np.float64]:
  """Makes the matrix of noise within the 20 superclasses of CIFAR-100, of five classes each.

  A wrong label is each of the other four classes of its superclass with the same chance. Hendrycks
  et al. spread wrong labels over a superclass too; Patrini et al. turn each class into the next
  one of its superclass alone, so that above a rate of 0.5 one wrong class is likelier than the true
  one. Here that happens above 0.8.

  Args:
    rate: Probability in [0, 1] that a label is wrong.

  Returns:
    Float64 array of shape [100, 100]. Classes are those of the fine labels, numbered in
    alphabetical order, so that the five of a superclass do not stand side by side.

  Raises:
    ValueError: If `rate` is outside [0, 1].

  References:
    Krizhevsky, [Learning multiple layers of features from tiny
    images](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf), 2009: the superclasses.

    Hendrycks et al., [Using trusted data to train deep networks on labels corrupted by severe
    noise](https://arxiv.org/abs/1802.05300), 2018.

    Patrini et al., [Making deep neural networks robust to label noise: a loss correction
    approach](https://arxiv.org/abs/1609.03683), 2017.

  Examples:
    >>> apple = cifar100_superclass(0.4)[0]
    >>> apple.nonzero()[0].tolist()  # apple, mushroom, orange, pear, sweet pepper
    [0, 51, 53, 57, 83]
    >>> apple[[0, 51]].round(1)
    array([0.6, 0.1])
  """
  return within_groups(_classes(CIFAR100_SUPERCLASSES.values()), rate)


def _classes(groups: Iterable[tuple[str, ...]]) -> list[list[int]]:
  """Returns groups of names as groups of numbers: both data sets number names alphabetically."""
  named = list(groups)
  number = {name: i for i, name in enumerate(sorted(name for group in named for name in group))}
  return [[number[name] for name in group] for group in named]
