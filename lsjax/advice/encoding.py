"""New examples as the inputs of a network that was trained for a problem."""

import os
import pathlib
from typing import Any

import numpy as np

from lsjax import archives
from lsjax.advice import assembly, storage
from lsjax.advice.problem import Problem
from lsjax.data import frames, images, separated
from lsjax.data.classes import listed


def encode(
  problem: Problem | str | os.PathLike[str], source: Any, *, image: str = ""
) -> np.ndarray:
  """Makes inputs of new examples, as those of the problem were made.

  Args:
    problem: the problem, or the directory in which `storage.save` wrote it.
    source: for a table of features, the path of a table or a DataFrame, which may have other
      columns too. For images that were read from files, a folder (see `image_paths`), a list of
      paths, or a table with a column of paths. Else, and for images too, an array or the path of an
      .npy file.
    image: the column with the paths of images of a table.

  Returns:
    uint8 [N, H, W, C], or float32 [N, D].

  Raises:
    ValueError: one line that names the file, the column, the row and the value.
  """
  if not isinstance(problem, Problem):
    problem = storage.load(problem)
  is_file = isinstance(source, (str, os.PathLike))
  with assembly.about(source if is_file else "the new examples"):
    found = _encoded(problem, source, image)
    if not len(found):
      raise ValueError("holds no examples")
    if (found.shape[1:], found.dtype) != (problem.inputs.shape[1:], problem.inputs.dtype):
      raise ValueError(
        f"has inputs {found.dtype} {list(found.shape[1:])}, and the data to learn from "
        f"{problem.inputs.dtype} {list(problem.inputs.shape[1:])}"
      )
    return found


def image_paths(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
  """Returns the images in a folder and in its directories, in the order of their paths.

  Names that begin with a dot are passed over, and so are links out of the folder.
  """
  root = pathlib.Path(os.path.expanduser(folder))
  found = []
  for path in sorted(root.rglob("*")):
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    if path.suffix.lower() in images.SUFFIXES and not hidden and path.is_file():
      found.append(images.inside(root, os.fspath(path.relative_to(root))))
  return found


def _encoded(problem: Problem, source: Any, image: str) -> np.ndarray:
  path = None
  if isinstance(source, (str, os.PathLike)):
    path = pathlib.Path(os.path.expanduser(source))
    if not path.exists():
      raise ValueError("no such file or folder")
    if path.is_dir():
      return _pictures(problem, image_paths(path))
    if path.suffix.lower() == ".npy":
      return assembly.as_inputs(archives.load(path), "it")
  if problem.columns is not None:
    return _rows(problem, source if path is None else path)
  if path is None and hasattr(source, "columns") and image:
    return _column(problem, source, pathlib.Path(), image)
  if path is not None:
    if path.suffix.lower() in images.SUFFIXES:
      return _pictures(problem, [path])
    frame = frames.read(path, texts=[image])
    if not image:
      raise ValueError("say which column holds the paths of images by `image`")
    return _column(problem, frame, path.parent, image)
  if isinstance(source, (list, tuple)) and all(isinstance(s, (str, os.PathLike)) for s in source):
    return _pictures(problem, [pathlib.Path(os.path.expanduser(s)) for s in source])
  return assembly.as_inputs(source, "inputs")


def _rows(problem: Problem, source: Any) -> np.ndarray:
  """Returns the rows of a table of features, encoded."""
  encoder = storage.encoder(problem)
  if isinstance(source, pathlib.Path):
    texts = [name for name, kind in encoder.kinds.items() if kind == "category"]
    source = frames.read(source, categories=texts)
  if not hasattr(source, "columns"):
    raise ValueError(f"a table with columns {listed(list(encoder.kinds))} is needed")
  frame = frames.cleaned(source, "")
  separated.check_columns(list(frame.columns), list(encoder.kinds))
  return encoder.encode(frame)


def _column(problem: Problem, frame: Any, directory: pathlib.Path, image: str) -> np.ndarray:
  frame = frames.cleaned(frame, "")
  separated.check_columns(list(frame.columns), [image])
  return frames.pictures(frame[image], image, directory, _side(problem))


def _pictures(problem: Problem, paths: list[pathlib.Path]) -> np.ndarray:
  if not paths:
    raise ValueError("holds no image")
  return images.read(paths, _side(problem))


def _side(problem: Problem) -> int:
  """Returns the side to which the image files of a problem were resized."""
  if not problem.is_image or problem.inputs.shape[1:] != (problem.inputs.shape[1],) * 2 + (3,):
    shape = list(problem.inputs.shape[1:])
    raise ValueError(f"image files cannot become inputs of shape {shape}; give an array")
  return int(problem.inputs.shape[1])
