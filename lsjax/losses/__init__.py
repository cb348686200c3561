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

from lsjax.losses import (
  corrections,
  divergences,
  learned,
  predictions,
  reverse,
  robust,
  selection,
  smoothing,
  teachers,
)
from lsjax.losses.corrections import *  # noqa: F403
from lsjax.losses.divergences import *  # noqa: F403
from lsjax.losses.learned import *  # noqa: F403
from lsjax.losses.predictions import *  # noqa: F403
from lsjax.losses.reverse import *  # noqa: F403
from lsjax.losses.robust import *  # noqa: F403
from lsjax.losses.selection import *  # noqa: F403
from lsjax.losses.smoothing import *  # noqa: F403
from lsjax.losses.teachers import *  # noqa: F403

# In the order of the documentation; a function that is added to the list of its module is public.
__all__: list[str] = []
__all__ += smoothing.__all__
__all__ += corrections.__all__
__all__ += robust.__all__
__all__ += reverse.__all__
__all__ += divergences.__all__
__all__ += predictions.__all__
__all__ += learned.__all__
__all__ += selection.__all__
__all__ += teachers.__all__
