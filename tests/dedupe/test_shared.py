import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE, column
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.dedupe.shared import Shared
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.op import Rows
from curate.read.step import ReadOptions, read
from curate.store.store import Store


def counts(op, rows, shard_of=lambda i: 0):
    """The count per row; the frame holds the rows in the order of `rows`."""
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in op.reads()}
    number = range(len(rows))
    places = {"shard": pa.array(map(shard_of, number), pa.int32()), "row": pa.array(number, pa.int32())}
    carried = {name: columns[name] for name in op.carries()}
    frame = pl.DataFrame(pa.table({"key": op.keys(Rows(columns)), **places, **carried}))
    frame = frame.filter(pl.col("key").is_not_null())
    found = {row: count for _, row, count in op.judge(frame).select("shard", "row", *op.makes()).iter_rows()}
    return [found.get(i) for i in range(len(rows))]


def rows_of(*pairs):
    return [{"uid": f"u{i}", "text": text, "sha256": image} for i, (text, image) in enumerate(pairs)]


ROWS = rows_of(("a", "1"), (" a ", "1"), ("a", "2"), ("a", None), ("b", "1"), ("b", None), (None, "1"), ("", "3"))


def test_distinct_images_of_a_caption():
    assert counts(Shared(), ROWS) == [2, 2, 2, 2, 1, 1, None, None]


def test_distinct_captions_of_an_image():
    op = Shared(by="sha256", distinct="text")
    assert counts(op, ROWS) == [2, 2, 1, None, 2, None, 2, 0]


def test_a_group_without_any_value_counts_none():
    assert counts(Shared(), rows_of(("a", None), ("a", ""))) == [0, 0]


@pytest.mark.parametrize("images", [10, 11])
def test_one_image_under_many_rows_is_one(images):
    rows = rows_of(*[("shared", f"{i % images}") for i in range(40)])
    assert counts(Shared(), rows) == [images] * 40


@pytest.mark.parametrize(
    ("options", "column"),
    [
        ({}, "text_images"),
        ({"by": "sha256", "distinct": "text"}, "image_texts"),
        ({"by": "pixel_hash", "distinct": "url"}, "image_urls"),
        ({"by": "host", "distinct": "text"}, "host_texts"),
        ({"by": "text", "distinct": "phash", "name": "looks"}, "looks"),
    ],
)
def test_names(options, column):
    op = load({"dedupe.shared": options})
    assert op.table() == column and list(op.makes()) == [column]


def oracle(rows):
    out = []
    for row in rows:
        text = " ".join((row["text"] or "").split())
        if not text:
            out.append(None)
            continue
        out.append(len({r["sha256"] for r in rows if " ".join((r["text"] or "").split()) == text} - {None}))
    return out


PAIRS = st.tuples(st.sampled_from(["a", "a ", "b", "", None]), st.sampled_from(["1", "2", "3", None]))


@settings(max_examples=100, deadline=None)
@given(st.lists(PAIRS, min_size=1, max_size=14), st.randoms(use_true_random=False))
def test_against_every_pair_in_any_order(pairs, random):
    rows = rows_of(*pairs)
    expected = oracle(rows)
    assert counts(Shared(), rows) == expected
    order = list(range(len(rows)))
    random.shuffle(order)
    assert counts(Shared(), [rows[i] for i in order], shard_of=lambda i: i % 3) == [expected[i] for i in order]


SPLITS = st.tuples(st.lists(PAIRS, min_size=1, max_size=6), st.lists(PAIRS, min_size=1, max_size=6))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SPLITS, st.lists(PAIRS, min_size=1, max_size=8))
def test_old_stores_count_as_in_one_run_over_all_rows(make_store, olds, new):
    stores = [make_store(rows_of(*pairs), 2) for pairs in olds]
    rows = rows_of(*(pair for pairs in olds for pair in pairs), *new)
    old = len(rows) - len(new)
    op = Shared(against=[store.store.url for store in stores])
    assert list(op.makes()) == ["text_images", "text_images_old"]
    total = oracle(rows)[old:]
    # What of it the old rows have: the count without the new images.
    of_old = oracle([row if i < old else {**row, "sha256": None} for i, row in enumerate(rows)])[old:]
    expected = list(zip(total, of_old, strict=True))
    cut = Cut(rows_per_partition=2, shards_per_run=2)
    assert column(annotate(make_store(rows_of(*new), 2), [op], HERE, cut), *op.makes()) == expected


def test_a_step_says_where_the_old_rows_are_too_many_already(make_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_store(rows_of(("a", "1"), ("a", "2"), ("b", "1")), root="OLD")
    new = make_store(rows_of(("a", "1"), ("b", "2"), ("b", "2"), ("c", "9")), root="NEW")
    op = load({"dedupe.shared": {"most": 1, "against": "OLD"}})
    _, counts = select(annotate(new, [op], HERE), Filter(name="d", **op.decision()))
    reason = "caption with more than 1 images"
    assert counts["dropped"] == {f"{reason} (old store)": 1, reason: 2} and counts["kept"] == 1


@pytest.mark.parametrize("rows_per_shard", [2, 100])
def test_through_a_store(tmp_path, rows_per_shard):
    table = {name: [row[name] for row in ROWS] for name in ("text", "sha256")}
    pq.write_table(pa.table({"url": [f"http://x/{i}" for i in range(8)], **table}), tmp_path / "in.parquet")
    store, cluster = Store(str(tmp_path / "store")), Cluster(workers=0)
    view = read(store, ReadOptions(input=str(tmp_path / "in.parquet"), rows_per_shard=rows_per_shard), cluster)
    annotate(view, [Shared(), Shared(by="sha256", distinct="text")], cluster)
    assert store["text_images"].collect()["text_images"].to_list() == [2, 2, 2, 2, 1, 1, None, None]
    assert store["image_texts"].collect()["image_texts"].to_list() == [2, 2, 1, None, 2, None, 2, 0]
