"""The event file of a run, which TensorBoard reads while the run trains.

An event is a protocol buffer of tensorflow.Event, of which four fields are used here; a record is
an event with its length and the CRC-32C of both, as TFRecord files have them. A package that writes
them would bring its whole framework into every process that trains.
"""

import ctypes
import pathlib
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

_VERSION = b"brain.Event:2"
# Field numbers and wire types of tensorflow.Event, .SessionLog, .Summary and .Summary.Value.
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY, _SESSION = 0x09, 0x10, 0x1A, 0x2A, 0x3A
_STATUS, _VALUE, _TAG, _SIMPLE_VALUE = 0x08, 0x0A, 0x0A, 0x15
_START = 1


class EventFile:
  """An event file that grows; a row can be read by TensorBoard once `add` has returned."""

  def __init__(self, directory: pathlib.Path, first_step: int):
    """Creates the file.

    Args:
      directory: where the file goes; its name begins with `events.out.tfevents`.
      first_step: the first step of this process. TensorBoard discards what an earlier process has
        written from this step on.

    Raises:
      OSError: if it cannot be created.
    """
    name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
    self._file = open(directory / name, "wb", buffering=0)  # noqa: SIM115 (closed by `close`)
    session = bytes((_STATUS, _START))
    version = _record(_event(_field(_FILE_VERSION, _VERSION)))
    self._write(version + _record(_event(_step(first_step) + _field(_SESSION, session))))

  def add(self, row: Mapping[str, Any]) -> None:
    """Adds a row of metrics: its step, its split and values, of which floats are written.

    Raises:
      OSError: if it cannot be written.
    """
    values = b"".join(
      _field(
        _VALUE,
        _field(_TAG, f"{row['split']}/{key}".encode())
        + struct.pack("<Bf", _SIMPLE_VALUE, ctypes.c_float(value).value),  # one beyond is inf,
      )
      for key, value in row.items()
      if isinstance(value, float)
    )
    if values:
      self._write(_record(_event(_step(row["step"]) + _field(_SUMMARY, values))))

  def close(self) -> None:
    """Closes the file."""
    self._file.close()

  def _write(self, content: bytes) -> None:
    if self._file.write(content) != len(content):
      raise OSError(f"{self._file.name} took a part of an event")


def _event(content: bytes) -> bytes:
  return struct.pack("<Bd", _WALL_TIME, time.time()) + content


def _step(at_step: int) -> bytes:
  return bytes((_STEP,)) + _varint(at_step)


def _field(key: int, content: bytes) -> bytes:
  """Returns a field of a message whose value is bytes, a text or a message."""
  return bytes((key,)) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
  """Returns a number from 0 on in seven bits per byte, the lowest first."""
  encoded = bytearray()
  while number > 0x7F:
    encoded.append(number & 0x7F | 0x80)
    number >>= 7
  encoded.append(number)
  return bytes(encoded)


def _record(content: bytes) -> bytes:
  """Returns the record of an event."""
  length = struct.pack("<Q", len(content))
  return length + _masked_crc(length) + content + _masked_crc(content)


def _masked_crc(content: bytes) -> bytes:
  """Returns the CRC-32C of some bytes as TFRecord files mask it."""
  crc = 0xFFFFFFFF
  for byte in content:
    crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
  crc ^= 0xFFFFFFFF
  return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> tuple[int, ...]:
  """Returns what each byte adds to a CRC by Castagnoli's polynomial, lowest bit first."""
  table = np.arange(256, dtype=np.uint32)
  for _ in range(8):
    table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
  return tuple(table.tolist())


_TABLE = _table()
