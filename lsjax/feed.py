"""What a training loop gets its batches and evaluations from: device memory, or a stream."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from lsjax import config as config_lib
from lsjax import diagnostics, experiment, models, noise, parallel, step
from lsjax import teacher as teacher_lib


def create(
  lanes: Sequence[experiment.Experiment], layout: parallel.Layout, model: nn.Module
) -> "Resident | Streamed":
  """Returns the feed of a pack.

  Args:
    lanes: a run for each place of the layout, on the same data.
    layout: of the runs.
    model: with the layout's axis_name.
  """
  if lanes[0].sources:
    return Streamed(lanes[0], layout, model)
  return Resident(lanes, layout, model)


@lru_cache(maxsize=64)
def _with_features(model: nn.Module) -> Any:
  """Returns apply(variables, images) -> (logits, features); one function per model."""
  return lambda variables, images: model.apply(variables, images, features=True)


class Resident:
  """Images on the devices, once for all runs: K steps per call, evaluation of every split.

  Attributes:
    evaluated: names of the splits.
    steps_per_call: unless the config says.
    an_image: [1 or more, ...] as the model takes them, to initialise it.
  """

  def __init__(
    self, lanes: Sequence[experiment.Experiment], layout: parallel.Layout, model: nn.Module
  ):
    """Puts data and teachers on the devices and checks the teachers."""
    self.lanes, self.layout, self.model, self.config = lanes, layout, model, lanes[0].config
    splits = lanes[0].splits
    self.images = {name: layout.replicate(splits[name].source) for name in ("train", "test")}
    self.splits = {name: layout.place([r.splits[name].arrays for r in lanes]) for name in splits}
    self.hparams = layout.place([r.hparams for r in lanes])
    self.evaluate = self._evaluate_of(model)
    self.evaluated = tuple(splits)
    self.steps_per_call = parallel.steps_per_call(self.config.model.name in models.CONVOLUTIONAL)
    self._place_teachers()

  @property
  def an_image(self) -> jax.Array:
    return self.images["train"]

  def train(
    self, state: step.TrainState, at_step: int, num_steps: int
  ) -> tuple[step.TrainState, step.Progress]:
    """Dispatches steps of all runs; returns the next state and their progress, not yet fetched."""
    del at_step  # it is in the state, and the batches follow from it
    call = parallel.make_train_call(
      self.model,
      self.config.data,
      self.layout,
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
    self, state: step.TrainState, places: Iterable[int]
  ) -> dict[int, Mapping[str, np.ndarray]]:
    """Returns what the networks at some places say of the data: see `diagnostics.collect`."""
    apply = _with_features(self.model)
    said = {name: self._predict(apply, state.variables, name) for name in ("train", "test")}
    heads = self.layout.fetch(state.params["head"])
    collected: dict[int, Mapping[str, np.ndarray]] = {}
    for i in places:
      splits: dict[str, Any] = {
        name: {
          "logits": logits[i],
          "features": features[i],
          "labels": self.lanes[i].splits[name].labels,
          "true_labels": self.lanes[i].splits[name].true_labels,
        }
        for name, (logits, features) in said.items()
      }
      collected[i] = diagnostics.collect(**splits, kernel=heads["kernel"][i], bias=heads["bias"][i])
    return collected

  def close(self) -> None:
    """Does nothing: arrays are freed with their last use."""

  def _images_of(self, split: str) -> jax.Array:
    """What is held out comes from the training images."""
    return self.images["test" if split == "test" else "train"]

  def _evaluate_of(self, model: nn.Module) -> Any:
    return parallel.make_evaluate(model, self.layout, batch_size=self.config.train.eval_batch_size)

  def _predict(self, apply: Any, variables: Any, split: str) -> Any:
    predict = parallel.make_predict(
      apply, self.layout, batch_size=self.config.train.eval_batch_size
    )
    return predict(self._images_of(split), variables, self.splits[split][0])

  def _place_teachers(self) -> None:
    """Sets the teachers' logits of all plain images, and what a training call asks for."""
    self.teacher_fn: parallel.TeacherFn = parallel.no_teacher
    self.teacher: Any = None
    self.teacher_logits: dict[str, Any] = dict.fromkeys(self.splits)
    if self.config.teacher is None or self.config.student is None:
      return
    variables = self.layout.place([tuple(t.variables for t in r.teachers) for r in self.lanes])
    self._check_teachers(variables)
    apply = teacher_lib.ensemble(tuple(t.model for t in self.lanes[0].teachers))
    for split in self.splits:
      self.teacher_logits[split] = self.layout.place(list(self._predict(apply, variables, split)))
    if self.config.student.beta == 0:  # compared with the teacher, but trained as an ordinary run
      return
    if self.config.teacher.targets == "cached":
      self.teacher_fn, self.teacher = teacher_lib.from_table, self.teacher_logits["train"]
    else:
      self.teacher_fn, self.teacher = teacher_lib.from_images(apply), variables

  def _check_teachers(self, variables: Any) -> None:
    """Evaluates the frozen teachers on the test set: their own results must come out."""
    for i, teacher in enumerate(self.lanes[0].teachers):
      sums = self._evaluate_of(teacher.model)(
        self.images["test"], variables[i], *self.splits["test"], None
      )
      for run, correct, examples in zip(self.lanes, sums["correct"], sums["examples"]):
        run.teachers[i].check_accuracy(float(correct) / float(examples))


class Streamed:
  """One run whose images are read while it trains: a step per call, evaluation of the test set.

  Attributes: as `Resident`.
  """

  evaluated = ("test",)
  steps_per_call = 1

  def __init__(self, run: experiment.Experiment, layout: parallel.Layout, model: nn.Module):
    if not layout.shared:
      name = run.config.data.name
      config_lib.fail("data.name", name, "is streamed: train it by lsjax.main, not in a sweep")
    self.run, self.config, self.layout = run, run.config, layout
    self.hparams = layout.place([run.hparams])
    self.call = parallel.make_streamed_train_call(model, layout)
    self.evaluate = parallel.make_streamed_evaluate(model, layout)
    assert run.noise.transition is not None
    self.draw = noise.Draw(run.noise.transition, run.config.seed.noise)
    self.batches: Generator[dict[str, np.ndarray]] | None = None
    self.next_step = -1
    side = run.config.data.image_size
    self.an_image = layout.replicate(np.zeros((1, side, side, 3), np.uint8))

  def train(
    self, state: step.TrainState, at_step: int, num_steps: int
  ) -> tuple[step.TrainState, step.Progress]:
    """Reads the batch of a step and dispatches it; see `Resident.train`."""
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
    """Returns the metrics' sums over a split, whatever the batch size: see `Resident.sums`."""
    batches = self.run.reader.eval_batches(
      self.run.sources[split], self.config.data, batch_size=self.config.train.eval_batch_size
    )
    arrays = (
      (b["image"], label := b["label"].astype(np.int32), label, b["where"]) for b in batches
    )
    return self.evaluate(arrays, variables)

  def diagnostics(
    self, state: step.TrainState, places: Iterable[int]
  ) -> dict[int, Mapping[str, np.ndarray]]:
    """Returns nothing: they are of whole training sets in memory."""
    del state
    return {i: {} for i in places}

  def close(self) -> None:
    """Ends the processes and threads that read ahead."""
    if self.batches is not None:
      self.batches.close()
