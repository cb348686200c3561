"""One training step: a pure function of (state, batch, hyper-parameters)."""

import inspect
from collections.abc import Callable, Mapping
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

# The parameters of a loss that are trained with the network are beside the network's, under this.
LOSS = "loss"


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
  """Everything that a step changes.

  Attributes:
    step: the number of steps done.
    params: the parameters of the network and, where the method has such, of its loss.
    batch_stats: the statistics of BatchNorm; empty for a network without it.
    opt_state: the state of the optimizer.
    progress: the sums since the last log row.
    memory: what is remembered of each training example: `examples`, [N, L], for a method that
      needs such; and `margins`, [N, 2], if they are recorded: the sum of its margins in the steps
      so far that trained on it, and their number.
  """

  step: Array
  params: Any
  batch_stats: Any
  opt_state: Any
  progress: Progress
  memory: dict[str, Array] = flax.struct.field(default_factory=dict)

  @property
  def variables(self) -> dict[str, Any]:
    """The variables that the model's `apply` takes."""
    return {"params": self.params, "batch_stats": self.batch_stats}


@flax.struct.dataclass
class Hparams:
  """Everything that a step reads and does not change, as arrays: a method is data.

  Attributes:
    arrays: the arrays of the method, by the keywords of the functions of its program.
    cross_entropy_steps: the number of first steps that use plain cross-entropy.
    ramp_steps: the number of steps after them in which the method's own loss grows from nothing.
    beta: the weight of the distillation loss; 0 without a teacher.
    teacher_temperature: the temperature that divides the teacher's logits.
    student_temperature: the temperature that divides the student's logits.
    distillation_factor: the factor of the distillation loss that its convention asks for.
    optim: the numbers of the optimizer.
    data_seed: the seed of order and augmentation.
    log_every: the number of steps after which `Progress` starts anew.
  """

  arrays: dict[str, Leaf]
  cross_entropy_steps: Leaf
  ramp_steps: Leaf
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
    examples: the positions of the examples in the training split, int32 [N], for a method that
      remembers something of each; None for data that is streamed.
  """

  images: Array
  labels: Array
  teacher_logits: Array | None = None
  examples: Array | None = None


TrainStep = Callable[[TrainState, Batch, Hparams], TrainState]

_PLAIN = methods.Program()


def make_hparams(config: config_lib.Config, arrays: methods.Arrays) -> Hparams:
  """Returns what a step of a run reads, as arrays on the host.

  Args:
    config: the run's config.
    arrays: the arrays of the run's method.
  """
  first, full = _schedule(config)
  student = config.student or config_lib.Student(beta=0)  # without a teacher beta is 0
  of_teacher, of_student, factor = losses.distillation_temperatures(
    student.temperature, student.convention
  )
  return Hparams(
    arrays={name: array.astype(np.float32) for name, array in arrays.items()},
    cross_entropy_steps=np.int32(first),
    ramp_steps=np.int32(full - first),
    beta=np.float32(student.beta),
    teacher_temperature=np.asarray(of_teacher, np.float32),
    student_temperature=np.asarray(of_student, np.float32),
    distillation_factor=np.asarray(factor, np.float32),
    optim=optimizer_lib.from_config(config.optim),
    data_seed=np.uint32(config.seed.data),
    log_every=np.int32(config.train.log_every),
  )


def _schedule(config: config_lib.Config) -> tuple[int, int]:
  """Returns the steps from which the method's own loss counts at all, and from which alone."""
  own = config_lib.parameters_of(config.loss)
  steps = config.train.num_steps
  first = max(config.loss.cross_entropy_steps, round(own.get("start", 0) * steps))
  return first, max(first, round(own.get("full", 0) * steps))


def init_state(
  model: nn.Module,
  images: Array,
  optimizer: optimizer_lib.OptimParams,
  seed: int | Array,
  program: methods.Program = _PLAIN,
  num_examples: int = 0,
) -> TrainState:
  """Returns the state before the first step.

  Args:
    model: the network.
    images: an array [n, ...] of the right dtype; its values do not matter.
    optimizer: the optimizer's numbers; their values do not matter.
    seed: the seed of the initial parameters.
    program: what is compiled of the method.
    num_examples: the number N of training examples, for a method that remembers something of each.
  """
  variables = model.init(jax.random.key(seed), images)
  params = variables["params"]
  num_classes = params["head"]["bias"].shape[-1]
  if program.trained:
    params = {**params, LOSS: getattr(losses, program.trained)(num_classes)}
  memory = {"examples": jnp.zeros((num_examples, num_classes))} if program.memory else {}
  if program.margins:
    memory["margins"] = jnp.zeros((num_examples, 2))
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
    memory=memory,
  )


def state_shapes(
  model: nn.Module, config: config_lib.Config, spec: models.InputSpec, num_examples: int
) -> TrainState:
  """Returns the shapes and dtypes of a run's state, without computing it.

  Args:
    model: the network.
    config: the run's config.
    spec: the inputs that the network takes.
    num_examples: the number of training examples.
  """
  image = jax.ShapeDtypeStruct((1, *spec.shape), spec.dtype)
  optimizer = optimizer_lib.from_config(config.optim)
  program = config_lib.program_of(config.loss, config.train)
  return jax.eval_shape(lambda x: init_state(model, x, optimizer, 0, program, num_examples), image)


def make_train_step(
  model: nn.Module, program: methods.Program = _PLAIN, axis_name: str | None = None
) -> TrainStep:
  """Returns the pure function train_step(state, batch, hparams) -> state, not yet compiled.

  Args:
    model: the network; its own axis_name decides whether BatchNorm is synchronised.
    program: what is compiled of the method.
    axis_name: the mapped axis of the devices that share a batch, over which gradients are
      averaged; None for a step outside of any mapped axis.
  """

  def mean(x: Any) -> Any:
    return x if axis_name is None else jax.lax.pmean(x, axis_name)

  def train_step(state: TrainState, batch: Batch, hparams: Hparams) -> TrainState:
    given = {**hparams.arrays, **dict(program.constants), "axis_name": axis_name}
    progress = _share_of_own_loss(state.step, hparams)

    def label_losses(params: Any, logits: Array, where: Array | bool) -> tuple[Array, Any]:
      values, memory = {**given, **params.get(LOSS, {})}, None
      if program.memory:
        remembered = state.memory["examples"][batch.examples]
        memory = _with_keywords(program.memory, values)(remembered, logits)
        values["targets"] = memory
      # Masks and not factors alone: a loss that does not count may be infinite.
      own = _with_keywords(program.loss, values)(logits, batch.labels, where=where & (progress > 0))
      plain = losses.cross_entropy(logits, batch.labels, where=where & (progress < 1))
      return progress * own + (1 - progress) * plain, memory

    def objective(given_params: Any) -> Any:
      params = optimizer_lib.as_tree(given_params)
      logits, updates = model.apply(
        {"params": params, "batch_stats": state.batch_stats},
        batch.images,
        train=True,
        mutable=["batch_stats"],
      )
      values, memory = label_losses(params, logits, hparams.beta < 1)
      if batch.teacher_logits is not None:
        values = (1 - hparams.beta) * values
        values += hparams.beta * losses.tempered_cross_entropy(
          logits,
          batch.teacher_logits,
          teacher_temperature=hparams.teacher_temperature,
          student_temperature=hparams.student_temperature,
          factor=hparams.distillation_factor,
        )
      if program.selection:
        select = _with_keywords(program.selection, {**given, "progress": progress})
        selected = select(logits, batch.labels).astype(values.dtype)
        # The mean over the selected examples of the whole batch; 0 if there are none.
        values = jnp.where(selected > 0, values, 0) / jnp.maximum(mean(selected.mean()), 1e-9)
      return values.mean(), (logits, updates.get("batch_stats", {}), memory)

    gradient = jax.value_and_grad(objective, has_aux=True)
    (mean_loss, (logits, batch_stats, memory)), grads = gradient(state.params)
    correct = (logits.argmax(-1) == batch.labels).astype(jnp.float32).mean()
    mean_loss, correct, grads, batch_stats = mean((mean_loss, correct, grads, batch_stats))
    with jax.named_scope("optimizer"):
      updates, opt_state = optimizer_lib.transformation(hparams.optim, state.step).update(
        grads, state.opt_state, state.params
      )
      params = jax.tree.map(jnp.add, state.params, updates)
    parts = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    remembered = _remember(state.memory, batch.examples, memory, axis_name)
    if program.margins:
      remembered = _with_margins(remembered, batch, logits, axis_name)
    return TrainState(
      step=state.step + 1,
      params=params,
      batch_stats=batch_stats,
      opt_state=opt_state,
      progress=_advance(state, hparams, mean_loss, correct, len(batch.labels) * parts),
      memory=remembered,
    )

  return train_step


def _share_of_own_loss(at_step: Array, hparams: Hparams) -> Array:
  """Returns the weight of the method's own loss, in [0, 1]; cross-entropy has the rest."""
  done = at_step - hparams.cross_entropy_steps
  ramp = jnp.clip(done / jnp.maximum(hparams.ramp_steps, 1), 0, 1)
  return jnp.where(done >= hparams.ramp_steps, 1.0, ramp)


def _with_keywords(name: str, values: Mapping[str, Any]) -> Callable[..., Any]:
  """Returns a function of `lsjax.losses` with those of the values that it has keywords for."""
  function = getattr(losses, name)
  keywords = inspect.signature(function).parameters
  return partial(function, **{key: value for key, value in values.items() if key in keywords})


def _remember(
  memory: dict[str, Array], examples: Array | None, new: Array | None, axis_name: str | None
) -> dict[str, Array]:
  """Returns the memory of all examples with new rows for those of a batch, on every device."""
  if new is None or examples is None:
    return memory
  if axis_name is not None:
    examples, new = jax.lax.all_gather((examples, new), axis_name, tiled=True)
  # A batch may hold the end of an epoch and the beginning of the next, and an example twice. The
  # last one counts; which one a scatter writes last is not defined.
  position = jnp.arange(len(examples))
  is_later = (examples[:, None] == examples) & (position[:, None] < position)
  rows = jnp.where(is_later.any(axis=1), len(memory["examples"]), examples)
  return {**memory, "examples": memory["examples"].at[rows].set(new, mode="drop")}


def _with_margins(
  memory: dict[str, Array], batch: Batch, logits: Array, axis_name: str | None
) -> dict[str, Array]:
  """Returns the memory with the margins of a batch added, on every device."""
  given = jnp.arange(logits.shape[-1]) == batch.labels[:, None]
  own = jnp.where(given, logits, 0).sum(axis=-1)
  margins = own - jnp.where(given, -jnp.inf, logits).max(axis=-1)
  examples, rows = batch.examples, jnp.stack([margins, jnp.ones_like(margins)], axis=1)
  if axis_name is not None:
    examples, rows = jax.lax.all_gather((examples, rows), axis_name, tiled=True)
  return {**memory, "margins": memory["margins"].at[examples].add(rows)}


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
