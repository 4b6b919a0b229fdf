"""MetaCLIP balancing through a store, on the example that can be done by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curate.cluster import Cluster
from curate.errors import CurateError
from curate.op import load_all
from curate.read import read
from curate.scoring import annotate
from curate.source import ReadOptions
from curate.store import Store
from curate.view import View

ENTRIES = ["a", "A", "photo", "dog", "cat", "2019", "of", "dog house"]
TEXTS = ["A photo of a dog", "photo of cat, 2019", "a dog", "dog-house", "the photo", None, ""]
HERE = Cluster(workers=0)


def balanced(folder: Path, options: dict[str, object], entries: list[str], texts: list[str | None] = TEXTS) -> View:
    folder.mkdir(exist_ok=True)
    (folder / "entries.txt").write_text("\n".join(entries) + "\n")
    urls = [f"http://a.example/{i}" for i in range(len(texts))]
    pl.DataFrame({"url": urls, "text": texts}, schema={"url": pl.String, "text": pl.String}).write_parquet(
        folder / "in.parquet"
    )
    store = Store(str(folder / "store"))
    view = read(store, ReadOptions(input=str(folder / "in.parquet"), rows_per_shard=3), HERE)
    ops = [{"score.entries": {"metadata": str(folder / "entries.txt")}}, {"balance.metaclip": options}]
    return annotate(view, load_all(ops), HERE)


def column(view: View, name: str) -> list[object]:
    return [v for shard in view.store.shard_rows() for v in view.read(shard, [name])[name].to_pylist()]


def test_probabilities_of_the_published_rule(tmp_path: Path) -> None:
    one = balanced(tmp_path / "1", {"t": 1}, ENTRIES)
    assert column(one, "entries") == [[0, 1, 2, 3, 6], [2, 4, 5, 6], [0, 3], [], [2], None, []]
    assert column(one, "metaclip_p") == pytest.approx([1, 1, 0.75, 0, 1 / 3, None, 0])
    two = balanced(tmp_path / "2", {"t": 2}, ENTRIES)
    assert column(two, "metaclip_p") == pytest.approx([1, 1, 1, 0, 2 / 3, None, 0])
    fewer = balanced(tmp_path / "3", {"t": 1}, [e for e in ENTRIES if e not in ("A", "cat", "2019")])
    assert column(fewer, "metaclip_p") == pytest.approx([11 / 12, 2 / 3, 0.75, 0, 1 / 3, None, 0])


def test_the_draw_is_seeded_and_grows_with_t(tmp_path: Path) -> None:
    texts: list[str | None] = ["dog"] * 3000
    kept = {t: column(balanced(tmp_path / str(t), {"t": t}, ENTRIES, texts), "metaclip_keep") for t in (300, 900, 1200)}
    assert kept[300] == column(balanced(tmp_path / "again", {"t": 300}, ENTRIES, texts), "metaclip_keep")
    assert kept[300] != column(balanced(tmp_path / "seed", {"t": 300, "seed": 1}, ENTRIES, texts), "metaclip_keep")
    for t, rows in kept.items():
        # Binomial: three standard deviations are at most 82 rows.
        assert abs(sum(map(bool, rows)) - t) < 82
    assert all(more or not less for less, more in zip(kept[300], kept[900], strict=True))
    assert all(more or not less for less, more in zip(kept[900], kept[1200], strict=True))


def test_t_from_the_share_of_the_tail(tmp_path: Path) -> None:
    texts: list[str | None] = ["dog"] * 10 + ["cat"] * 4 + ["photo"] * 3 + ["of"] * 2 + ["2019"]
    view = balanced(tmp_path, {"tail_share": 0.3}, ENTRIES, texts)
    report = view.store.manifest()["tables"][view.columns["metaclip_p"]]["report"]
    assert report["t"] == 3 and report["matches"] == 20 and report["entries_over_t"] == 2
    assert column(view, "metaclip_p") == pytest.approx([0.3] * 10 + [0.75] * 4 + [1] * 6)


def test_faults_are_said(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no caption holds an entry"):
        balanced(tmp_path / "none", {"t": 1}, ["zebra"])
    with pytest.raises(CurateError, match="give either `t` or `tail_share`"):
        balanced(tmp_path / "both", {"t": 1, "tail_share": 0.1}, ENTRIES)
    with pytest.raises(CurateError, match=r"option 't': .*greater than or equal to 1"):
        balanced(tmp_path / "zero", {"t": 0}, ENTRIES)
