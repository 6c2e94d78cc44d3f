"""Data for a command: loaded, with what was done to it said; and what became of each column, as a table."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reluopt.data import DataConfig, Dataset, load_dataset, remarks
from reluopt.data.encoding import ColumnRule, Fate
from reluopt.data.remark import named
from reluopt.data.table import short

#: Columns that are shown one a line; further ones of a kind are counted.
SHOWN = 40


def load_aloud(config: DataConfig) -> Dataset:
    """Load a data set, and say on standard error what a user may not expect of it."""
    dataset = load_dataset(config)
    console = Console(stderr=True)
    for remark in remarks(dataset):
        console.print(Text(f"{dataset.origin.name}: {remark}"), soft_wrap=True)
    return dataset


def columns_table(dataset: Dataset) -> Table | None:
    """What became of every column of the file; None for data that came of no table."""
    if dataset.preparation is None or not (columns := dataset.preparation.columns()):
        return None
    table = Table(title="Columns", title_justify="left")
    for heading in ("column", "what became of it", "remark"):
        table.add_column(heading, overflow="fold")
    plain = [rule for rule in columns if rule.fate is Fate.NUMBER and not rule.why]
    for rule in columns:
        if rule.fate is Fate.TARGET:
            table.add_row(Text(short(rule.name)), Text(rule.fate.value), Text(_target(dataset, rule.name)))
    if plain:
        table.add_row(
            Text(named([rule.name for rule in plain])), Text(Fate.NUMBER.value), Text(f"{len(plain):,} columns")
        )
    others = [rule for rule in columns if rule.fate is not Fate.TARGET and (rule.fate is not Fate.NUMBER or rule.why)]
    for rule in others[:SHOWN]:
        table.add_row(Text(short(rule.name)), Text(rule.fate.value), Text(_remark(rule)))
    if len(others) > SHOWN:
        rest = others[SHOWN:]
        counts = {fate: sum(rule.fate is fate for rule in rest) for fate in Fate}
        said = ", ".join(f"{count:,} {fate.value}" for fate, count in counts.items() if count)
        table.add_row(f"{len(rest):,} more", said, "")
    return table


def _target(dataset: Dataset, name: str) -> str:
    target = dataset.preparation.target if dataset.preparation else None
    if target is None:
        return ""
    if target.labels and "-1" not in target.labels:
        return f"{len(target.labels)} classes: {named(list(target.labels.values()))}"
    if target.labels:
        return f"−1 is {short(target.labels['-1'])}; +1 is {short(target.labels['+1'])}"
    names = dataset.output_names or (name,)
    which = f"output {names.index(name)}, " if len(names) > 1 else ""
    if target.standardise_target:
        k = names.index(name)
        mean, std = (np.ravel(np.array(part))[k] for part in (target.target_mean, target.target_std))
        return f"{which}numbers, standardised: mean {mean:.6g}, deviation {std:.6g}"
    return f"{which}numbers"


def _remark(rule: ColumnRule) -> str:
    if rule.fate is not Fate.ONE_HOT:
        return rule.why
    values = named(rule.categories)
    zero = f"; 0 is {short(rule.categories[0])}" if len(rule.categories) == 2 else ""
    return f"{len(rule.categories)} values: {values}{zero}"
