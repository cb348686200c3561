"""What MkDocs does for these pages besides its plugins.

Formulas become MathML when the site is built, so that a page shows them without a script. Files
of the repository that are pages or results get a place in the site: a link to ../results/x in
a page works in the repository and in the site alike.
"""

import html
import os
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

from latex2mathml import converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
RESULTS = ("results/digits", "results/leaderboard_digits")
METHODS = "<!-- table of methods -->"
LINE = 84  # characters of code that fit beside the navigation


def on_config(config: MkDocsConfig) -> MkDocsConfig:
  """Lets the notebook import lsjax from the checkout, whether or not it is installed."""
  path = os.environ.get("PYTHONPATH")
  os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)
  return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
  """Adds the pages at the top of the repository and the reports on digits."""
  for page, source in PAGES.items():
    files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
  for path in sorted(p for name in RESULTS for p in (ROOT / name).rglob("*")):
    if path.suffix in (".png", ".html", ".csv"):
      uri = path.relative_to(ROOT).as_posix()
      files.append(File.generated(config, uri, abs_src_path=str(path)))
  return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
  """Turns links into the repository into links into the site, and fills in the table of methods."""
  if METHODS in markdown:
    markdown = markdown.replace(METHODS, "\n".join(methods_table()))
  if page.file.src_uri in PAGES:
    return re.sub(r"\]\(docs/", "](", markdown)
  return re.sub(r"\]\(\.\./(results/)", r"](\1", markdown)


def methods_table() -> Iterator[str]:
  """Yields the lines of a table of the methods in `lsjax.methods`, in Markdown."""
  sys.path.insert(0, str(ROOT))  # whether or not lsjax is installed
  from lsjax import methods

  yield "| short | config name, variant | what it is | parameters |"
  yield "|---|---|---|---|"
  shared = {"alpha": "`loss.alpha`", "r": "`loss.r`", "matrix": "`loss.matrix`, a file of M"}
  for row in methods.METHODS.values():
    own = [f"`{name}` {_number(p.default)}" for name, p in row.parameters.items()]
    if not row.parameters and row.shown:
      own = [shared[row.shown]]
    if row.needs == "transition":
      own.append("or T by `loss.transition`")
    if "cross_entropy_steps" in "".join(row.defaults):
      own.append("with its variant's first steps of cross-entropy and clipping")
    variant = f"<br>`:{row.variant}`" if row.variant else ""
    yield f"| {row.short} | `{row.name}`{variant} | {row.about} | {', '.join(own)} |"


def _number(value: float) -> str:
  """Returns a number as a config writes it."""
  return f"{value:g}"


def on_page_content(content: str, *, page: Any, **_: Any) -> str:
  """Turns what arithmatex marked as maths into MathML, and keeps numbers with their signs."""
  if page.file.src_uri.endswith(".ipynb"):  # MkDocs resolves links in Markdown alone
    content = re.sub(r'href="([\w-]+)\.md(#[\w-]+)?"', r'href="../\1/\2"', content)

  def mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    formula = converter.convert(html.unescape(found[2]).strip(), display=display)
    # A browser leaves no space between a function's name and what it is applied to.
    return re.sub(r"(<mi>log</mi>)(?!<mo)", r'\1<mspace width="0.167em"/>', formula)

  content = re.sub(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', mathml, content, flags=re.DOTALL
  )
  parts = re.split(r"(<pre.*?</pre>)", content, flags=re.DOTALL)
  parts[::2] = [re.sub(r"(?<=\d) (?=%)| (?=±)|(?<=±) ", "&nbsp;", part) for part in parts[::2]]
  parts[1::2] = [_small(part) if _width(part) > LINE else part for part in parts[1::2]]
  return "".join(parts)


def _width(block: str) -> int:
  """Returns the number of characters in the longest line of a code block."""
  text = html.unescape(re.sub(r"<[^>]*>", "", block))
  return max(len(line) for line in text.split("\n"))


def _small(block: str) -> str:
  return block.replace("<code>", '<code class="small">', 1)
