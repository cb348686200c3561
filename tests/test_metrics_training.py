"""Metrics of a run do not depend on how its examples are batched."""

import pytest

from lsjax import metrics
from lsjax.training import devices, programs, setup, step


def test_batch_size_and_devices_do_not_matter(make_config):
  run = setup.prepare(make_config())
  split = run.splits["train"]
  state = step.init_state(run.model, split.images[:1], run.hparams.optim, 0)
  results = []
  for batch_size, num_devices in ((64, 1), (1000, 4), (1437 * 4, 4)):
    layout = devices.Layout(tuple(devices.choose(num_devices)), shared=True)
    evaluate = programs.make_evaluate(run.model, layout, batch_size=batch_size)
    sums = evaluate(
      layout.replicate(split.source),
      layout.place([state.variables]),
      *layout.place([split.arrays]),
      None,
    )
    sums = {name: value[0] for name, value in sums.items()}
    assert sums["examples"] == 1437
    results.append(metrics.classification(sums) | metrics.denoising(sums))
  assert results[0] == pytest.approx(results[1], rel=1e-5)
  assert results[0] == pytest.approx(results[2], rel=1e-5)
