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
from lsjax import losses, optim
from lsjax import transition as transition_lib

Array = jax.Array
Leaf = optim.Leaf


@flax.struct.dataclass
class Progress:
  """What the training batches told since the last log row.

  Part of the state, and so of every checkpoint: a resumed run logs the same rows.

  Attributes:
    loss: float32, sum of losses.
    correct: float32, number of predictions equal to the training label.
    examples: float32.
    bad_step: int32, the first step whose loss was not finite; -1 while there is none.
    bad_loss: float32, the mean loss of that step.
  """

  loss: Array
  correct: Array
  examples: Array
  bad_step: Array
  bad_loss: Array


@flax.struct.dataclass
class TrainState:
  """Everything a step changes. step is the number of steps done."""

  step: Array
  params: Any
  batch_stats: Any
  opt_state: Any
  progress: Progress

  @property
  def variables(self) -> dict[str, Any]:
    """What the model's `apply` takes."""
    return {"params": self.params, "batch_stats": self.batch_stats}


@flax.struct.dataclass
class Hparams:
  """Everything a step reads and does not change, as arrays: a method is data.

  Attributes:
    matrix: M of `losses.smeared_forward`, [L, L].
    transition: T of the same, [L, L].
    cross_entropy_steps: plain cross-entropy (M = T = I) before this step.
    optim: numbers of the optimiser.
    beta: weight of the distillation; 0 without a teacher.
    teacher_temperature: of `losses.tempered_cross_entropy`.
    student_temperature: of the same.
    data_seed: of order and augmentation.
    log_every: `Progress` starts anew after so many steps.
  """

  matrix: Leaf
  transition: Leaf
  cross_entropy_steps: Leaf
  beta: Leaf
  teacher_temperature: Leaf
  student_temperature: Leaf
  optim: optim.OptimParams
  data_seed: Leaf
  log_every: Leaf


@flax.struct.dataclass
class Batch:
  """images: [N, ...] as the model takes them; labels: int32 [N]; teacher_logits: [N, L] of
  the frozen teacher, None for a run without one."""

  images: Array
  labels: Array
  teacher_logits: Array | None = None


TrainStep = Callable[[TrainState, Batch, Hparams], TrainState]


def method(
  config: config_lib.Loss, noise_transition: np.ndarray | None, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
  """Turns a loss section into the arrays (M, T) of `losses.smeared_forward`.

  Args:
    config: the loss section.
    noise_transition: the label noise's own matrix, for transition=noise.
    num_classes: L.

  Returns:
    Two float64 arrays [L, L].

  Raises:
    config.ConfigError: for a matrix that is unreadable, of another size or singular.
  """
  eye = np.eye(num_classes)

  def read(field: str, path: str, reader: Callable[[str], np.ndarray]) -> np.ndarray:
    try:
      matrix = reader(path)
    except ValueError as error:
      config_lib.fail(field, path, str(error))
    if len(matrix) != num_classes:
      config_lib.fail(field, path, f"is {len(matrix)} x {len(matrix)} for {num_classes} classes")
    return matrix

  def smoothing(r: float) -> np.ndarray:
    return (1 - r) * eye + r / num_classes

  def transition() -> np.ndarray:
    if config.transition == "alpha":
      return transition_lib.symmetric(num_classes, config.alpha, includes_own_class=True)
    if config.transition == "file":
      return read("loss.transition_path", config.transition_path, transition_lib.from_file)
    if noise_transition is None:
      config_lib.fail(
        "loss.transition", "noise", "needs clean labels to count a matrix from; there are none"
      )
    return noise_transition

  match config.name:
    case "cross_entropy":
      return eye, eye
    case "label_smoothing":
      return smoothing(config.alpha), eye
    case "generalized_smoothing":
      return smoothing(config.r), eye
    case "smearing":
      return read("loss.matrix", config.matrix, transition_lib.read_matrix), eye
    case "forward_correction":
      return eye, transition()
    case "backward_correction":
      try:
        return transition_lib.inverse(transition())[0], eye
      except ValueError as error:
        config_lib.fail("loss.transition", config.transition, str(error))


def make_hparams(
  config: config_lib.Config, noise_transition: np.ndarray | None, num_classes: int
) -> Hparams:
  """Returns the arrays of a run. See `method` for arguments and errors."""
  matrix, transition = method(config.loss, noise_transition, num_classes)
  student = config.student or config_lib.Student(beta=0)  # without a teacher nothing of it counts
  temperatures = losses.distillation_temperatures(student.temperature, student.convention)
  return Hparams(
    matrix=matrix.astype(np.float32),
    transition=transition.astype(np.float32),
    cross_entropy_steps=np.int32(config.loss.cross_entropy_steps),
    beta=np.float32(student.beta),
    teacher_temperature=np.asarray(temperatures[0], np.float32),
    student_temperature=np.asarray(temperatures[1], np.float32),
    optim=optim.from_config(config.optim),
    data_seed=np.uint32(config.seed.data),
    log_every=np.int32(config.train.log_every),
  )


def init_state(
  model: nn.Module, images: Array, optimiser: optim.OptimParams, seed: int | Array
) -> TrainState:
  """Returns the state before the first step.

  Args:
    model: the network.
    images: any [N, ...] of the right shape and dtype; only the shape matters.
    optimiser: of the run; its values do not matter here.
    seed: of the initial parameters.
  """
  variables = model.init(jax.random.key(seed), images)
  params = variables["params"]
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=variables.get("batch_stats", {}),
    opt_state=optim.transformation(optimiser, 0).init(params),
    # Each its own buffer: a donated one may not appear twice.
    progress=Progress(
      loss=jnp.zeros(()),
      correct=jnp.zeros(()),
      examples=jnp.zeros(()),
      bad_step=jnp.full((), -1, jnp.int32),
      bad_loss=jnp.zeros(()),
    ),
  )


def make_train_step(model: nn.Module, axis_name: str | None = None) -> TrainStep:
  """Returns train_step(state, batch, hparams) -> state, pure and not yet compiled.

  Args:
    model: the network; its own axis_name decides whether BatchNorm is synchronised.
    axis_name: of the devices that share a batch, whose gradients are averaged; None on one
      device without a mesh.
  """

  def mean(x: Any) -> Any:
    return x if axis_name is None else jax.lax.pmean(x, axis_name)

  def train_step(state: TrainState, batch: Batch, hparams: Hparams) -> TrainState:
    corrects = state.step >= hparams.cross_entropy_steps
    eye = jnp.eye(len(hparams.matrix))
    matrix = jnp.where(corrects, hparams.matrix, eye)
    transition = jnp.where(corrects, hparams.transition, eye)
    label_loss = partial(losses.smeared_forward, matrix=matrix, transition=transition)

    def objective(params: Any) -> Any:
      logits, updates = model.apply(
        {"params": params, "batch_stats": state.batch_stats},
        batch.images,
        train=True,
        mutable=["batch_stats"],
      )
      if batch.teacher_logits is None:
        loss = label_loss(logits, batch.labels)
      else:
        # Masked, because a label loss of weight 0 may be infinite.
        loss = (1 - hparams.beta) * label_loss(logits, batch.labels, where=hparams.beta < 1)
        loss += hparams.beta * losses.tempered_cross_entropy(
          logits,
          batch.teacher_logits,
          teacher_temperature=hparams.teacher_temperature,
          student_temperature=hparams.student_temperature,
        )
      return loss.mean(), (logits, updates.get("batch_stats", {}))

    (loss, (logits, batch_stats)), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    correct = (logits.argmax(-1) == batch.labels).astype(jnp.float32).mean()
    loss, correct, grads, batch_stats = mean((loss, correct, grads, batch_stats))
    updates, opt_state = optim.transformation(hparams.optim, state.step).update(
      grads, state.opt_state, state.params
    )
    params = jax.tree.map(jnp.add, state.params, updates)
    parts = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    return TrainState(
      step=state.step + 1,
      params=params,
      batch_stats=batch_stats,
      opt_state=opt_state,
      progress=_advance(state, hparams, loss, correct, len(batch.labels) * parts),
    )

  return train_step


def _advance(
  state: TrainState, hparams: Hparams, loss: Array, correct: Array, examples: int
) -> Progress:
  """Returns the progress after a step of mean loss and accuracy over `examples`."""
  old = state.progress
  fresh = state.step % hparams.log_every == 0
  first_bad = (old.bad_step < 0) & ~jnp.isfinite(loss)
  return Progress(
    loss=jnp.where(fresh, 0, old.loss) + loss * examples,
    correct=jnp.where(fresh, 0, old.correct) + correct * examples,
    examples=jnp.where(fresh, 0, old.examples) + examples,
    bad_step=jnp.where(first_bad, state.step, old.bad_step),
    bad_loss=jnp.where(first_bad, loss, old.bad_loss),
  )
