"""What a trial's log tells a run while it goes on. A damaged one tells nothing, and costs the run nothing."""

import json
from collections.abc import Iterable
from typing import Any

from sqzx.trial import TrialFolder


def validation_curve(folder: TrialFolder) -> list[float] | None:
    """Return a trial's validation top-1 by epoch, as far as it has come; None where its log is damaged."""
    try:
        return [line["val_top1"] for line in folder.read_metrics() if line["kind"] == "validation"]
    except (ValueError, TypeError, KeyError):
        return None


def log_lines(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """Return the lines of a log as values; a damaged one is left out."""
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "kind" in value:
            found.append(value)
    return found
