"""Turns docstrings, which Python shows as plain text, into Markdown for the API pages.

Two things in them mean something else in Markdown: the role :math:`x`, and a doctest, which would
become nested quotations.
"""

import re

import griffe


class Docstrings(griffe.Extension):
  """Rewrites the docstring of every object that is loaded."""

  def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
    if obj.docstring is not None:
      obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
  r"""Returns a docstring with maths between dollar signs and doctests in code blocks.

  >>> print(markdown("Adds :math:`x`.\n\n>>> 1 + 1\n2\n"))
  Adds $x$.
  <BLANKLINE>
  ```pycon
  >>> 1 + 1
  2
  ```
  """
  text = re.sub(r":math:`([^`]+)`", lambda role: f"${' '.join(role[1].split())}$", text)
  paragraphs = re.split(r"\n[ \t]*\n", text.rstrip())
  return "\n\n".join(f"```pycon\n{p}\n```" if p.startswith(">>> ") else p for p in paragraphs)
