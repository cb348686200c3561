"""A user's folders of images: what is read, and one line for everything that is wrong."""

import io
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import zlib

import conftest
import numpy as np
import pytest
from PIL import Image

from lsjax import config as config_lib
from lsjax import data, files
from lsjax.data import images
from lsjax.runs import contents, execution, loading
from lsjax.runs import directory as directory_lib

ROOT = pathlib.Path(__file__).parent.parent


def save(path, colour=100, mode="L", size=(9, 7), **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new(mode, size, colour).save(path, **options)


def fill(root, n=8):
  """Light images of one class and dark ones of another."""
  for i in range(n):
    save(root / f"dark/{i}.png", 20 + i)
    save(root / f"light/{i}.jpg", 220 + i)
  return root


def load(root, seed=0, given="folder", **fields):
  section = config_lib.Data(name="folder", path=str(root), image_size=8, **fields)
  return data.load(section, given_labels=given, seed=seed)


def test_a_folder(tmp_path):
  found = data.read_folder(fill(tmp_path), image_size=8)
  assert found.classes == ("dark", "light")
  np.testing.assert_array_equal(found.labels, np.repeat([0, 1], 8))
  assert found.ids[[0, 8]].tolist() == ["dark/0.png", "light/0.jpg"]
  assert found.images.shape == (16, 8, 8, 3)
  assert found.images.dtype == np.uint8
  np.testing.assert_array_equal(found.images[3], np.full((8, 8, 3), 23))
  assert found.inputs() is found.images
  assert found.notes == ()


def test_a_share_is_held_out(tmp_path):
  first, again, other = (load(fill(tmp_path), seed=seed) for seed in (1, 1, 2))
  assert (len(first.train_ids), len(first.test_labels)) == (13, 3)
  assert first.test_is_noisy
  assert first.train_labels is None
  assert "nobody checked the labels of the test set, 3 of 16" in first.notes[0]
  np.testing.assert_array_equal(first.train_ids, again.train_ids)
  assert not np.array_equal(first.train_ids, other.train_ids)
  labels = [name.startswith("light") for name in first.train_ids]
  np.testing.assert_array_equal(first.label_sets["folder"], labels)
  np.testing.assert_array_equal(load(tmp_path, given="", seed=1).train_labels, labels)


def test_train_and_test_directories(tmp_path):
  fill(tmp_path / "train")
  fill(tmp_path / "test", 2)
  found = load(tmp_path)
  assert (len(found.train_ids), found.test_labels.tolist()) == (16, [0, 0, 1, 1])
  assert found.train_ids[0] == "train/dark/0.png"
  assert not found.test_is_noisy
  assert found.notes == ()
  fill(tmp_path / "val", 1)
  assert load(tmp_path).notes == ("val/ is not used; data.validation_examples holds out images",)
  save(tmp_path / "test/other/1.png")
  with pytest.raises(ValueError, match=r"^the directory of example test/other/1\.png is none of"):
    load(tmp_path)
  with pytest.raises(ValueError, match=r"^has a test/ of its own"):
    load(tmp_path, test_path=str(tmp_path / "val"))
  apart = load(tmp_path / "train", test_path=str(tmp_path / "val"))
  assert apart.test_labels.tolist() == [0, 1]
  assert not apart.test_is_noisy


def test_train_may_be_a_class(tmp_path):
  for name in ("train", "bus"):
    for i in range(6):
      save(tmp_path / name / f"{i}.png")
  assert data.read_folder(tmp_path, image_size=4).classes == ("bus", "train")


def test_what_is_no_image_is_left_out_and_said(tmp_path):
  fill(tmp_path)
  (tmp_path / "dark/.DS_Store").write_bytes(b"")
  save(tmp_path / ".thumbnails/1.png")
  (tmp_path / "dark/notes.txt").write_text("")
  (tmp_path / "README").write_text("")
  (tmp_path / "empty").mkdir()
  found = data.read_folder(tmp_path, image_size=4)
  assert len(found) == 16
  assert (
    found.notes
    == (
      "2 files are no images in a class and are left out ('README')",
      "the folder has classes without an image, left out: 'empty'",
    )
    or found.notes[0] == "2 files are no images in a class and are left out ('dark/notes.txt')"
  )


def bomb(path, side=60_000):
  """A PNG file of a few bytes that claims to hold billions of pixels."""

  def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum

  header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
  body = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
  path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)


def truncated(path):
  buffer = io.BytesIO()
  noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
  Image.fromarray(noise).save(buffer, "JPEG")
  path.write_bytes(buffer.getvalue()[:1500])


def postscript(path):
  path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def floating(path):
  Image.fromarray(np.ones((4, 4), np.float32)).save(path, "TIFF")


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda path: path.write_bytes(b"no image"), "UnidentifiedImageError"),
    (lambda path: path.write_bytes(b""), "UnidentifiedImageError"),
    (postscript, "UnidentifiedImageError"),
    (truncated, "OSError: "),
    (bomb, "DecompressionBombError"),
    (lambda path: bomb(path, 11_000), "11000 x 11000 pixels are too many"),
    (floating, "pixels are floating point"),
  ],
)
def test_an_image_that_cannot_be_read_is_one_line(tmp_path, make, message):
  path = fill(tmp_path) / "light/bad.png"
  make(path)
  with pytest.raises(ValueError, match=rf"^{tmp_path}: '{path}' is no readable .*{message}") as e:
    data.read_folder(tmp_path, image_size=4)
  assert "\n" not in str(e.value)


def other_class(root):
  shutil.rmtree(root / "light")


def nested(root):
  save(root / "dark/indoor/1.png")


def linked_out(root):
  os.symlink(sys.executable, root / "dark/x.png")


def linked_directory(root):
  os.symlink(root / "dark", root / "again")


def dangling(root):
  os.symlink(root / "dark/none.png", root / "dark/x.png")


def pipe(root):
  os.mkfifo(root / "dark/x.png")


def few(root):
  for i in range(7):
    (root / f"dark/{i}.png").unlink()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (other_class, "the folder has 8 examples with a label; at least 10 are needed"),
    (few, "the folder has 9 examples"),
    (nested, "'dark/indoor' is a directory; images lie directly in the directory of their class"),
    (linked_out, "'dark/x.png' is not inside"),
    (linked_directory, "'again' is a symbolic link to a directory"),
    (dangling, "'dark/x.png' is no file"),
    (pipe, "'dark/x.png' is no file"),
    (lambda root: (root / b"dark/\xff.png".decode(errors="surrogateescape")).write_bytes(b""),
     "is not UTF-8"),
    (shutil.rmtree, "no such directory"),
  ],
)  # fmt: skip
def test_a_wrong_folder_is_one_line(tmp_path, change, message):
  root = fill(tmp_path / "photos")
  change(root)
  with pytest.raises(ValueError, match=f"^{root}: .*{message}") as caught:
    data.read_folder(root, image_size=4)
  assert "\n" not in str(caught.value)


def test_other_wrong_folders(tmp_path):
  for i in range(12):
    save(tmp_path / f"a/{i}.png")
  with pytest.raises(ValueError, match=r"the folder holds one class, 'a'"):
    data.read_folder(tmp_path, image_size=4)
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match=r"cannot be read as a directory \(.*Not a directory"):
    data.read_folder(tmp_path / "file")
  (tmp_path / "flat").mkdir()
  save(tmp_path / "flat/1.png")
  with pytest.raises(ValueError, match=r"it has no directory with images; each class is a direct"):
    data.read_folder(tmp_path / "flat")


def one(path, size=4):
  return images.read([path], size)[0]


def test_modes(tmp_path):
  path = tmp_path / "x.png"
  save(path, (10, 20, 30), "RGB")
  np.testing.assert_array_equal(one(path), np.full((4, 4, 3), [10, 20, 30]))
  save(path, (10, 20, 30, 0), "RGBA")
  np.testing.assert_array_equal(one(path), np.full((4, 4, 3), 255))
  save(path, 1, "1")
  np.testing.assert_array_equal(one(path), np.full((4, 4, 3), 255))
  Image.fromarray(np.full((5, 5), 257 * 90, np.uint16)).save(path)
  np.testing.assert_array_equal(one(path), np.full((4, 4, 3), 90))
  save(tmp_path / "x.webp", (255, 0, 0), "RGB", lossless=True)
  save(tmp_path / "x.bmp", (255, 0, 0), "RGB")
  save(tmp_path / "x.tif", (255, 0, 0), "RGB")
  first = Image.new("RGB", (5, 5), (255, 0, 0))
  first.save(tmp_path / "x.gif", save_all=True, append_images=[Image.new("RGB", (5, 5))])
  for suffix in ("webp", "bmp", "tif", "gif"):
    np.testing.assert_array_equal(one(tmp_path / f"x.{suffix}"), np.full((4, 4, 3), [255, 0, 0]))


def test_the_centred_square_is_resized(tmp_path):
  pixels = np.zeros((4, 10), np.uint8)
  pixels[:2, 3:7] = 200
  Image.fromarray(pixels).save(tmp_path / "x.png")
  expected = np.repeat([[200], [200], [0], [0]], 4, 1)
  np.testing.assert_array_equal(one(tmp_path / "x.png")[..., 0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_data_say(tmp_path, orientation):
  from PIL import ImageOps

  pixels = np.zeros((8, 8, 3), np.uint8)
  pixels[:4, :4], pixels[4:, :4], pixels[:4, 4:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
  exif = Image.Exif()
  exif[0x0112] = orientation
  Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
  expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "x.png")))
  np.testing.assert_array_equal(one(tmp_path / "x.png", 8), expected)


def test_memory_is_bounded(tmp_path):
  with pytest.raises(
    ValueError, match=r"takes 28610\.2 GiB .*choose data\.image_size below 800000"
  ):
    data.read_folder(fill(tmp_path), image_size=800_000)


def config(root, **changes):
  fields = {"data.name": "folder", "data.path": str(root), "data.image_size": 8}
  fields |= {"noise.kind": "given", "noise.rate": 0.0, "train.batch_size": 4}
  return config_lib.from_config_dict(conftest.small(**{**fields, **changes}))


def test_images_are_content_of_their_run(tmp_path):
  root = fill(tmp_path / "photos")
  made = config(root)
  first = contents.digests_of(made)
  assert list(first) == ["data.path"]
  root = root.rename(tmp_path / "elsewhere")
  assert contents.digests_of(made) == {}
  moved = config(root)
  assert contents.digests_of(moved) == first  # wherever the folder is
  (root / "dark/notes.txt").write_text("not read")
  assert contents.digests_of(moved) == first
  save(root / "dark/3.png", 99)
  other = contents.digests_of(moved)
  assert other != first
  (root / "dark/3.png").rename(root / "light/3.png")
  assert contents.digests_of(moved) not in (first, other)
  before = contents.digests_of(moved)
  (root / "light").rename(root / "white")  # the same images in the same order
  assert contents.digests_of(moved) != before


def test_images_to_test_on_are_content_of_their_run(tmp_path):
  fill(tmp_path / "train")
  fill(tmp_path / "test")
  first = contents.digests_of(config(tmp_path))
  save(tmp_path / "test/dark/3.png", 99)
  assert contents.digests_of(config(tmp_path)) != first


def test_rules(tmp_path):
  with pytest.raises(config_lib.ConfigError, match=r"noise\.labels = 'x': .* of its directories"):
    config(tmp_path, **{"noise.labels": "x"})
  with pytest.raises(config_lib.ConfigError, match=r"data\.path = '': data\.name=folder needs"):
    config("")
  with pytest.raises(config_lib.ConfigError, match=r"data\.label = 'x': must stay empty"):
    config(tmp_path, **{"data.label": "x"})


@pytest.mark.slow
def test_a_run_on_a_folder(tmp_path):
  """The command on a folder with a test part of its own, resumed, and loaded back."""
  fill(tmp_path / "photos/train", 20)
  fill(tmp_path / "photos/test", 6)
  workdir = tmp_path / "run"
  done = subprocess.run(
    [
      *(sys.executable, "-m", "lsjax.main", "--config=folder", "--config.data.image_size=8"),
      *(f"--config.data.path={tmp_path / 'photos'}", f"--workdir={workdir}"),
      *("--config.train.num_steps=40", "--config.train.eval_every=20"),
      *("--config.checkpoint.every=20", "--config.model.name=linear"),
      *("--config.noise.kind=symmetric", "--config.noise.rate=0.2"),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert "test accuracy (clean labels)" in done.stdout
  assert "warning" not in done.stderr
  whole = files.read_json(workdir / "result.json")
  assert whole["test_labels"] == "clean"
  assert (whole["num_train"], whole["num_test"]) == (40, 12)
  assert files.read_json(workdir / "config.json")["classes"] == ["dark", "light"]
  read, model, variables = loading.load_run(workdir)
  dataset = data.load(read.data, given_labels=read.given_labels)
  accuracy = np.mean(
    np.argmax(model.apply(variables, dataset.test_images), -1) == np.repeat([0, 1], 6)
  )
  assert accuracy == pytest.approx(whole["final"]["test"]["accuracy"])
  (workdir / "result.json").unlink()
  shutil.rmtree(workdir / "checkpoints/40")
  assert directory_lib.latest_step(workdir) == 20
  assert execution.train_and_evaluate(read, workdir)["final"] == whole["final"]
