"""Records that are images of formats which nobody asked for: refused, and no program is started."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from lsjax.data import decoding, streams, tfds

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(ran) print\n%%EOF\n"


def encoded(kind):
  buffer = io.BytesIO()
  Image.fromarray(np.full((9, 7, 3), 100, np.uint8)).save(buffer, kind)
  return buffer.getvalue()


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
  """A program of that name, first in the path, that leaves a file where it was started."""
  program = tmp_path / "gs"
  program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
  program.chmod(0o755)
  monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
  monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
  return tmp_path / "started"


@pytest.mark.parametrize("content", [EPS, "GIF", "TIFF", "BMP", "PPM"])
def test_other_formats(ghostscript, content):
  content = content if isinstance(content, bytes) else encoded(content)
  example = {"image": content, "id": "a", "label": 0}
  with pytest.raises(streams.DataError, match=r"^image a in /d cannot be decoded \(Unidentified"):
    streams.centre_crop(example, size=4, directory="/d")
  assert not ghostscript.exists()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_named_formats(kind):
  example = {"image": encoded(kind), "id": "a", "label": 0}
  cropped = streams.centre_crop(example, size=4, directory="/d")["image"]
  np.testing.assert_array_equal(cropped, np.full((4, 4, 3), 100))
  np.testing.assert_array_equal(decoding.decoded(encoded(kind)), np.full((9, 7, 3), 100))


def test_an_image_among_those_of_tfds(ghostscript):
  class Builder:
    data_dir, name = "/d", "cifar10"

    class info:
      features: dict = {}  # noqa: RUF012

    def as_data_source(self, split, decoders):
      return [{"id": b"a", "image": EPS}]

  with pytest.raises(ValueError, match=r"^holds a train split that cannot be read: /d \("):
    tfds._decode(Builder(), "train")
  assert not ghostscript.exists()
