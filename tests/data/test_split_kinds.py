"""Splits by time and by groups: parts that are disjoint and whole, of about the size that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnopt.data.split_kinds import split_by_groups, split_by_time
from nnopt.errors import DataError
from nnopt.spec.data.tables import Csv

TIMES = st.lists(st.one_of(st.integers(0, 20), st.floats(-1e9, 1e9)), min_size=3, max_size=80)
GROUPS = st.lists(st.integers(0, 12), min_size=3, max_size=80)


def cut(times: list[float], count: int) -> tuple[list[float], list[float]]:
    """The slow twin: ascending times before and from the `count`-th last on; the first is empty where all go."""
    ordered = sorted(times)
    border = ordered[-count] if count < len(times) else ordered[0]
    return [time for time in ordered if time < border], [time for time in ordered if time >= border]


@given(st.data(), TIMES, st.integers(1, 10))
def test_no_part_has_a_row_from_after_the_beginning_of_the_next(
    data: st.DataObject, times: list[float], validation: int
) -> None:
    test = data.draw(st.one_of(st.none(), st.integers(1, len(times))))
    rest, last = (sorted(times), []) if test is None else cut(times, test)
    first, held = cut(rest, validation) if rest else ([], [])
    if not first:
        with pytest.raises(DataError):
            split_by_time(np.array(times), validation, test)
        return
    rows = split_by_time(np.array(times), validation, test)
    for part, expected in ((rows.train, first), (rows.validation, held), (rows.test, last)):
        assert sorted(np.array(times)[part].tolist()) == expected
        assert part.tolist() == sorted(set(part.tolist()))
    assert not {*rows.train} & {*rows.validation} | {*rows.train, *rows.validation} & {*rows.test}


@given(st.data(), GROUPS, st.integers(0, 2**32 - 1))
def test_a_group_is_whole_in_one_part(data: st.DataObject, drawn: list[int], seed: int) -> None:
    groups = np.unique(drawn, return_inverse=True)[1]
    sizes = np.bincount(groups)
    test = data.draw(st.one_of(st.none(), st.integers(1, len(groups) - 1)))
    if len(sizes) < (2 if test is None else 3):
        with pytest.raises(DataError, match="groups are too few"):
            split_by_groups(groups, 1, test, seed)
        return
    rows = split_by_groups(groups, 1, test, seed)
    parts = [rows.train, rows.validation, *([rows.test] if test is not None else [])]
    assert sorted(np.concatenate(parts)) == list(range(len(groups)))
    found = [set(groups[part]) for part in parts]
    assert all(found)
    assert sum(map(len, found)) == len(sizes)
    assert split_by_groups(groups, 1, test, seed).train.tolist() == rows.train.tolist()


def test_groups_are_drawn_by_the_seed_and_parts_have_about_their_size() -> None:
    groups = np.random.default_rng(0).integers(0, 300, 5000)
    found = [split_by_groups(groups, 0.1, 0.2, seed) for seed in range(20)]
    for rows in found:
        assert abs(len(rows.test) - 1000) <= 10
        assert abs(len(rows.validation) - 400) <= 10
    assert len({tuple(np.unique(groups[rows.test])) for rows in found}) == 20
    # every group is in the test part about as often as any other: 20 % of 20 draws of each of 300 groups
    times = np.bincount(np.concatenate([np.unique(groups[rows.test]) for rows in found]), minlength=300)
    assert times.max() <= 12


def rows_of(days: list[str], folder: Path, **keys: Any) -> list[list[float]]:
    """What x, which counts from 0, is in the three parts of a table whose rows are of these days and people."""
    lines = [f"{row},{day},{row // 4},{row}.5\n" for row, day in enumerate(days)]
    (folder / "t.csv").write_text(f"x,day,person,y\n{''.join(lines)}")
    settings = {"kind": "csv", "path": str(folder / "t.csv"), "target": "y", "task": "regression", "normalise": "none"}
    data = Csv(**{**settings, "validation": 4, "test": 4, **keys}).load()
    return [sorted(part.gather(None)[0][:, 0].tolist()) for part in (data.train, data.validation, data.test)]


@pytest.mark.parametrize(
    "days",
    [
        [f"2024-01-{20 - row:02}" for row in range(20)],
        [str(1000 - 10.5 * row) for row in range(20)],
        [f"2024-01-01T00:00:{20 - row:02}.5+01:00" for row in range(20)],
    ],
)
def test_a_table_by_time(days: list[str], tmp_path: Path) -> None:
    parts = rows_of(days, tmp_path, split={"kind": "time", "column": "day"}, leave_out=["person"])
    assert parts == [list(range(8, 20)), list(range(4, 8)), list(range(4))]


def test_a_table_by_groups(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"split": {"kind": "group", "column": "person"}, "columns": ["x"]}
    parts = rows_of(["1"] * 20, tmp_path, **keys)
    assert sorted(map(len, parts)) == [4, 4, 12]
    assert all(len({row // 4 for row in part}) == len(part) / 4 for part in parts)
    assert parts != rows_of(["1"] * 20, tmp_path, split_seed=1, **keys)


def test_the_column_of_a_split_is_an_input_only_where_it_is_named(tmp_path: Path) -> None:
    days = [str(row) for row in range(20)]
    split = {"kind": "time", "column": "day"}
    rows_of(days, tmp_path)
    keys = {"kind": "csv", "path": str(tmp_path / "t.csv"), "target": "y", "task": "regression", "split": split}
    assert Csv(**keys).load().input_shape == (2,)
    assert Csv(**keys, columns=["x", "day"]).load().input_shape == (2,)
    assert Csv(**keys, columns=["x"]).load().input_shape == (1,)
