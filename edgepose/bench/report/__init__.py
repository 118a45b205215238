"""Records as people read them: on a terminal, in a README, and as one page. Reads records only."""

from edgepose.bench.report.figures import figures
from edgepose.bench.report.html import html
from edgepose.bench.report.markdown import markdown
from edgepose.bench.report.pairs import pairs_table
from edgepose.bench.report.terminal import choice_table, comparison_tables, terminal

__all__ = [
    "choice_table",
    "comparison_tables",
    "figures",
    "html",
    "markdown",
    "pairs_table",
    "terminal",
]
