"""One training step: a pure function of (state, batch, hyper-parameters)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from lsjax import config as config_lib
from lsjax import losses, methods, models
from lsjax.training import optimizer as optimizer_lib

Array = jax.Array
Leaf = optimizer_lib.Leaf


@flax.struct.dataclass
class Progress:
  """Sums over the training batches since the last log row.

  They are part of the state, and so of every checkpoint: a resumed run logs the same rows.

  Attributes:
    loss: the sum of losses, float32.
    correct: the number of predictions that equal the training label, float32.
    examples: the number of examples, float32.
    bad_step: the first step after which the sum of losses was not finite, int32; -1 while there is
      none. Losses that are finite and overflow in their sum have run away as well.
    bad_loss: the mean loss of that step, float32.
  """

  loss: Array
  correct: Array
  examples: Array
  bad_step: Array
  bad_loss: Array


@flax.struct.dataclass
class TrainState:
  """Everything that a step changes; `step` is the number of steps done."""

  step: Array
  params: Any
  batch_stats: Any
  opt_state: Any
  progress: Progress

  @property
  def variables(self) -> dict[str, Any]:
    """The variables that the model's `apply` takes."""
    return {"params": self.params, "batch_stats": self.batch_stats}


@flax.struct.dataclass
class Hparams:
  """Everything that a step reads and does not change, as arrays: a method is data.

  Attributes:
    matrix: M of `losses.smeared_forward`, [L, L].
    transition: T of `losses.smeared_forward`, [L, L].
    cross_entropy_steps: the number of first steps that use plain cross-entropy (M = T = I).
    beta: the weight of the distillation loss; 0 without a teacher.
    teacher_temperature: the temperature that divides the teacher's logits.
    student_temperature: the temperature that divides the student's logits.
    distillation_factor: the factor of the distillation loss that its convention asks for.
    optim: the numbers of the optimizer.
    data_seed: the seed of order and augmentation.
    log_every: the number of steps after which `Progress` starts anew.
  """

  matrix: Leaf
  transition: Leaf
  cross_entropy_steps: Leaf
  beta: Leaf
  teacher_temperature: Leaf
  student_temperature: Leaf
  distillation_factor: Leaf
  optim: optimizer_lib.OptimParams
  data_seed: Leaf
  log_every: Leaf


@flax.struct.dataclass
class Batch:
  """The examples of one step on one device.

  Attributes:
    images: inputs as the model takes them, [N, ...].
    labels: training labels, int32 [N].
    teacher_logits: logits of the frozen teacher, [N, L], or None for a run without one.
  """

  images: Array
  labels: Array
  teacher_logits: Array | None = None


TrainStep = Callable[[TrainState, Batch, Hparams], TrainState]


def make_hparams(config: config_lib.Config, arrays: methods.Arrays) -> Hparams:
  """Returns what a step of a run reads, as arrays on the host.

  Args:
    config: the run's config.
    arrays: M and T of the run's method, float64 [L, L] each.
  """
  matrix, transition = arrays
  student = config.student or config_lib.Student(beta=0)  # without a teacher beta is 0
  of_teacher, of_student, factor = losses.distillation_temperatures(
    student.temperature, student.convention
  )
  return Hparams(
    matrix=matrix.astype(np.float32),
    transition=transition.astype(np.float32),
    cross_entropy_steps=np.int32(config.loss.cross_entropy_steps),
    beta=np.float32(student.beta),
    teacher_temperature=np.asarray(of_teacher, np.float32),
    student_temperature=np.asarray(of_student, np.float32),
    distillation_factor=np.asarray(factor, np.float32),
    optim=optimizer_lib.from_config(config.optim),
    data_seed=np.uint32(config.seed.data),
    log_every=np.int32(config.train.log_every),
  )


def init_state(
  model: nn.Module, images: Array, optimizer: optimizer_lib.OptimParams, seed: int | Array
) -> TrainState:
  """Returns the state before the first step.

  Args:
    model: the network.
    images: an array [N, ...] of the right dtype; its values do not matter.
    optimizer: the optimizer's numbers; their values do not matter.
    seed: the seed of the initial parameters.
  """
  variables = model.init(jax.random.key(seed), images)
  params = variables["params"]
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=variables.get("batch_stats", {}),
    opt_state=optimizer_lib.transformation(optimizer, 0).init(params),
    # Each leaf has its own buffer, because a donated buffer may not appear twice.
    progress=Progress(
      loss=jnp.zeros(()),
      correct=jnp.zeros(()),
      examples=jnp.zeros(()),
      bad_step=jnp.full((), -1, jnp.int32),
      bad_loss=jnp.zeros(()),
    ),
  )


def state_shapes(model: nn.Module, config: config_lib.Config, spec: models.InputSpec) -> TrainState:
  """Returns the shapes and dtypes of a run's state, without computing it.

  Args:
    model: the network.
    config: the run's config.
    spec: the inputs that the network takes.
  """
  image = jax.ShapeDtypeStruct((1, *spec.shape), spec.dtype)
  optimizer = optimizer_lib.from_config(config.optim)
  return jax.eval_shape(lambda x: init_state(model, x, optimizer, 0), image)


def make_train_step(model: nn.Module, loss: str, axis_name: str | None = None) -> TrainStep:
  """Returns the pure function train_step(state, batch, hparams) -> state, not yet compiled.

  Args:
    model: the network; its own axis_name decides whether BatchNorm is synchronised.
    loss: the name of the function in `lsjax.losses` that takes the method's arrays.
    axis_name: the mapped axis of the devices that share a batch, over which gradients are
      averaged; None for a step outside of any mapped axis.
  """

  def mean(x: Any) -> Any:
    return x if axis_name is None else jax.lax.pmean(x, axis_name)

  def train_step(state: TrainState, batch: Batch, hparams: Hparams) -> TrainState:
    corrects = state.step >= hparams.cross_entropy_steps
    eye = jnp.eye(len(hparams.matrix))
    matrix = jnp.where(corrects, hparams.matrix, eye)
    transition = jnp.where(corrects, hparams.transition, eye)
    label_loss = partial(getattr(losses, loss), matrix=matrix, transition=transition)

    def objective(params: Any) -> Any:
      logits, updates = model.apply(
        {"params": params, "batch_stats": state.batch_stats},
        batch.images,
        train=True,
        mutable=["batch_stats"],
      )
      if batch.teacher_logits is None:
        values = label_loss(logits, batch.labels)
      else:
        # The label loss is masked because it may be infinite where its weight is 0.
        values = (1 - hparams.beta) * label_loss(logits, batch.labels, where=hparams.beta < 1)
        values += hparams.beta * losses.tempered_cross_entropy(
          logits,
          batch.teacher_logits,
          teacher_temperature=hparams.teacher_temperature,
          student_temperature=hparams.student_temperature,
          factor=hparams.distillation_factor,
        )
      return values.mean(), (logits, updates.get("batch_stats", {}))

    gradient = jax.value_and_grad(objective, has_aux=True)
    (mean_loss, (logits, batch_stats)), grads = gradient(state.params)
    correct = (logits.argmax(-1) == batch.labels).astype(jnp.float32).mean()
    mean_loss, correct, grads, batch_stats = mean((mean_loss, correct, grads, batch_stats))
    updates, opt_state = optimizer_lib.transformation(hparams.optim, state.step).update(
      grads, state.opt_state, state.params
    )
    params = jax.tree.map(jnp.add, state.params, updates)
    parts = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    return TrainState(
      step=state.step + 1,
      params=params,
      batch_stats=batch_stats,
      opt_state=opt_state,
      progress=_advance(state, hparams, mean_loss, correct, len(batch.labels) * parts),
    )

  return train_step


def _advance(
  state: TrainState, hparams: Hparams, loss: Array, correct: Array, examples: int
) -> Progress:
  """Returns the progress after a step with a mean loss and accuracy over so many examples."""
  old = state.progress
  fresh = state.step % hparams.log_every == 0
  total = jnp.where(fresh, 0, old.loss) + loss * examples
  first_bad = (old.bad_step < 0) & ~jnp.isfinite(total)
  return Progress(
    loss=total,
    correct=jnp.where(fresh, 0, old.correct) + correct * examples,
    examples=jnp.where(fresh, 0, old.examples) + examples,
    bad_step=jnp.where(first_bad, state.step, old.bad_step),
    bad_loss=jnp.where(first_bad, loss, old.bad_loss),
  )
