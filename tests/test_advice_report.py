"""The report of an advice: what a person reads first, and that any names are safe in it."""

import html
import io
import json
import pathlib
import re
import subprocess
import sys
from base64 import b64encode

import numpy as np
import pytest
from PIL import Image

from lsjax.advice import report
from lsjax.advice.report import suspects, wording
from lsjax.reports import plotting, reading

ROOT = pathlib.Path(__file__).parent.parent
NONE = {"estimate": None, "low": None, "high": None}
HEADER = "id,given,proposed,score,probability_wrong,margin,area_under_margin\n"


@pytest.fixture
def quick(monkeypatch):
  """Leaves the drawing of figures out, which takes most of the time."""
  monkeypatch.setattr(plotting.Drawing, "image", lambda drawing, suffix: b"")


def interval(estimate, half=0.02):
  return {"estimate": estimate, "low": estimate - half, "high": estimate + half}


def row(method, moment, step, accuracy, behind, tied=False):
  return {
    "method": method,
    "moment": moment,
    "step": step,
    "noisy_accuracy": accuracy - 0.2,
    "clean_accuracy": interval(accuracy),
    "clean_nll": 0.3,
    "clean_ece": 0.04,
    "behind": interval(behind, 0.01 if behind else 0),
    "tied": tied,
    "why": "",
  }


def made_up(classes=("cat", "dog", "owl"), **changes):
  """The content of a small advice.json."""
  size = len(classes)
  matrix = np.eye(size) * 0.8 + 0.2 / size
  matrix[0, 0], matrix[0, 1] = matrix[0, 0] - 0.01, matrix[0, 1] + 0.01
  matrix = matrix.tolist()
  content = {
    "answer": [],
    "data": {
      "name": "pets.csv",
      "examples": 40,
      "classes": list(classes),
      "inputs": [12],
      "is_image": False,
      "annotators": [],
      "checked": 0,
      "test_examples": 0,
      "notes": ["2 rows without a label are left out"],
    },
    "noise_rate": interval(0.216, 0.03),
    "identified": "Only checked labels can tell THIS.",
    "estimates": [
      {"estimator": "dual T", "noise_rate": 0.216, "on_twin": 0.22, "matrix": matrix, "note": ""},
      {
        "estimator": "anchor",
        "noise_rate": 0.314,
        "on_twin": 0.271,
        "matrix": matrix,
        "note": "few anchors",
      },
    ],
    "twin": {"noise_rate": 0.218, "found": 0.223, "draws": 3},
    "transition": {
      "estimator": "dual T",
      "reason": "it errs least",
      "matrix": matrix,
      "low": (np.array(matrix) / 2).tolist(),
      "high": matrix,
    },
    "class_conditional": {"verdict": "cannot be told", "p": 0.25, "about": "Too few examples."},
    "suspects": {"expected": 14.2, "likely": 11, "precision": [{"count": 10, "precision": 0.93}]},
    "recommended": {
      "method": "GCE",
      "parameters": {"loss.name": "generalized_cross_entropy"},
      "stop_step": 300,
      "stopped_early": True,
      "workdir": "runs/0123abcd",
      "test_accuracy": NONE,
    },
    "expected_accuracy": interval(0.912) | {"why": ""},
    "ranking": [
      row("GCE", "stopped early", 300, 0.912, 0, tied=True),
      row("CE", "stopped early", 100, 0.87, 0.04),
      row("ELR", "stopped early", 200, 0.91, 0.002, tied=True),
      row("GCE", "end", 900, 0.905, 0.007, tied=True),
      row("CE", "end", 900, 0.75, 0.2),
    ],
    "curves": {"GCE": [[300, 0.7], [900, 0.69]], "CE": [[300, 0.6], [900, 0.5]], "BC": []},
    "folds": 5,
    "seeds": 2,
    "steps": 900,
    "model": "mlp",
    "left_out": ["8 methods are left out"],
    "lsjax": "1.2.3",
    "seconds": 61.0,
  }
  return content | changes


def written(directory, content, rows=None, images=None):
  """Writes the report of an advice; returns its HTML."""
  directory.mkdir(exist_ok=True)
  (directory / "advice.json").write_text(json.dumps(content))
  given, other = content["data"]["classes"][:2]
  rows = rows or [f"row-{i},{given},{other},1,{1 - i / 40:.3f},0,-{i}.5" for i in range(40)]
  (directory / "suspects.csv").write_text(HEADER + "".join(f"{line}\n" for line in rows))
  if images is not None:
    ids = np.array([line.split(",")[0] for line in rows])[::-1]
    np.savez(directory / "data.npz", train_images=images[::-1], train_ids=ids)
  report.write(directory)
  return (directory / "report.html").read_text()


def text_of(page):
  """The words of a page, without tags and style."""
  body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
  words = html.unescape(re.sub(r"<[^>]*>", " ", body)).replace(wording.SPACE, " ")
  return " ".join(words.split())


def answers(page):
  """The words of each answer of the first screen."""
  return [text_of(card) for card in re.findall(r'<section class="answer">.*?</section>', page)]


def test_first_screen(quick, tmp_path):
  page = written(tmp_path, made_up())
  rate, wrong, loss, accuracy, model = answers(page)
  assert rate == (
    "How noisy are my labels? 21.6 % of the 40 labels are wrong: between 18.6 and 24.6 %. Only "
    "checked labels can tell THIS."
  )
  assert wrong.startswith(
    "Which ones are wrong? 11 labels are more likely wrong than right; about 14 are expected to be "
    "wrong in all."
  )
  assert wrong.endswith("Expected to be wrong of the first 10: 93 %.")
  assert loss == (
    "Which loss and strength, and when to stop? GCE Stop at step 300 of 900. Generalized cross "
    "entropy with q 0.7. Cannot be told apart from it: ELR, GCE to the end."
  )
  assert accuracy == (
    "What accuracy can I expect? 91.2 % on clean labels, estimated from the noisy labels: between "
    "89.2 and 93.2 %. Plain cross-entropy to the last step: 75.0 %, estimated likewise."
  )
  assert model.startswith("Where is the model? runs/0123abcd")
  assert page.index("Where is the model?") < page.index("<nav>")


def test_a_rate_that_is_not_known_is_no_number(quick, tmp_path):
  page = written(tmp_path, made_up(noise_rate={"estimate": 0.2, "low": 0.104, "high": 0.346}))
  assert answers(page)[0].startswith(
    "How noisy are my labels? 10 to 35 % of the 40 labels are wrong; 20.0 % is the best guess."
  )
  page = written(tmp_path, made_up(noise_rate={"estimate": 0.4, "low": 0.0, "high": 0.9}))
  assert answers(page)[0].startswith(
    "How noisy are my labels? not known between 0.0 and 90.0 % of the 40 labels are wrong."
  )


def test_without_ties_and_early_stop(quick, tmp_path):
  ranking = [row("CE", "end", 900, 0.9, 0, tied=True), row("LS 0.4", "end", 900, 0.8, 0.1)]
  best = made_up()["recommended"] | {"method": "CE", "stop_step": 900, "stopped_early": False}
  best["parameters"] = {"loss.name": "label_smoothing", "loss.alpha": 0.4}
  page = written(tmp_path, made_up(ranking=ranking, recommended=best))
  assert "Train to the last step, 900. Label smoothing with alpha 0.4." in answers(page)[2]
  assert "Every other way that could be compared is behind it." in answers(page)[2]
  assert "Plain cross-entropy" not in answers(page)[3]  # it is what is recommended


def refused(why):
  content = made_up(expected_accuracy=NONE | {"why": why})
  for one in content["ranking"]:
    one |= {"clean_accuracy": NONE, "clean_nll": None, "clean_ece": None, "why": why}
  content["ranking"][-1] |= {"behind": NONE, "why": "the loss of 2 of its runs was not finite"}
  return content


def test_refused_accuracy(quick, tmp_path):
  page = written(tmp_path, refused("T cannot be inverted"))
  accuracy = answers(page)[3]
  assert accuracy == (
    "What accuracy can I expect? not known Check at least 30 labels of check_these.csv to learn "
    "it. From the noisy labels it cannot be told: T cannot be inverted."
  )
  text = text_of(page)
  reasons = "(1) T cannot be inverted; (2) the loss of 2 of its runs was not finite."
  assert f"Refused: {reasons}" in text
  assert text.count("refused (1)") == 4
  assert text.count("refused (2)") == 1
  assert "not compared CE to the end" in text
  assert "estimated accuracy on the clean labels" not in text  # the figure's second panel


def test_measured_and_checked_accuracy(quick, tmp_path):
  content = made_up()
  content["recommended"]["test_accuracy"] = interval(0.884)
  content["data"] |= {"test_examples": 77, "checked": 31}
  accuracy = answers(written(tmp_path, content))[3]
  assert "88.4 % measured on 77 test examples: between 86.4 and 90.4 %." in accuracy
  assert "Estimated from 31 checked labels: 91.2 %, between 89.2 and 93.2 %." in accuracy
  assert "from the 31 checked labels and" in text_of(written(tmp_path, content))
  refusing = content | {"expected_accuracy": NONE | {"why": "T cannot be inverted"}}
  accuracy = answers(written(tmp_path, refusing))[3]
  assert "88.4 %" in accuracy
  assert "From 31 checked labels it cannot be told: T cannot be inverted." in accuracy


def test_every_table_and_figure_has_a_caption_with_its_setting(quick, tmp_path):
  images = np.zeros((40, 4, 4, 3), np.uint8)
  content = made_up()
  content["data"] |= {"is_image": True}
  page = written(tmp_path, content, images=images)
  parts = re.split(r'<h3 id="', page)[1:]
  assert len(parts) == 11
  setting = "pets.csv, 40 examples with the labels as given; mlp trained in 5 folds with 2 seeds."
  for part in parts:
    (caption,) = re.findall(r'(?:<p class="caption">|<figcaption>)(pets.*?)</', part)
    assert caption.startswith(setting), part[:40]
    assert re.search(r"95 % interval|[Nn]o intervals?\b|Number of labels|probability that", caption)


def test_ranking_groups_what_is_tied(quick, tmp_path):
  page = written(tmp_path, made_up())
  rows = re.findall(r'<tr( class="[^"]*")?><td>(best|tied|behind)</td><td>(.*?)</td>', page)
  assert [(standing, method) for _, standing, method in rows] == [
    *(("best", "GCE"), ("tied", "ELR"), ("tied", "GCE")),
    *(("behind", "CE"), ("behind", "CE")),
  ]
  assert ["shaded" in css for css, *_ in rows] == [True, True, True, False, False]
  assert "0.7 [-0.3, 1.7] 90.5 [88.5, 92.5] 0.300 4.0" in text_of(page)


def test_evidence_on_noise(quick, tmp_path):
  text = text_of(written(tmp_path, made_up()))
  assert "dual T 21.6 [18.6, 24.6] 22.3 recommended: it errs least" in text
  assert "labels that were drawn from what was found, mean; 21.8 % of them are wrong" in text
  assert text.count("dual T 21.6 ") == 1
  assert "anchor 31.4 27.1 few anchors" in text
  assert "How labels go wrong: cannot be told (p = 0.25). Too few examples. A transition" in text
  assert "true ↓ given → cat dog owl cat 86 7.7 6.7 dog" in text
  assert "cat dog 7.7 [3.8, 7.7]" in text
  assert "10 93.0 %" in text  # the expected precision


def test_many_classes_have_no_heat_map(quick, tmp_path):
  page = written(tmp_path, made_up(classes=range(100)))
  assert 'class="heat' not in page
  assert "The 30 largest of 9,900 entries" in text_of(page)
  assert 'class="heat' in written(tmp_path, made_up(classes=range(20)))


def test_gallery_finds_pictures_by_id(quick, tmp_path):
  content = made_up()
  content["data"] |= {"is_image": True}
  images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 5, 1), np.uint8)
  page = written(tmp_path, content, images=images)
  assert page.count("<s>cat</s> → <b>dog</b>") == 24
  pictures = re.findall(r'alt="row-(\d+)" src="data:image/png;base64,([^"]*)"', page)
  assert len(pictures) == 24
  for number, source in pictures:
    assert source == b64encode(suspects.png(images[int(number)])).decode()
  (tmp_path / "data.npz").unlink()
  report.write(tmp_path)
  assert "<s>cat</s>" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "L")])
def test_png(channels, mode):
  image = np.full((4, 300, channels), 7, np.uint8)
  picture = Image.open(io.BytesIO(suspects.png(image)))
  assert (picture.mode, picture.size[0]) == (mode, 160)
  assert np.unique(np.asarray(picture)).tolist() == [7]
  stretched = np.linspace(-1, 3, 6, dtype=np.float32).reshape(1, 6, 1)
  pixels = np.asarray(Image.open(io.BytesIO(suspects.png(stretched))))
  assert pixels.tolist() == [[0, 51, 102, 153, 204, 255]]


HOSTILE = "<script>alert('x')</script>\x1b[31m\u202e $x^{$ " + "long " * 20


def test_names_are_escaped_and_shortened(tmp_path):
  content = made_up(classes=(HOSTILE, "漢字 & ملف", "c"), identified=HOSTILE, left_out=[HOSTILE])
  content["data"] |= {"name": HOSTILE, "notes": [HOSTILE], "annotators": [HOSTILE]}
  content["estimates"][1] |= {"estimator": HOSTILE, "note": HOSTILE}
  content["class_conditional"] |= {"verdict": HOSTILE, "about": HOSTILE}
  content["recommended"]["workdir"] = HOSTILE
  rows = [f"\x1ba/{'b' * 90}/{HOSTILE}{i},{HOSTILE},漢字 & ملف,1,0.9,0,-1" for i in range(3)]
  page = written(tmp_path / "a <b>", content, rows)
  assert "<script" not in page
  assert "a <b>" not in page
  assert not set("\x1b\u202e") & set(page)
  assert "&lt;script&gt;" in page
  assert "漢字 &amp; ملف" in page
  assert HOSTILE[:60] not in html.unescape(page)
  table = re.search(r'<h3 id="most-suspicious">.*?</table>', page, re.DOTALL).group()
  cells = re.findall(r"<td>(.*?)</td>", table)
  assert len(cells) == 3 * 6
  assert max(len(html.unescape(cell)) for cell in cells) == 60


def test_nothing_outside_is_needed(quick, tmp_path):
  page = written(tmp_path, made_up())
  addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')> ]+)""", page)
  assert len(addresses) > 5
  assert {address.partition(",")[0][:15] for address in addresses if address[0] != "#"} == {
    "data:image/png;"
  }
  assert not re.search(r"<script|<link|@import|https?://", page)
  anchors = {address[1:] for address in addresses if address[0] == "#"}
  assert anchors <= set(re.findall(r'id="([^"]*)"', page))


def test_commands(quick, tmp_path):
  directory = tmp_path / "my advice"
  text = text_of(written(directory, made_up()))
  assert f"--checked='{directory}/check_these.csv'" in text
  assert f"lsjax train --config='{directory}/recommended.py'" in text
  assert f"Advice('{directory}').predict(" in text
  assert f"np.load('{directory}/labels_cleaned.npz')" in text
  assert "2 rows without a label are left out." in text
  assert "Left out for want of time: 8 methods are left out." in text
  assert "Made by lsjax 1.2.3 in 61 seconds." in text


def test_same_files_give_same_bytes(tmp_path):
  written(tmp_path, made_up())
  first = (tmp_path / "report.html").read_bytes()
  report.write(tmp_path)
  assert (tmp_path / "report.html").read_bytes() == first


@pytest.mark.parametrize("told", [{"checked": 40}, {"annotators": ["ann", "bob"]}])
def test_a_twin_says_nothing_of_checked_labels_and_votes(quick, tmp_path, told):
  content = made_up()
  content["data"] |= told
  assert f"dual T 21.6 [18.6, 24.6] {wording.DASH} recommended" in text_of(
    written(tmp_path, content)
  )


def test_little_is_enough(tmp_path):
  """Two classes, one way to train, no curve, one estimator, no suspect, one fold and seed."""
  content = made_up(classes=(0, 1), curves={}, folds=1, seeds=1, left_out=[], identified="")
  content |= {"ranking": content["ranking"][:1], "estimates": content["estimates"][:1]}
  content["twin"] = None
  content["suspects"] = {"expected": 0.0, "likely": 0, "precision": []}
  content["class_conditional"] = {"verdict": "cannot be told", "p": None, "about": ""}
  page = written(tmp_path, content)
  assert answers(page)[1] == (
    "Which ones are wrong? 0 labels are more likely wrong than right; about 0 are expected to be "
    "wrong in all."
  )
  assert "in 1 fold with 1 seed." in text_of(page)
  assert page.count("<img") == 1  # the histogram


@pytest.mark.parametrize(
  ("name", "text", "message"),
  [
    ("advice.json", "{", "advice.json cannot be read"),
    ("advice.json", "{}", "advice.json is damaged"),
    ("advice.json", "[]", "advice.json is damaged"),
    ("suspects.csv", "id,given\n1,2\n", "suspects.csv cannot be read"),
    ("suspects.csv", HEADER + "1,a,b,1,high,0,0\n", "suspects.csv cannot be read"),
    ("data.npz", "no zip", "data.npz cannot be read"),
  ],
)
def test_damaged_files_are_named(quick, tmp_path, name, text, message):
  content = made_up()
  content["data"] |= {"is_image": True}
  written(tmp_path, content, images=np.zeros((40, 2, 2, 1), np.uint8))
  (tmp_path / name).write_text(text)
  with pytest.raises(reading.DamagedError, match=re.escape(message)) as caught:
    report.write(tmp_path)
  assert "\n" not in str(caught.value)


def test_no_advice(tmp_path):
  with pytest.raises(reading.DamagedError, match=r"holds no advice\.json"):
    report.write(tmp_path)


def test_a_report_needs_no_jax(tmp_path):
  written(tmp_path, made_up())
  script = (
    "import sys; from lsjax.advice import report; report.write(sys.argv[1]); print(*sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, "-c", script, str(tmp_path)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  assert not {"jax", "jaxlib", "flax", "absl", "ml_collections", "pandas"} & {*done.stdout.split()}
