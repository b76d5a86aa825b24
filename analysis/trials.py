"""What single trials left in their folders: the course of their training, and the end of their logs."""

from collections.abc import Iterable

import pandas as pd

from sqzx.trial import TrialFolder

EPOCH_COLUMNS = ("val_top1", "val_top5", "val_loss")


def epochs_of(folders: Iterable[TrialFolder]) -> pd.DataFrame:
    """Return the validation of each epoch: `id`, `epoch` (from 0), and the three of `EPOCH_COLUMNS`.

    An epoch that was trained again after an interruption counts once, as it was in the end. A file that is
    damaged is that trial's loss: it has no rows.
    """
    rows = []
    for folder in folders:
        try:
            lines = folder.read_metrics()
            found = [
                {"id": folder.id, "epoch": int(line["epoch"])}
                | {name: float(line.get(name, float("nan"))) for name in EPOCH_COLUMNS}
                for line in lines
                if line["kind"] == "validation"
            ]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        rows += found
    table = pd.DataFrame(rows, columns=["id", "epoch", *EPOCH_COLUMNS])
    return table.drop_duplicates(["id", "epoch"], keep="last", ignore_index=True)
