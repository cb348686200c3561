"""Joint distributions [true, noisy] of classes and labels."""

import numpy as np


def joint_of(posterior: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the joint distribution [true, noisy] of posteriors and labels."""
  one_hot = np.eye(posterior.shape[1])[labels]
  return posterior.T @ one_hot / len(labels)


def rows_of(joint: np.ndarray) -> np.ndarray:
  """Divides a joint distribution by the shares of the true classes; an absent one is no noise."""
  sums = joint.sum(axis=-1, keepdims=True)
  return np.where(sums > 0, joint / np.where(sums > 0, sums, 1), np.eye(joint.shape[-1]))


def with_rate(joint: np.ndarray, rate: float) -> np.ndarray:
  """Scales what is off the diagonal of a joint distribution to a rate; columns keep their sums."""
  columns = joint.sum(axis=0)
  off = joint * (1 - np.eye(len(joint)))
  found = off.sum()
  if found > 0:
    off = off * np.clip(rate, 0, 1) / found
  over = off.sum(axis=0)
  off = off * np.where(over > columns, columns / np.where(over > 0, over, 1), 1)
  return off + np.diag(np.maximum(columns - off.sum(axis=0), 0))  # rounding leaves less than 0
