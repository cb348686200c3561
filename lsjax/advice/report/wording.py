"""How the report says numbers, names and what was measured on what."""

from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 40  # letters of a name of the user's; longer ones lose their middle
SPACE, DASH = "\N{NO-BREAK SPACE}", "\N{EN DASH}"


def shortened(value: Any, most: int = _LONGEST) -> str:
  """Returns a text of at most so many letters: begin and end of a longer one.

  >>> shortened("pictures/of/animals/cat_0001.png", 20)
  'pictures/o…_0001.png'
  """
  text = str(value)
  if len(text) <= most:
    return text
  end = (most - 1) // 2
  return f"{text[: most - 1 - end]}…{text[-end:]}"


def sentence(text: str) -> str:
  """Returns a text with a capital letter and a full stop; nothing stays nothing.

  >>> sentence("2 rows are left out"), sentence("a note.")
  ('2 rows are left out.', 'A note.')
  """
  return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def percent(share: float, digits: int = 1) -> str:
  """Returns a share in per cent."""
  return f"{100 * share:.{digits}f}{SPACE}%"


def share(value: float | None) -> str:
  """Returns a share in per cent for a table; a dash where there is none."""
  return DASH if value is None else f"{100 * value:.1f}"


def ends(interval: Mapping[str, float]) -> str:
  """Returns the ends of an interval of shares in per cent, to stand after "between"."""
  return f"{100 * interval['low']:.1f} and {percent(interval['high'])}"


def bracketed(interval: Mapping[str, float | None], *, signed: bool = False) -> str:
  """Returns an interval of shares in per cent for a table; a dash where there is none."""
  estimate, low, high = (interval[name] for name in ("estimate", "low", "high"))
  if estimate is None or low is None or high is None:
    return DASH
  sign = "+" if signed else ""
  return f"{100 * estimate:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def counted(count: int, noun: str, plural: str = "") -> str:
  """Returns a count with its noun.

  >>> counted(1, "seed"), counted(1437, "example")
  ('1 seed', '1,437 examples')
  """
  return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(texts: Sequence[str], most: int) -> str:
  """Returns the first texts of a list and how many more there are."""
  rest = len(texts) - most
  return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def name(content: Mapping[str, Any]) -> str:
  """Returns the name of the data, for a title."""
  return shortened(content["data"]["name"], 60)


def setting(content: Mapping[str, Any]) -> str:
  """Returns data, noise and n, with which most captions begin."""
  return (
    f"{name(content)}, {counted(content['data']['examples'], 'example')} with the labels as given; "
    f"{content['model']} trained in {counted(content['folds'], 'fold')} with "
    f"{counted(content['seeds'], 'seed')}."
  )


def way(row: Mapping[str, Any]) -> str:
  """Returns a way to train in a few words."""
  return f"{row['method']} to the end" if row["moment"] == "end" else f"{row['method']} stopped"


def is_best(row: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
  """Returns whether a row of the ranking is the recommended way to train."""
  best = content["recommended"]
  moment = "stopped early" if best["stopped_early"] else "end"
  return row["method"] == best["method"] and row["moment"] == moment


def by_standing(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """Returns the ranking with what is tied with the best before everything else."""
  rows = content["ranking"]
  return sorted(rows, key=lambda row: (not is_best(row, content), not row["tied"]))
