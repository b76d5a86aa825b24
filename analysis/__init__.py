"""What was learnt: the tidy table, statistics, figures, comparisons and the report of a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from analysis.notebook import Study

__all__ = ["Study", "load", "read_table"]


def load(out: Path | str) -> "pd.DataFrame":
    """Return a study's tidy table, one row a trial; see `analysis.table` for the columns."""
    from analysis.table import load  # pandas is slow to import, and most commands do not need it

    return load(out)


def read_table(path: Path | str) -> "pd.DataFrame":
    """Return a table that `sqzx table --out` wrote, with its types; see `analysis.table_files`."""
    from analysis.table_files import read_table

    return read_table(path)


def __getattr__(name: str) -> Any:
    """Import `Study` when it is first asked for, since it needs what draws figures."""
    if name == "Study":
        from analysis.notebook import Study

        return Study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
