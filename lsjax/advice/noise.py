"""How noisy the labels of a problem are: rate, T, which labels are wrong, and how sure that is."""

import dataclasses

import numpy as np
import threadpoolctl
from scipy import special

from lsjax import estimate
from lsjax.advice.problem import Problem
from lsjax.estimate import Interval

LEVEL = 0.95
# Many small products: beside other processes, BLAS's threads would wait for one another at each.
_one_thread = threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
ALONE, EXAMPLE, UNKNOWN = (
  "depends on the class alone",
  "depends on the example",
  "cannot be told",
)

_RESAMPLES = 100
# Below this number of checked labels, their interval is longer than what is known without them.
_LEAST_CHECKED = 30
# Of an example, besides the network's: two in all do not tell annotators apart (`estimate.votes`).
_LEAST_VOTES = 2
_MOST_VOTED = 5000  # examples whose votes are drawn anew for intervals, so that it takes seconds
# With 4 classes there are 24 orders of their names, the fewest for a p-value below 0.05.
_LEAST_CLASSES = 4
# Noise follows the likeness of classes if more of it does than does not.
_HALF = 0.5
# The share of the overlap (the confident joint's rate less the noise layer's) by which the layer's
# rate may be off: networks that are never sure leave some overlap in it. With an MLP that overfits
# 20 % symmetric noise on embeddings of images it was 0.23, and with one that was stopped early 0.1.
_LEFT = 0.25
# On clean labels, too, networks are sure and wrong on up to one example in a hundred that they were
# not trained on: it was 0.3 to 1.2 % on digits, wine, breast cancer and embeddings of images.
_MISTAKES = 0.01
# The gain of log-likelihood below which probabilities with one fitted number, the temperature, say
# no more of the labels than their frequencies (half the 0.95 quantile of chi-squared).
_NO_GAIN = 1.92
# An entry of T that nobody checked is known to within a half: as if 4 examples had been counted.
_LIKE_COUNTED = 4.0
# The least entry of q T^-1, which may be negative; the examples and the repetitions of the fits to
# its logarithm, after which the rate changes by less than 0.01; and the normal quantile beyond
# which one of two models is better.
_LEAST_CHANCE, _EARLY, _REPETITIONS, _BETTER = 1e-3, 10_000, 3, 2.0
_NEIGHBOURS, _MOST_CLASSES = 4000, 30  # of `hoc`, so that it takes seconds


# Measured with 3,000 examples of 10 Gaussian classes each.
_ERRORS = (
  "in simulations such a test said otherwise for 2 of 45 label sets whose noise depends on the class "
  "alone, and noticed 11 of 15 whose mistakes fall on hard examples"
)


@dataclasses.dataclass(frozen=True)
class NamedEstimate:
  """What one estimator says.

  Attributes:
    name: the estimator.
    rate: the chance that a label is wrong.
    transition: T[true, noisy], [L, L].
    note: what it counts and what it does not, in a sentence.
  """

  name: str
  rate: float
  transition: np.ndarray
  note: str


@dataclasses.dataclass(frozen=True)
class Dependence:
  """Whether the noise depends on the class alone.

  Attributes:
    verdict: one of `ALONE`, `EXAMPLE` and `UNKNOWN`.
    p: the p-value of the test that wrong labels have nothing to do with the likeness of classes;
      None if there are too few classes.
    sentence: what was compared, and how often such a verdict is wrong.
  """

  verdict: str
  p: float | None
  sentence: str


@dataclasses.dataclass(frozen=True)
class Findings:
  """What is known of the noise.

  Attributes:
    rate: the chance that a label is wrong, with an interval.
    transition: T[true, noisy], [L, L]: the mean over the examples if it depends on them.
    transition_low: lower ends of the intervals of its entries, [L, L].
    transition_high: upper ends of them, [L, L].
    prior: shares of the true classes, [L].
    estimator: the estimator that is recommended.
    reason: why, in a sentence.
    estimates: what every estimator that applied says.
    class_conditional: whether the noise depends on the class alone.
    posterior: probabilities of the true class given the label, [N, L].
    wrong: chance that each label is wrong, [N].
    proposed: the most probable true class, int32 [N].
    score: what suspects are ranked by, [N], the most suspicious with the largest.
    identified: what the labels leave open, in a sentence.
    resamples: plausible matrices, [B, L, L].
  """

  rate: Interval
  transition: np.ndarray
  transition_low: np.ndarray
  transition_high: np.ndarray
  prior: np.ndarray
  estimator: str
  reason: str
  estimates: tuple[NamedEstimate, ...]
  class_conditional: Dependence
  posterior: np.ndarray
  wrong: np.ndarray
  proposed: np.ndarray
  score: np.ndarray
  identified: str
  resamples: np.ndarray


@_one_thread
def find(problem: Problem, logits: np.ndarray, *, seed: int) -> Findings:
  """Finds how noisy the labels of a problem are, from the best of what there is.

  Labels that somebody checked come first, then two or more votes of each example, and then the
  noise layer (see `estimate.noise_layer`), whose rate is too low if sure examples are rarely
  mislabelled, together with the confident joint, whose rate is too high where classes overlap.

  Args:
    problem: the examples and labels.
    logits: logits of the given label, [N, L], by networks that were not trained on the example.
    seed: seed of all draws.

  Returns:
    The findings. It takes some ten seconds for 50,000 examples of 10 classes.

  Raises:
    ValueError: if the logits do not fit the problem.
  """
  labels, size = problem.labels, len(problem.classes)
  if np.shape(logits) != (len(problem), size):
    raise ValueError(f"logits must have shape {[len(problem), size]}, not {list(np.shape(logits))}")
  z = np.asarray(logits, np.float64)
  q = special.softmax(z / estimate.temperature(z, labels), axis=1)
  joint = estimate.confident_joint(q, labels)
  layers = _Layers.of(z, q, labels, joint.transition, seed)
  layer = layers.chosen
  dependence = _dependence(layer, joint.rate, len(problem), seed)
  ballots, votes = None, None
  if problem.votes is not None and np.median((problem.votes >= 0).sum(axis=1)) >= _LEAST_VOTES:
    # The network votes too: it did not see the example, and knows what annotators do not.
    ballots = np.column_stack([problem.votes, q.argmax(axis=1)])
    votes = estimate.votes(ballots, size, pseudocount=1 / size)
  score = None
  estimates = _estimates(problem, q, joint, layer, votes, seed)
  if ballots is not None and votes is not None:
    answer = _by_votes(ballots, votes.posterior, labels, seed)
  elif np.log(q[np.arange(len(labels)), labels]).sum() < _by_frequencies(labels) + _NO_GAIN:
    answer = _unpredicted(labels, q, joint, seed)
  else:
    score = estimate.suspects(layers.late.probabilities, labels, layers.late.transition).wrong
    answer = _without(labels, layers, joint, dependence, seed)
  found = _findings(answer, labels, estimates, dependence, score)
  return with_checks(problem, found, seed=seed) if len(problem.checked) >= _LEAST_CHECKED else found


@_one_thread
def with_checks(problem: Problem, found: Findings, *, seed: int) -> Findings:
  """Finds how noisy the labels are once some of them are checked.

  Args:
    problem: the examples, some of which are checked.
    found: what is known without these.
    seed: seed of all draws.
  """
  answer = _by_checks(problem, found.posterior, found.estimator, seed)
  known = found.estimates, found.class_conditional
  return _findings(answer, problem.labels, *known, found.score)


def _findings(
  answer: "_Answer",
  labels: np.ndarray,
  estimates: tuple[NamedEstimate, ...],
  dependence: Dependence,
  score: np.ndarray | None,
) -> Findings:
  ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
  low, high = np.quantile(answer.resamples, ends, axis=0)
  # What a network is sure and wrong of may be in any entry.
  spread = _MISTAKES / (len(answer.prior) - 1)
  low, high = low - spread, high + spread
  wrong = 1 - answer.posterior[np.arange(len(labels)), labels]
  return Findings(
    rate=answer.rate,
    transition=answer.transition,
    transition_low=np.clip(np.minimum(low, answer.transition), 0, 1),
    transition_high=np.clip(np.maximum(high, answer.transition), 0, 1),
    prior=answer.prior,
    estimator=answer.estimator,
    reason=answer.reason,
    estimates=estimates,
    class_conditional=dependence,
    posterior=answer.posterior,
    wrong=wrong,
    proposed=answer.posterior.argmax(axis=1).astype(np.int32),
    score=wrong if score is None else score,
    identified=answer.identified,
    resamples=answer.resamples,
  )


@dataclasses.dataclass(frozen=True)
class _Answer:
  """The part of the findings that depends on what there is."""

  rate: Interval
  posterior: np.ndarray
  transition: np.ndarray
  prior: np.ndarray
  resamples: np.ndarray
  estimator: str
  reason: str
  identified: str


@dataclasses.dataclass(frozen=True)
class _Layers:
  """Two forms of the noise layer, of which exact logits fit both and real ones mostly the first.

  The logits themselves reach the plateau late: where they are exact, no noise at all explains the
  labels as well, and the rate is too low. The logarithm of q T^-1, from a T with too much noise,
  reaches it early, and finds the most noise that explains the labels.

  Attributes:
    chosen: the form with the logits if it is significantly more likely, and else the other.
    other: the other one.
    differ: whether the first is significantly more likely, by the test of Vuong (1989).
  """

  chosen: estimate.NoiseLayer
  other: estimate.NoiseLayer
  differ: bool

  @property
  def late(self) -> estimate.NoiseLayer:
    """The form with the logits, whose p is less sure and ranks suspects better."""
    return self.chosen if self.differ else self.other

  @classmethod
  def of(
    cls, z: np.ndarray, q: np.ndarray, labels: np.ndarray, start: np.ndarray, seed: int
  ) -> "_Layers":
    late = estimate.noise_layer(z, labels, start, seed=seed)
    matrix = start
    for _ in range(_REPETITIONS):
      sharp = np.log(np.maximum(q @ np.linalg.pinv(matrix), _LEAST_CHANCE))
      early = estimate.noise_layer(sharp, labels, matrix, seed=seed, max_examples=_EARLY)
      matrix = early.transition
    gains = np.log(_likely(late, labels)) - np.log(_likely(early, labels))
    differ = bool(gains.mean() * np.sqrt(len(gains)) > _BETTER * gains.std())
    return cls(late, early, True) if differ else cls(early, late, False)


def _likely(layer: estimate.NoiseLayer, labels: np.ndarray) -> np.ndarray:
  """Returns the probability of each label."""
  found = (layer.probabilities * layer.transition.T[labels]).sum(axis=1)
  return np.maximum(found, np.finfo(float).tiny)


def _joint(posterior: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the joint distribution [true, noisy] of posteriors and labels."""
  one_hot = np.eye(posterior.shape[1])[labels]
  return posterior.T @ one_hot / len(labels)


def _rows(joint: np.ndarray) -> np.ndarray:
  """Divides a joint distribution by the shares of the true classes; an absent one is no noise."""
  sums = joint.sum(axis=-1, keepdims=True)
  return np.where(sums > 0, joint / np.where(sums > 0, sums, 1), np.eye(joint.shape[-1]))


def _with_rate(joint: np.ndarray, rate: float) -> np.ndarray:
  """Scales what is off the diagonal of a joint distribution to a rate; columns keep their sums."""
  columns = joint.sum(axis=0)
  off = joint * (1 - np.eye(len(joint)))
  found = off.sum()
  if found > 0:
    off = off * np.clip(rate, 0, 1) / found
  over = off.sum(axis=0)
  off = off * np.where(over > columns, columns / np.where(over > 0, over, 1), 1)
  return off + np.diag(columns - off.sum(axis=0))


def _dependence(layer: estimate.NoiseLayer, upper: float, count: int, seed: int) -> Dependence:
  size = len(layer.prior)
  if size < _LEAST_CLASSES:
    sentence = f"{size} classes are too few to compare which ones are mistaken with how they look"
    return Dependence(UNKNOWN, None, sentence)
  found = estimate.likeness(layer.prior[:, None] * layer.transition, layer.probabilities, seed=seed)
  compared = (
    f"how often classes are mistaken for one another correlates by {found.correlation:.2f} with "
    f"how much they overlap, and {found.share:.0%} of the noise is in proportion to it"
  )
  if layer.rate <= _margin(layer.rate, upper, count) + _MISTAKES:
    return Dependence(
      UNKNOWN, found.p_value, f"{compared}, but sure examples have hardly any noise"
    )
  compared += f"; {_ERRORS}"
  if found.p_value < 0.05 and found.share > _HALF and found.correlation > _HALF:
    return Dependence(EXAMPLE, found.p_value, compared)
  return Dependence(ALONE, found.p_value, compared)


def _by_chance(rate: float, count: int) -> float:
  """Returns half the width of an interval for a rate among as many labels."""
  spread = np.sqrt(max(rate * (1 - rate), 1 / count) / count)
  return float(special.ndtri((1 + LEVEL) / 2) * spread)


def _margin(rate: float, upper: float, count: int) -> float:
  """Returns how far the layer's rate may be off: by overlap that it kept, and by chance."""
  return _LEFT * max(upper - rate, 0.0) + _by_chance(rate, count)


def _without(
  labels: np.ndarray,
  layers: "_Layers",
  joint: estimate.ConfidentJoint,
  dependence: Dependence,
  seed: int,
) -> _Answer:
  """Returns what the labels and the network say alone."""
  layer, other, count = layers.chosen, layers.other.rate, len(labels)
  lower, upper = layer.rate, max(joint.rate, layer.rate)
  margin = _margin(lower, upper, count)
  low = max(0.0, min(lower - margin, other - _by_chance(other, count)) - _MISTAKES)
  lower = lower if low else 0.0  # no noise at all then explains the labels as well
  seen = estimate.suspects(layer.probabilities, labels, layer.transition).posterior
  ends = [_with_rate(_joint(seen, labels), lower), joint.joint.T]
  middle = 0.0 if dependence.verdict == ALONE else 0.5
  high = layer.rate if dependence.verdict == ALONE and layers.differ else upper
  high = min(1.0, max(high + margin, other + _by_chance(other, count)))
  rate = (1 - middle) * lower + middle * upper
  between = (1 - middle) * ends[0] + middle * ends[1]
  draws = estimate.plausible_transitions(
    layer.probabilities, labels, layer.transition, num=_RESAMPLES, seed=seed
  )
  # The draws vary around the layer; where in between the truth lies, nobody knows.
  rng = np.random.default_rng(seed)
  rates = rng.uniform(low, high, _RESAMPLES)
  noise = draws - layer.transition
  resamples = []
  rival = estimate.suspects(layers.other.probabilities, labels, layers.other.transition).posterior
  forms = np.stack([_joint(seen, labels), _joint(rival, labels)])
  for wanted, change in zip(rates, noise, strict=True):
    part = np.clip((wanted - lower) / max(upper - lower, 1e-12), 0, 1)
    form = np.tensordot(rng.dirichlet([1, 1]), forms, 1)
    mixed = _rows(_with_rate((1 - part) * form + part * ends[1], wanted)) + change
    resamples.append(_rows(np.maximum(mixed, 0)))
  if dependence.verdict == ALONE:
    reason = (
      "wrong labels do not follow the likeness of classes, so that overlap is told from noise"
    )
    estimator = "noise layer"
  else:
    reason = (
      "the noise layer does not see noise that sure examples lack and the confident joint counts "
      "the overlap of classes as noise: the middle is off by half their distance at most"
    )
    estimator = "between noise layer and confident joint"
  identified = (
    f"Without checked labels, noise of hard examples cannot be told from classes that overlap: "
    f"rates from {low:.1%} to {high:.1%} explain the labels about as well."
  )
  return _Answer(
    Interval(rate, low, high, LEVEL),
    estimate.tilt(seen, labels, rate),
    _rows(between),
    between.sum(axis=1),
    np.array(resamples),
    estimator,
    reason,
    identified,
  )


def _by_frequencies(labels: np.ndarray) -> float:
  """Returns the log-likelihood of labels under their frequencies."""
  counts = np.bincount(labels)
  counts = counts[counts > 0]
  return float(counts @ np.log(counts / len(labels)))


def _unpredicted(
  labels: np.ndarray, q: np.ndarray, joint: estimate.ConfidentJoint, seed: int
) -> _Answer:
  """Returns what is left to say where the network does not predict the labels at all."""
  rng = np.random.default_rng(seed)
  draws = (_with_rate(joint.joint.T, rate) for rate in rng.uniform(0, 1, _RESAMPLES))
  return _Answer(
    Interval(joint.rate, 0.0, 1.0, LEVEL),
    estimate.tilt(q, labels, joint.rate),
    joint.transition,
    joint.prior,
    np.array([_rows(drawn) for drawn in draws]),
    "confident joint",
    "the network predicts the labels no better than their frequencies do",
    "Nothing is known of the noise: the labels may be noise, or the inputs not tell the classes.",
  )


def _by_votes(ballots: np.ndarray, posterior: np.ndarray, labels: np.ndarray, seed: int) -> _Answer:
  """Returns what the votes, the network's among them, say of the label that was made of them.

  For intervals examples are drawn anew, and what is known of the annotators is estimated anew.
  """
  rng = np.random.default_rng(seed)
  joint = _joint(posterior, labels)
  size, count = len(joint), len(labels)
  resamples, rates = [], []
  for _ in range(_RESAMPLES):
    rows = rng.integers(count, size=min(count, _MOST_VOTED))
    drawn = estimate.votes(
      ballots[rows], size, pseudocount=1 / size, max_steps=100, tolerance=1e-5
    ).posterior
    pairs = _joint(np.eye(size)[estimate.drawn_classes(drawn, rng)], labels[rows])
    resamples.append(_rows(pairs))
    rates.append(1 - np.trace(pairs))
  low, high = np.quantile(rates, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
  rate = float(1 - np.trace(joint))
  return _Answer(
    Interval(rate, min(float(low), rate), max(float(high), rate), LEVEL),
    posterior,
    _rows(joint),
    joint.sum(axis=1),
    np.array(resamples),
    "votes",
    "several labels of each example, and the network's as one more, tell how sure they are",
    "Mistakes that annotators share on an example cannot be told from its true class.",
  )


def _by_checks(problem: Problem, before: np.ndarray, estimator: str, seed: int) -> _Answer:
  """Returns what the checked labels say, with the help of the posterior from before them."""
  labels, chosen, chances = problem.labels, problem.checked, problem.sample.chances
  found, count = problem.true_labels[chosen], len(labels)
  rng = np.random.default_rng(seed)
  some = np.arange(count)
  if count > 10_000:  # enough for means whose error is that of the checked labels
    some = np.union1d(rng.permutation(count)[:10_000], chosen)

  given = before[np.arange(count), labels]

  def answered(rows: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, Interval]:
    """Returns posterior, joint and rate by the checked examples `rows` and all of `which`."""
    at = np.searchsorted(which, chosen[rows])
    posterior = estimate.recalibrate(
      before[which], labels[which], at, found[rows], 1 / chances[rows]
    )
    # The predictions are those before the checked labels were seen, or else the interval would
    # count the fit to these labels as knowledge.
    sample = estimate.Sample(chosen[rows], chances[rows])
    is_wrong = found[rows] != labels[chosen[rows]]
    rate = estimate.checked_mean(1 - given, sample, is_wrong, level=LEVEL)
    rate = dataclasses.replace(rate, estimate=float(np.clip(rate.estimate, 0, 1)))
    if not is_wrong.any():
      # Then no number varies, and the rule of three takes the place of Student's t.
      most = -np.log((1 - LEVEL) / 2) / (chances[rows].min() * count)
      rate = dataclasses.replace(rate, low=0.0, high=max(rate.high, min(float(most), 1.0)))
    return posterior, _with_rate(_joint(posterior, labels[which]), rate.estimate), rate

  every = np.arange(len(chosen))
  posterior, joint, rate = answered(every, np.arange(count))
  # Which classes are mistaken for one another is known from the network, and from the few mistakes
  # that were found: each entry varies as if that many had been counted.
  counted = _LIKE_COUNTED + len(chosen) * joint
  resamples = []
  for _ in range(_RESAMPLES):
    _, drawn, of_rate = answered(rng.choice(every, len(every)), some)
    factors = rng.standard_gamma(counted) / counted
    resamples.append(_rows(_with_rate(drawn * factors, of_rate.estimate)))
  return _Answer(
    rate,
    posterior,
    _rows(joint),
    joint.sum(axis=1),
    np.array(resamples),
    f"{len(chosen)} checked labels with {estimator}",
    "labels that somebody checked tell noise from overlap, whatever the network says",
    "The interval of the rate holds whatever the network says; entries of T lean on the network "
    "where few labels of a class were checked.",
  )


def _estimates(
  problem: Problem,
  q: np.ndarray,
  joint: estimate.ConfidentJoint,
  layer: estimate.NoiseLayer,
  votes: estimate.CrowdEstimate | None,
  seed: int,
) -> tuple[NamedEstimate, ...]:
  labels, size = problem.labels, len(problem.classes)
  found = [
    NamedEstimate("noise layer", layer.rate, layer.transition, "misses noise of hard examples"),
    NamedEstimate("confident joint", joint.rate, joint.transition, "counts overlap as noise"),
  ]

  def add(name: str, matrix: np.ndarray, note: str) -> None:
    found.append(NamedEstimate(name, estimate.from_labels(matrix, labels).rate, matrix, note))

  add("anchor", estimate.anchor(q), "relies on the most extreme example of each class")
  add("dual-T", estimate.dual_t(q, labels), "counts the noise twice where probabilities are right")
  true = problem.true_labels[problem.checked]
  if len(np.unique(true)) == size:
    add("GLC", estimate.glc(q[problem.checked], true), "relies on the checked examples of a class")
  if not problem.is_image and size <= _MOST_CLASSES and problem.inputs.any(axis=1).all():
    matrix = estimate.hoc(problem.inputs, labels, size, seed=seed, max_examples=_NEIGHBOURS)
    add("HOC", matrix.transition, "counts neighbours of other classes as noise")
  if votes is not None:
    given = _joint(votes.posterior, labels)
    found.append(
      NamedEstimate(
        "votes", 1 - float(np.trace(given)), _rows(given), "with the network as one more annotator"
      )
    )
  return tuple(found)
