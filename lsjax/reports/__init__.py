"""Reports: the results of a sweep as claims with verdicts, tables, figures and pages.

Everything is made from the files of a sweep directory, without JAX. `write` writes the report,
`ResultsError` says that a directory is not a sweep's, and `summary.table` shows the result of a
single run in a terminal. Data flows results -> statistics -> claims, tables, figures -> page ->
writer; other rooms use only the three names above.
"""

from lsjax.reports import summary
from lsjax.reports.results import ResultsError
from lsjax.reports.writer import write

__all__ = ["ResultsError", "summary", "write"]
