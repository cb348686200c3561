"""What a training loop takes batches and evaluations from: device memory, or a stream."""

import dataclasses
import itertools
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import flax.linen as nn
import jax
import numpy as np

from lsjax import config as config_lib
from lsjax import diagnostics, losses, methods, models, noise
from lsjax.training import devices, programs, step
from lsjax.training import teachers as teachers_lib
from lsjax.training.setup import InMemoryRun, PreparedRun, StreamedRun


class Inputs(Protocol):
  """The data of a pack of runs on its devices.

  Attributes:
    evaluated: the names of the splits to evaluate.
    steps_per_call: the number of steps per call where the config leaves it open.
    example_images: at least one input [1, ...], to initialise the model with.
    teacher_accuracies: the test accuracy of each teacher on this data, by slot.
  """

  evaluated: tuple[str, ...]
  steps_per_call: int
  example_images: jax.Array
  teacher_accuracies: Sequence[Sequence[float]]

  def train(
    self, state: step.TrainState, at_step: int, num_steps: int
  ) -> tuple[step.TrainState, step.Progress]:
    """Dispatches steps of all runs; returns the next state and their progress, not yet fetched."""
    ...

  def sums(self, split: str, variables: Any) -> dict[str, np.ndarray]:
    """Returns the metrics' sums of every run over a split, with a leading axis of slots."""
    ...

  def diagnostics(
    self, state: step.TrainState, slots: Iterable[int]
  ) -> dict[int, Mapping[str, np.ndarray]]:
    """Returns the arrays of `diagnostics.collect` for the runs of some slots."""
    ...

  def close(self) -> None:
    """Ends the processes and threads that read ahead."""
    ...


def create(slots: Sequence[PreparedRun], layout: devices.Layout, model: nn.Module) -> Inputs:
  """Puts the data of a pack on its devices.

  Args:
    slots: the run of each slot of the layout; all runs use the same data set.
    layout: the layout of the runs.
    model: the network, with the layout's axis_name.

  Raises:
    ConfigError: for streamed data in a pack of several runs.
    ValueError: if the runs' images differ, as those of different data seeds may do.
  """
  if isinstance(slots[0], StreamedRun):
    return StreamedInputs(slots[0], layout, model)
  runs = [run for run in slots if isinstance(run, InMemoryRun)]
  for run, name in itertools.product(runs, ("train", "test")):
    own, common = run.splits[name].source, runs[0].splits[name].source
    if own is not common and not np.array_equal(own, common):
      raise ValueError(f"the runs of a pack must share their images; the {name} images differ")
  return InMemoryInputs(runs, layout, model)


@lru_cache(maxsize=64)
def _with_features(model: nn.Module) -> Any:
  """Returns apply(variables, images) -> (logits, features); one function per model."""
  return lambda variables, images: model.apply(variables, images, features=True)


class InMemoryInputs:
  """The `Inputs` of runs whose images are on the devices, one copy for all runs."""

  def __init__(self, slots: Sequence[InMemoryRun], layout: devices.Layout, model: nn.Module):
    """Puts data and teachers on the devices and evaluates the teachers."""
    self.slots, self.layout, self.model, self.config = slots, layout, model, slots[0].config
    splits = slots[0].splits
    self.images = {name: layout.replicate(splits[name].source) for name in ("train", "test")}
    self.splits = {name: layout.place([r.splits[name].arrays for r in slots]) for name in splits}
    self.hparams = layout.place([r.hparams for r in slots])
    self.evaluated = tuple(splits)
    self.example_images = self.images["train"]
    is_convolutional = self.config.model.name in models.CONVOLUTIONAL
    self.steps_per_call = devices.steps_per_call(is_convolutional)
    self.evaluate = self._evaluate_of(model)
    self._place_teachers()

  def train(
    self, state: step.TrainState, at_step: int, num_steps: int
  ) -> tuple[step.TrainState, step.Progress]:
    """Dispatches steps of all runs; see `Inputs.train`."""
    del at_step  # the state holds it, and the batches follow from it
    call = programs.make_train_call(
      self.model,
      dataclasses.replace(self.config.data, fold=0),  # all folds share a program
      self.layout,
      program=config_lib.program_of(self.config.loss, self.config.train),
      batch_size=self.config.train.batch_size,
      num_steps=num_steps,
      teacher_fn=self.teacher_fn,
    )
    examples, labels, _ = self.splits["train"]
    return call(self.images["train"], state, examples, labels, self.hparams, self.teacher)

  def sums(self, split: str, variables: Any) -> dict[str, np.ndarray]:
    """Returns the metrics' sums of every run over a split."""
    of_runs = (*self.splits[split], self.teacher_logits[split])
    return self.evaluate(self._images_of(split), variables, *of_runs)

  def diagnostics(
    self, state: step.TrainState, slots: Iterable[int]
  ) -> dict[int, Mapping[str, np.ndarray]]:
    """Returns the arrays of `diagnostics.collect` for the runs of some slots."""
    apply = _with_features(self.model)
    outputs = {name: self._predict(apply, state.variables, name) for name in ("train", "test")}
    heads = self.layout.fetch(state.params["head"])
    trained = self.layout.fetch(state.params.get(step.LOSS, {}))
    held_out = None
    if "validation" in self.splits:
      held_out, _ = self._predict(apply, state.variables, "validation")
    collected: dict[int, Mapping[str, np.ndarray]] = {}
    for i in slots:
      splits: dict[str, Any] = {
        name: {
          "logits": logits[i],
          "features": features[i],
          "labels": self.slots[i].splits[name].labels,
          "true_labels": self.slots[i].splits[name].true_labels,
        }
        for name, (logits, features) in outputs.items()
      }
      collected[i] = {
        **diagnostics.collect(**splits, kernel=heads["kernel"][i], bias=heads["bias"][i]),
        **self._transition(trained, i),
        **self._held_out(held_out, i),
        **self._margins(state.memory, i),
      }
    return collected

  def _held_out(self, logits: np.ndarray | None, slot: int) -> dict[str, np.ndarray]:
    """Returns the logits of the examples that a run held out, and their places in noise.npz."""
    if logits is None:
      return {}
    examples = self.slots[slot].splits["validation"].examples
    return {"validation_logits": logits[slot], "validation_examples": examples}

  def _margins(self, memory: Mapping[str, Any], slot: int) -> dict[str, np.ndarray]:
    """Returns the mean margin over training of the examples of a run, if they were recorded."""
    if "margins" not in memory:
      return {}
    total, visits = self.layout.fetch(memory["margins"])[slot].T
    return {
      "margins": total / np.maximum(visits, 1),
      "margin_visits": visits.astype(np.int32),
      "margin_examples": self.slots[slot].splits["train"].examples,
    }

  def _transition(self, trained: Mapping[str, np.ndarray], slot: int) -> dict[str, np.ndarray]:
    """Returns {"transition": T[true, noisy]} that the loss of a run assumes or has learned."""
    num_classes = self.slots[slot].spec.num_classes
    if "weights" in trained:
      learned = losses.learned_transition(trained["weights"][slot], num_classes)
      return {"transition": np.asarray(learned)}
    if methods.METHODS[self.slots[slot].config.loss.name].needs == "transition":
      # Forward correction has T, backward correction its inverse; the other matrix is the identity.
      arrays = self.slots[slot].hparams.arrays
      return {"transition": np.linalg.inv(arrays["matrix"]) @ arrays["columns"].T}
    return {}

  def close(self) -> None:
    """Does nothing, because arrays are freed after their last use."""

  def _images_of(self, split: str) -> jax.Array:
    """Returns the images that contain a split; the validation split is held out of training."""
    return self.images["test" if split == "test" else "train"]

  def _evaluate_of(self, model: nn.Module) -> Any:
    return programs.make_evaluate(model, self.layout, batch_size=self.config.train.eval_batch_size)

  def _predict(self, apply: Any, variables: Any, split: str) -> Any:
    predict = programs.make_predict(
      apply, self.layout, batch_size=self.config.train.eval_batch_size
    )
    return predict(self._images_of(split), variables, self.splits[split][0])

  def _place_teachers(self) -> None:
    """Sets the teachers' logits of all plain images, and the function that a call asks."""
    self.teacher_fn: teachers_lib.TeacherFn = teachers_lib.no_teacher
    self.teacher: Any = None
    self.teacher_logits: dict[str, Any] = dict.fromkeys(self.splits)
    accuracies: list[list[float]] = [[] for _ in self.slots]
    self.teacher_accuracies: Sequence[Sequence[float]] = accuracies
    if self.config.teacher is None or self.config.student is None:
      return
    variables = self.layout.place([tuple(t.variables for t in r.teachers) for r in self.slots])
    for i, teacher in enumerate(self.slots[0].teachers):
      test = (self.images["test"], variables[i], *self.splits["test"], None)
      sums = self._evaluate_of(teacher.model)(*test)
      for j, (correct, examples) in enumerate(zip(sums["correct"], sums["examples"])):
        accuracies[j].append(float(correct) / float(examples))
    apply = teachers_lib.ensemble(tuple(t.model for t in self.slots[0].teachers))
    for split in self.splits:
      self.teacher_logits[split] = self.layout.place(list(self._predict(apply, variables, split)))
    if self.config.student.beta == 0:  # compared with the teacher, but trained as an ordinary run
      return
    if self.config.teacher.targets == "cached":
      self.teacher_fn, self.teacher = teachers_lib.from_table, self.teacher_logits["train"]
    else:
      self.teacher_fn, self.teacher = teachers_lib.from_images(apply), variables


class StreamedInputs:
  """The `Inputs` of one run whose images are read while it trains, one step per call."""

  evaluated: tuple[str, ...] = ("test",)
  steps_per_call = 1

  def __init__(self, run: StreamedRun, layout: devices.Layout, model: nn.Module):
    """Compiles the programs of the run; nothing is read yet."""
    if not layout.shared:
      why = "is streamed: train it by lsjax.main, not in a sweep"
      raise config_lib.ConfigError("data.name", run.config.data.name, why)
    self.run, self.config, self.layout = run, run.config, layout
    self.teacher_accuracies: Sequence[Sequence[float]] = [[]]
    self.hparams = layout.place([run.hparams])
    program = config_lib.program_of(run.config.loss)
    self.call = programs.make_streamed_train_call(model, layout, program)
    self.evaluate = programs.make_streamed_evaluate(model, layout)
    assert run.noisy_labels.transition is not None
    self.draw = noise.Draw(run.noisy_labels.transition, run.config.seed.noise)
    self.batches: Generator[dict[str, np.ndarray]] | None = None
    self.next_step = -1
    self.example_images = layout.replicate(np.zeros((1, *run.spec.shape), np.uint8))

  def train(
    self, state: step.TrainState, at_step: int, num_steps: int
  ) -> tuple[step.TrainState, step.Progress]:
    """Reads the batch of a step and dispatches it; see `Inputs.train`."""
    assert num_steps == 1
    if self.batches is None or self.next_step != at_step:
      self.batches = self.run.reader.train_batches(
        self.run.sources["train"],
        self.config.data,
        seed=self.config.seed.data,
        batch_size=self.config.train.batch_size,
        start=at_step,
      )
    batch, self.next_step = next(self.batches), at_step + 1
    labels = self.draw(batch["label"], batch["id"])
    return self.call(self.layout.split((batch["image"], labels)), state, self.hparams)

  def sums(self, split: str, variables: Any) -> dict[str, np.ndarray]:
    """Returns the metrics' sums over a split; they do not depend on the batch size."""
    batches = self.run.reader.eval_batches(
      self.run.sources[split], self.config.data, batch_size=self.config.train.eval_batch_size
    )
    arrays = (
      (b["image"], label := b["label"].astype(np.int32), label, b["where"]) for b in batches
    )
    return self.evaluate(arrays, variables)

  def diagnostics(
    self, state: step.TrainState, slots: Iterable[int]
  ) -> dict[int, Mapping[str, np.ndarray]]:
    """Returns empty mappings: diagnostics need the whole training set in memory."""
    del state
    return {i: {} for i in slots}

  def close(self) -> None:
    """Ends the processes and threads that read ahead."""
    if self.batches is not None:
      self.batches.close()
