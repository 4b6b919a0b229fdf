"""Exact duplicates of (url, caption): dedupe.exact beside pandas and polars, on the same rows, in one process.

    python benchmarks/exact.py [--rows 1000000]

Needs `pip install pandas`. All keep the first row of each group, and what they keep is compared. Ours spells URLs
the same way and captions in NFC before it compares, and says of each row which one it repeats; the others compare what
they are given and say nothing. So ours is also timed without that, on the columns under names that it takes as they
are. They hold all rows at once, as one machine does; ours is made for rows that no machine holds: a 16 byte key of
each, partition by partition. Time is processor time, of all threads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa
from growth import vocabulary

from curate.dedupe.exact import Exact
from curate.op import Rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    table = make_rows(options.rows)
    frame, lazy = table.to_pandas(), pl.DataFrame(table)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "curate": lambda: ours(table, "url_text"),
        "curate, as they are": lambda: ours(table.rename_columns(["a", "b"]), ("a", "b")),
        "pandas": lambda: ~frame.duplicated(["url", "text"]).to_numpy(),
        "polars": lambda: lazy.select(pl.struct("url", "text").is_first_distinct()).to_series().to_numpy(),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    kept: dict[str, np.ndarray] = {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            start = time.process_time()
            kept[name] = way()
            times[name].append(time.process_time() - start)
    mine = statistics.median(times["curate"])
    for name, stay in kept.items():
        differ = int((stay != kept["curate"]).sum())
        middle = statistics.median(times[name])
        print(
            f"{name:20} {middle / options.rows * 1e6:6.2f} s per million rows, {middle / mine:5.2f} of curate's time; "
            f"{stay.sum():,} rows stay, {differ} others than curate's"
        )


def make_rows(rows: int) -> pa.Table:
    """A url and a caption of 2 to 20 Zipfian words; a fifth repeat an earlier row, a tenth its url only."""
    rng = np.random.default_rng(0)
    words = vocabulary(50_000)
    lengths = rng.integers(2, 21, rows)
    drawn = words[np.minimum((len(words) ** rng.random(lengths.sum())).astype(int), len(words) - 1)]
    ends = np.cumsum(lengths)
    texts = [" ".join(drawn[e - n : e]) for e, n in zip(ends.tolist(), lengths.tolist(), strict=True)]
    urls = [f"http://host{i % 997}.example/{i}.jpg" for i in range(rows)]
    for i in np.flatnonzero(rng.random(rows) < 0.3)[1:].tolist():
        j = int(rng.integers(i))
        urls[i] = urls[j]
        texts[i] = texts[j] if i % 3 else texts[i]
    return pa.table({"url": urls, "text": texts})


def ours(table: pa.Table, by: str | tuple[str, ...]) -> np.ndarray:
    op = Exact(by=by, keep="first")
    rows = Rows({name: table[name].combine_chunks() for name in table.column_names})
    frame = pl.DataFrame(
        {
            "key": pl.Series(op.keys(rows)),
            "shard": np.zeros(len(table), np.int32),
            "row": np.arange(len(table), dtype=np.int32),
            "uid": np.arange(len(table)),
        }
    )
    return op.judge(frame).sort("row")[op.table() + "_of"].is_null().to_numpy()


if __name__ == "__main__":
    main()
