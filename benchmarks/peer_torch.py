"""The speed of training ResNet-32 in lsjax compared with PyTorch, in turn within a process.

    pip install torch && python -m benchmarks.peer_torch --out=results/benchmarks/peer_torch.json

Both sides use the same recipe: batch size 128; uint8 images in device memory, padded by 4, cropped,
flipped and normalised there; SGD with Nesterov momentum; weight decay on kernels; label smoothing
0.1. PyTorch runs in every form that may be its fastest: eager and torch.compile (on a GPU with CUDA
graphs, and with max-autotune too), NCHW and channels_last, float32 and bfloat16 autocast; cuDNN
chooses its kernels by timing them. Both sides wait for the device once in --steps steps. Images are
random, because the speed does not depend on them. lsjax does not require PyTorch. About ten minutes
on 2 cores.
"""

import argparse
import functools
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks import harness, step_time
from lsjax import models
from lsjax.training import devices

BATCH_SIZE = step_time.BATCH_SIZE


class Block(nn.Module):
  """Two 3 x 3 convolutions with BatchNorm and a shortcut without parameters (option A)."""

  def __init__(self, inputs: int, filters: int, stride: int):
    super().__init__()
    self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
    self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
    self.norm1, self.norm2 = nn.BatchNorm2d(filters), nn.BatchNorm2d(filters)
    self.stride, self.widen = stride, filters - inputs

  def forward(self, x: Any) -> Any:
    y = functional.relu(self.norm1(self.conv1(x)))
    y = self.norm2(self.conv2(y))
    half = self.widen // 2
    shortcut = x[:, :, :: self.stride, :: self.stride]
    if self.widen:
      shortcut = functional.pad(shortcut, (0, 0, 0, 0, half, self.widen - half))
    return functional.relu(shortcut + y)


class ResNet(nn.Module):
  """A ResNet for CIFAR with stages as in `models.RESNET_STAGES`."""

  def __init__(self, stages: Any):
    super().__init__()
    filters = stages[0][1]
    self.stem = nn.Conv2d(3, filters, 3, 1, 1, bias=False)
    self.norm = nn.BatchNorm2d(filters)
    blocks: list[nn.Module] = []
    inputs = filters
    for count, filters, stride in stages:
      for i in range(count):
        blocks.append(Block(inputs, filters, stride if i == 0 else 1))
        inputs = filters
    self.blocks = nn.Sequential(*blocks)
    self.head = nn.Linear(inputs, 10)

  def forward(self, x: Any) -> Any:
    x = functional.relu(self.norm(self.stem(x)))
    return self.head(self.blocks(x).mean((2, 3)).float())


def augment(images: Any, rows: Any) -> Any:
  """Pads images [N, 32, 32, 3] by 4, then crops and flips them at random, without a loop."""
  count, device = len(images), images.device
  padded = functional.pad(images, (0, 0, 4, 4, 4, 4))
  y = torch.randint(0, 9, (count, 1), device=device) + rows
  x = torch.randint(0, 9, (count, 1), device=device) + rows
  x = torch.where(torch.rand(count, 1, device=device) < 0.5, x.flip(1), x)
  batch = torch.arange(count, device=device)
  return padded[batch[:, None, None], y[:, :, None], x[:, None, :]]


# The modes of torch.compile, by the words that name them; None is eager.
MODES = {
  "cpu": {"eager": None, "torch.compile": "default"},
  "cuda": {
    "eager": None,
    "torch.compile reduce-overhead": "reduce-overhead",
    "torch.compile max-autotune": "max-autotune",
  },
}


def make_call(
  *, mode: str | None, channels_last: bool, bfloat16: bool, device: str, num_steps: int
) -> Callable[[], None]:
  """Makes a function that trains steps in PyTorch and waits for their end."""
  torch.manual_seed(0)
  torch.backends.cudnn.benchmark = True
  images = torch.randint(0, 256, (step_time.NUM_EXAMPLES, 32, 32, 3), dtype=torch.uint8)
  images, labels = images.to(device), torch.randint(0, 10, (len(images),)).to(device)
  rows = torch.arange(32, device=device)[None]
  model = ResNet(models.RESNET_STAGES["resnet32"]).to(device)
  layout = torch.channels_last if channels_last else torch.contiguous_format
  model = model.to(memory_format=layout)
  kernels = [p for p in model.parameters() if p.ndim > 1]
  rest = [p for p in model.parameters() if p.ndim <= 1]
  optimiser = torch.optim.SGD(
    [{"params": kernels, "weight_decay": 1e-4}, {"params": rest, "weight_decay": 0.0}],
    lr=0.1,
    momentum=0.9,
    nesterov=True,
    fused=device == "cuda" or None,
  )

  def loss_of(batch: Any, targets: Any) -> Any:
    x = (batch.permute(0, 3, 1, 2).float() - 127.0) / 64.0
    x = x.contiguous(memory_format=layout)
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
      logits = model(x)
    return functional.cross_entropy(logits, targets, label_smoothing=0.1)

  objective: Callable[..., Any] = torch.compile(loss_of, mode=mode) if mode else loss_of

  def call() -> None:
    for _ in range(num_steps):
      index = torch.randint(0, len(images), (BATCH_SIZE,), device=device)
      loss = objective(augment(images[index], rows), labels[index])
      optimiser.zero_grad(set_to_none=True)
      loss.backward()
      optimiser.step()
    loss.item()  # waits for the device

  return call


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Times all forms of both sides in turn."""
  device = "cuda" if torch.cuda.is_available() else "cpu"
  scanned = devices.steps_per_call(True)
  num_steps = -(-args.steps // scanned) * scanned  # whole calls
  makers: dict[str, Callable[[], Callable[[], None]]] = {}
  forms = itertools.product(MODES[device].items(), (False, True), (False, True))
  for (words, mode), channels_last, bfloat16 in forms:
    layout, dtype = (
      "channels_last" if channels_last else "NCHW",
      "bfloat16" if bfloat16 else "float32",
    )
    makers[f"PyTorch {words} {layout} {dtype}"] = functools.partial(
      make_call,
      mode=mode,
      channels_last=channels_last,
      bfloat16=bfloat16,
      device=device,
      num_steps=num_steps,
    )
  dtypes = ("float32",) if device == "cpu" else ("float32", "bfloat16")
  for dtype, steps in itertools.product(dtypes, (1, scanned)):
    makers[f"lsjax {'plain' if steps == 1 else f'scan of {steps}'} {dtype}"] = functools.partial(
      step_time.make_call, "resnet32", steps, num_calls=num_steps // steps, dtype=dtype
    )
  names = harness.chosen([*makers], args.only)
  timings = harness.alternate([makers[name]() for name in names], repetitions=args.repetitions)
  rates = {
    name: timing.rates(num_steps * BATCH_SIZE) for name, timing in zip(names, timings, strict=True)
  }
  peers = [name for name in rates if name.startswith("PyTorch")]
  if device == "cpu":  # lsjax is timed in float32 alone there
    peers = [name for name in peers if name.endswith(" float32")]
  owns = [name for name in rates if name.startswith("lsjax")]
  best, own = (
    max(side or names, key=lambda name: statistics.median(rates[name])) for side in (peers, owns)
  )
  target = harness.Target("ratio", "at least", 0.5 if device == "cpu" else 1.5)
  for (name, rate), timing in zip(rates.items(), timings):
    yield harness.Row(
      name=name,
      unit="images/s",
      values=rate,
      ratios=harness.ratios(rate, rates[best]),
      ratio_to=best,
      target=target if name == own else None,
      **timing.memory,
      details={"torch": torch.__version__},
    )


if __name__ == "__main__":
  harness.run(
    "peer_torch",
    __doc__,
    measure,
    arguments=lambda parser: parser.add_argument(
      "--steps", type=int, default=4, help="training steps of each repetition"
    ),
  )
