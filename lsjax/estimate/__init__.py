"""Estimators of the transition matrix of label noise, from what one can know without true labels.

Which one to use depends on what there is:

* probabilities of the noisy label, predicted by a network that was trained on noisy labels:
  `anchor`, `dual_t` and `confident_joint`. Probabilities of examples that the network was not
  trained on (out of fold) are better, since a network grows sure of the labels it was trained on;
* out-of-fold logits: `noise_layer`, which does not count the overlap of classes as noise;
* such probabilities of a few examples whose true labels are known: `glc`;
* features in which neighbours are mostly of one class, from a network trained on anything: `hoc`;
* several labels of each example, from annotators: `votes`.

Pairs of true and noisy labels need none of these: `transition.estimate` counts them.

A matrix T[true, noisy] has a row per true class. An `Estimate` is a matrix together with the shares
of the true classes, which say how often a label is wrong; `from_labels` adds the shares to a
matrix. `bootstrap` says how sure an estimate is. `temperature` calibrates logits before.

With T, noisy labels tell more: `clean_accuracy`, `clean_loss` and `clean_calibration_error` what
predictions are worth on clean labels, `true_probabilities` and `suspects` which labels are probably
wrong. `to_check` chooses a few labels for a person to check, from which `checked_mean` makes
intervals that hold whatever the network predicts.

Functions compute on the host in float64 (the search of `triples` in float32), leave their arguments
as they are, and raise ValueError with one line that names the argument.
"""

from lsjax.estimate.checked import Sample, checked_mean, to_check
from lsjax.estimate.clean import Interval, clean_accuracy, clean_calibration_error, clean_loss
from lsjax.estimate.crowd import CrowdEstimate, votes
from lsjax.estimate.imputation import drawn_classes, plausible_transitions
from lsjax.estimate.layers import NoiseLayer, noise_layer
from lsjax.estimate.likeness import Likeness, likeness
from lsjax.estimate.neighbours import ConsensusEstimate, fit_triples, hoc, triples
from lsjax.estimate.posteriors import ConfidentJoint, anchor, confident_joint, dual_t, glc
from lsjax.estimate.rates import Estimate, from_labels, prior, rate
from lsjax.estimate.suspects import Suspects, suspects, true_probabilities
from lsjax.estimate.tilting import recalibrate, tilt
from lsjax.estimate.uncertainty import Intervals, bootstrap, temperature

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "anchor",
  "dual_t",
  "confident_joint",
  "ConfidentJoint",
  "glc",
  "noise_layer",
  "NoiseLayer",
  "hoc",
  "triples",
  "fit_triples",
  "ConsensusEstimate",
  "votes",
  "CrowdEstimate",
  "Estimate",
  "rate",
  "prior",
  "from_labels",
  "plausible_transitions",
  "drawn_classes",
  "bootstrap",
  "Intervals",
  "temperature",
  "clean_accuracy",
  "clean_loss",
  "clean_calibration_error",
  "Interval",
  "true_probabilities",
  "suspects",
  "Suspects",
  "likeness",
  "Likeness",
  "tilt",
  "recalibrate",
  "to_check",
  "checked_mean",
  "Sample",
]
