"""Launch scripts: linted, their dry runs, and tpu_vm.sh and slurm.sbatch against stand-ins."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent
SCRIPTS = ("local_processes.sh", "slurm.sbatch", "tpu_vm.sh")


def test_shellcheck():
  names = [str(ROOT / "launch" / name) for name in SCRIPTS] + [str(ROOT / ".ci/run")]
  program = shutil.which("shellcheck", path=pathlib.Path(sys.executable).parent) or "shellcheck"
  done = subprocess.run([program, *names], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [*SCRIPTS, "gke_jobset.yaml"])
def test_header_says_what_it_does_needs_and_costs(name):
  text = (ROOT / "launch" / name).read_text()
  header = [line for line in text.splitlines()[:40] if line.startswith("#")]
  for word in ("Needs:", "Costs:", "Does:"):
    assert any(word in line for line in header), word
  for secret in ("password", "token", "api_key", "BEGIN PRIVATE"):
    assert secret not in text


# The parts of JobSet v1alpha2 and Job v1 that are used, closed to anything else: a misspelt field
# is an error, as it is for the API server with strict validation.
def record(required=(), **properties):
  return {
    "type": "object",
    "properties": properties,
    "required": list(required),
    "additionalProperties": False,
  }


TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}
CONTAINER = record(
  ("name", "image", "command", "args", "resources"),
  name=TEXT,
  image=TEXT,
  command={"type": "array", "items": TEXT},
  args={"type": "array", "items": TEXT},
  env={
    "type": "array",
    "items": record(
      ("name",),
      name=TEXT,
      value=TEXT,
      valueFrom=record(("fieldRef",), fieldRef=record(("fieldPath",), fieldPath=TEXT)),
    ),
  },
  ports={"type": "array", "items": record(("containerPort",), containerPort=COUNT)},
  resources=record(("limits",), limits={"type": "object", "additionalProperties": COUNT}),
  volumeMounts={"type": "array", "items": record(("name", "mountPath"), name=TEXT, mountPath=TEXT)},
)
POD = record(
  ("restartPolicy", "containers", "terminationGracePeriodSeconds"),
  serviceAccountName=TEXT,
  restartPolicy={"enum": ["Never", "OnFailure"]},
  terminationGracePeriodSeconds=COUNT,
  nodeSelector=TEXTS,
  containers={"type": "array", "items": CONTAINER, "minItems": 1},
  volumes={
    "type": "array",
    "items": record(
      ("name",), name=TEXT, persistentVolumeClaim=record(("claimName",), claimName=TEXT)
    ),
  },
)
JOB = record(
  ("parallelism", "completions", "completionMode", "backoffLimit", "template"),
  parallelism=COUNT,
  completions=COUNT,
  completionMode={"enum": ["Indexed", "NonIndexed"]},
  backoffLimit=COUNT,
  template=record(("spec",), metadata=record(labels=TEXTS), spec=POD),
)
JOBSET = record(
  ("apiVersion", "kind", "metadata", "spec"),
  apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
  kind={"const": "JobSet"},
  metadata=record(("name",), name=TEXT, labels=TEXTS),
  spec=record(
    ("replicatedJobs",),
    failurePolicy=record(("maxRestarts",), maxRestarts=COUNT),
    network=record(enableDNSHostnames={"type": "boolean"}, subdomain=TEXT),
    replicatedJobs={
      "type": "array",
      "minItems": 1,
      "items": record(
        ("name", "replicas", "template"),
        name=TEXT,
        replicas=COUNT,
        template=record(("spec",), spec=JOB),
      ),
    },
  ),
)


def jobsets():
  return list(yaml.safe_load_all((ROOT / "launch/gke_jobset.yaml").read_text()))


def test_jobsets_fit_the_schema():
  documents = jobsets()
  for document in documents:
    jsonschema.validate(document, JOBSET)
  assert len(documents) == 3
  broken = jobsets()[0]
  broken["spec"]["replicatedJobs"][0]["template"]["spec"]["paralelism"] = 4
  with pytest.raises(jsonschema.ValidationError, match="paralelism"):
    jsonschema.validate(broken, JOBSET)


def test_jobsets_are_consistent():
  for document in jobsets():
    (replicated,) = document["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert job["parallelism"] == job["completions"]
    flags = dict(a.removeprefix("--").split("=", 1) for a in container["args"])
    assert (ROOT / flags["config"]).exists()
    environment = {e["name"]: e.get("value") for e in container.get("env", [])}
    if "shard" in flags:
      assert int(flags["shard"]) == job["completions"]
    if "LSJAX_NUM_PROCESSES" in environment:
      assert int(environment["LSJAX_NUM_PROCESSES"]) == job["completions"]
      host, _, port = environment["LSJAX_COORDINATOR"].partition(":")
      name, _, subdomain = host.partition(".")
      assert name == f"{document['metadata']['name']}-{replicated['name']}-0-0"
      assert subdomain == document["spec"]["network"]["subdomain"]
      assert container["ports"] == [{"containerPort": int(port)}]


def run(*args, environment, cwd=ROOT):
  env = {"PATH": os.environ["PATH"], **environment}
  return subprocess.run(args, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_local_processes_dry_run():
  path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
  done = run(
    *("launch/local_processes.sh", "--dry_run", "2", "--config=x.py"),
    environment={"PATH": path, "PORT": "4567", "DEVICES": "3"},
  )
  assert done.stdout.splitlines() == [
    f"LSJAX_COORDINATOR=127.0.0.1:4567 LSJAX_NUM_PROCESSES=2 LSJAX_PROCESS_ID={i} "
    "XLA_FLAGS='--xla_force_host_platform_device_count=3' python -m lsjax.main --config=x.py"
    for i in range(2)
  ]
  assert run("launch/local_processes.sh", "x", environment={}).returncode == 2


def program(path, text):
  """Writes a stand-in for a program."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("#!/usr/bin/env bash\n" + text)
  path.chmod(path.stat().st_mode | stat.S_IXUSR)


class TestTpuVm:
  """gcloud is a stand-in that notes its arguments and runs what it would run on a worker."""

  @pytest.fixture
  def environment(self, tmp_path):
    program(
      tmp_path / "bin/gcloud",
      """
echo "$*" | head -1 >> "$NOTES"
case "$*" in
  *describe*) echo ACTIVE ;;
  *ssh*)
    for argument in "$@"; do
      if [[ $argument == --command=* ]]; then cd "$WORKER" && bash -c "${argument#--command=}"; fi
    done ;;
esac
""",
    )
    program(
      tmp_path / "bin/curl", "case $* in *agent-worker-number) echo 1 ;; *) echo a:b,c:d ;; esac\n"
    )
    program(tmp_path / "bin/git", 'mkdir -p "${@: -1}"\n')
    program(
      tmp_path / "bin/python3",
      'mkdir -p "$3/bin"; echo > "$3/bin/activate"; ln -s "$(type -P true)" "$3/bin/pip"\n',
    )
    program(tmp_path / "bin/python", 'printf "<%s>" "$@"; echo; exit "${EXIT:-0}"\n')
    (tmp_path / "worker").mkdir()
    return {
      "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
      "NOTES": str(tmp_path / "notes"),
      "WORKER": str(tmp_path / "worker"),
      "PROJECT": "p",
      "ZONE": "z",
      "REPOSITORY": "https://example.org/lsjax",
    }

  def test_run(self, tmp_path, environment):
    done = run(
      *("launch/tpu_vm.sh", "run", "main", "--config=c.py:forward,resnet56", "--workdir=a b"),
      environment=environment,
    )
    assert done.returncode == 0, done.stderr
    expected = "<-m><lsjax.main><--config=c.py:forward,resnet56><--workdir=a b><--distributed>"
    assert expected in done.stdout
    kinds = [line.split()[3] for line in (tmp_path / "notes").read_text().splitlines()]
    assert kinds == ["create", "describe", "ssh", "ssh", "ssh", "delete"]

  def test_sweep_is_a_shard_per_worker(self, environment):
    done = run(*("launch/tpu_vm.sh", "run", "sweep", "--config=c.py"), environment=environment)
    assert "<-m><lsjax.sweep><--config=c.py><--shard=1/2>" in done.stdout

  def test_status_of_the_job_and_deletion(self, tmp_path, environment):
    done = run(
      *("launch/tpu_vm.sh", "run", "main", "--config=c.py"), environment=environment | {"EXIT": "3"}
    )
    assert done.returncode == 3
    assert "delete" in (tmp_path / "notes").read_text().splitlines()[-1]

  def test_dry_run_only_says(self, tmp_path, environment):
    done = run(
      *("launch/tpu_vm.sh", "--dry_run", "run", "main", "--config=c.py"), environment=environment
    )
    assert done.returncode == 0
    assert not (tmp_path / "notes").exists()
    assert "--spot" in done.stdout
    assert "--accelerator-type=v4-32" in done.stdout
    on_demand = run(
      *("launch/tpu_vm.sh", "--dry_run", "create"), environment=environment | {"SPOT": "false"}
    )
    assert "--spot" not in on_demand.stdout

  def test_what_is_missing_is_named(self, environment):
    del environment["ZONE"]
    done = run("launch/tpu_vm.sh", "create", environment=environment)
    assert done.returncode != 0
    assert "set ZONE" in done.stderr
    assert run("launch/tpu_vm.sh", "creat", environment=environment).returncode == 2


def test_slurm(tmp_path):
  """At SIGTERM the job saves (here: ends with 143) and goes back into the queue."""
  program(tmp_path / "srun", 'printf "<%s>" "$@"; echo; exit "${EXIT:-0}"\n')
  program(tmp_path / "scontrol", 'echo "scontrol $*"\n')
  environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
  args = ("bash", "launch/slurm.sbatch", "main", "--config=c.py", "--workdir=a b")
  done = run(*args, environment=environment)
  assert done.returncode == 0
  expected = "<--kill-on-bad-exit=1><python><-m><lsjax.main><--config=c.py><--workdir=a b>\n"
  assert done.stdout == expected
  done = run(*args, environment=environment | {"EXIT": "143"})
  assert done.stdout == f"{expected}scontrol requeue 7\n"
  array = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2", "EXIT": "143"}
  assert "scontrol requeue 5_2\n" in run(*args, environment=environment | array).stdout
  assert run("bash", "launch/slurm.sbatch", "man", environment=environment).returncode == 2
  said = run(*args, environment=environment | {"LSJAX_DRY_RUN": "1"}).stdout
  assert said == "srun --kill-on-bad-exit=1 python -m lsjax.main --config=c.py --workdir=a b\n"
