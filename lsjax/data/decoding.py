"""Opening images by Pillow, which is asked for the named formats alone."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

# Of ImageNet, in which one file is a PNG, and of CIFAR. Pillow knows dozens of others, for some of
# which it starts another program: Ghostscript for EPS.
FORMATS = ("JPEG", "PNG")


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[Any]:
  """Yields the Pillow image in the bytes of a file, not decoded yet.

  Raises:
    PIL.UnidentifiedImageError: if it is of another format than `FORMATS`.
  """
  from PIL import Image

  with Image.open(io.BytesIO(content), formats=FORMATS) as image:
    yield image


def decoded(content: bytes) -> np.ndarray:
  """Returns the image in the bytes of a file in RGB, uint8 [H, W, 3]; see `opened` for errors."""
  with opened(content) as image:
    return np.asarray(image.convert("RGB"))
