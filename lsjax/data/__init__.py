"""Data sets: whole ones in memory, and image splits that are streamed from disk.

`load` returns the in-memory data set that a data section names, from `sources` (digits and
Gaussians), `npz` (a user's own arrays) or `tfds` (CIFAR). `streams` reads ImageNet while a run
trains. `sampling` and `augmentation` say which examples a step takes and how it changes them.

The package each data set comes from is imported when that data set is asked for. A new in-memory
source needs a function that returns a `Dataset`, a case in `sources.load` and its name in
lsjax/sections.py. What a step takes from a seed (`sampling`, the order and crops of `streams`) is
part of every result and must not change.
"""

from lsjax.data.dataset import Dataset, moments, remarks
from lsjax.data.sources import load

__all__ = ["Dataset", "load", "moments", "remarks"]
