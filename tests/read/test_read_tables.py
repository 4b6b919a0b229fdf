"""Tables as people have them: captions in lists, types that differ, uids of their own, changed files, what is said."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import uuid
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import record
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.read import exact_types
from curate.read.captions import chosen, each, lists
from curate.read.columns import renamed
from curate.read.source import ReadOptions
from curate.read.step import read, records_view
from curate.store.file_list import read_file_list
from curate.store.store import Store

N = None


@pytest.fixture
def load(tmp_path):
    def run(root: str = "store", rows_per_shard: int = 10, **options: Any) -> pl.DataFrame:
        store = Store(str(tmp_path / root))
        options.setdefault("input", str(tmp_path / "in"))
        read(store, ReadOptions(rows_per_shard=rows_per_shard, **options), Cluster(workers=0))
        return store["records"].collect()

    (tmp_path / "in").mkdir()
    return run


@pytest.fixture
def said(tmp_path):
    def lines(root: str = "store", group: int = 0) -> list[str]:
        return Remarks.from_json(Store(str(tmp_path / root)).manifest().inputs[group].remarks or {}).lines()

    return lines


def parquet(file: Path, **columns: Any) -> None:
    rows = len(next(iter(columns.values())))
    usual = {"url": [f"http://a/{file.stem}{i}.jpg" for i in range(rows)], "text": [f"t{i}" for i in range(rows)]}
    pq.write_table(pa.table({**({} if "url" in columns else {"url": usual["url"]}), **columns} | {
        n: v for n, v in usual.items() if n == "text" and not {"text", "caption"} & columns.keys()
    }), file)  # fmt: skip


# ---- captions ----

CAPTIONS = [["a dog", "the dog"], ["a cat"], [], None]


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())])
def test_a_list_of_captions(load, tmp_path, capsys, kind):
    parquet(tmp_path / "in" / "a.parquet", caption=pa.array(CAPTIONS, kind), tags=[["x"], N, [], ["y"]])
    frame = load()
    assert frame["text"].to_list() == ["a dog", "a cat", None, None]
    assert frame["texts"].to_list() == CAPTIONS
    assert frame["tags"].to_list() == [["x"], None, [], ["y"]]
    assert frame["uid"].to_list() == [record.uid(u, t) for u, t in frame.select("url", "text").rows()]
    assert "read: 4 rows, url <- url, text <- caption (first of a list)" in " ".join(capsys.readouterr().err.split())


def test_each_caption_in_a_row_of_its_own(load, tmp_path, capsys):
    for number in range(3):
        parquet(tmp_path / "in" / f"{number}.parquet", caption=CAPTIONS * 3, uid=["0" * 32] * 12)
    frame = load(rows_per_shard=4, caption="each")
    assert "text <- caption (each of a list)" in " ".join(capsys.readouterr().err.split())
    texts = ["a dog", "the dog", "a cat", None, None] * 3
    assert frame["text"].to_list() == texts * 3
    assert frame.columns == ["uid", "url", "text", "uid_input"]
    assert frame["url"].to_list()[:5] == ["http://a/00.jpg"] * 2 + [f"http://a/0{i}.jpg" for i in (1, 2, 3)]
    assert frame["uid"].to_list()[0] == record.uid("http://a/00.jpg", "a dog")
    assert load("one", 1000, caption="each").equals(frame)


def test_a_random_caption_depends_on_the_place_alone(load, tmp_path):
    many = [[f"{i} {j}" for j in range(3)] for i in range(200)]
    parquet(tmp_path / "in" / "a.parquet", caption=many)
    frame = load(rows_per_shard=7, caption="random")
    assert all(text in texts for text, texts in frame.select("text", "texts").rows())
    places = [texts.index(text) for text, texts in frame.select("text", "texts").rows()]
    assert all(40 < places.count(place) < 95 for place in range(3))
    assert load("other", 200, caption="random")["text"].equals(frame["text"])
    assert not load("seed", 200, caption="random", seed=1)["text"].equals(frame["text"])


@given(st.lists(st.none() | st.lists(st.text("ab", max_size=2), max_size=3), max_size=8))
@settings(derandomize=True, deadline=None)
def test_choosing_captions(texts):
    array = lists(pa.array(texts, pa.list_(pa.string())))
    assert array.to_pylist() == texts
    assert chosen(array, "first", 0, "f", 0).to_pylist() == [t[0] if t else None for t in texts]
    drawn = chosen(array, "random", 0, "f", 5).to_pylist()
    assert all(d in t if t else d is None for d, t in zip(drawn, texts, strict=True))
    rows, captions = each(array)
    expected = [(row, text) for row, some in enumerate(texts) for text in some or [None]]
    assert list(zip(rows.tolist(), captions.to_pylist(), strict=True)) == expected


def test_captions_of_json(load, tmp_path, said):
    rows = [
        {"url": "a", "captions": ["one", "two"]},
        {"url": "b", "caption": ["three"]},
        {"url": "c", "caption": "four"},
        {"url": "d", "meta": {"x": [1]}},
    ]
    (tmp_path / "in" / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    frame = load()
    assert frame.select("text", "texts").rows() == [
        ("one", ["one", "two"]), ("three", ["three"]), ("four", ["four"]), (None, None)
    ]  # fmt: skip
    assert frame["meta"].to_list()[3] == {"x": [1]}
    assert said() == ["1 column(s) of text and lists of text, kept as lists: caption"]


def test_captions_in_a_struct(load, tmp_path):
    parquet(tmp_path / "in" / "a.parquet", text=[{"en": "a dog", "de": "ein Hund"}, None])
    with pytest.raises(CurateError, match=r"no text, it has the fields en, de: choose one: columns: \{text: text.en\}"):
        load()
    with pytest.raises(CurateError, match=r"column 'text' has no field 'fr'; there are: en, de"):
        load(columns={"text": "text.fr"})
    frame = load(columns={"text": "text.de"})
    assert frame["text"].to_list() == ["ein Hund", None]
    assert frame["text_input"].to_list() == [{"en": "a dog", "de": "ein Hund"}, None]


def test_no_captions(load, tmp_path, capsys):
    (tmp_path / "in" / "a.txt").write_text("http://a/1.jpg\nhttp://a/2,3.jpg\n")
    assert load().select("url", "text").rows() == [("http://a/1.jpg", None), ("http://a/2,3.jpg", None)]
    assert " ".join(capsys.readouterr().err.split()) == "read: 2 rows, url <- url, no captions: text is null"
    (tmp_path / "in" / "b.csv").write_text("url,alt_description\nu,x\n")
    with pytest.raises(CurateError, match=r"text: null where there are no captions \(like captions: alt_description\)"):
        load("other")
    assert load("other", columns={"text": None})["alt_description"].to_list() == ["x"]


# ---- types that differ between files ----

BIG = 2**53 + 1
DAY = datetime.datetime(2020, 1, 1)
TYPES = [
    (pa.array([2**63], pa.uint64()), pa.array([-1]), pa.decimal128(20)),
    (pa.array([5], pa.uint64()), pa.array([-1]), pa.int64()),
    (pa.array([BIG]), pa.array([1.0, None]), pa.int64()),
    (pa.array([3]), pa.array([0.5]), pa.float64()),
    (pa.array([3], pa.int32()), pa.array([0.1], pa.float32()), pa.float64()),
    (pa.array([1.5], pa.float16()), pa.array([2.5], pa.float32()), pa.float32()),
    (pa.array([200], pa.uint8()), pa.array([-3], pa.int8()), pa.int16()),
    (pa.array([1], pa.timestamp("ns")), pa.array([1], pa.timestamp("us")), pa.timestamp("ns")),
    (pa.array([10**15], pa.timestamp("ms")), pa.array([10**15], pa.timestamp("us")), pa.timestamp("us")),
    (pa.array([10**17], pa.timestamp("ms")), pa.array([10**9], pa.timestamp("ns")), pa.timestamp("ms")),
    (pa.array([1], pa.timestamp("us", "UTC")), pa.array([1], pa.timestamp("us", "Europe/Berlin")),
     pa.timestamp("us", "UTC")),
    (pa.array([1], pa.timestamp("us", "UTC")), pa.array([1], pa.timestamp("us")), pa.large_string()),
    (pa.array([decimal.Decimal("1.25")]), pa.array([decimal.Decimal("100.5")]), None),
    (pa.array([decimal.Decimal("1.234567")]), pa.array([0.5]), pa.float64()),
    (pa.array(["a"]).dictionary_encode(), pa.array(["b"], pa.large_string()), pa.large_string()),
    (pa.array(["a"]), pa.array([5]), pa.large_string()),
    (pa.array([True]), pa.array([2]), pa.large_string()),
    (pa.nulls(1), pa.array([b"x"]), pa.large_binary()),
    (pa.array([[1]]), pa.array([[2.5]]), pa.list_(pa.float64())),
    (pa.array([{"a": 1}]), pa.array([{"b": "x"}]), None),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "kind"), TYPES)
def test_a_type_that_holds_both(load, tmp_path, one, other, kind):
    parquet(tmp_path / "in" / "a.parquet", x=one)
    parquet(tmp_path / "in" / "b.parquet", x=other)
    load(rows_per_shard=100)
    table = Store(str(tmp_path / "store")).read_part("records", 0)
    if kind is not None:
        assert table["x"].type == kind
    rows = iter(table["x"].to_pylist()) if not pa.types.is_timestamp(table["x"].type) else iter(table["x"])
    for array in (one, other):
        for value in array:
            got = next(rows)
            if isinstance(got, pa.Scalar):
                assert got.cast(value.type) == value
            elif isinstance(got, dict):
                assert {name: item for name, item in got.items() if item is not None} == value.as_py()
            elif isinstance(got, str):
                assert got == value.cast(pa.string()).as_py()
            else:
                assert got == (float(value.as_py()) if isinstance(got, float) else value.as_py())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([BIG]), pa.array([0.5])),
        (pa.array([2**64 - 1], pa.uint64()), pa.array([0.5])),
        (pa.array([10**17], pa.timestamp("ms")), pa.array([1], pa.timestamp("ns"))),
        (pa.array([decimal.Decimal("1" * 30 + ".5")]), pa.array([decimal.Decimal("." + "1" * 30)])),
        (pa.array([[BIG]]), pa.array([[0.5]])),
        (pa.array([["a"]]), pa.array(["b"])),
        (pa.array([{"a": 1}]), pa.array([1])),
    ],
)
def test_no_type_holds_both(load, tmp_path, one, other):
    parquet(tmp_path / "in" / "a.parquet", x=one)
    parquet(tmp_path / "in" / "b.parquet", x=other)
    with pytest.raises(CurateError, match=r"column 'x' is .* in '.*a.parquet', .* in '.*b.parquet', and no type holds"):
        load()
    frame = load(as_text=["x"])
    if not pa.types.is_timestamp(one.type):
        text = [json.dumps(v) if isinstance(v, (dict, list)) else v for v in one.to_pylist() + other.to_pylist()]
        assert frame["x"].to_list() == [v if isinstance(v, str) else str(v) for v in text]


INTEGERS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.one_of(
    st.lists(INTEGERS, min_size=1, max_size=3).map(lambda v: pa.array(v, pa.int64())),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3).map(lambda v: pa.array(v, pa.uint64())),
    st.lists(st.integers(-128, 127), min_size=1, max_size=3).map(lambda v: pa.array(v, pa.int8())),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=3).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3).map(lambda v: pa.array(v, pa.float32())),
    st.lists(INTEGERS, min_size=1, max_size=3).map(lambda v: pa.array(v, pa.timestamp("ns"))),
    st.lists(INTEGERS, min_size=1, max_size=3).map(lambda v: pa.array(v, pa.timestamp("ms"))),
    st.lists(st.decimals(-1000, 1000, places=3), min_size=1, max_size=3).map(
        lambda v: pa.array(v, pa.decimal128(20, 3))
    ),
)


@given(st.lists(NUMBERS, min_size=1, max_size=3))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_no_number_changes(arrays):
    """Whatever types meet: each value comes back from the common type as it was, or there is an error."""
    kinds: dict[pa.DataType, list[str]] = {}
    for number, array in enumerate(arrays):
        kinds.setdefault(array.type, []).append(str(number))

    def fits(file: str, kind: pa.DataType) -> bool:
        try:
            exact_types.cast(arrays[int(file)], kind)
        except pa.ArrowException:
            return False
        return True

    try:
        kind = exact_types.settled("x", kinds, fits)
    except CurateError:
        return
    for array in arrays:
        held = exact_types.cast(array, kind)
        assert (
            held.equals(array)
            if held.type == array.type
            else held.type == pa.large_string() or held.cast(array.type, safe=False).equals(array)
        )


# ---- uids and names ----


@pytest.mark.parametrize(
    ("uids", "expected"),
    [
        (pa.array([bytes(range(16))] * 2, pa.binary(16)), ["000102030405060708090a0b0c0d0e0f"] * 2),
        (pa.array([bytes(range(16)), None], pa.binary()), ["000102030405060708090a0b0c0d0e0f", N]),
        (pa.array([str(uuid.UUID(int=5)), "A" * 32]), [uuid.UUID(int=5).hex, "a" * 32]),
        (pa.array([12, 12]), [N, N]),
        (pa.array(["x1", "x2"]), [N, N]),
        (pa.array([1.5, None]), [N, N]),
    ],
)
def test_uids(load, tmp_path, said, uids, expected):
    parquet(tmp_path / "in" / "a.parquet", uid=uids)
    frame = load()
    made = [record.uid(url, text) for url, text in frame.select("url", "text").rows()]
    assert frame["uid"].to_list() == [uid or new for uid, new in zip(expected, made, strict=True)]
    if expected == [N, N]:
        assert frame["uid_input"].to_list() == uids.to_pylist()
        assert said() == ["1 column(s) 'uid' kept as 'uid_input', since they are not 32 hex digits: new uids are made"]


def test_a_uid_among_uids_that_is_none(load, tmp_path, said, monkeypatch):
    monkeypatch.setattr("curate.read.uid_column.UID_ROWS", 1)
    parquet(tmp_path / "in" / "a.parquet", uid=["0" * 32, "oops"])
    assert load()["uid"].to_list() == ["0" * 32, record.uid("http://a/a1.jpg", "t1")]
    assert said() == ["1 uid(s) that are not 32 hex digits, made anew (row 1 of shard 0: 'oops')"]


def test_a_column_named_for_uids_that_holds_none(load, tmp_path):
    parquet(tmp_path / "in" / "a.parquet", id=["x1", "x2"])
    with pytest.raises(
        CurateError, match=r"column 'id' of input '.*' holds no uids that rows can have \(32 hex digits"
    ):
        load(columns={"uid": "id"})
    assert load()["id"].to_list() == ["x1", "x2"]


def test_names_of_ours_that_the_user_has(load, tmp_path, said):
    columns = {"image_url": ["i"], "url": ["page"], "caption": ["c"], "text_input": ["x"], "malformed": ["m"]}
    pq.write_table(pa.table({**columns, "texts": [["mine"]], "image:tar": ["y"]}), tmp_path / "in" / "a.parquet")
    frame = load(columns={"text": "caption"})
    assert frame.drop("uid").to_dicts() == [
        {"url": "i", "text": "c", "url_input": "page", "text_input": "x", "malformed_input": "m", "texts": ["mine"],
         "image:tar_7": "y"}
    ]  # fmt: skip
    assert said() == ["1 column(s) 'url' kept as 'url_input'"]
    assert renamed(["text", "text_input", "alt"], {"text": "alt"}) == {
        "text": "alt",
        "text_input_2": "text",
        "text_input": "text_input",
    }


# ---- what is said, and what stops ----


def test_malformed_rows_are_counted_and_a_wrong_format_stops(load, tmp_path, said):
    (tmp_path / "in" / "a.csv").write_text("url,text\nu,a dog\nv,one, two\n")
    (tmp_path / "in" / "b.csv").write_text("url,text\nw\n")
    load()
    assert said() == ["2 malformed (a.csv, line 3: v,one, two)"]
    (tmp_path / "in" / "c.csv").write_text("url,text\n" + "v,one, two\n" * 50)
    with pytest.raises(
        CurateError, match=r"50 of 50 rows of '.*c.csv' are malformed \(line 2: v,one, two\): is it csv"
    ):
        load()


def test_malformed_rows_have_a_reason_of_their_own(load, tmp_path):
    from curate.download.options import DownloadOptions
    from curate.download.step import download
    from curate.filter.step import select
    from curate.pipeline.steps import NO_IMAGE

    (tmp_path / "in" / "a.csv").write_text("url,text\nnot a url,a dog\nv,one, two\n,no url\n")
    load()
    view = records_view(Store(str(tmp_path / "store")))
    view, counts = select(download(view, DownloadOptions(), Cluster(workers=0)), NO_IMAGE)
    assert counts["dropped"] == {"bad_url": 2, "malformed": 1}


def test_files_beside_the_input_are_said(load, tmp_path, said):
    parquet(tmp_path / "in" / "a.parquet", n=[1])
    (tmp_path / "in" / "a.npz").write_bytes(b"features")
    (tmp_path / "in" / "README.txt").write_text("about")
    load()
    assert said() == ["1 file(s) beside the input that are not read: .npz"]


def test_text_that_is_no_utf8(load, tmp_path, said):
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"ok"]).buffers())
    parquet(tmp_path / "in" / "a.parquet", text=bad)
    assert load()["text"].to_list() == ["caf\ufffd", "ok"]
    line = "1 value(s) of 'text' that are no UTF-8, their broken bytes are U+FFFD (row 0 of shard 0: caf\ufffd)"
    assert said() == [line]


def test_lists_and_braces(load, tmp_path):
    for number in range(3):
        parquet(tmp_path / "in" / f"{number:03d}.parquet", n=[number])
    (tmp_path / "in" / "sub").mkdir()
    parquet(tmp_path / "in" / "sub" / "000.parquet", n=[9])
    assert load("braces", input=f"{tmp_path}/in/{{000..001}}.parquet")["n"].to_list() == [0, 1]
    both = [f"{tmp_path}/in/002.parquet", f"{tmp_path}/in/sub"]
    assert load("list", input=both)["n"].to_list() == [2, 9]
    names = [file.name for file in read_file_list(Store(str(tmp_path / "list")), 0)]
    assert names == ["002.parquet", "sub/000.parquet"]
    with pytest.raises(CurateError, match=r"no input at '.*003.parquet'"):
        load("none", input=f"{tmp_path}/in/{{002..003}}.parquet")


# ---- another input is not taken for the same ----


def test_other_columns_on_the_same_store(load, tmp_path):
    parquet(tmp_path / "in" / "a.parquet", text=["t"], alt=["a"])
    load(columns={"text": "text"})
    assert load(columns={"text": "text"}).height == 1
    message = r"was read with columns: \{'text': 'text'\}, not with columns: \{'text': 'alt'\}: use a new root"
    with pytest.raises(CurateError, match=message):
        load(columns={"text": "alt"})
    with pytest.raises(CurateError, match=r"was read with caption: first, not with caption: each"):
        load(columns={"text": "text"}, caption="each")


@pytest.mark.parametrize("size", [1, 250_000])
def test_a_file_overwritten_at_the_same_size(load, tmp_path, size):
    file = tmp_path / "in" / "a.csv"
    text = "url,text\n" + "".join(f"http://a/{i}.jpg,a cat on a mat\n" for i in range(size))
    file.write_text(text)
    load(rows_per_shard=1_000_000)
    pool = records_view(Store(str(tmp_path / "store"))).pool()
    before = file.stat()
    os.utime(file, (1, 1))
    load(rows_per_shard=1_000_000)
    load("other", rows_per_shard=1_000_000)
    assert records_view(Store(str(tmp_path / "other"))).pool() == pool
    file.write_text(text.replace("cat", "dog"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CurateError, match=r"'a.csv' has changed since .* read it, at the same size"):
        load(rows_per_shard=1_000_000)


def test_another_input_is_appended_when_asked_to(load, tmp_path):
    parquet(tmp_path / "in" / "a.parquet", n=[1])
    parquet(tmp_path / "b.parquet", n=[2])
    load()
    with pytest.raises(CurateError, match=r"holds the rows of '.*in', not of '.*b.parquet': .*append: true"):
        load(input=str(tmp_path / "b.parquet"))
    assert load(input=str(tmp_path / "b.parquet"), append=True)["n"].to_list() == [1, 2]
    assert load(input=str(tmp_path / "b.parquet")).height == 2
