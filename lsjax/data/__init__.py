"""Data sets: whole ones in memory, and image splits that are streamed from disk.

`load` returns the in-memory data set that a data section names, from `sources` (digits and
Gaussians), `npz` (a user's own arrays), `table` (a user's .csv or .parquet file), `folder` (a
user's images) or `tfds` (CIFAR). `read_table` and `read_folder` return such data before they are
divided into a training and a test part. `streams` reads ImageNet while a run
trains. `sampling` and `augmentation` say which examples a step takes and how it changes them.

The package each data set comes from is imported when that data set is asked for. A new in-memory
source needs a function that returns a `Dataset`, a case in `sources.load` and its name in
lsjax/sections.py. What a step takes from a seed (`sampling`, the order and crops of `streams`) is
part of every result and must not change.
"""

from lsjax.data.dataset import Dataset, moments, remarks
from lsjax.data.examples import Examples
from lsjax.data.folder import read_folder
from lsjax.data.sources import load
from lsjax.data.table import read_table

__all__ = ["Dataset", "Examples", "load", "moments", "read_folder", "read_table", "remarks"]
