"""The matrices that a config asks for: of the noise that is drawn and of the loss."""

import numpy as np

from lsjax import config as config_lib
from lsjax import files, methods
from lsjax import transition as transition_lib
from lsjax.config import ConfigError, naming


def noise_transition(config: config_lib.Noise, num_classes: int) -> np.ndarray:
  """Returns the transition matrix that a noise section asks for, if its labels are drawn with one.

  Args:
    config: the noise section, of another kind than given or instance.
    num_classes: L.

  Raises:
    ConfigError: if the matrix is for another number of classes or cannot be read.
  """
  match config.kind:
    case "symmetric":
      matrix = transition_lib.symmetric(
        num_classes, config.rate, includes_own_class=config.includes_own_class
      )
    case "pair":
      matrix = transition_lib.pair(num_classes, config.rate)
    case "one_sided":
      matrix = transition_lib.one_sided(num_classes, config.rate)
    case "cifar10_asymmetric":
      matrix = transition_lib.cifar10_asymmetric(config.rate)
    case "cifar10_groups":
      matrix = transition_lib.cifar10_groups(config.rate)
    case "cifar100_superclass":
      matrix = transition_lib.cifar100_superclass(config.rate)
    case "file":
      with naming("noise.path", config.path):
        matrix = transition_lib.from_file(files.path(config.path))
    case "none":
      matrix = np.eye(num_classes)
    case "instance" | "given":
      raise ConfigError("noise.kind", config.kind, "has no matrix that labels are drawn with")
  if len(matrix) != num_classes:
    why = f"is for {len(matrix)} classes; the data has {num_classes}"
    raise ConfigError("noise.kind", config.kind, why)
  return matrix


def method_arrays(
  config: config_lib.Loss,
  noise_transition: np.ndarray | None,
  num_classes: int,
  estimated: np.ndarray | None = None,
) -> methods.Arrays:
  """Returns the arrays of the loss that a loss section asks for.

  Args:
    config: the loss section.
    noise_transition: the noise's own matrix, for loss.transition=noise; None if unknown.
    num_classes: L.
    estimated: the matrix that a first run tells, for loss.transition=estimated; None before it.
  """
  method = methods.METHODS[config.name]
  matrix = transition = None
  if method.needs == "matrix":
    matrix = _matrix_file("loss.matrix", config.matrix, num_classes)
  elif method.needs == "transition":
    match config.transition:
      case "alpha":
        transition = transition_lib.symmetric(num_classes, config.alpha, includes_own_class=True)
      case "file":
        transition = _matrix_file("loss.transition_path", config.transition_path, num_classes)
      case "estimated":
        transition = np.eye(num_classes) if estimated is None else estimated
      case "noise":
        if noise_transition is None:
          why = "needs clean labels to count a matrix from; there are none"
          raise ConfigError("loss.transition", "noise", why)
        transition = noise_transition
  strengths = methods.Strengths(
    num_classes,
    config.alpha,
    config.r,
    matrix,
    transition,
    parameters=config_lib.parameters_of(config),
  )
  with naming("loss.transition", config.transition):
    return method.arrays(strengths)


def _matrix_file(path: str, file: str, num_classes: int) -> np.ndarray:
  """Reads the matrix of the config field `path`; only smearing takes any real matrix."""
  with naming(path, file):
    read = transition_lib.read_matrix if path == "loss.matrix" else transition_lib.from_file
    matrix = read(files.path(file))
    if len(matrix) != num_classes:
      raise ValueError(f"is {len(matrix)} x {len(matrix)} for {num_classes} classes")
    return matrix
