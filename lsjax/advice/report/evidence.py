"""The evidence on ways to train and on the noise rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from lsjax.advice.ranking import LEAST_CHECKED
from lsjax.advice.report import figures, parts, wording
from lsjax.advice.report.parts import Section
from lsjax.advice.report.wording import bracketed, percent, share
from lsjax.reports.table import Table

_HEADER = (
  "standing",
  "method",
  "trained",
  "noisy accuracy, %",
  "behind the best, points",
  "clean accuracy, %",
  "NLL, nats",
  "ECE, %",
)


def ranking(content: Mapping[str, Any]) -> Section:
  """Returns the ranking of ways to train, and their curves."""
  rows = wording.by_standing(content)
  reasons = [*dict.fromkeys(row["why"] for row in rows if row["why"])]
  caption = _about_ranking(content)
  if reasons:
    caption += f" Refused: {'; '.join(f'({i}) {why}' for i, why in enumerate(reasons, 1))}."
  cells = [_row(row, content, reasons) for row in rows]
  shaded = [i for i, row in enumerate(rows) if row["tied"]]
  lines = parts.table(Table("ways", "Ranking", caption, _HEADER, cells), shaded)
  for drawing in (figures.standings(content, rows), figures.curves(content)):
    if drawing:
      lines += parts.figure(drawing)
  return Section("ranking", "Which way to train", lines)


def noise(content: Mapping[str, Any]) -> Section:
  """Returns the estimates of the noise rate and how far they can be trusted."""
  rate, chosen = content["noise_rate"], content["transition"]["estimator"]
  lines = [
    parts.paragraph(text)
    for text in (wording.sentence(content["identified"]), _verdict(content))
    if text
  ]
  twin, data = content["twin"], content["data"]
  is_alone = twin and not data["checked"] and not data["annotators"]
  seen = share(twin["found"] if is_alone else None)
  rows = [[chosen, bracketed(rate), seen, f"recommended: {content['transition']['reason']}"]]
  rows += [
    [found["estimator"], share(found["noise_rate"]), share(found["on_twin"]), found["note"]]
    for found in content["estimates"]
    if found["estimator"] != chosen
  ]
  caption = (
    f"{wording.setting(content)} Share of labels that are wrong, by every estimator of the "
    f"transition matrix; [ ]: 95 % interval of the recommended one ({chosen}). The others show how "
    "much the answer depends on what is assumed."
  )
  if twin:
    caption += (
      f" On twins: what each finds on {twin['draws']} sets of labels that were drawn from what "
      f"was found, mean; {share(twin['noise_rate'])} % of them are wrong, and the rest is bias. "
      "Noise of a twin depends on the class alone, so that no estimate is corrected by it."
    )
  header = ("estimator", "wrong labels, %", "on twins, %", "remark")
  lines += parts.table(Table("rates", "Every estimator's noise rate", caption, header, rows))
  if drawing := figures.rates(content):
    lines += parts.figure(drawing)
  return Section("noise", "How noisy the labels are", lines)


def accuracy_interval(content: Mapping[str, Any]) -> str:
  """Returns what the interval of the clean accuracy is made of."""
  if content["data"]["checked"] >= LEAST_CHECKED:
    return (
      f"from the {content['data']['checked']:,} checked labels and predictions of the others; "
      "95 % interval over examples"
    )
  return (
    f"from the noisy labels through the transition matrix ({content['transition']['estimator']}); "
    "95 % interval over examples and over plausible matrices"
  )


def _about_ranking(content: Mapping[str, Any]) -> str:
  return (
    f"{wording.setting(content)} Each method at its last step, and stopped at its best "
    "noisy-validation step. Noisy accuracy, by which ways are ranked: on held-out noisy labels, "
    "mean over folds and seeds. Behind the best: difference of that accuracy, paired by example; "
    "[ ]: its 95 % interval, not corrected for the number of comparisons. Shaded: the interval "
    "reaches 0, so that the way is not told apart from the best. Clean accuracy, negative "
    "log-likelihood (NLL) and calibration error (ECE, 15 bins): estimated for clean labels of "
    f"held-out examples, accuracy {accuracy_interval(content)}; no NLL where its estimate is below "
    "0, which no NLL is. Being chosen as the best of "
    f"{len(content['ranking'])} on the same labels flatters the first row a little."
  )


def _row(row: Mapping[str, Any], content: Mapping[str, Any], reasons: Sequence[str]) -> list[str]:
  is_best, step = wording.is_best(row, content), f"step {row['step']:,}"
  standing = "best" if is_best else "tied" if row["tied"] else "behind"
  if row["behind"]["estimate"] is None:
    standing = "not compared"
  return [
    standing,
    row["method"],
    f"to the end, {step}" if row["moment"] == "end" else f"stopped early, {step}",
    f"{100 * row['noisy_accuracy']:.1f}" if row["noisy_accuracy"] else wording.DASH,
    "0" if is_best else bracketed(row["behind"]),
    f"refused ({reasons.index(row['why']) + 1})"
    if row["why"]
    else bracketed(row["clean_accuracy"]),
    wording.DASH if row["clean_nll"] is None else f"{row['clean_nll']:.3f}",
    wording.DASH if row["clean_ece"] is None else f"{100 * row['clean_ece']:.1f}",
  ]


def _verdict(content: Mapping[str, Any]) -> str:
  """Returns whether the noise depends on the class alone, a sentence."""
  found = content["class_conditional"]
  p = "" if found["p"] is None else f" (p = {found['p']:.2g})"
  return (
    f"How labels go wrong: {found['verdict']}{p}. {wording.sentence(found['about'])} A transition "
    "matrix assumes that it depends on the true class alone."
  )


def expected_precision(content: Mapping[str, Any]) -> Table:
  """Returns how many of the most suspicious labels are expected to be wrong."""
  caption = (
    f"{wording.setting(content)} The mean probability of being wrong over the first labels of "
    "suspects.csv; no interval: it rests on the recommended transition matrix."
  )
  cuts = content["suspects"]["precision"]
  rows = [[f"{cut['count']:,}", percent(cut["precision"])] for cut in cuts]
  header = ("first labels of suspects.csv", "expected to be wrong")
  return Table("precision", "How many of the suspects are wrong", caption, header, rows)
