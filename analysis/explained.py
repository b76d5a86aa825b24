"""What explains the differences between the configurations of a sweep, exactly or by a surrogate.

Of a full grid it is the exact shares of `analysis.factorial`, of any other design over two keys or more the
importance of `analysis.importance`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.blocks import in_sweep
from analysis.factorial import Effects, effects
from analysis.importance import importance
from analysis.style import COLOURS, INK, SOFT, StudyFigure, head, new_figure, styled, tip
from analysis.table import ACCURACIES, records
from analysis.wording import count_text, noise_text, percent

MOST_TERMS = 24
"""Bars of one figure, the longest ones."""


class Explained(NamedTuple):
    """How much of the variance between n configurations each key, or pair of keys, of a sweep goes with.

    `terms` has term, share, low and high, the largest first. Where `exact`, shares are of the variance and
    add up to 1, and `noise` is the share that seeds alone would give. Else they are importances, low and
    high the smallest and largest of five folds, and `r2` is the surrogate's on unseen configurations. `note`
    says what cannot be said.
    """

    sweep: str
    data: str
    exact: bool
    terms: pd.DataFrame
    n: int
    noise: float | None
    r2: float | None
    note: str


def explained(frame: pd.DataFrame, metric: str = "test_top1") -> list[Explained]:
    """Return what explains the differences within each sweep over two keys or more."""
    found = (one for one in effects(frame, metric) if len(one.keys) > 1)
    return [_exact(one) if one.mean is not None else _by_surrogate(one, frame, metric) for one in found]


def _exact(found: Effects) -> Explained:
    terms = found.terms.assign(low=np.nan, high=np.nan)
    terms = terms.sort_values("share", ascending=False, kind="stable", ignore_index=True)
    return Explained(found.sweep, found.data, True, terms, found.cells, found.noise, None, found.note)


def _by_surrogate(found: Effects, frame: pd.DataFrame, metric: str) -> Explained:
    guess = importance(frame[in_sweep(frame, found.sweep)], metric)
    terms = guess.keys.rename(columns={"key": "term", "importance": "share"})
    left = f"{count_text(guess.left_out, 'configuration')} left out, without a trial that counts"
    note = "; ".join(filter(None, [found.note, guess.note, left if guess.left_out else ""]))
    return Explained(found.sweep, found.data, False, terms, guess.n, None, guess.r2, note)


def draw_explained(found: Explained, metric: str = "test_top1") -> StudyFigure:
    """Draw a bar a term, and of an exact one the share that seeds alone would give below them."""
    rows = found.terms.head(MOST_TERMS)
    rows = rows.assign(colour=COLOURS[0], text=rows["share"].map(percent))
    if found.noise is not None:
        noise = {
            "term": "seeds alone would give",
            "share": min(found.noise, 1.0),
            "colour": SOFT,
            "text": noise_text(found.noise),
        }
        rows = pd.concat([rows, pd.DataFrame([noise])], ignore_index=True)
    with styled():
        figure = new_figure(7.6, 1.5 + 0.3 * len(rows))
        title = "What explains the differences" if found.exact else "Importance of each key"
        head(figure, f"{title}: {found.sweep}, {found.data}", _subtitle(found, metric))
        axes = figure.subplots()
        y = np.arange(len(rows))
        bars = axes.barh(y, rows["share"], height=0.6, color=rows["colour"])
        for bar, row in zip(bars, records(rows), strict=True):
            tip(bar, [f"{row['term']}: {row['text']}{_folds(row)}"])
        axes.hlines(y, rows["low"], rows["high"], INK, linewidth=1.4)
        axes.set_yticks(y, rows["term"])
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        axes.xaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 6):g} %")
        axes.set_xlabel("share of the variance between configurations")
        ends = np.concatenate([rows["share"], rows["high"]])
        for place, row in enumerate(records(rows)):
            end = np.nanmax([row["share"], row["high"]])
            axes.text(end + 0.01 * np.nanmax(ends), place, row["text"], va="center", fontsize=8)
        axes.margins(x=0.12)
    return figure


def _subtitle(found: Explained, metric: str) -> str:
    counted = count_text(found.n, "configuration")
    if found.exact:
        note = f" Seeds: {found.note}." if found.note else ""
        return (
            f"Shares of the variance of mean {ACCURACIES[metric]} between the {counted} of a full grid; "
            f"they add up to 100 %. A x B: what the two do together beyond their sum.{note}"
        )
    return (
        "By how much the squared error of a random forest on configurations it has not seen grows when a "
        f"key is shuffled, as a share of the variance of mean {ACCURACIES[metric]}; more than 100 % "
        f"is possible. Lines: smallest and largest of 5 folds. n = {counted}. {trust(found)}"
    )


def trust(found: Explained) -> str:
    """Say how far the surrogate of a design that is no grid is to be trusted."""
    note = found.note[:1].upper() + found.note[1:]
    if found.r2 is None or not len(found.terms):
        return f"{note}."
    return f"{note}. Cross-validated R2: {found.r2:.2f} (1 is perfect, 0 is no better than the mean)."


def told(found: Explained) -> str:
    """Return the shares in one sentence, for who cannot see them."""
    each = "; ".join(_told_row(row) for row in records(found.terms.head(MOST_TERMS)))
    noise = f"; seeds alone would give {noise_text(found.noise)}" if found.noise is not None else ""
    how = "exact shares of the variance" if found.exact else "importance by a random forest"
    more = "" if found.exact else f" {trust(found)}"
    return f"{found.sweep} ({count_text(found.n, 'configuration')}), {how}: {each}{noise}.{more}"


def _told_row(row: dict) -> str:
    return f"{row['term']}: {percent(row['share'])}{_folds(row)}"


def _folds(row: dict) -> str:
    return "" if pd.isna(row["low"]) else f" ({percent(row['low'])} to {percent(row['high'])} over folds)"
