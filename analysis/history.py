"""What ran a study, gathered from its trials: data, versions, machines, code, command lines, dates."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pandas as pd

from analysis.wording import count_text
from sqzx.data.info import dataset_info
from sqzx.errors import MissingDataError
from sqzx.trial import Status

MOST = 5
"""Different values named of one thing."""


def history(statuses: Iterable[Status]) -> dict[str, str]:
    """Return what is known, in words by name; several values of one thing stand beside each other."""
    ran = [status for status in statuses if status.started_time]
    records = [status.provenance for status in ran]
    versions = [record.get("versions") or {} for record in records]
    packages = dict.fromkeys(name for found in versions for name in found)
    starts = [status.started_time for status in ran if status.started_time]
    ends = [status.ended_time for status in ran if status.ended_time]
    rows = {
        "started": _moment(min(starts)) if starts else "",
        "last trial ended": _moment(max(ends)) if ends else "",
        "machine": _each(status.host for status in ran),
        "processor": _each(record.get("processor") for record in records),
        "device": _each(_device(record.get("device")) for record in records),
        "platform": _each(record.get("platform") for record in records),
        "cores of a trial": _each(_cores(record.get("cores")) for record in records),
        "code": _each(_code(record.get("git")) for record in records),
        "command": _each(record.get("command") for record in records),
    }
    rows |= {name: _each(found.get(name) for found in versions) for name in packages}
    return {name: text for name, text in rows.items() if text}


def mixed(statuses: Iterable[Status]) -> list[str]:
    """Say in which of what could change a result the trials differ, with the number of trials of each."""
    records = [status.provenance for status in statuses if status.started_time]
    packages = dict.fromkeys(name for record in records for name in record.get("versions") or {})
    parts = {
        f"versions of {name}": [(r.get("versions") or {}).get(name) for r in records] for name in packages
    }
    parts["processors"] = [record.get("processor") for record in records]
    parts["devices"] = [_device(record.get("device")) for record in records]
    parts["states of the code"] = [_code(record.get("git")) for record in records]
    sentences = []
    for what, values in parts.items():
        counts = Counter(str(value) for value in values if value)
        if len(counts) > 1:
            each = ", ".join(f"{value} ({count_text(n, 'trial')})" for value, n in counts.most_common(MOST))
            more = f" and {len(counts) - MOST} more" if len(counts) > MOST else ""
            sentences.append(f"Trials ran with different {what}: {each}{more}.")
    return sentences


def data_facts(frame: pd.DataFrame) -> dict[str, str]:
    """Return what each finished trial's data set holds, as the trials counted it, and where it comes from."""
    columns = ["data.name", "train_examples", "validation_examples", "test_examples"]
    facts: dict[str, str] = {}
    for name, *sizes in frame[columns].dropna().drop_duplicates().to_numpy().tolist():
        parts = ", ".join(
            f"{size:,} {part} images"
            for size, part in zip(sizes, ("training", "validation", "test"), strict=True)
        )
        facts[f"data: {name}"] = "; ".join(filter(None, [facts.get(f"data: {name}"), parts]))
        with suppress(MissingDataError):  # a set that is not on the machine which writes the report
            info = dataset_info(name)
            facts[f"source of {name}"] = info.source + (f"; {info.rule}" if info.rule else "")
    return facts


def _each(values: Iterable[Any]) -> str:
    distinct = list(dict.fromkeys(str(value) for value in values if value))
    more = f"; and {len(distinct) - MOST} more" if len(distinct) > MOST else ""
    return "; ".join(distinct[:MOST]) + more


def _cores(cores: Any) -> str:
    return str(len(cores)) if isinstance(cores, list) else ""


def _device(device: Any) -> str:
    return str(device.get("kind") or "") if isinstance(device, dict) else ""


def _code(git: Any) -> str:
    if not isinstance(git, dict) or not git.get("commit"):
        return ""
    return f"commit {git['commit'][:12]}" + (
        ", with changes that are not committed" if git.get("dirty") else ""
    )


def _moment(time: str) -> str:
    """Return an ISO time to the minute: "2026-11-25 10:00 UTC"."""
    zone = " UTC" if time.endswith(("+00:00", "Z")) else ""
    return time[:16].replace("T", " ") + zone
