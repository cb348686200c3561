"""Where the time of a training step goes: convolutions, BatchNorm, optimizer, input and the rest.

    python -m benchmarks.step_profile --out=profile.json --dtype=bfloat16 --packing=vmap:4

Two calls of the ordinary program are traced. Each event of the trace that names an operation of the
compiled program is counted for the part of the step that the operation comes from, by the name that
JAX gave it. A fused operation counts as what its last operation is, so that a BatchNorm or a ReLU
fused into a convolution counts as convolution.
"""

import argparse
import collections
import gzip
import json
import pathlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from benchmarks import harness, step_time
from lsjax import models
from lsjax.sweeps import execution
from lsjax.training import devices

# The parts of a step by the names of operations, of which the first that matches counts.
PARTS = {
  "optimizer": r"/optimizer/",
  "input": r"/input/",
  "BatchNorm": r"BatchNorm_\d+",
  "convolution": r"Conv_\d+|conv_general_dilated",
}
REST = "rest"
_INSTRUCTION = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*metadata={[^}]*op_name="([^"]*)"', re.M)
# Operations whose events span those of the operations inside.
_OUTER = re.compile(r"^(while|call|conditional|fori|closed_call|async)")


def names_of_operations() -> dict[str, str]:
  """Returns JAX's names of the operations of all programs that were compiled, by XLA's names."""
  found: dict[str, str] = {}
  for program in jax.local_devices()[0].client.live_executables():
    for module in program.hlo_modules():
      for name, source in _INSTRUCTION.findall(module.to_string()):
        found[f"{module.name}/{name}"] = source
  return found


def part_of(source: str) -> str:
  """Returns the part of the step that an operation comes from, by JAX's name of it."""
  return next((part for part, pattern in PARTS.items() if re.search(pattern, source)), REST)


def seconds_of_parts(
  events: Iterable[Mapping[str, Any]], names: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
  """Adds up the durations of a trace's events.

  Args:
    events: events of a trace in Chrome's format; those without an operation count for nothing.
    names: see `names_of_operations`.

  Returns:
    Seconds by part, and seconds by operation.
  """
  parts, operations = collections.Counter[str](), collections.Counter[str]()
  for event in events:
    of = event.get("args", {})
    operation = of.get("hlo_op")
    if event.get("ph") != "X" or not operation or _OUTER.match(operation):
      continue
    source = names.get(f"{of.get('hlo_module', '')}/{operation}", "")
    seconds = event["dur"] / 1e6
    parts[part_of(source)] += seconds
    operations[f"{operation} ({source})" if source else operation] += seconds
  return dict(parts), dict(operations)


def read_trace(directory: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the events of the trace below a directory."""
  events: list[dict[str, Any]] = []
  for path in directory.rglob("*.trace.json.gz"):
    with gzip.open(path) as f:
      events += json.load(f)["traceEvents"]
  return events


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Traces two calls and yields a row for each part."""
  kind, width = execution.packing_of(args.packing)
  layout = devices.Layout(tuple(devices.choose(1)), width=width, packing=kind)
  steps = args.steps or devices.steps_per_call(args.model in models.CONVOLUTIONAL)
  call = step_time.make_call(args.model, steps, dtype=args.dtype, layout=layout)
  for _ in range(2):
    call()
  with tempfile.TemporaryDirectory() as trace:
    with jax.profiler.trace(trace):
      call()
      call()
    events = read_trace(pathlib.Path(trace))
  parts, operations = seconds_of_parts(events, names_of_operations())
  total = sum(parts.values()) or 1.0
  longest = sorted(operations.items(), key=lambda pair: -pair[1])[:30]
  for part in (*PARTS, REST):
    yield harness.Row(
      name=f"{args.model} {args.dtype} {args.packing}, {part}",
      unit="share of the time in operations",
      values=[parts.get(part, 0.0) / total],
      details={"seconds": parts.get(part, 0.0), "steps": 2 * steps}
      | ({"longest": {name[:200]: s for name, s in longest}} if part == REST else {}),
    )


def arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's own flags."""
  parser.add_argument("--model", default="resnet32")
  parser.add_argument("--dtype", default="float32", help="the type of the activations")
  parser.add_argument("--packing", default="sequential:1", help="as for lsjax.sweep")
  parser.add_argument("--steps", type=int, default=0, help="of a call; 0: as many as in training")


if __name__ == "__main__":
  harness.run("step_profile", __doc__, measure, repetitions=1, arguments=arguments)
