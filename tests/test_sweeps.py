"""Sweeps: cells, packing that changes nothing, resuming, shards and one diverged run."""

import dataclasses
import pathlib
import signal
import subprocess
import sys

import jax
import ml_collections
import numpy as np
import pytest
from conftest import small
from tqdm import tqdm

from lsjax import config as config_lib
from lsjax import data, files, shipped, sweep
from lsjax.distillation import stages
from lsjax.distillation import teachers as teachers_lib
from lsjax.models import cpu_conv
from lsjax.runs import execution, leases, loading
from lsjax.sweeps import cells, estimate, plan, shards
from lsjax.sweeps import execution as sweep_execution
from lsjax.training import devices as devices_lib
from lsjax.training import loop, setup
from lsjax.validation import UserError

ROOT = pathlib.Path(__file__).parent.parent


def make_sweep(cell_list, seeds=2, **changes):
  config = ml_collections.ConfigDict()
  config.label, config.base, config.seeds = "digits", small(**changes), seeds
  config.cells = cells.union(cell_list)
  return config


EVERYTHING = [*cells.curves((0.1,), rates=(0.2,)), *cells.students((0.2,), temperatures=(1.0, 2.0))]


class TestPlan:
  def test_curves_hold_table_a(self):
    names = [cell["name"] for cell in cells.curves((0.1, 0.4), rates=(0.0, 0.2))]
    assert len(names) == 2 * (1 + 3 * 2)
    assert {"CE, noise 0.2", "LS 0.1, noise 0.2", "FC 0.4, noise 0", "BC 0.1, noise 0.2"} <= {
      *names
    }

  def test_bare_methods(self):
    """BC without clipping and first steps of cross-entropy, at the alphas that are named."""
    alike = {"noise.kind": "symmetric", "noise.rate": 0.2}
    listed = {c["name"]: c["changes"] for c in cells.curves((0.1, 0.4), (0.2,), bare=(0.1,))}
    bare = {"loss.name": "backward_correction", "loss.alpha": 0.1}
    assert listed["BC 0.1, noise 0.2"] == bare | alike
    assert listed["BC 0.4, noise 0.2"]["optim.clip_norm"] == 1
    students = {c["name"]: c["changes"] for c in cells.students((0.2,), (1.0,), bare=(0.1,))}
    of_bc = students["student of BC, T 1, noise 0.2"]
    assert of_bc["teacher.loss.name"] == "backward_correction"
    assert "teacher.optim.clip_norm" not in of_bc

  def test_runs(self):
    planned = plan.plan(make_sweep(EVERYTHING))
    by_name = {cell.name: cell for cell in planned}
    first, second = by_name["FC 0.1, noise 0.2"].runs
    assert first.loss.name == "forward_correction"
    assert first.noise == config_lib.Noise(kind="symmetric", rate=0.2)
    assert second.seed == config_lib.Seeds(1, 1, 1)
    student = by_name["student of FC, T 2 both_t_squared, noise 0.2"].runs[1]
    assert student.student.convention == "both_t_squared"
    assert student.student.temperature == 2
    assert student.seed == config_lib.Seeds(1, 1001, 1)
    # Its teacher is a run of the ordinary cell: trained once for both.
    assert config_lib.teacher_run(student) == second

  @pytest.mark.parametrize("variant", ["cross_entropy", "label_smoothing", "forward", "backward"])
  def test_cells_are_the_configs_of_main(self, variant):
    """A cell of paper_digits is configs/digits_{noisy,distill}.py but for seeds, checkpoints."""
    from configs import digits_distill, digits_noisy
    from configs.sweeps import paper_digits

    names = ("cross_entropy", "label_smoothing", "forward", "backward")
    name = dict(zip(names, ("CE", "LS", "FC", "BC")))[variant]
    planned = {cell.name: cell.runs[0] for cell in plan.plan(paper_digits.get_config())}
    ordinary = "CE, noise 0.2" if name == "CE" else f"{name} 0.1, noise 0.2"
    for found, config in (
      (planned[ordinary], digits_noisy.get_config(variant)),
      (planned[f"student of {name}, T 1, noise 0.2"], digits_distill.get_config(variant)),
    ):
      expected = config_lib.flatten(config_lib.to_dict(config_lib.from_config_dict(config)))
      got = config_lib.flatten(config_lib.to_dict(found))
      differing = {key for key in got | expected if got.get(key) != expected.get(key)}
      allowed = {"checkpoint.every", "seed.init"}
      if name == "BC":  # the sweep leaves out what BC does not need at this alpha
        allowed |= {"loss.cross_entropy_steps", "optim.clip_norm"}
      assert {key.removeprefix("teacher.") for key in differing} <= allowed

  def test_students(self):
    """One cell for all conventions at temperature 1, and the conventions asked for elsewhere."""
    listed = [
      *cells.students((0.2,), temperatures=(1.0, 2.0)),
      *cells.students((0.2,), temperatures=(1.0, 4.0), conventions=("both",)),
    ]
    of_ls = [cell["name"] for cell in cells.union(listed) if "of LS" in cell["name"]]
    assert of_ls == [
      "student of LS, T 1, noise 0.2",
      *(f"student of LS, T 2 {c}, noise 0.2" for c in ("teacher_only", "both", "both_t_squared")),
      "student of LS, T 4 both, noise 0.2",
    ]

  def test_shared_runs_are_there_once(self, tmp_path):
    planned = plan.plan(make_sweep(EVERYTHING))
    ordinary = plan.runs_of(planned[:4], tmp_path)
    students = plan.runs_of(planned[4:], tmp_path)
    assert len(ordinary) == 8
    assert len(students) == 2 * 4 * (1 + 3)
    assert {r.workdir for r in plan.teachers_of(students)} == {r.workdir for r in ordinary}

  def test_grid(self):
    axes = {"loss.alpha": (0.1, 0.4), "noise.rate": (0.1, 0.2, 0.3)}
    planned = plan.plan(make_sweep(cells.grid(axes, loss__name="label_smoothing")))
    assert len(planned) == 6
    config = {cell.name: cell.runs[0] for cell in planned}["loss.alpha 0.4, noise.rate 0.3"]
    assert (config.loss.alpha, config.noise.rate) == (0.4, 0.3)
    assert config.loss.name == "label_smoothing"

  def test_union_keeps_most_seeds(self):
    few = cells.curves((0.1,), rates=(0.2,), seeds=3)
    joined = cells.union(few, cells.curves((0.1,), rates=(0.2,), seeds=1))
    assert [cell["seeds"] for cell in joined] == [3] * 4
    assert all("seeds" not in c for c in cells.union(few, cells.curves((0.1,), rates=(0.2,))))
    other = [{"name": few[0]["name"], "changes": {"loss.alpha": 0.3}}]
    with pytest.raises(UserError, match="occurs twice with different changes"):
      cells.union(few, other)

  def test_boundaries_do_not_depend_on_the_base(self):
    """On any data's base they are the same runs, with nothing that would move the boundary."""
    listed = [
      *cells.boundaries((0.1, 0.9), rate=0.05, cluster_std=0.1),
      *cells.boundaries((0.1,), rate=0.4, cluster_std=1.0),
    ]
    assert [cell["name"] for cell in listed] == [
      "2-D, sigma 0.1: CE, no noise",
      "2-D, sigma 0.1: CE, one-sided noise 0.05",
      "2-D, sigma 0.1: LS 0.1, one-sided noise 0.05",
      "2-D, sigma 0.1: LS 0.9, one-sided noise 0.05",
      "2-D, sigma 1: CE, no noise",
      "2-D, sigma 1: CE, one-sided noise 0.4",
      "2-D, sigma 1: LS 0.1, one-sided noise 0.4",
    ]
    runs = []
    for name in ("digits_noisy", "cifar_noisy"):
      sweep_config = make_sweep(listed, seeds=1)
      sweep_config.base = shipped.load(name, "cross_entropy")
      runs.append([cell.runs[0] for cell in plan.plan(sweep_config)])
    for one, other in zip(*runs):
      for section in ("data", "noise", "loss", "optim", "checkpoint"):
        assert getattr(one, section) == getattr(other, section)
      assert one.train == dataclasses.replace(other.train, log_every=one.train.log_every)
      assert (one.optim.weight_decay, one.model.name) == (0, "linear")
    assert [run.data.cluster_std for run in runs[0]] == [0.1] * 4 + [1.0] * 3
    assert [run.noise.rate for run in runs[0]] == [0, 0.05, 0.05, 0.05, 0, 0.4, 0.4]

  def test_candidates(self, tmp_path):
    """The other points of the grid, named by their values, and sweep.json says whose they are."""
    chosen = cells.curves((0.1,), rates=(0.2,), seeds=1)[:2]
    axes = {"optim.learning_rate": (0.05, 0.02), "optim.weight_decay": (1e-4, 0.01)}
    base = small(**{"optim.learning_rate": 0.05, "data.validation_examples": 50})
    listed = cells.candidates(chosen, axes, base)
    assert [cell["name"] for cell in listed[3:]] == [
      "LS 0.1, noise 0.2; optim.learning_rate 0.05, optim.weight_decay 0.01",
      "LS 0.1, noise 0.2; optim.learning_rate 0.02, optim.weight_decay 0.0001",
      "LS 0.1, noise 0.2; optim.learning_rate 0.02, optim.weight_decay 0.01",
    ]
    sweep_config = make_sweep([*chosen, *listed], **{"data.validation_examples": 50})
    planned = plan.plan(sweep_config)
    assert planned[5].runs[0].optim.weight_decay == 0.01
    assert planned[5].runs[0].loss.name == "label_smoothing"
    assert [len(cell.runs) for cell in planned] == [1] * 8
    plan.write_index(planned, tmp_path, "digits")
    written = files.read_json(tmp_path / "sweep.json")["cells"]
    names = ["CE, noise 0.2", "LS 0.1, noise 0.2"]
    expected = [None, None, *[name for name in names for _ in range(3)]]
    assert [cell["candidate_of"] for cell in written] == expected
    with pytest.raises(UserError, match=r"candidate_of = 'CE, noise 0.2': must be the name of a"):
      plan.plan(make_sweep(listed, **{"data.validation_examples": 50}))
    nested = {**listed[0], "name": "nested", "candidate_of": listed[0]["name"]}
    with pytest.raises(UserError, match=r"cell 'nested': candidate_of = .* is no candidate itself"):
      plan.plan(make_sweep([*chosen, *listed, nested], **{"data.validation_examples": 50}))
    with pytest.raises(UserError, match=r"data.validation_examples = 0: must be above 0: cand"):
      plan.plan(make_sweep([*chosen, *listed]))

  @pytest.mark.parametrize(
    ("cell", "message"),
    [
      ({"loss.alfa": 0.1}, r"cell 'bad': config.loss.alfa: no such field"),
      (
        {"losss.alpha": 0.1},
        r"cell 'bad': config.losss.alpha: no such field; did you mean config.loss.alpha",
      ),
      ({"loss.alpha": 7.0}, r"cell 'bad': config.loss.alpha = 7.0: must be in \[0, 1\]"),
    ],
  )
  def test_bad_cells(self, cell, message):
    with pytest.raises(UserError, match=message):
      plan.plan(make_sweep([{"name": "bad", "changes": cell}]))

  def test_bad_sweeps(self):
    with pytest.raises(config_lib.ConfigError, match=r"config.seeds = 0"):
      plan.plan(make_sweep(EVERYTHING, seeds=0))
    with pytest.raises(config_lib.ConfigError, match="must be 1: a sweep gives each run one"):
      plan.plan(make_sweep(EVERYTHING, **{"train.num_devices": 2}))
    with pytest.raises(config_lib.ConfigError, match=r"config.base: is missing"):
      plan.plan(ml_collections.ConfigDict({"label": "x", "seeds": 1}))

  @pytest.mark.parametrize("path", sorted((ROOT / "configs/sweeps").glob("*.py")), ids=str)
  def test_every_sweep_file_plans(self, path):
    scope = {}
    exec(path.read_text(), scope)
    config = scope["get_config"]()
    config.seeds = 1
    assert len(plan.plan(config)) >= 8
    assert f"configs/sweeps/{path.name}" in scope["__doc__"]

  def test_the_first_seed_of_all_cells_comes_first(self, tmp_path):
    planned = plan.plan(make_sweep(EVERYTHING[:2], seeds=2))
    planned[1] = dataclasses.replace(planned[1], runs=planned[1].runs[:1])
    runs = [run.config for run in plan.runs_of(planned, tmp_path)]
    assert runs == [planned[0].runs[0], planned[1].runs[0], planned[0].runs[1]]

  def test_arguments_of_the_sweeps_on_cifar10(self):
    fewer = plan.plan(shipped.load("alpha_cifar10", "0.1,0.4/0.2"))
    assert len(fewer) == 1 + 3 * 2
    assert {run.noise.rate for cell in fewer for run in cell.runs} == {0.2}
    assert len(plan.plan(shipped.load("alpha_cifar10", "0.1"))) == 4 * (1 + 3)
    run = plan.plan(shipped.load("human_cifar10", "800"))[3].runs[0]
    assert (run.train.num_steps, run.optim.boundaries) == (800, (400, 600))
    assert run.teacher.train.num_steps == 100
    worst = plan.plan(shipped.load("human_cifar10", "800,worse_label"))
    assert len(worst) == 4
    assert {run.noise.labels for cell in worst for run in cell.runs} == {"worse_label"}
    for name, argument, why in (
      ("alpha_cifar10", "0.1,x", "must be "),
      ("human_cifar10", "0", "must be a number of steps"),
      ("human_cifar10", "800,worst", "label sets must be among aggre_label"),
    ):
      with pytest.raises(UserError, match=f"{name}:{argument}: {why}"):
        shipped.load(name, argument)


class TestShardOf:
  @pytest.mark.parametrize(
    ("flag", "environment", "expected"),
    [
      (None, {}, (0, 1)),
      ("2/3", {}, (2, 3)),
      ("2/3", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "9"}, (2, 3)),
      (None, {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "8"}, (5, 8)),
      (
        None,
        {
          "SLURM_ARRAY_TASK_ID": "5",
          "SLURM_ARRAY_TASK_MIN": "1",
          "SLURM_ARRAY_TASK_COUNT": "8",
        },
        (4, 8),
      ),
      ("4", {"JOB_COMPLETION_INDEX": "3"}, (3, 4)),
      ("4", {"SLURM_ARRAY_TASK_ID": "3"}, (3, 4)),
    ],
  )
  def test_understood(self, flag, environment, expected):
    assert shards.shard_of(flag, environment) == expected

  @pytest.mark.parametrize(
    ("flag", "environment", "message"),
    [
      ("x", {}, "must be i/n"),
      ("3/3", {}, r"index 3 must be in \[0, 3\)"),
      ("4", {}, "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX"),
      (None, {"JOB_COMPLETION_INDEX": "3"}, "needs --shard=<number of jobs>"),
      ("2", {"JOB_COMPLETION_INDEX": "3"}, r"index 3 must be in \[0, 2\)"),
    ],
  )
  def test_refused(self, flag, environment, message):
    with pytest.raises(UserError, match=message):
      shards.shard_of(flag, environment)


def parameters(workdir):
  return loading.load_run(workdir)[2]


def packed(configs, where, layout, teachers=None):
  """Trains runs at once; returns their parameters."""
  runs = [setup.prepare(c, [teachers[i]] if teachers else ()) for i, c in enumerate(configs)]
  paths = [where / str(i) for i in range(len(configs))]
  free = [leases.Lease(path) for path in paths]
  execution.train_pack(runs, free, layout, stop=[], bar=tqdm(disable=True))
  return [parameters(path) for path in paths]


class TestPacking:
  """A run's result does not depend on how it was packed.

  Bitwise, whatever runs beside it, for a sequential packing; to rtol 2e-3, atol 2e-4 after six
  steps between packings, like the one run shared by devices.
  """

  @pytest.fixture
  def make_config(self, tmp_path, make_config):
    """Digits with one split for all data seeds, so that runs of several share a pack."""
    digits = data.load(config_lib.Data(name="digits"))
    names = ("train_images", "train_labels", "test_images", "test_labels")
    np.savez(tmp_path / "digits.npz", **{name: getattr(digits, name) for name in names})
    of_file = {"data.name": "npz", "data.path": str(tmp_path / "digits.npz")}
    return lambda **changes: make_config(**of_file | changes)

  @pytest.fixture
  def configs(self, make_config):
    return [
      make_config(**changes)
      for changes in (
        {},
        {"loss.name": "label_smoothing", "loss.alpha": 0.4, "seed.data": 3},
        {"loss.name": "forward_correction", "noise.rate": 0.4, "seed.noise": 2},
        {"loss.name": "backward_correction", "optim.clip_norm": 1.0, "seed.init": 5},
        {"data.validation_examples": 0, "optim.learning_rate": 0.02},
      )
    ]

  @pytest.mark.slow
  def test_neighbours_do_not_matter(self, tmp_path, configs):
    devices = tuple(devices_lib.choose(2))
    alone = packed(configs[:1], tmp_path / "alone", devices_lib.Layout(devices[:1]))[0]
    for name, order, layout in (
      ("three", [1, 0, 2], devices_lib.Layout(devices[:1], width=3)),
      ("five", [3, 1, 2, 4, 0], devices_lib.Layout(devices, width=3)),
      ("idle", [0], devices_lib.Layout(devices, width=2)),
    ):
      found = packed([configs[i] for i in order], tmp_path / name, layout)
      jax.tree.map(np.testing.assert_array_equal, found[order.index(0)], alone)

  @pytest.mark.parametrize(
    ("model", "packing", "width"),
    [
      ("mlp", "vmap", 2),
      ("mlp", "sequential", 2),
      pytest.param("small_cnn", "sequential", 1, marks=pytest.mark.slow),
      pytest.param("small_cnn", "grouped", 2, marks=pytest.mark.slow),
      pytest.param("small_cnn", "im2col", 2, marks=pytest.mark.slow),
    ],
  )
  def test_every_packing_agrees(self, tmp_path, make_config, model, packing, width):
    changes = {"model.name": model, "data.crop_padding": 1, "train.num_steps": 3}
    configs = [make_config(**changes, **{"seed.data": s, "seed.init": s}) for s in range(2)]
    layout = devices_lib.Layout(tuple(devices_lib.choose(2)), width=width, packing=packing)
    for i, found in enumerate(packed(configs, tmp_path / "packed", layout)):
      execution.train_and_evaluate(configs[i], tmp_path / str(i))
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4),
        found,
        parameters(tmp_path / str(i)),
      )

  def test_files_are_those_of_an_ordinary_run(self, tmp_path, configs):
    layout = devices_lib.Layout(tuple(devices_lib.choose(2)), width=2)
    packed(configs[:3], tmp_path / "packed", layout)
    result = execution.train_and_evaluate(configs[1], tmp_path / "ordinary")
    there = files.read_json(tmp_path / "packed/1/result.json")
    assert there.keys() == result.keys()
    assert there["final"]["test"]["nll"] == pytest.approx(result["final"]["test"]["nll"], rel=1e-3)
    assert there["noise"] == result["noise"]
    names = [
      {p.name for p in d.iterdir() if "tfevents" not in p.name}
      for d in (tmp_path / "packed/1", tmp_path / "ordinary")
    ]
    assert names[0] == names[1]
    # The next command finds it finished.
    assert execution.train_and_evaluate(configs[1], tmp_path / "packed/1") == there

  def test_students_pack(self, tmp_path, make_distillation):
    """Each with its own teacher, temperature and convention, in one program."""
    configs = [
      make_distillation(
        **{
          "student.temperature": temperature,
          "student.convention": convention,
          "teacher.seed.init": seed,
        }
      )
      for seed, temperature, convention in (
        (0, 1.0, "teacher_only"),
        (1, 2.0, "both_t_squared"),
        (2, 4.0, "teacher_only"),
        (0, 4.0, "both"),
      )
    ]
    assert len({plan.pack_key(c) for c in configs}) == 1
    teachers, expected = [], []
    for i, config in enumerate(configs):
      stages.teach_and_train(config, tmp_path / str(i) / "student")
      expected.append(parameters(tmp_path / str(i) / "student"))
      (path,) = stages.teacher_workdirs(config, tmp_path / str(i) / "student")
      teachers.append(teachers_lib.load(path))
    layout = devices_lib.Layout(tuple(devices_lib.choose(2)), width=2)
    found = packed(configs, tmp_path / "packed", layout, teachers)
    for one, other in zip(found, expected):
      jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), one, other)

  def test_key_tells_shapes_apart(self, make_config, make_distillation):
    base = plan.pack_key(make_config())
    for same in (
      {"seed.noise": 4},
      {"noise.kind": "none", "noise.rate": 0.0},
      {"loss.name": "smearing", "loss.matrix": "m.npy"},
      {"optim.learning_rate": 1.0},
    ):
      assert plan.pack_key(make_config(**same)) == base
    for other in (
      {"model.hidden": 8},
      {"train.num_steps": 7},
      {"data.validation_examples": 5},
      {"optim.boundaries": (3,)},
    ):
      assert plan.pack_key(make_config(**other)) != base
    student = plan.pack_key(make_distillation())
    assert student != base
    assert plan.pack_key(make_distillation(**{"student.beta": 0.4})) == student
    assert plan.pack_key(make_distillation(**{"student.beta": 0.0})) != student
    assert plan.pack_key(make_distillation(**{"teacher.model.hidden": 8})) != student


class TestRedrawnData:
  """A pack holds one draw of a data set that seed.data draws; one program serves all draws."""

  def test_keys(self, make_config):
    one, other = (make_config(**{"seed.data": seed}) for seed in range(2))
    assert plan.program_key(one) == plan.program_key(other)
    assert plan.pack_key(one) != plan.pack_key(other)
    assert setup.prepare(one).model == setup.prepare(other).model
    fixed = [make_config(**{"data.name": "cifar10", "seed.data": seed}) for seed in range(2)]
    assert plan.pack_key(fixed[0]) == plan.pack_key(fixed[1])

  def test_runner_keeps_draws_apart(self, tmp_path, make_config, monkeypatch):
    """Each run of a mixed list is bitwise what it is in a pack of its own draw alone."""
    configs = [
      make_config(**{"seed.data": seed, "seed.init": init})
      for init, seed in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    packs = []
    original = execution.train_pack

    def train_pack(runs, *args, **kwargs):
      packs.append([run.config.seed.data for run in runs])
      return original(runs, *args, **kwargs)

    monkeypatch.setattr(execution, "train_pack", train_pack)
    for name, chosen in (("mixed", configs), ("zero", configs[::2]), ("one", configs[1::2])):
      runs = [plan.PlannedRun(c, tmp_path / name / config_lib.config_hash(c)) for c in chosen]
      sweep_execution.Runner([], tqdm(disable=True)).train(runs)
    assert packs == [[0, 0], [1, 1], [0, 0], [1, 1]]
    for config in configs:
      alone = tmp_path / ("one" if config.seed.data else "zero") / config_lib.config_hash(config)
      mixed = tmp_path / "mixed" / config_lib.config_hash(config)
      jax.tree.map(np.testing.assert_array_equal, parameters(mixed), parameters(alone))

  def test_few_runs_leave_no_slot_idle(self, tmp_path, make_config):
    run = plan.PlannedRun(make_config(), tmp_path)
    widths = [sweep_execution.layout_for(run, count).width for count in (1, 4, 5, 32, 100)]
    assert widths == [1, 1, 2, 8, 8]  # on four devices

  def test_the_packing_of_a_flag_is_used(self, tmp_path, make_config, monkeypatch):
    run = plan.PlannedRun(make_config(), tmp_path / "run")
    monkeypatch.setattr(execution, "train_pack", lambda *args, **_: layouts.append(args[2]))
    layouts = []
    runner = sweep_execution.Runner([], tqdm(disable=True), packing=("vmap", 3))
    runner._train_group([run], 0)
    assert [(layout.packing, layout.width) for layout in layouts] == [("vmap", 3)]
    many = sweep_execution.layout_for(run, 5, ("sequential", 3))
    assert (many.packing, many.width) == ("sequential", 2)  # on four devices

  def test_the_kind_of_a_packing_chooses_its_convolution(self, tmp_path, make_config):
    prepared = setup.prepare(make_config(**{"model.name": "small_cnn"}))
    on = tuple(devices_lib.choose(1))
    found = [
      loop.Pack([prepared], devices_lib.Layout(on, width=2, packing=kind)).model.convolution
      for kind in devices_lib.PACKINGS
    ]
    assert found[:2] == [cpu_conv.conv_general_dilated] * 2
    assert found[2] is jax.lax.conv_general_dilated
    assert found[3] not in found[:3]

  @pytest.mark.parametrize("text", ["vmap", "vmap:", "vmap:0", "vmap:1025", "vmap:-1", "gruped:4"])
  def test_a_packing_that_is_none_is_refused(self, text):
    assert sweep_execution.packing_of("im2col:16") == ("im2col", 16)
    with pytest.raises(UserError, match=f"--packing = '{text}': must be sequential or vmap or"):
      sweep_execution.packing_of(text)

  def test_a_pack_of_two_draws_is_refused(self, tmp_path, make_config):
    configs = [make_config(**{"seed.data": seed}) for seed in range(2)]
    layout = devices_lib.Layout(tuple(devices_lib.choose(1)), width=2)
    with pytest.raises(ValueError, match="share their images; the train images differ"):
      packed(configs, tmp_path, layout)


def run_sweep(config, directory, shard=(0, 1), on_call=None):
  planned = plan.plan(config)
  print(sweep.train_and_report(planned, directory, config.label, shard, on_call=on_call))


class TestSweep:
  def test_all_cells_one_of_which_diverges(self, tmp_path, capsys):
    """BC without clipping at an absurd rate diverges; its student is left out; all else ends."""
    diverging = {
      "name": "absurd",
      "changes": cells.method("BC", 0.9) | {"optim.learning_rate": 1e9, "optim.clip_norm": 0.0},
    }
    student = cells.students((0.2,), (1.0,))[3]
    changes = {f"teacher.{k}": v for k, v in diverging["changes"].items()}
    orphan = {"name": "orphan", "changes": student["changes"] | changes}
    config = make_sweep([*EVERYTHING, diverging, orphan])
    run_sweep(config, tmp_path)
    results = {
      cell.name: [
        files.read_json(r.workdir / "result.json")["status"] for r in plan.runs_of([cell], tmp_path)
      ]
      for cell in plan.plan(config)
      if cell.name != "orphan"
    }
    assert results.pop("absurd") == ["diverged"] * 2
    assert set(map(tuple, results.values())) == {("finished", "finished")}
    (orphan,) = [cell for cell in plan.plan(config) if cell.name == "orphan"]
    assert not any(run.workdir.exists() for run in plan.runs_of([orphan], tmp_path))
    report = (tmp_path / "report.md").read_text()
    assert "absurd: 2 of 2 diverged" in report
    assert "orphan: 2 of 2 missing" in report
    assert "C1" in capsys.readouterr().out
    # Again: nothing is trained, the report is the same.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/result.json")}
    run_sweep(config, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/result.json")} == before
    assert (tmp_path / "report.md").read_text() == report

  def test_stop_and_resume(self, tmp_path):
    """SIGTERM in the middle of a pack: the runs resume from where they were, to the same end."""
    config = make_sweep(EVERYTHING)
    run_sweep(config, tmp_path / "whole")
    calls = 0

    def stopping(at_step):
      nonlocal calls
      calls += 1
      if calls in (1, 4):  # in the pack of ordinary runs, and in that of students
        signal.raise_signal(signal.SIGTERM)

    for _ in range(2):
      with pytest.raises(loop.Stopped):
        run_sweep(config, tmp_path / "parts", on_call=stopping)
      assert not (tmp_path / "parts/report.md").exists()
    run_sweep(config, tmp_path / "parts")
    assert (tmp_path / "parts/results.json").read_bytes() == (
      tmp_path / "whole/results.json"
    ).read_bytes()

  def test_shards_make_the_same_report(self, tmp_path, capsys):
    config = make_sweep(EVERYTHING)
    run_sweep(config, tmp_path / "whole")
    run_sweep(config, tmp_path / "parts", shard=(1, 2))
    assert "of others are not yet" in capsys.readouterr().out
    assert not (tmp_path / "parts/report.md").exists()
    run_sweep(config, tmp_path / "parts", shard=(0, 2))
    for name in ("results.json", "tables/table_a.csv", "tables/table_c.csv", "tables/claims.csv"):
      assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

  def test_runs_in_other_hands_are_waited_for(self, tmp_path, monkeypatch):
    """A run that another process holds is left to it, and trained here once it lets go."""
    config = make_sweep(EVERYTHING[:2], seeds=1)
    first = plan.runs_of(plan.plan(config), tmp_path)[0]
    script = (
      "import sys, time; from lsjax.runs import leases\n"
      "with leases.claim(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(first.workdir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
      assert holder.stdout.readline() == "held\n"
      with pytest.raises(leases.InUseError, match="in use by another process"):
        execution.train_and_evaluate(first.config, first.workdir)
      waits = []

      def wait(seconds):
        waits.append(seconds)
        assert not (first.workdir / "result.json").exists()
        holder.kill()
        holder.wait()

      monkeypatch.setattr(sweep_execution.time, "sleep", wait)
      run_sweep(config, tmp_path)
    assert len(waits) == 1
    assert (first.workdir / "result.json").exists()

  def test_dry_run_writes_nothing(self, tmp_path):
    config = make_sweep(EVERYTHING)
    text = estimate.dry_run(plan.plan(config), tmp_path / "pool", (0, 2))
    assert "LS 0.1, noise 0.2" in text
    assert "20 cells, 40 distinct runs; in shard 0/2" in text
    assert text.count("program: mlp on digits, 6 steps") == 2
    assert "estimate: " in text
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize(
  ("args", "message"),
  [
    (["--config.base.loss.alfa=1"], "did you mean config.base.loss.alpha?"),
    (["--config.base.train.batch_size=0"], "config.base.train.batch_size = 0"),
    (["--shard=5/2"], "--shard: index 5 must be in [0, 2)"),
  ],
)
def test_bad_input_is_one_line(tmp_path, args, message):
  done = subprocess.run(
    [
      sys.executable,
      "-m",
      "lsjax.sweep",
      "--config=configs/sweeps/digits_distill.py",
      f"--workdir={tmp_path / 'pool'}",
      *args,
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 2
  lines = [line for line in done.stderr.splitlines() if line.strip()]
  assert len(lines) == 1
  assert message in lines[0]
  assert not (tmp_path / "pool").exists()
