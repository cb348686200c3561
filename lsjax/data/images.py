"""Image files of any size and kind, decoded to arrays of one size."""

import concurrent.futures
import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from lsjax.validation import one_line

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# What Pillow may open whatever a file is called: formats that run no other program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_MOST_PIXELS = 100_000_000  # of one image: a small file may claim to hold billions
MOST_BYTES = 4 * 2**30  # of a data set in memory
_ORIENTATION = 0x0112  # the EXIF tag


def check_memory(size: int, how: str) -> None:
  """Raises ValueError, in one line, for a data set of more bytes than fit into memory."""
  if size > MOST_BYTES:
    most = f"{MOST_BYTES / 2**30:.0f} GiB"
    raise ValueError(f"takes {size / 2**30:.1f} GiB in memory, more than {most}: {how}")


def inside(directory: pathlib.Path, name: str) -> pathlib.Path:
  """Returns the path of a file of a directory.

  Raises:
    ValueError: one line, if it is no file, or if it lies elsewhere, also by a symbolic link.
  """
  path = directory / name
  if not path.resolve().is_relative_to(directory.resolve()):
    raise ValueError(f"{name!r} is not inside {os.fspath(directory)!r}, where images must lie")
  if not path.is_file():
    raise ValueError(f"{name!r} is no file in {os.fspath(directory)!r}")
  return path


def read(paths: Sequence[pathlib.Path], size: int) -> np.ndarray:
  """Decodes images, cuts out their centred squares and resizes these.

  Images are turned as their EXIF data say. Grey images get three channels, transparent pixels
  become white, and an animation is its first frame.

  Args:
    paths: the files.
    size: the side of the squares in pixels.

  Returns:
    uint8 [N, size, size, 3].

  Raises:
    ValueError: one line that names the file that cannot be decoded, or the memory that is lacking.
  """
  from tqdm import tqdm

  check_memory(len(paths) * size * size * 3, f"choose data.image_size below {size}")
  images = np.empty((len(paths), size, size, 3), np.uint8)

  def decode(i: int) -> None:
    images[i] = _decoded(paths[i], size)

  with (
    warnings.catch_warnings(),
    concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
  ):
    # Pillow warns of odd metadata, which do not matter here, and of sizes, which are checked.
    warnings.simplefilter("ignore")
    todo = pool.map(decode, range(len(paths)))
    for _ in tqdm(todo, "reading images", len(paths), leave=False, disable=None, unit="image"):
      pass
  return images


def _decoded(path: pathlib.Path, size: int) -> np.ndarray:
  """Returns the centred square of an image, uint8 [size, size, 3]."""
  from PIL import Image

  try:
    with Image.open(path, formats=_FORMATS) as image:
      if image.width * image.height > _MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are too many")
      return _square(image, size)
  except Exception as error:  # Pillow raises many kinds for damaged files
    raise ValueError(f"{os.fspath(path)!r} is no readable image ({one_line(error)})") from error


def _square(image: Any, size: int) -> np.ndarray:
  from PIL import Image

  turn = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
  }.get(image.getexif().get(_ORIENTATION))
  # A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is large enough.
  image.draft("RGB", (2 * size, 2 * size))
  side = min(image.size)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  box = (left, top, left + side, top + side)
  square = _coloured(image).resize((size, size), Image.Resampling.BILINEAR, box)
  return np.asarray(square if turn is None else square.transpose(turn))


def _coloured(image: Any) -> Any:
  """Returns an image of any mode as RGB."""
  from PIL import Image

  if image.mode == "F":
    raise ValueError("pixels are floating point; store them as 8 or 16 bits")
  if image.mode.startswith("I"):  # 16 bits a pixel, which `convert` would cut off at 255
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() >= 2**16:
      raise ValueError("pixels have more than 16 bits")
    image = Image.fromarray((pixels // 257).astype(np.uint8))
  if "A" in image.getbands() or "transparency" in image.info:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
  return image.convert("RGB")
