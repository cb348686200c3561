"""The speed of training the runs of a table in lsjax beside PyTorch, in turn within a process.

    pip install torch && python -m benchmarks.peer_torch_table \\
      --out=results/benchmarks/peer_torch_table.json

A table has 8 cells of 5 seeds, 40 runs of one two-layer network: 64-32-10 as for digits, and
128-512-10 as for embeddings. lsjax trains them as its sweeps do, on every core some of them in
turn, and by vmap as `lsjax.sweep --packing` does. PyTorch trains all 40 at once as an expert would
write it: weights and batches of all runs in batched matrix products, and a step with its gradients,
Nesterov momentum and weight decay under torch.compile. Both draw a new order for every epoch and
every seed, and look up examples and smoothed labels in it. Steps are counted alike; evaluation, log
rows and files are not part of either. Compilation is not counted. About four minutes on 2 cores.
"""

import argparse
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

# As lsjax.sweep does: a CPU device for every core.
os.environ.setdefault(
  "XLA_FLAGS", f"--xla_force_host_platform_device_count={len(os.sched_getaffinity(0))}"
)

import torch

from benchmarks import harness, step_time
from lsjax.sweeps import execution
from lsjax.training import devices

# Calls are long enough that threads of the side before no longer wait for work.
CELLS, SEEDS, CALL, CALLS = 8, 5, 100, 4
RUNS, STEPS = CELLS * SEEDS, CALL * CALLS
BATCH, EXAMPLES = step_time.BATCH_SIZE, 1437
# By table: the model of benchmarks/step_time.py, inputs and hidden units.
TABLES = {"digits": ("mlp", 64, 32), "embeddings": ("mlp_512", 128, 512)}
CLASSES, MOMENTUM, DECAY, RATE, ALPHA = 10, 0.9, 1e-4, 0.1, 0.1


def torch_call(inputs: int, hidden: int, *, compiled: bool) -> Callable[[], None]:
  """Makes a function that trains all runs some steps in PyTorch."""
  torch.manual_seed(0)
  images = torch.randn(EXAMPLES, inputs)
  smooth = (1 - ALPHA) * torch.eye(CLASSES) + ALPHA / CLASSES
  labels = torch.randint(0, CLASSES, (RUNS, EXAMPLES))
  params = (
    torch.randn(RUNS, inputs, hidden) / inputs**0.5,
    torch.zeros(RUNS, 1, hidden),
    torch.randn(RUNS, hidden, CLASSES) / hidden**0.5,
    torch.zeros(RUNS, 1, CLASSES),
  )
  momentum = tuple(torch.zeros_like(p) for p in params)
  runs = torch.arange(RUNS)[:, None]

  def objective(params: Any, x: Any, targets: Any) -> Any:
    first, first_bias, second, second_bias = params
    logits = torch.baddbmm(second_bias, torch.relu(torch.baddbmm(first_bias, x, first)), second)
    return -(targets * torch.log_softmax(logits, -1)).sum() / BATCH

  def step(params: Any, momentum: Any, order: Any) -> tuple[Any, Any]:
    grads = torch.func.grad(objective)(params, images[order], smooth[labels[runs, order]])
    new_params, new_momentum = [], []
    for i, (p, m, g) in enumerate(zip(params, momentum, grads, strict=True)):
      g = g + DECAY * p if i % 2 == 0 else g
      m = MOMENTUM * m + g
      new_params.append(p - RATE * (g + MOMENTUM * m))
      new_momentum.append(m)
    return tuple(new_params), tuple(new_momentum)

  train_step = torch.compile(step) if compiled else step

  def call() -> None:
    nonlocal params, momentum
    for _ in range(CALLS):
      epochs = -(-CALL * BATCH // EXAMPLES)
      orders = torch.rand(SEEDS, epochs, EXAMPLES).argsort(-1).flatten(1)
      orders = orders.repeat_interleave(CELLS, 0)
      for i in range(CALL):
        params, momentum = train_step(params, momentum, orders[:, i * BATCH : (i + 1) * BATCH])

  return call


def lsjax_call(model: str, packing: str = "") -> tuple[Callable[[], None], int]:
  """Makes a function that trains as many runs at once as a sweep does, and returns their number."""
  layout = devices.packed_layout(devices.choose(0), False)
  if packing:
    kind, width = execution.packing_of(packing)
    layout = devices.Layout(layout.devices, width=width, packing=kind)
  call = step_time.make_call(model, CALL, num_calls=CALLS, layout=layout, runs_of_seed=CELLS)
  return call, layout.capacity


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Times both sides of each table in turn."""
  for table, (model, inputs, hidden) in TABLES.items():
    torch_of = functools.partial(torch_call, inputs, hidden)
    calls = {
      f"{table}, lsjax": lsjax_call(model),
      f"{table}, lsjax vmap:20": lsjax_call(model, "vmap:20"),
      f"{table}, PyTorch torch.compile": (torch_of(compiled=True), RUNS),
      f"{table}, PyTorch eager": (torch_of(compiled=False), RUNS),
    }
    names = harness.chosen([*calls], args.only)
    timings = harness.alternate([calls[n][0] for n in names], repetitions=args.repetitions)
    rates = {n: t.rates(calls[n][1] * STEPS) for n, t in zip(names, timings, strict=True)}
    best = f"{table}, PyTorch torch.compile"
    for name, timing in zip(names, timings, strict=True):
      is_own = name.endswith("lsjax")
      yield harness.Row(
        name=name,
        unit="run-steps/s",
        values=rates[name],
        ratios=harness.ratios(rates[name], rates[best]) if best in rates else None,
        ratio_to=best,
        target=harness.Target("ratio", "at least", 1.5) if is_own else None,
        **timing.memory,
        details={"torch": torch.__version__},
      )


if __name__ == "__main__":
  harness.run("peer_torch_table", __doc__, measure)
