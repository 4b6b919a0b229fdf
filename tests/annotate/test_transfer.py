"""Rows from writers to readers in one step and in two: the same rows, and as many ranges as are reckoned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE
from hypothesis import given
from hypothesis import strategies as st

from curate.annotate.transfer import Layout, Transfer
from curate.store import spill
from curate.store.store import Store


def sent(folder: Path, layout: Layout) -> Transfer:
    """Every writer has the rows 0 to 29 of its own, of which the reader is their number modulo all readers."""
    transfer = Transfer(Store(str(folder)), "t/rows", layout)
    numbers = np.arange(30)
    for writer in range(layout.writers):
        frame = pl.DataFrame({"writer": np.full(30, writer), "number": numbers})
        transfer.send(writer, frame, numbers % layout.readers)
    assert transfer.unsent() == []
    transfer.finish(HERE, "t", {})
    return transfer


@pytest.mark.parametrize(("writers", "readers", "fit"), [(7, 11, 4), (12, 3, 40), (1, 5, 1), (9, 9, 1000)])
def test_every_reader_gets_its_rows(tmp_path: Path, writers: int, readers: int, fit: int) -> None:
    for most in (0, 1000):
        layout = Layout.of(writers, readers, 30 * writers, fit, most)
        assert bool(layout.buckets) == (most == 0)
        transfer = sent(tmp_path / str(most), layout)
        expected = [[(w, n) for w in range(writers) for n in range(reader, 30, readers)] for reader in range(readers)]
        assert [sorted(transfer.receive(reader).rows()) for reader in range(readers)] == expected
        assert transfer.rows().tolist() == [len(rows) for rows in expected]
        assert transfer.unsent() == []  # though the files of the first of two steps are gone
        assert transfer.store.names("t") == {"rows-fine" if layout.buckets else "rows"}
        transfer.forget()
        assert transfer.store.names("t") == set() and transfer.unsent() == list(range(writers))


def test_ranges_are_as_many_as_reckoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, read, ask = Layout.of(40, 30, 1200, 10, 100), [0], spill._range

    def counted(store: Store, folder: str, writer: int, start: int, end: int) -> bytes:
        read[0] += start != end
        return ask(store, folder, writer, start, end)

    monkeypatch.setattr(spill, "_range", counted)
    transfer = sent(tmp_path, layout)
    for reader in range(30):
        transfer.receive(reader)
    assert read[0] == 2 * layout.ranges() < 2 * 40 * 30
    assert len(transfer.store.names("t/rows-fine")) == layout.buckets * layout.batches


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 10**4), st.integers(1, 10**7))
def test_no_item_holds_more_than_it_may(writers: int, readers: int, per_writer: int, fit: int) -> None:
    layout = Layout.of(writers, readers, writers * per_writer, fit, 0)
    assert layout.buckets * layout.span >= readers > (layout.buckets - 1) * layout.span
    assert layout.batches * layout.batch >= writers > (layout.batches - 1) * layout.batch
    # Of a bucket of readers and a batch of writers; a single one of each is not cut.
    held = layout.batch * per_writer * layout.span / readers
    assert held <= 4 * fit + 0.01 or layout.batch == 1


def test_ten_billion_rows_stay_under_ten_million_ranges() -> None:
    minhash = Layout.of(45_000, 45_000, 18 * 10**10, 4_000_000, 10**7)
    exact, back = (Layout.of(*ends, 10**10, 4_000_000, 10**7) for ends in ((16_000, 2_500), (2_500, 16_000)))
    assert [way.ranges() for way in (minhash, exact, back)] == [9_585_000, 317_500, 320_000]
    assert Layout.of(1600, 250, 10**9, 4_000_000, 10**7).buckets == 0


def test_texts_lie_end_to_end(tmp_path):
    store = Store(str(tmp_path))
    rows = pl.DataFrame({"uid": ["a", None, "bb"], "key": [b"1", b"2", None]})
    spill.spill(store, "sent", 0, rows, np.zeros(3, np.int64), 1)
    data = (tmp_path / "sent" / "00000.spill").read_bytes()[spill.ENTRY_BYTES :]
    assert pa.ipc.open_stream(data).schema.types == [pa.large_string(), pa.large_binary()]
    assert spill.read_spilled(store, "sent", 1, 0).equals(rows)
