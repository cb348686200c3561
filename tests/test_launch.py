"""Launch scripts: linted, their dry runs, and all of them against stand-ins."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

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
QUANTITY = {"anyOf": [COUNT, {"type": "string", "pattern": r"^\d+(m|Mi|Gi)?$"}]}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY}
REASONS = {"enum": ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"]}
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
  resources=record(("requests", "limits"), requests=QUANTITIES, limits=QUANTITIES),
  securityContext=record(
    allowPrivilegeEscalation={"type": "boolean"},
    capabilities=record(drop={"type": "array", "items": TEXT}),
  ),
  volumeMounts={"type": "array", "items": record(("name", "mountPath"), name=TEXT, mountPath=TEXT)},
)
POD = record(
  ("restartPolicy", "containers", "terminationGracePeriodSeconds"),
  serviceAccountName=TEXT,
  restartPolicy={"enum": ["Never", "OnFailure"]},
  terminationGracePeriodSeconds=COUNT,
  nodeSelector=TEXTS,
  securityContext=record(
    runAsNonRoot={"type": "boolean"},
    runAsUser=COUNT,
    runAsGroup=COUNT,
    fsGroup=COUNT,
    seccompProfile=record(("type",), type={"enum": ["RuntimeDefault", "Localhost", "Unconfined"]}),
  ),
  containers={"type": "array", "items": CONTAINER, "minItems": 1},
  volumes={
    "type": "array",
    "items": record(
      ("name",), name=TEXT, persistentVolumeClaim=record(("claimName",), claimName=TEXT)
    ),
  },
)
RULE = {
  **record(
    ("action",),
    action={"enum": ["FailJob", "FailIndex", "Ignore", "Count"]},
    onExitCodes=record(
      ("operator", "values"),
      containerName=TEXT,
      operator={"enum": ["In", "NotIn"]},
      values={"type": "array", "items": COUNT, "minItems": 1, "uniqueItems": True},
    ),
    onPodConditions={
      "type": "array",
      "items": record(("type",), type=TEXT, status={"enum": ["True", "False", "Unknown"]}),
    },
  ),
  "oneOf": [{"required": ["onExitCodes"]}, {"required": ["onPodConditions"]}],
}
JOB = record(
  ("parallelism", "completions", "completionMode", "backoffLimit", "template"),
  parallelism=COUNT,
  completions=COUNT,
  completionMode={"enum": ["Indexed", "NonIndexed"]},
  backoffLimit=COUNT,
  activeDeadlineSeconds=COUNT,
  podFailurePolicy=record(("rules",), rules={"type": "array", "items": RULE, "maxItems": 20}),
  template=record(("spec",), metadata=record(labels=TEXTS), spec=POD),
)
JOBSET = record(
  ("apiVersion", "kind", "metadata", "spec"),
  apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
  kind={"const": "JobSet"},
  metadata=record(("name",), name=TEXT, labels=TEXTS),
  spec=record(
    ("replicatedJobs",),
    failurePolicy=record(
      ("maxRestarts",),
      maxRestarts=COUNT,
      rules={
        "type": "array",
        "items": record(
          ("action",),
          name=TEXT,
          action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
          onJobFailureReasons={"type": "array", "items": REASONS},
        ),
      },
    ),
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


def each_job():
  for document in jobsets():
    (replicated,) = document["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    yield document["spec"], job, container


def test_jobsets_tell_failures_apart():
  """Statuses 2 and 3 end a job for good; preemption (143, DisruptionTarget) does not count."""
  for spec, job, container in each_job():
    final, disrupted, saved = job["podFailurePolicy"]["rules"]
    assert final["action"] == "FailJob"
    assert final["onExitCodes"]["operator"] == "In"
    assert final["onExitCodes"]["values"] == [2, 3]
    assert disrupted["action"] == saved["action"] == "Ignore"
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert saved["onExitCodes"]["values"] == [143]
    for rule in (final, saved):
      assert rule["onExitCodes"]["containerName"] == container["name"]
    # Without this rule JobSet would start a job anew that its own policy has ended.
    (rule,) = spec["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy", "DeadlineExceeded"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # as a pod failure policy demands


def test_jobsets_are_confined_and_bounded():
  for _, job, container in each_job():
    assert 0 < job["activeDeadlineSeconds"] <= 14 * 24 * 3600
    pod = job["template"]["spec"]["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    own = container["securityContext"]
    assert own == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    resources = container["resources"]
    assert {"cpu", "memory"} < set(resources["requests"])
    assert set(resources["limits"]) == set(resources["requests"])
    (accelerator,) = [key for key in resources["limits"] if "/" in key]
    assert resources["limits"][accelerator] == resources["requests"][accelerator]


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


@pytest.fixture
def begin():
  """Yields a function that starts a script in a process group of its own, as a terminal would."""
  started = []

  def start(*args, environment):
    env = {"PATH": os.environ["PATH"], **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started.append(subprocess.Popen(args, cwd=ROOT, env=env, start_new_session=True, **pipes))
    return started[-1]

  yield start
  for process in started:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    with process:  # closes its pipes and waits
      pass


def wait_for(condition, seconds=20):
  """Returns the first true value of `condition`; fails after some seconds."""
  end = time.monotonic() + seconds
  while not (value := condition()):
    assert time.monotonic() < end, "waited in vain"
    time.sleep(0.02)
  return value


def alive(pid):
  """Returns whether a process runs; one that ended and was not waited for does not."""
  try:
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False


# gcloud as far as the script uses it. $CLOUD holds the slice (its labels and state) and a home
# directory for each of $WORKERS workers; a job of the slice is run as the script asks for it.
GCLOUD = r"""
echo "${*//$'\n'/ }" >> "$CLOUD/notes"
name=$5
case "$*" in
  *'queued-resources create'*)
    if [[ -e $CLOUD/labels ]]; then echo 'ERROR: ALREADY_EXISTS' >&2; exit 1; fi
    for argument in "$@"; do
      if [[ $argument == --labels=* ]]; then labels=${argument#*=}; fi
    done
    if [[ -n ${RACE-} ]]; then
      echo "made-by=other,run-id=z" > "$CLOUD/labels"; echo ACTIVE > "$CLOUD/state"; exit 1
    fi
    if [[ -n ${QUOTA-} ]]; then echo 'ERROR: no quota' >&2; exit 1; fi
    echo "${labels-}" > "$CLOUD/labels"; echo "$name" > "$CLOUD/name"; echo ACTIVE > "$CLOUD/state"
    if [[ -n ${CREATING-} ]]; then sleep "$CREATING"; fi ;;
  *'queued-resources describe'*)
    if [[ ! -e $CLOUD/labels ]]; then echo 'ERROR: NOT_FOUND: it was not found' >&2; exit 1; fi
    IFS=, read -r made run < "$CLOUD/labels"
    case "$*" in
      *csv*) echo "$(cat "$CLOUD/state"),${made#*=},${run#*=}" ;;
      *) cat "$CLOUD/state" ;;
    esac ;;
  *'tpu-vm describe'*)
    if [[ ! -e $CLOUD/vm ]]; then echo 'ERROR: NOT_FOUND' >&2; exit 1; fi
    echo READY ;;
  *'queued-resources delete'*) rm -rf "$CLOUD/labels" "$CLOUD"/worker* ;;
  *ssh*)
    for argument in "$@"; do
      case $argument in
        --worker=all) workers=$(seq 0 $((WORKERS - 1))) ;;
        --worker=*) workers=${argument#*=} ;;
        --command=*) command=${argument#*=} ;;
      esac
    done
    if [[ -e $CLOUD/drops ]]; then
      past=$(($(grep -c ' ssh ' "$CLOUD/notes") - 2)) # the first two install and start
      if ((past > 0 && past <= $(cat "$CLOUD/drops"))); then exit 255; fi
    fi
    code=0
    for worker in $workers; do
      mkdir -p "$CLOUD/worker$worker"
      (cd "$CLOUD/worker$worker" && HOME=$PWD WORKER=$worker bash -c "$command") || code=$?
    done
    exit "$code" ;;
esac
"""

GIT = r"""
echo "$*" >> "$CLOUD/git"
case "$*" in
  *clone*) mkdir -p "${@: -1}" ;;
  *rev-parse*) echo 0123456789abcdef0123456789abcdef01234567 ;;
  *status*) printf '%s' "${DIRTY-}" ;;
esac
"""


class TestTpuVm:
  """gcloud, git and what runs on the workers are stand-ins that note what was asked of them."""

  COMMIT = "0123456789abcdef0123456789abcdef01234567"

  @pytest.fixture
  def cloud(self, tmp_path):
    return tmp_path / "cloud"

  @pytest.fixture
  def environment(self, tmp_path, cloud):
    cloud.mkdir()
    program(tmp_path / "bin/gcloud", GCLOUD)
    program(tmp_path / "bin/git", GIT)
    program(
      tmp_path / "bin/curl",
      'case $* in *agent-worker-number) echo "$WORKER" ;; *) seq -s, "$WORKERS" ;; esac\n',
    )
    program(
      tmp_path / "bin/python3",
      'if [[ $2 == venv ]]; then mkdir -p "$3/bin"; echo > "$3/bin/activate"\n'
      'ln -sf "$(type -P true)" "$3/bin/pip"; ln -sf "$(type -P true)" "$3/bin/uv"; fi\n',
    )
    program(
      tmp_path / "bin/python",
      'printf "<%s>" "$@"; echo\n'
      'if [[ -e $CLOUD/job$WORKER ]]; then . "$CLOUD/job$WORKER"; fi; exit "${EXIT:-0}"\n',
    )
    return {
      "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
      "CLOUD": str(cloud),
      "WORKERS": "2",
      "POLL": "0.1",
      "PROJECT": "p",
      "ZONE": "z",
      "REPOSITORY": "https://example.org/lsjax",
    }

  def notes(self, cloud):
    """Returns the commands given to gcloud, each as its verb and the whole line."""
    path = cloud / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(line.split()[3], line) for line in lines]

  def changes(self, cloud):
    return [verb for verb, _ in self.notes(cloud) if verb in ("create", "ssh", "delete")]

  def test_run(self, cloud, environment):
    args = ("launch/tpu_vm.sh", "run", "main", "--config=c.py:forward,resnet56", "--workdir=a b")
    done = run(*args, environment=environment)
    assert done.returncode == 0, done.stderr
    expected = "<-m><lsjax.main><--config=c.py:forward,resnet56><--workdir=a b><--distributed>"
    assert done.stdout.count(expected) == 1
    changes = self.changes(cloud)
    assert (changes[0], changes[-1]) == ("create", "delete")
    assert changes.count("create") == changes.count("delete") == 1

  def test_sweep_is_a_shard_per_worker(self, cloud, environment):
    (cloud / "job1").write_text('echo "$*" > "$CLOUD/shard1"')
    args = ("launch/tpu_vm.sh", "run", "sweep", "--config=c.py")
    done = run(*args, environment=environment)
    assert "<-m><lsjax.sweep><--config=c.py><--shard=0/2>" in done.stdout
    assert (cloud / "shard1").read_text() == "-m lsjax.sweep --config=c.py --shard=1/2\n"

  def test_status_of_the_job_and_deletion(self, cloud, environment):
    args = ("launch/tpu_vm.sh", "run", "main", "--config=c.py")
    done = run(*args, environment=environment | {"EXIT": "3"})
    assert done.returncode == 3
    assert self.changes(cloud)[-1] == "delete"

  def test_names_are_unique_and_labelled(self, cloud, environment):
    names = set()
    for _ in range(2):
      run("launch/tpu_vm.sh", "run", "main", "--config=c.py", environment=environment)
      names.add((cloud / "name").read_text().strip())
    assert len(names) == 2
    assert all(re.fullmatch(r"lsjax-[a-z0-9]+-\d{8}-[0-9a-f]{6}", name) for name in names), names
    created = [line for verb, line in self.notes(cloud) if verb == "create"]
    assert all(re.search(r"--labels=made-by=lsjax,run-id=\S+", line) for line in created)

  @pytest.mark.parametrize("labels", ["", "made-by=someone,run-id=x", "made-by=lsjax,run-id=x"])
  @pytest.mark.parametrize("action", ["run", "create", "install", "start", "delete"])
  def test_a_slice_of_another_is_not_touched(self, cloud, environment, labels, action):
    (cloud / "labels").write_text(labels + "\n")
    (cloud / "state").write_text("ACTIVE\n")
    given = environment | {"NAME": "mine", "RUN_ID": "y"}
    done = run("launch/tpu_vm.sh", action, "main", "--config=c.py", environment=given)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "mine" in done.stderr
    assert self.changes(cloud) == []

  def test_a_vm_without_a_queued_resource_is_not_touched(self, cloud, environment):
    (cloud / "vm").touch()
    given = environment | {"NAME": "mine"}
    done = run("launch/tpu_vm.sh", "run", "main", "--config=c.py", environment=given)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert self.changes(cloud) == []

  def test_a_slice_that_another_created_meanwhile_is_not_touched(self, cloud, environment):
    given = environment | {"NAME": "mine", "RACE": "1"}
    done = run("launch/tpu_vm.sh", "run", "main", "--config=c.py", environment=given)
    assert done.returncode == 2
    assert self.changes(cloud) == ["create"]

  def test_a_slice_that_cannot_be_had_is_an_error(self, cloud, environment):
    given = environment | {"QUOTA": "1"}
    done = run("launch/tpu_vm.sh", "run", "main", "--config=c.py", environment=given)
    assert done.returncode == 1
    assert "no quota" in done.stderr
    assert self.changes(cloud) == ["create"]

  @pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
  def test_a_signal_deletes_what_was_created(self, cloud, environment, begin, name):
    (cloud / "job0").write_text('touch "$CLOUD/began"; for i in $(seq 100); do sleep 0.1; done')
    args = ("launch/tpu_vm.sh", "run", "main", "--config=c.py")
    process = begin(*args, environment=environment)
    wait_for((cloud / "began").exists)
    number = signal.Signals[f"SIG{name}"]
    process.send_signal(number)
    process.communicate(timeout=20)  # a script that went on would end with the status of its job
    assert process.returncode == 128 + number
    assert self.changes(cloud)[-1] == "delete"
    assert not (cloud / "labels").exists()

  def test_a_signal_while_the_slice_is_asked_for_deletes_it(self, cloud, environment, begin):
    args = ("launch/tpu_vm.sh", "run", "main", "--config=c.py")
    process = begin(*args, environment=environment | {"CREATING": "1"})
    wait_for((cloud / "state").exists)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert not (cloud / "labels").exists()

  def test_an_error_of_the_script_deletes_what_was_created(self, cloud, environment, tmp_path):
    program(tmp_path / "bin/sleep", "exit 7\n")  # the script pauses by sleep
    (cloud / "job0").write_text("for i in $(seq 1000); do read -rt 0.01 <> <(:) || true; done")
    args = ("launch/tpu_vm.sh", "run", "main", "--config=c.py")
    done = run(*args, environment=environment)
    assert done.returncode == 7
    assert not (cloud / "labels").exists()

  def test_keep(self, cloud, environment):
    args = ("launch/tpu_vm.sh", "--keep", "run", "main", "--config=c.py")
    done = run(*args, environment=environment)
    assert done.returncode == 0
    assert "delete" not in self.changes(cloud)
    said = done.stderr.splitlines()[-1]
    name, run_id = re.search(r"NAME=(\S+) RUN_ID=(\S+) \S*tpu_vm.sh delete", said).groups()
    given = environment | {"NAME": name, "RUN_ID": run_id}
    assert run("launch/tpu_vm.sh", "delete", environment=given).returncode == 0
    assert self.changes(cloud)[-1] == "delete"

  def test_steps_alone(self, cloud, environment):
    given = environment | {"RUN_ID": "mine"}
    for step in (("create",), ("install",), ("start", "main", "--config=c.py"), ("follow",)):
      done = run("launch/tpu_vm.sh", *step, environment=given | {"EXIT": "3"})
      assert done.returncode == (3 if step[0] == "follow" else 0), done.stderr
    assert "<--config=c.py>" in done.stdout
    assert (cloud / "labels").exists()
    assert run("launch/tpu_vm.sh", "delete", environment=given).returncode == 0
    assert not (cloud / "labels").exists()
    del given["RUN_ID"]
    done = run("launch/tpu_vm.sh", "delete", environment=given)
    assert done.returncode == 2
    assert "RUN_ID" in done.stderr

  def test_a_running_job_is_not_installed_over(self, cloud, environment):
    given = environment | {"RUN_ID": "mine"}
    for worker in "01":
      (cloud / f"job{worker}").write_text("sleep 1")
    for step in (("create",), ("install",), ("start", "main", "--config=c.py")):
      assert run("launch/tpu_vm.sh", *step, environment=given).returncode == 0
    for step in (("install",), ("start", "main", "--config=d.py")):
      done = run("launch/tpu_vm.sh", *step, environment=given)
      assert done.returncode == 2
      assert "job is running" in done.stderr
    assert run("launch/tpu_vm.sh", "follow", environment=given).returncode == 0

  def test_follows_on_after_a_lost_connection(self, cloud, environment):
    (cloud / "drops").write_text("3\n")
    (cloud / "job0").write_text('sleep 1; echo "end of the job"; EXIT=3')
    done = run("launch/tpu_vm.sh", "run", "main", "--config=c.py", environment=environment)
    assert done.returncode == 3
    assert done.stdout.count("end of the job") == 1
    assert done.stdout.count("<lsjax.main>") == 1
    changes = self.changes(cloud)
    assert changes.count("create") == changes.count("delete") == 1
    assert changes[-1] == "delete"

  @pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0), (0, 0)])
  def test_a_sweep_ends_with_its_last_shard(self, cloud, environment, first, second):
    (cloud / "job0").write_text(f"EXIT={first}")
    (cloud / "job1").write_text(f'sleep 0.7; touch "$CLOUD/ended"; EXIT={second}')
    done = run("launch/tpu_vm.sh", "run", "sweep", "--config=c.py", environment=environment)
    assert (cloud / "ended").exists()
    assert done.returncode == max(first, second)
    assert self.changes(cloud)[-1] == "delete"

  def test_a_job_that_vanished_is_an_error(self, cloud, environment):
    (cloud / "job0").write_text("kill -9 $PPID; sleep 0.3")
    done = run(
      *("launch/tpu_vm.sh", "run", "main", "--config=c.py"),
      environment=environment | {"ATTEMPTS": "1"},
    )
    assert done.returncode == 137
    assert not (cloud / "labels").exists()

  def test_a_process_is_not_lost_for_ever(self, cloud, environment):
    done = run(
      *("launch/tpu_vm.sh", "run", "main", "--config=c.py"),
      environment=environment | {"EXIT": "4", "WORKERS": "1"},
    )
    assert done.returncode == 4
    changes = self.changes(cloud)
    assert changes.count("create") == changes.count("delete") == 5

  def test_a_preempted_slice_is_asked_for_again_with_the_same_commit(self, cloud, environment):
    (cloud / "job0").write_text(
      'if [[ ! -e $CLOUD/once ]]; then touch "$CLOUD/once"; echo SUSPENDED > "$CLOUD/state"\n'
      "EXIT=143; fi"
    )
    done = run("launch/tpu_vm.sh", "run", "main", "--config=c.py", environment=environment)
    assert done.returncode == 0, done.stderr
    changes = self.changes(cloud)
    assert changes.count("create") == changes.count("delete") == 2
    asked = (cloud / "git").read_text().splitlines()
    checkouts = [line for line in asked if line.startswith("checkout")]
    assert len(checkouts) == 4  # two workers, twice
    assert all(self.COMMIT in line for line in checkouts)
    assert sum("rev-parse" in line for line in asked) == 1

  def test_a_tree_with_changes_is_refused(self, cloud, environment):
    args = ("launch/tpu_vm.sh", "run", "main", "--config=c.py")
    dirty = environment | {"DIRTY": " M lsjax/main.py"}
    done = run(*args, environment=dirty)
    assert done.returncode == 2
    assert "ALLOW_DIRTY=true" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert self.notes(cloud) == []
    assert run(*args, environment=dirty | {"ALLOW_DIRTY": "true"}).returncode == 0
    assert run(*args, environment=dirty | {"COMMIT": "feed" * 10}).returncode == 0
    assert run(*args, environment=environment | {"COMMIT": "v1; rm x"}).returncode == 2

  def test_a_sweep_into_a_bucket_is_refused(self, cloud, environment):
    for value in (("--workdir=gs://b/x",), ("--workdir", "gs://b/x")):
      done = run("launch/tpu_vm.sh", "run", "sweep", *value, environment=environment)
      assert done.returncode == 2
      assert "/shared" in done.stderr
    assert self.notes(cloud) == []
    header = (ROOT / "launch/tpu_vm.sh").read_text().split("\nset -e")[0]
    assert not re.search(r"sweep .*gs://", header)

  def test_setup_comes_before_the_installation(self, cloud, environment):
    given = environment | {"SETUP": 'touch "$CLOUD/mounted$WORKER"'}
    done = run("launch/tpu_vm.sh", "run", "sweep", "--config=c.py", environment=given)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in cloud.glob("mounted*")) == ["mounted0", "mounted1"]

  def test_dry_run_only_says(self, cloud, environment):
    args = ("launch/tpu_vm.sh", "--dry_run", "run", "main", "--config=c.py")
    done = run(*args, environment=environment)
    assert done.returncode == 0, done.stderr
    assert not (cloud / "notes").exists()
    assert "--spot" in done.stdout
    assert "--accelerator-type=v4-32" in done.stdout
    assert self.COMMIT in done.stdout
    kinds = [line.split()[4] for line in done.stdout.splitlines() if line.startswith("gcloud")]
    assert (kinds[0], kinds[-1]) == ("describe", "delete")
    assert {"create", "ssh"} < set(kinds)
    args = ("launch/tpu_vm.sh", "--dry_run", "create")
    on_demand = run(*args, environment=environment | {"SPOT": "false"})
    assert "--spot" not in on_demand.stdout

  def test_what_is_missing_is_named(self, environment):
    del environment["ZONE"]
    done = run("launch/tpu_vm.sh", "create", environment=environment)
    assert done.returncode != 0
    assert "set ZONE" in done.stderr
    assert run("launch/tpu_vm.sh", "creat", environment=environment).returncode == 2


class TestSlurm:
  """srun and scontrol are stand-ins; the controller's answer is what SLURM's text output shows."""

  ARGS = ("bash", "launch/slurm.sbatch", "main", "--config=c.py", "--workdir=a b")
  STARTED = "<--kill-on-bad-exit=1><python><-m><lsjax.main><--config=c.py><--workdir=a b>\n"

  @pytest.fixture
  def environment(self, tmp_path):
    program(tmp_path / "srun", 'printf "<%s>" "$@"; echo; sleep "${FOR:-0}"; exit "${EXIT:-0}"\n')
    program(
      tmp_path / "scontrol",
      'if [[ $1 != show ]]; then echo "scontrol $*"; exit; fi\n'
      "[[ -n ${STATE-RUNNING} ]] || exit 1\n"
      'printf "JobId=7 JobName=lsjax\\n   JobState=%s Reason=None Dependency=(null)\\n" '
      '"${STATE-RUNNING}"\n',
    )
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}

  def test_runs_the_module(self, environment):
    done = run(*self.ARGS, environment=environment)
    assert done.returncode == 0
    assert done.stdout == self.STARTED
    assert run("bash", "launch/slurm.sbatch", "man", environment=environment).returncode == 2
    said = run(*self.ARGS, environment=environment | {"LSJAX_DRY_RUN": "1"}).stdout
    assert said == "srun --kill-on-bad-exit=1 python -m lsjax.main --config=c.py --workdir=a b\n"

  def test_the_warning_goes_to_the_tasks(self):
    """srun that gets SIGTERM itself kills its tasks, so that they could not save."""
    text = (ROOT / "launch/slurm.sbatch").read_text()
    assert "#SBATCH --signal=TERM@120\n" in text
    assert "kill -TERM" not in text

  def test_a_saved_job_goes_back_into_the_queue(self, environment):
    done = run(*self.ARGS, environment=environment | {"EXIT": "143"})
    assert done.stdout == f"{self.STARTED}scontrol requeue 7\n"
    assert done.returncode == 143
    array = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2", "EXIT": "143"}
    assert "scontrol requeue 5_2\n" in run(*self.ARGS, environment=environment | array).stdout

  @pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", "PENDING", "PREEMPTED", ""])
  def test_what_the_controller_ended_is_left_to_it(self, environment, state):
    """After scancel the state is no longer RUNNING; nor is it after a preemption by requeuing."""
    for status in ("143", "4"):
      done = run(*self.ARGS, environment=environment | {"EXIT": status, "STATE": state})
      assert done.stdout == self.STARTED
      assert done.returncode == int(status)

  @pytest.mark.parametrize("status", ["1", "2", "3", "130"])
  def test_other_ends_are_final(self, environment, status):
    done = run(*self.ARGS, environment=environment | {"EXIT": status})
    assert done.stdout == self.STARTED
    assert done.returncode == int(status)

  @pytest.mark.parametrize("status", ["4", "134"])
  def test_a_lost_process_is_tried_again_a_few_times(self, environment, status):
    given = environment | {"EXIT": status}
    assert "scontrol requeue 7\n" in run(*self.ARGS, environment=given).stdout
    given["SLURM_RESTART_COUNT"] = "4"
    assert "scontrol requeue 7\n" in run(*self.ARGS, environment=given).stdout
    given["SLURM_RESTART_COUNT"] = "5"
    done = run(*self.ARGS, environment=given)
    assert done.stdout == self.STARTED
    assert "LSJAX_RESTARTS" in done.stderr
    assert "requeue" in run(*self.ARGS, environment=given | {"LSJAX_RESTARTS": "6"}).stdout

  def test_scancel_lets_the_step_end(self, environment, begin):
    """scancel signals the batch shell too; it waits for the step and does not requeue."""
    given = environment | {"EXIT": "143", "FOR": "1", "STATE": "COMPLETING"}
    process = begin(*self.ARGS, environment=given)
    assert process.stdout.readline() == self.STARTED
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=10)
    assert process.returncode == 143
    assert "requeue" not in rest


class TestLocalProcesses:
  """python is a stand-in that sets a $TRAP, notes its process id and does its $JOB."""

  @pytest.fixture
  def environment(self, tmp_path):
    program(
      tmp_path / "bin/python",
      f'if [[ $1 == -c ]]; then exec {sys.executable} "$@"; fi\n'
      'eval "$TRAP"\n'
      'new=$PIDS/new$LSJAX_PROCESS_ID; echo $$ > "$new"; mv "$new" "$PIDS/$LSJAX_PROCESS_ID"\n'
      'eval "$JOB"\n',
    )
    (tmp_path / "pids").mkdir()
    return {
      "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
      "PIDS": str(tmp_path / "pids"),
      "TRAP": "trap 'exit 143' TERM",
      "JOB": "for i in $(seq 600); do sleep 0.1; done",
    }

  def pids(self, tmp_path, count=3):
    paths = [tmp_path / "pids" / str(i) for i in range(count)]
    wait_for(lambda: all(path.exists() for path in paths))
    return [int(path.read_text()) for path in paths]

  @pytest.fixture
  def start(self, begin):
    args = ("launch/local_processes.sh", "3", "--config=c.py")
    return lambda environment: begin(*args, environment=environment)

  @pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
  def test_a_signal_ends_all(self, tmp_path, environment, start, name):
    process = start(environment)
    pids = self.pids(tmp_path)
    process.send_signal(signal.Signals[f"SIG{name}"])
    process.communicate(timeout=10)
    assert process.returncode == 143
    assert not any(alive(pid) for pid in pids)

  def test_a_closed_terminal_lets_all_save(self, tmp_path, environment, start):
    """SIGHUP reaches the whole process group; only SIGTERM makes lsjax save."""
    trap = "trap 'touch $PIDS/saved$LSJAX_PROCESS_ID; exit 143' TERM"
    process = start(environment | {"TRAP": trap})
    pids = self.pids(tmp_path)
    os.killpg(process.pid, signal.SIGHUP)
    process.communicate(timeout=10)
    assert process.returncode == 143
    assert not any(alive(pid) for pid in pids)
    assert len(list((tmp_path / "pids").glob("saved*"))) == 3

  def test_a_kill_ends_all(self, tmp_path, environment, start):
    process = start(environment)
    pids = self.pids(tmp_path)
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids), seconds=10)

  @pytest.mark.parametrize("name", ["TERM", "KILL"])
  def test_a_process_that_ignores_the_signal_is_killed(self, tmp_path, environment, start, name):
    process = start(environment | {"TRAP": "trap '' TERM", "GRACE": "1"})
    pids = self.pids(tmp_path)
    process.send_signal(signal.Signals[f"SIG{name}"])
    process.wait(timeout=10)
    wait_for(lambda: not any(alive(pid) for pid in pids), seconds=10)

  def test_an_error_ends_the_others_with_its_status(self, tmp_path, environment, start):
    wait = "until [[ -e $PIDS/0 && -e $PIDS/1 && -e $PIDS/2 ]]; do sleep 0.05; done; "
    job = "if [[ $LSJAX_PROCESS_ID == 1 ]]; then " + wait + "exit 3; fi; " + environment["JOB"]
    process = start(environment | {"JOB": job})
    pids = self.pids(tmp_path)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 3
    assert "status 3" in errors
    assert not any(alive(pid) for pid in pids)

  def test_success(self, environment):
    done = run(
      *("launch/local_processes.sh", "2", "--config=c.py"),
      environment=environment | {"JOB": 'echo "I am $LSJAX_PROCESS_ID"'},
    )
    assert (done.returncode, done.stdout) == (0, "I am 0\n")
