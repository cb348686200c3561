"""The report of an advice: one page for a person, made from the files of the advice, without JAX.

`write` writes it. Data flows from the files to the answers of the first screen (`screen`), the
sections of evidence below (`evidence`, `matrix`, `suspects`) and what to do next (`steps`).
"""

from lsjax.advice.report.writer import write

__all__ = ["write"]
