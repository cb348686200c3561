r"""Losses for noisy labels: pure functions of arrays that compute one loss for each example.

Every loss takes logits of shape [..., L] for L classes and labels that are either integers of
shape [...] or distributions over the classes of shape [..., L], and returns losses of shape [...],
in nats. Nothing is reduced, so that the caller decides between a sum and a mean. All losses work
in log space and under `jit`, `vmap`, `grad` and `pmap`, also with traced hyper-parameters.
Logits in half precision are computed in float32.

With $\ell_j = -\log p_j$, the cross-entropy of the possible label j, many of the losses belong to
one family: smearing by a matrix M is $(M \ell)_y$, and label smoothing, cross-entropy and backward
correction are smearing by particular matrices. Forward correction by a transition matrix T is
$-\log (p^\top T)_y$. Others are robust by their form, from generalised cross-entropy to
early-learning regularisation.

An integer label outside [0, L) is never taken for a class. Concrete labels are checked on the host
in every call, and such a label raises ValueError with its index. Traced labels, such as arguments
of a function under `jit`, cannot raise: there such a label makes the example's loss NaN, and its
gradient too, with every loss.

A distribution gives the classes weights: a loss of it is the mean of the losses of the labels under
these weights, so that a mass other than 1 scales the loss, as a class weight does.
`jensen_shannon` alone compares the distribution as a whole. Concrete weights that are negative or
not finite raise ValueError; losses with weights of either sign are `smearing`.

A logit of minus infinity is a class of probability 0. A loss is infinite where that class counts in
it, and a class that counts nothing does not make it NaN. Where infinite losses of opposite signs
meet, as in backward correction, the loss is NaN.

Every loss takes `where`, a mask that broadcasts to [...]. Examples outside the mask have loss 0 and
gradient 0, whatever their logits and labels are.
"""

from lsjax.losses.corrections import backward_correction, forward_correction, smeared_forward
from lsjax.losses.divergences import jensen_shannon
from lsjax.losses.learned import (
  initial_transition_weights,
  learned_transition,
  volume_minimization,
)
from lsjax.losses.predictions import (
  bootstrap,
  early_learning_regularization,
  early_learning_targets,
)
from lsjax.losses.robust import (
  active_passive,
  generalized_cross_entropy,
  mean_absolute_error,
  normalized_cross_entropy,
  symmetric_cross_entropy,
  taylor_cross_entropy,
)
from lsjax.losses.selection import select_confident, select_small_losses
from lsjax.losses.smoothing import (
  confidence_regularization,
  cross_entropy,
  generalized_smoothing,
  label_smoothing,
  smearing,
)
from lsjax.losses.teachers import distillation, distillation_temperatures, tempered_cross_entropy

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "cross_entropy",
  "label_smoothing",
  "generalized_smoothing",
  "smearing",
  "confidence_regularization",
  "forward_correction",
  "backward_correction",
  "smeared_forward",
  "generalized_cross_entropy",
  "mean_absolute_error",
  "symmetric_cross_entropy",
  "normalized_cross_entropy",
  "active_passive",
  "jensen_shannon",
  "taylor_cross_entropy",
  "bootstrap",
  "early_learning_regularization",
  "early_learning_targets",
  "volume_minimization",
  "learned_transition",
  "initial_transition_weights",
  "select_small_losses",
  "select_confident",
  "distillation",
  "distillation_temperatures",
  "tempered_cross_entropy",
]
