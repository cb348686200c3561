"""The table of methods: adding one is a function in `lsjax.losses` and a row here."""

import math

import numpy as np

from lsjax import transition as transition_lib
from lsjax.methods.method import Arrays, Method, Parameter, Program, Strengths, own_parameters


def _smeared(strengths: Strengths, matrix: np.ndarray) -> Arrays:
  """The arrays of `losses.smeared_forward` for smearing by M."""
  return {"matrix": matrix, "columns": strengths.identity}


def _smoothed(strengths: Strengths, r: float) -> Arrays:
  identity = strengths.identity
  return _smeared(strengths, (1 - r) * identity + r / strengths.num_classes)


def _cross_entropy(s: Strengths) -> Arrays:
  return _smeared(s, s.identity)


def _label_smoothing(s: Strengths) -> Arrays:
  return _smoothed(s, s.alpha)


def _generalized_smoothing(s: Strengths) -> Arrays:
  return _smoothed(s, s.r)


def _negative_smoothing(s: Strengths) -> Arrays:
  return _smoothed(s, s.parameters["r"])


def _smearing(s: Strengths) -> Arrays:
  assert s.matrix is not None
  return _smeared(s, s.matrix)


def _forward_correction(s: Strengths) -> Arrays:
  assert s.transition is not None
  return {"matrix": s.identity, "columns": s.transition.T}


def _backward_correction(s: Strengths) -> Arrays:
  assert s.transition is not None
  return _smeared(s, transition_lib.inverse(s.transition)[0])


def _small_losses(s: Strengths) -> Arrays:
  return _cross_entropy(s) | own_parameters(s)


_ROWS = (
  Method(
    "cross_entropy",
    r"The loss $\ell_y$ of the label.",
    short="CE",
    variant="cross_entropy",
    arrays=_cross_entropy,
  ),
  Method(
    "label_smoothing",
    r"Smoothing adds the mean of all losses: "
    r"$(1-\alpha)\,\ell_y + \frac{\alpha}{L} \sum_j \ell_j$.",
    short="LS",
    shown="alpha",
    variant="label_smoothing",
    arrays=_label_smoothing,
  ),
  Method(
    "forward_correction",
    r"The probabilities of the noisy labels are compared with them: $-\log (p^\top T)_y$.",
    short="FC",
    shown="alpha",
    variant="forward",
    arrays=_forward_correction,
    needs="transition",
  ),
  # The loss of backward correction is unbounded below and its logits run away at a high
  # learning rate, so its variant clips gradients and starts with cross-entropy.
  Method(
    "backward_correction",
    r"The losses are multiplied by the inverse of the noise: $(T^{-1} \ell)_y$.",
    short="BC",
    shown="alpha",
    variant="backward",
    arrays=_backward_correction,
    defaults={"loss.cross_entropy_steps": 100, "optim.clip_norm": 1.0},
    needs="transition",
    invertible=True,
  ),
  Method(
    "generalized_smoothing",
    r"Smoothing of either sign: $(1-r)\,\ell_y + \frac{r}{L} \sum_j \ell_j$ with $r \le 1$.",
    shown="r",
    arrays=_generalized_smoothing,
  ),
  Method(
    "smearing",
    r"Any matrix M of weights: $(M \ell)_y$.",
    shown="matrix",
    arrays=_smearing,
    needs="matrix",
  ),
  # The authors start from a network trained with cross-entropy; half of the steps is our choice.
  # The loss is unbounded below, as that of backward correction.
  Method(
    "negative_smoothing",
    r"Smoothing that subtracts the mean of all losses, after cross-entropy: "
    r"$(1-r)\,\ell_y + \frac{r}{L} \sum_j \ell_j$ with $r \le 0$.",
    short="NLS",
    shown="r",
    variant="nls",
    parameters={
      "r": Parameter(-1.0, -math.inf, 0.0),
      "start": Parameter(0.5, high=1.0),
    },
    arrays=_negative_smoothing,
    defaults={"optim.clip_norm": 1.0},
  ),
  Method(
    "confidence_regularization",
    r"Confidence is rewarded: $\ell_y - \frac{\beta}{L} \sum_j \ell_j$.",
    short="CR",
    shown="beta",
    parameters={"beta": Parameter(2.0, -math.inf)},
    program=Program("confidence_regularization"),
  ),
  Method(
    "cores",
    r"Confidence regularisation with a $\beta$ that grows, and then the examples with "
    r"$\ell_y \le \frac{1}{L} \sum_j \ell_j$ alone.",
    short="CORES",
    variant="cores",
    parameters={
      "beta": Parameter(2.0, -math.inf),
      "start": Parameter(0.1, high=1.0),
      "full": Parameter(0.4, high=1.0),
    },
    program=Program("confidence_regularization", selection="select_confident"),
  ),
  Method(
    "generalized_cross_entropy",
    r"Between cross-entropy and the mean absolute error: $(1 - p_y^q) / q$.",
    short="GCE",
    shown="q",
    variant="gce",
    parameters={"q": Parameter(0.7, high=1.0)},
    program=Program("generalized_cross_entropy"),
  ),
  Method(
    "mean_absolute_error",
    r"The probability that the label does not get: $1 - p_y$.",
    short="MAE",
    variant="mae",
    program=Program("mean_absolute_error"),
  ),
  Method(
    "squared_error",
    r"Brier's score of the probabilities: $\sum_j (e_j - p_j)^2$.",
    short="MSE",
    variant="mse",
    program=Program("squared_error"),
  ),
  Method(
    "symmetric_cross_entropy",
    r"Cross-entropy and its reverse: $\alpha\, \ell_y - \beta A\, (1 - p_y)$.",
    short="SCE",
    variant="sce",
    parameters={
      "alpha": Parameter(0.1),
      "beta": Parameter(1.0),
      "log_zero": Parameter(-4.0, -math.inf, 0.0),
    },
    program=Program("symmetric_cross_entropy"),
  ),
  Method(
    "normalized_cross_entropy",
    r"The label's share of all losses: $\ell_y / \sum_j \ell_j$.",
    short="NCE",
    variant="nce",
    program=Program("normalized_cross_entropy"),
  ),
  Method(
    "active_passive",
    r"Normalised and reverse cross-entropy: $a\, \ell_y / \sum_j \ell_j - b A\, (1 - p_y)$.",
    short="NCE+RCE",
    variant="apl",
    parameters={"active": Parameter(1.0), "passive": Parameter(1.0)},
    program=Program("active_passive"),
  ),
  Method(
    "bootstrap",
    r"The label mixed with the prediction: $\sum_j (\beta e_{yj} + (1 - \beta)\, p_j)\, \ell_j$.",
    short="Boot",
    shown="beta",
    variant="bootstrap",
    parameters={"beta": Parameter(0.95, high=1.0)},
    program=Program("bootstrap"),
  ),
  Method(
    "hard_bootstrap",
    r"The label mixed with the most likely class k: $\beta\, \ell_y + (1 - \beta)\, \ell_k$.",
    short="Boot-hard",
    shown="beta",
    variant="hard_bootstrap",
    parameters={"beta": Parameter(0.8, high=1.0)},
    program=Program("bootstrap", constants=(("hard", True),)),
  ),
  Method(
    "jensen_shannon",
    r"The divergence of label and prediction from their mixture $m = w e + (1-w) p$: "
    r"$w\, \mathrm{KL}(e, m) + (1-w)\, \mathrm{KL}(p, m)$, scaled.",
    short="JS",
    shown="weight",
    variant="js",
    parameters={"weight": Parameter(0.7, high=1.0, open_high=True)},
    program=Program("jensen_shannon"),
  ),
  Method(
    "taylor_cross_entropy",
    r"The first terms of the series of cross-entropy: $\sum_{k=1}^{t} (1 - p_y)^k / k$.",
    short="Taylor",
    shown="order",
    variant="taylor",
    parameters={"order": Parameter(2, low=1, high=100)},
    program=Program("taylor_cross_entropy"),
  ),
  Method(
    "early_learning_regularization",
    r"Cross-entropy and agreement with t, the running mean of the example's earlier predictions: "
    r"$\ell_y + \lambda \log (1 - \langle t, p \rangle)$.",
    short="ELR",
    variant="elr",
    parameters={"weight": Parameter(3.0), "momentum": Parameter(0.7, high=1.0)},
    program=Program("early_learning_regularization", memory="early_learning_targets"),
  ),
  Method(
    "volume_minimization",
    r"Forward correction by a T that is trained with the network and kept small in volume: "
    r"$-\log (p^\top T)_y + \lambda \log \lvert \det T \rvert$.",
    short="VolMinNet",
    variant="volminnet",
    parameters={"volume": Parameter(1e-4)},
    program=Program("volume_minimization", trained="initial_transition_weights"),
  ),
  Method(
    "small_loss",
    r"Cross-entropy of the examples with the smallest $\ell_y$ of each batch; the share that is "
    r"left out grows from 0.",
    short="Small loss",
    shown="forget",
    variant="small_loss",
    parameters={
      "forget": Parameter(0.2, high=1.0, open_high=True),
      "full": Parameter(0.05, high=1.0),
    },
    program=Program(selection="select_small_losses"),
    arrays=_small_losses,
  ),
)

METHODS = {row.name: row for row in _ROWS}  # by their names in the config
VARIANTS = {row.variant: row for row in _ROWS if row.variant}  # by their names behind a colon
PAPER = ("CE", "LS", "FC", "BC")  # the short names of the methods that Lukasik et al. compare
