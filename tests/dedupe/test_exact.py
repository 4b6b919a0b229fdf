import math
import unicodedata
from collections import defaultdict
from itertools import pairwise

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.dedupe.exact import Exact
from curate.errors import CurateError
from curate.op import Rows
from curate.read.step import ReadOptions, read
from curate.store.store import Store

TYPES = {
    "uid": pa.string(),
    "url": pa.large_string(),
    "text": pa.large_string(),
    "sha256": pa.string(),
    "original_width": pa.int32(),
    "original_height": pa.int32(),
    "score": pa.float32(),
    "phash": pa.uint64(),
}


def column(rows, name):
    return pa.array([row.get(name) for row in rows], TYPES.get(name))


def verdicts(op, rows, cuts=(), partitions=1):
    """(of, size) per row: the shards end at `cuts`, groups are spread over partitions."""
    bounds = [0, *sorted(cuts), len(rows)]
    frames = []
    for shard, (start, end) in enumerate(pairwise(bounds)):
        mine = rows[start:end]
        columns = {name: column(mine, name) for name in op.reads()}
        keys = op.keys(Rows(columns))
        numbers = pa.array(range(len(mine)), pa.int32())
        table = {"key": keys, "shard": pa.array([shard] * len(mine), pa.int32()), "row": numbers}
        frames.append(pl.DataFrame(pa.table(table | {name: columns[name] for name in op.carries()})))
    frame = pl.concat(frames).filter(pl.col("key").is_not_null())
    found = {}
    for number in range(partitions):
        part = frame.filter(pl.col("key").bin.slice(0, 1).bin.reinterpret(dtype=pl.UInt8) % partitions == number)
        for shard, row, of, size in op.judge(part).select("shard", "row", *op.makes()).iter_rows():
            assert (shard, row) not in found
            found[bounds[shard] + row] = (of, size)
    return [found.get(i, (None, None)) for i in range(len(rows))]


def rows_of(**columns):
    length = len(next(iter(columns.values())))
    rows = [{name: values[i] for name, values in columns.items()} for i in range(length)]
    return [{"uid": f"u{i}", **row} for i, row in enumerate(rows)]


def test_by_url_compares_addresses_not_spellings():
    rows = rows_of(url=["https://a.b/X.jpg?utm_source=q", "http://A.b:80/X.jpg", "http://a.b/x.jpg", None, None, ""])
    expected = [(None, 2), ("u0", 2), (None, 1), (None, None), (None, None), (None, None)]
    assert verdicts(Exact(by="url"), rows) == expected


def test_by_text_in_nfc_with_blanks_collapsed():
    rows = rows_of(text=["a  dog", " a dog\n", "A dog", "cafe\u0301", "caf\u00e9", "", " ", None])
    expected = [(None, 2), ("u0", 2), (None, 1), (None, 2), ("u3", 2), (None, None), (None, None), (None, None)]
    assert verdicts(Exact(by="text"), rows) == expected


def test_by_url_and_text():
    rows = rows_of(url=["http://a/1"] * 4, text=["x", "x ", "y", None])
    assert verdicts(Exact(by="url_text"), rows) == [(None, 2), ("u0", 2), (None, 1), (None, None)]
    assert Exact(by="url_text") == Exact(by=["url", "text"])
    assert Exact(by=["url", "text"]).table() == "dup_url_text"


def test_by_a_number():
    assert verdicts(Exact(by="phash"), rows_of(phash=[2**64 - 1, 2**64 - 1, 0, None])) == [
        (None, 2),
        ("u0", 2),
        (None, 1),
        (None, None),
    ]


def test_equal_uids_keep_the_first_of_the_input():
    rows = [{"uid": "same"}, {"uid": "same"}, {"uid": "other"}]
    assert verdicts(Exact(by="uid"), rows, cuts=[1]) == [(None, 2), ("same", 2), (None, 1)]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [("first", "u9"), ("smallest_uid", "u1"), ("largest_image", "u5"), ("best:score", "u3")],
)
def test_keep(keep, kept):
    rows = [
        {"uid": "u9", "text": "t", "original_width": 5, "original_height": 5, "score": None},
        {"uid": "u1", "text": "t", "original_width": None, "original_height": 9, "score": math.nan},
        {"uid": "u5", "text": "t", "original_width": 3, "original_height": 10, "score": 0.5},
        {"uid": "u6", "text": "t", "original_width": 10, "original_height": 3, "score": -1.0},
        {"uid": "u3", "text": "t", "original_width": 1, "original_height": 1, "score": 0.7},
        {"uid": "u4", "text": "t", "original_width": 1, "original_height": 2, "score": 0.7},
    ]
    of = [of for of, _ in verdicts(Exact(by="text", keep=keep), rows, cuts=[2, 3])]
    assert of == [None if row["uid"] == kept else kept for row in rows]


def test_large_sides_do_not_overflow():
    rows = [
        {"uid": "a", "text": "t", "original_width": 10, "original_height": 10},
        {"uid": "b", "text": "t", "original_width": 60_000, "original_height": 60_000},
    ]
    assert verdicts(Exact(by="text", keep="largest_image"), rows)[0] == ("b", 2)


# ---- against a comparison of every row with every other ----


def same(rows, by, a, b):
    """Plainly written, for the values that the tables below hold."""

    def value(row):
        if by == "text":
            return " ".join(unicodedata.normalize("NFC", row["text"] or "").split())
        if by == "url":
            return (row["url"] or "").replace("https:", "http:").removesuffix("#top")
        return row[by]

    left, right = value(rows[a]), value(rows[b])
    return bool(left) and left == right


def rank(keep, row, index):
    """Smaller stays."""
    if keep == "first":
        return (index,)
    value = None
    if keep == "largest_image" and None not in (row["original_width"], row["original_height"]):
        value = row["original_width"] * row["original_height"]
    elif keep == "best:score" and row["score"] is not None and not math.isnan(row["score"]):
        value = row["score"]
    return (value is None, -(value or 0), row["uid"], index)


def oracle(rows, by, keep):
    out = []
    for a in range(len(rows)):
        group = [b for b in range(len(rows)) if same(rows, by, a, b)]
        if not group:
            out.append((None, None))
            continue
        best = min(group, key=lambda b: rank(keep, rows[b], b))
        out.append((None if best == a else rows[best]["uid"], len(group)))
    return out


ROW = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["a", " a", "A", "a b", "a\u3000b", "e\u0301", "\u00e9", "", " ", None]),
        "url": st.sampled_from(["http://x/a", "https://x/a", "http://x/a#top", "http://x/A", "", None]),
        "sha256": st.sampled_from(["00", "01", "", None]),
        "original_width": st.sampled_from([1, 2, 3, 4, None]),
        "original_height": st.sampled_from([1, 2, 3, None]),
        "score": st.sampled_from([0.0, -0.0, 0.5, math.nan, None]),
    }
)


@st.composite
def tables(draw):
    rows = draw(st.lists(ROW, min_size=1, max_size=12))
    numbers = draw(st.permutations(range(len(rows))))
    return [{**row, "uid": f"{n:032x}"} for row, n in zip(rows, numbers, strict=True)]


@settings(max_examples=150, deadline=None)
@given(
    tables(),
    st.sampled_from(["text", "url", "sha256"]),
    st.sampled_from(["first", "smallest_uid", "largest_image", "best:score"]),
    st.data(),
)
def test_same_verdict_whatever_the_order_the_shards_and_the_partitions(rows, by, keep, data):
    op = Exact(by=by, keep=keep)
    expected = oracle(rows, by, keep)
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=3))
    partitions = data.draw(st.sampled_from([1, 3]))
    assert verdicts(op, rows, cuts, partitions) == expected
    if keep == "first":
        return
    order = data.draw(st.permutations(range(len(rows))))
    shuffled = verdicts(op, [rows[i] for i in order], cuts, partitions)
    assert shuffled == [expected[i] for i in order]


# ---- options, and through a store ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "biggest"}, "no keep 'biggest'"),
        ({"keep": "best:"}, "no keep"),
        ({"by": []}, "name a column"),
        ({"by": ""}, "name a column"),
        ({"bye": "url"}, "did you mean 'by'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(CurateError, match=message):
        load({"dedupe.exact": options})


def test_one_spec_for_one_key():
    assert load({"dedupe.exact": {"by": ["url"]}}).spec() == load("dedupe.exact").spec()
    assert load({"dedupe.exact": {"by": "text"}}).spec() != load("dedupe.exact").spec()


def test_reads_the_column_it_ranks_by():
    assert Exact(by="text", keep="best:score").reads() == ("text", "uid", "score")
    assert Exact(by="uid").reads() == ("uid",)


@pytest.mark.parametrize("rows_per_shard", [1, 3, 100])
def test_through_a_store(tmp_path, rows_per_shard):
    texts = ["dog", "cat", " dog", None, "", "cat", "bird", "dog"]
    scores = [0.1, 0.2, 0.9, 1.0, 1.0, 0.1, 0.5, 0.3]
    table = {"url": [f"http://x/{i % 3}" for i in range(8)], "text": texts, "score": scores}
    pq.write_table(pa.table({"uid": [f"{9 - i:032x}" for i in range(8)], **table}), tmp_path / "in.parquet")
    store, cluster = Store(str(tmp_path / "store")), Cluster(workers=0)
    view = read(store, ReadOptions(input=str(tmp_path / "in.parquet"), rows_per_shard=rows_per_shard), cluster)
    ops = [Exact(by="text", keep="best:score"), Exact(by="url", name="twin")]
    view = annotate(view, ops, cluster)
    found = store["dup_text"].collect()
    number = {f"{9 - i:032x}": i for i in range(8)}
    assert [number.get(of) for of in found["dup_text_of"]] == [2, None, None, None, None, 1, None, 2]
    assert found["dup_text_size"].to_list() == [3, 2, 3, None, None, 2, 1, 3]
    assert found["dup_text_status"].to_list() == ["ok"] * 3 + ["no_value"] * 2 + ["ok"] * 3
    assert found["uid"].to_list() == list(number)
    twins = store["twin"].collect()
    kept = defaultdict(list)
    for i, of in enumerate(twins["twin_of"]):
        kept[i % 3].append(number.get(of))
    # The smallest uid is the last row.
    assert kept == {0: [6, 6, None], 1: [7, 7, None], 2: [5, None]}
