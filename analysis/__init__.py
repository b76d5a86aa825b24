"""What was learnt: the tidy table, statistics, figures, comparisons and the report of a study."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load"]


def load(out: Path | str) -> "pd.DataFrame":
    """Return a study's tidy table, one row a trial; see `analysis.table` for the columns."""
    from analysis.table import load  # pandas is slow to import, and most commands do not need it

    return load(out)
