"""The cost of each loss, alone by the number of labels, and inside a training step of ResNet-32.

    python -m benchmarks.loss_cost --out=results/benchmarks/loss_cost.json

Alone, value and gradient of the mean over a batch of 128 are computed, with dense matrices for
smearing and for the corrections. Such a row also has the memory that the compiled program needs
besides its arguments and results. In a training step, the losses are the arrays of the ordinary
program, and the reference is the same step compiled with `losses.cross_entropy` alone. About eight
minutes on 2 cores.
"""

import argparse
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

from benchmarks import harness, step_time
from lsjax import config as config_lib
from lsjax import losses
from lsjax.training import devices, programs

BATCH_SIZE = step_time.BATCH_SIZE
LABELS = (10, 100, 1000, 21_000)
STEP_LABELS = (10, 100, 1000)
# The numbers of labels at which losses have a target.
MANY_LABELS = (1000, 21_000)
STEP_LOSSES = (
  "cross_entropy",
  "label_smoothing",
  "forward_correction",
  "backward_correction",
)


def _alone(num_classes: int) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
  """Returns losses by name, each as (function of logits, labels and arrays, these arrays)."""
  matrix = 0.9 * jnp.eye(num_classes) + 0.1 / num_classes
  teacher = jax.random.normal(jax.random.key(2), (BATCH_SIZE, num_classes))
  keyword: dict[str, dict[str, Any]] = {
    "cross_entropy": {},
    "label_smoothing": {"alpha": 0.1},
    "generalized_smoothing": {"r": -0.1},
    "smearing": {"matrix": matrix},
    "forward_correction": {"transition": matrix},
    "forward_correction by columns": {"columns": matrix.T},
    "smeared_forward by columns": {"matrix": matrix, "columns": matrix.T},
  }

  def call(name: str, keys: tuple[str, ...], x: Any, y: Any, *values: Any) -> Any:
    return getattr(losses, name.split()[0])(x, y, **dict(zip(keys, values)))

  found: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    name: (functools.partial(call, name, tuple(given)), tuple(given.values()))
    for name, given in keyword.items()
  }

  def distillation(x: Any, y: Any, teacher: Any) -> Any:
    del y
    return losses.distillation(x, teacher, temperature=2.0, convention="both_t_squared")

  return found | {"distillation": (distillation, (teacher,))}


def alone(num_classes: int, repetitions: int) -> Iterator[harness.Row]:
  """Times value and gradient of every loss, which a call computes many times."""
  x = jax.random.normal(jax.random.key(0), (BATCH_SIZE, num_classes))
  y = jax.random.randint(jax.random.key(1), (BATCH_SIZE,), 0, num_classes)
  times = max(1, 1_000_000 // (BATCH_SIZE * num_classes))
  every = _alone(num_classes)
  compiled = {
    name: jax.jit(jax.value_and_grad(lambda x, *rest, f=f: f(x, *rest).mean()))
    .lower(x, y, *values)
    .compile()
    for name, (f, values) in every.items()
  }

  def repeated(name: str) -> Callable[[], Any]:
    values = every[name][1]
    return lambda: jax.block_until_ready([compiled[name](x, y, *values) for _ in range(times)])

  timings = harness.alternate([repeated(name) for name in every], repetitions=repetitions)
  for name, timing in zip(every, timings):
    analysis: Any = compiled[name].memory_analysis()
    temporary = analysis.temp_size_in_bytes
    yield harness.Row(
      name=f"{name}, L = {num_classes}",
      unit="us",
      values=[1e6 * t / times for t in timing.seconds],
      ratios=harness.ratios(timing.seconds, timings[0].seconds),
      ratio_to="cross_entropy",
      target=_target(name) if num_classes in MANY_LABELS and name != "cross_entropy" else None,
      **timing.memory,
      details={"temporary_mib": temporary / 2**20},
    )


def _target(name: str) -> harness.Target:
  """Returns the most that a loss should cost beside cross-entropy with many labels."""
  return harness.Target("ratio", "at most", 2.0 if "forward" in name else 1.3)


def in_a_step(num_classes: int, repetitions: int) -> Iterator[harness.Row]:
  """Times training steps of ResNet-32 with every loss."""
  steps = devices.steps_per_call(True)

  def plain(logits: Any, labels: Any, *, where: Any = None, **_: Any) -> Any:
    return losses.cross_entropy(logits, labels, where=where)

  def make_call(name: str) -> Callable[[], None]:
    loss = config_lib.Loss(name=name, alpha=0.1)
    return step_time.make_call("resnet32", steps, num_classes=num_classes, loss=loss)

  with mock.patch.object(losses, "smeared_forward", plain):
    calls = [make_call("cross_entropy")]
    calls[0]()  # compiles with the patch
  programs.make_train_call.cache_clear()
  calls += [make_call(name) for name in STEP_LOSSES]
  timings = harness.alternate(calls, repetitions=repetitions)
  names = ("losses.cross_entropy alone", *STEP_LOSSES)
  for name, timing in zip(names, timings):
    yield harness.Row(
      name=f"ResNet-32 step, L = {num_classes}, {name}",
      unit="ms",
      values=[1e3 * t / steps for t in timing.seconds],
      ratios=harness.ratios(timing.seconds, timings[0].seconds),
      ratio_to=names[0],
      target=None if name == names[0] else harness.Target("ratio", "at most", 1.05),
      **timing.memory,
    )


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Times the losses alone, then in a training step."""
  parts = {f"alone, L = {n}": functools.partial(alone, n) for n in LABELS}
  parts |= {f"step, L = {n}": functools.partial(in_a_step, n) for n in STEP_LABELS}
  for name in harness.chosen([*parts], args.only):
    yield from parts[name](args.repetitions)


if __name__ == "__main__":
  harness.run("loss_cost", __doc__, measure)
