"""The first screen: the answers to the five questions of a person with noisy labels."""

import dataclasses
import os
from collections.abc import Mapping
from html import escape
from typing import Any

from lsjax import methods
from lsjax.advice.ranking import LEAST_CHECKED, WIDEST
from lsjax.advice.report import wording
from lsjax.advice.report.wording import counted, ends, percent

_NAMED = 5  # ways to train that the first screen names beside the recommended one
_WIDE = 0.1  # an interval that says more than its middle


@dataclasses.dataclass(frozen=True)
class Answer:
  """The answer to a question.

  Attributes:
    question: the question.
    short: the answer in a number or a word or two.
    text: the answer in sentences.
    limit: what cannot be told; empty if there is nothing.
    is_code: whether the short answer is something to type.
  """

  question: str
  short: str
  text: str
  limit: str = ""
  is_code: bool = False

  def __str__(self) -> str:
    """Returns the answer for a terminal."""
    parts = (self.short, self.text, self.limit)
    return f"{self.question}\n  " + " ".join(filter(None, parts)).replace(wording.SPACE, " ")

  @property
  def html(self) -> str:
    """The answer as a card."""
    tag = "code" if self.is_code else "strong"
    limit = f'<p class="limit">{escape(self.limit)}</p>' if self.limit else ""
    return (
      f'<section class="answer"><h2>{escape(self.question)}</h2>'
      f'<{tag} class="short">{escape(self.short)}</{tag}>'
      f"<p>{escape(self.text)}</p>{limit}</section>"
    )


def lines(content: Mapping[str, Any], directory: os.PathLike[str]) -> list[str]:
  """Returns the first screen.

  Args:
    content: the content of advice.json.
    directory: the directory of the advice.
  """
  data = content["data"]
  about = (
    f"{counted(data['examples'], 'example')}, {counted(len(data['classes']), 'class', 'classes')}; "
    f"{counted(len(content['ranking']), 'way')} to train compared by the labels that you have. "
    f"Ranges are 95{wording.SPACE}% intervals."
  )
  return [
    f'<p class="about">{escape(about)}</p>',
    '<div class="answers">',
    *(answer.html for answer in answers(content, directory)),
    "</div>",
  ]


def answers(content: Mapping[str, Any], directory: os.PathLike[str]) -> list[Answer]:
  """Returns the answers to the five questions; see `lines` for the arguments."""
  return [
    noise_rate(content),
    wrong_labels(content),
    recommendation(content),
    accuracy(content),
    model(content, directory),
  ]


def noise_rate(content: Mapping[str, Any]) -> Answer:
  """Returns how noisy the labels are: a number, a range if it is wide, or that it is not known."""
  question, limit = "How noisy are my labels?", wording.sentence(content["identified"])
  rate, labels = content["noise_rate"], counted(content["data"]["examples"], "label")
  width = rate["high"] - rate["low"]
  if width > WIDEST:
    return Answer(question, "not known", f"between {ends(rate)} of the {labels} are wrong.", limit)
  if width > _WIDE:
    text = f"of the {labels} are wrong; {percent(rate['estimate'])} is the best guess."
    return Answer(question, _span(rate), text, limit)
  text = f"of the {labels} are wrong: between {ends(rate)}."
  return Answer(question, percent(rate["estimate"]), text, limit)


def _span(interval: Mapping[str, float]) -> str:
  """Returns the ends of a wide interval, rounded to whole per cent."""
  return f"{100 * interval['low']:.0f} to {percent(interval['high'], 0)}"


def wrong_labels(content: Mapping[str, Any]) -> Answer:
  """Returns how many labels are probably wrong, and how sure that is."""
  suspects = content["suspects"]
  most, cuts = suspects["likely"], suspects["precision"]
  text = f"{'label is' if most == 1 else 'labels are'} more likely wrong than right"
  text += f"; about {suspects['expected']:,.0f} are expected to be wrong in all."
  if cuts:
    first, *rest = [f"the first {c['count']:,}: {percent(c['precision'], 0)}" for c in cuts[-2:]]
    text += f" suspects.csv begins with the worst. Expected to be wrong of {first}"
    text += f", of {rest[0]}." if rest else "."
  return Answer("Which ones are wrong?", f"{most:,}", text)


def recommendation(content: Mapping[str, Any]) -> Answer:
  """Returns which loss to use, how strong, and when to stop."""
  best, total = content["recommended"], content["steps"]
  until = f"Stop at step {best['stop_step']:,} of {total:,}."
  if not best["stopped_early"]:
    until = f"Train to the last step, {best['stop_step']:,}."
  tied = [row for row in content["ranking"] if row["tied"] and not wording.is_best(row, content)]
  names = dict.fromkeys(
    wording.way(row) if row["method"] == best["method"] else row["method"] for row in tied
  )
  limit = f"Cannot be told apart from it: {wording.listed([*names], _NAMED)}." if tied else ""
  alone = "" if tied else " Every other way that could be compared is behind it."
  question = "Which loss and strength, and when to stop?"
  return Answer(question, best["method"], f"{until} {_loss(content)}{alone}", limit)


def accuracy(content: Mapping[str, Any]) -> Answer:
  """Returns the accuracy to expect on clean labels."""
  data, expected = content["data"], content["expected_accuracy"]
  test = content["recommended"]["test_accuracy"]
  how = "from the noisy labels"
  if data["checked"] >= LEAST_CHECKED:
    how = f"from {counted(data['checked'], 'checked label')}"
  short, texts, limit = "not known", [], ""
  if test["estimate"] is not None:
    short = percent(test["estimate"])
    measured = counted(data["test_examples"], "test example")
    texts.append(f"measured on {measured}: between {ends(test)}.")
  if expected["estimate"] is None:
    limit = wording.sentence(f"{how} it cannot be told: {expected['why']}")
  elif texts:
    texts.append(f"Estimated {how}: {percent(expected['estimate'])}, between {ends(expected)}.")
  elif expected["high"] - expected["low"] > _WIDE:
    short = _span(expected)
    best = percent(expected["estimate"])
    texts.append(f"on clean labels, estimated {how}; {best} is the best guess.")
  else:
    short = percent(expected["estimate"])
    texts.append(f"on clean labels, estimated {how}: between {ends(expected)}.")
  plain = _cross_entropy(content)
  if plain is not None:
    texts.append(f"Plain cross-entropy to the last step: {percent(plain)}, estimated likewise.")
  if not texts:
    texts.append(f"Check at least {LEAST_CHECKED} labels of check_these.csv to learn it.")
  return Answer("What accuracy can I expect?", short, " ".join(texts), limit)


def model(content: Mapping[str, Any], directory: os.PathLike[str]) -> Answer:
  """Returns where the model is."""
  text = (
    f"in {wording.shortened(os.fspath(directory), 60)}, trained on all "
    f"{counted(content['data']['examples'], 'example')}. recommended.py is its config."
  )
  return Answer("Where is the model?", content["recommended"]["workdir"], text, is_code=True)


def _loss(content: Mapping[str, Any]) -> str:
  """Returns the name of the recommended loss and its strengths, a sentence."""
  fields = content["recommended"]["parameters"]
  row = methods.METHODS.get(fields.get("loss.name", ""))
  if row is None:
    return ""
  strengths = {name: parameter.default for name, parameter in row.parameters.items()}
  strengths |= {
    field.rpartition(".")[2]: value
    for field, value in fields.items()
    if field.startswith("loss.") and isinstance(value, (int, float))
  }
  texts = [f"{name.replace('_', ' ')} {value:g}" for name, value in strengths.items()]
  loss = row.name.replace("_", " ").capitalize()
  return f"{loss} with {', '.join(texts)}." if texts else f"{loss}."


def _cross_entropy(content: Mapping[str, Any]) -> float | None:
  """Returns the estimated accuracy of plain training; None if it is recommended or not known."""
  for row in content["ranking"]:
    if (row["method"], row["moment"]) == ("CE", "end") and not wording.is_best(row, content):
      accuracy: float | None = row["clean_accuracy"]["estimate"]
      return accuracy
  return None
