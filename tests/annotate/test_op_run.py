"""Values and status words of one op in one shard, whichever of its rows are done."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.annotate.ahead import Chunk
from curate.annotate.op_run import OpRun
from curate.catalog import load

TEXT = pa.array(["one", "two words", "now three words", None, "five"])


def words(todo: list[bool], chunks: list[list[int]], part: pa.Table | None = None) -> list[tuple[int | None, str]]:
    run = OpRun(load({"score.words": {"batch_size": 2}}), "words-1", np.array(todo, bool), part)  # type: ignore[arg-type]
    for rows in chunks:
        run.do(Chunk(np.array(rows), ["ok"] * len(rows), {}, {}), {"text": TEXT.take(pa.array(rows))})
    table = run.finished()
    return list(zip(table["words"].to_pylist(), table["words_status"].to_pylist(), strict=True))


ONE, TWO, THREE, NULL, FIVE = (1, "ok"), (2, "ok"), (3, "ok"), (None, "no_text"), (1, "ok")
OUT = (None, "skipped")


@pytest.mark.parametrize(
    ("todo", "chunks", "expected"),
    [
        ([True] * 3, [[0, 1, 2]], [ONE, TWO, THREE]),
        ([True] * 3, [[0, 1], [2]], [ONE, TWO, THREE]),
        ([True] * 5, [[0, 1, 2], [3, 4]], [ONE, TWO, THREE, NULL, FIVE]),
        ([True, False, True, False, True], [[0, 2, 4]], [ONE, OUT, THREE, OUT, FIVE]),
        ([False] * 4, [], [OUT] * 4),
        ([], [], []),
    ],
)
def test_values_and_words(todo: list[bool], chunks: list[list[int]], expected: list[tuple[int | None, str]]) -> None:
    assert words(todo, chunks) == expected


def test_what_an_earlier_run_left_stays() -> None:
    earlier = {"words": [7, None, 9], "characters": [70, None, 90], "words_status": ["ok", "skipped", "ok"]}
    part = pa.table(earlier, pa.schema({**load("score.words").makes(), "words_status": pa.string()}))
    assert words([False, True, False], [[1]], part) == [(7, "ok"), TWO, (9, "ok")]
