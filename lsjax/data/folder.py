"""A folder with a directory of images for each class, as labelled examples."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax.data import classes as classes_lib
from lsjax.data import examples as examples_lib
from lsjax.data import images
from lsjax.data.classes import listed
from lsjax.data.dataset import Dataset
from lsjax.data.examples import Examples

LABELS = "folder"  # the name of the labels that directories give
_UNUSED = ("val", "valid", "validation")  # parts that may stand beside train and test


def read_folder(path: str | os.PathLike[str], *, image_size: int = 224) -> Examples:
  """Reads labelled images from a folder that has a directory for each class.

  Classes are the names of the directories, ids the paths of the images in the folder. Names that
  begin with a dot are passed over. Images lie directly in their class's directory; symbolic links
  out of the folder are refused.

  Args:
    path: the folder.
    image_size: the side of the images in pixels; see `lsjax.data.images.read`.

  Raises:
    ValueError: one line that names the folder and the file that is wrong.
  """
  try:
    return _read(pathlib.Path(path), image_size)
  except ValueError as error:
    raise ValueError(f"{os.fspath(path)}: {error}") from error


def load(section: config_lib.Data, *, given: bool, seed: int) -> Dataset:
  """Loads the folder, or the two folders, that a data section names.

  Raises:
    ValueError: one line about section.path; a `ConfigError` if it is about section.test_path.
  """
  root, size = pathlib.Path(section.path), section.image_size
  if section.test_path and _is_split(root):
    raise ValueError("has a test/ of its own: leave data.test_path empty, or name its train/")
  train, test = read_parts(root, size)
  if section.test_path:
    with config_lib.naming("data.test_path", section.test_path):
      test = read_test(pathlib.Path(section.test_path), size, train)
  unused = [name for name in _UNUSED if _is_split(root) and (root / name).is_dir()]
  notes = [f"{name}/ is not used; data.validation_examples holds out images" for name in unused]
  made = examples_lib.to_dataset(
    train, test, name=LABELS, given=given, share=section.test_share, seed=seed
  )
  return dataclasses.replace(made, notes=(*made.notes, *notes))


def read_parts(root: pathlib.Path, size: int) -> tuple[Examples, Examples | None]:
  """Reads the images to train on, and those to test on if the folder has them in train/ and test/.

  Raises:
    ValueError: one line that does not name the folder.
  """
  if not _is_split(root):
    return _read(root, size), None
  train = _read(root, size, "train/")
  return train, _read(root, size, "test/", train)


def read_test(root: pathlib.Path, size: int, train: Examples) -> Examples:
  """Reads a folder of images to test on, whose classes are those of the training images.

  Raises:
    ValueError: one line that does not name the folder.
  """
  return _read(root, size, "", train)


def files(path: str) -> list[tuple[str, pathlib.Path]]:
  """Returns the name and the path of each image that a run on a folder reads, for its digests.

  Raises:
    ValueError: one line, if the folder cannot be read.
    FileNotFoundError: if there is no such folder.
  """
  root = pathlib.Path(path)
  if not root.exists():
    raise FileNotFoundError(path)
  parts = ("train/", "test/") if _is_split(root) else ("",)
  return [(name, root / name) for part in parts for _, name in _listed(root, part)[0]]


def _is_split(root: pathlib.Path) -> bool:
  """Returns whether a folder is divided into train/ and test/, instead of into classes."""
  names = {entry.name for entry in _entries(root) if entry.is_dir()}
  return {"train", "test"} <= names <= {"train", "test", *_UNUSED}


def _entries(directory: pathlib.Path) -> list[Any]:
  """Returns what is in a directory in the order of names, but for names that begin with a dot."""
  try:
    with os.scandir(directory) as found:
      entries = [entry for entry in found if not entry.name.startswith(".")]
  except FileNotFoundError:
    raise ValueError("no such directory") from None
  except OSError as error:
    raise ValueError(f"cannot be read as a directory ({error})") from error
  for entry in entries:
    try:
      entry.name.encode()
    except UnicodeEncodeError:
      raise ValueError(f"the name {entry.name!r} is not UTF-8") from None
  return sorted(entries, key=lambda entry: entry.name)


def _listed(root: pathlib.Path, part: str) -> tuple[list[tuple[str, str]], list[str]]:
  """Returns the class and the name of each image of a part, and what is odd."""
  found: list[tuple[str, str]] = []
  others: list[str] = []
  empty: list[str] = []
  for directory in _entries(root / part):
    if directory.is_symlink() and directory.is_dir():
      raise ValueError(f"{part + directory.name!r} is a symbolic link to a directory")
    if not directory.is_dir():
      others.append(part + directory.name)
      continue
    before = len(found)
    for entry in _entries(root / part / directory.name):
      name = f"{part}{directory.name}/{entry.name}"
      if entry.is_dir():
        raise ValueError(
          f"{name!r} is a directory; images lie directly in the directory of their class"
        )
      if pathlib.PurePath(entry.name).suffix.lower() not in images.SUFFIXES:
        others.append(name)
        continue
      if entry.is_symlink() or not entry.is_file():
        images.inside(root, name)
      found.append((directory.name, name))
    if len(found) == before:
      empty.append(directory.name)
  notes = []
  if others:
    notes.append(f"{len(others)} files are no images in a class and are left out ({others[0]!r})")
  if empty:
    notes.append(f"{part or 'the folder'} has classes without an image, left out: {listed(empty)}")
  return found, notes


def _read(root: pathlib.Path, size: int, part: str = "", train: Examples | None = None) -> Examples:
  """Reads the images of a part; those to test on are compared with the training ones."""
  found, notes = _listed(root, part)
  if not found:
    raise ValueError(f"{part or 'it'} has no directory with images; each class is a directory")
  names = [name for _, name in found]
  classes = train.classes if train else classes_lib.ordered(label for label, _ in found)
  index = {label: i for i, label in enumerate(classes)}
  labels = np.array([index.get(label, -2) for label, _ in found], np.int32)
  if train is None:
    notes += classes_lib.check(labels, classes, part or "the folder")
  pictures = None
  if (labels >= 0).all():
    pictures = images.read([root / name for name in names], size)
  ids = np.array(names, np.str_)
  made = Examples(ids, labels, classes, None, pictures, None, tuple(notes))
  if train is not None:
    examples_lib.check_test(made, classes, "the directory")
  return made
