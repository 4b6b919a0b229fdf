"""What every input format keeps to, and how the files of an input are found."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from crawl_files import image, warc_page, wat_page, write_crawl
from PIL import Image

from curate.errors import CurateError
from curate.read import inputs
from curate.read.input_listing import find
from curate.read.inputs import distinct, opened

ROWS = [
    {
        "url": f"http://a/{i}.jpg",
        "text": None if i % 7 == 3 else f'caption {i}, "quoted"\twith\nlines 🐕 مرحبا',
        "n": f"{i}",
    }
    for i in range(57)
]
#: What a crawl can hold of them: each has a text, without line ends.
PAIRS = [{"url": row["url"], "text": f"caption {i}, 🐕 مرحبا"} for i, row in enumerate(ROWS)]
#: What files without a table tell of them.
TEXTS = [{"text": row["text"]} for row in PAIRS]
CRAWLS = ("wat", "warc")


def _write(format_name: str, folder: Path) -> str:
    if format_name == "imagefolder":
        for row in PAIRS:
            (folder / f"{row['url'][9:11].rstrip('.'):0>3}.txt").write_text(row["text"] + "\n", encoding="utf-8")
            (folder / f"{row['url'][9:11].rstrip('.'):0>3}.jpg").write_bytes(_jpeg())
        return str(folder)
    file = folder / f"x{inputs.formats()[format_name].EXTENSIONS[0]}"
    if format_name == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file, row_group_size=10)
    elif format_name == "arrow":
        table = pa.Table.from_pylist(ROWS)
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=10)
    elif format_name == "csv":
        with open(file, "w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(ROWS[0]))
            writer.writeheader()
            writer.writerows(ROWS)
    elif format_name == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    elif format_name == "webdataset":
        with tarfile.open(file, "w") as tar:
            for number, row in enumerate(ROWS):
                members = {"jpg": _jpeg(), "json": json.dumps(row).encode()}
                for extension, data in members.items():
                    info = tarfile.TarInfo(f"{number:03d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    elif format_name == "wat":
        write_crawl(file, [wat_page(f"http://a/{i}/", [image(row["url"], row["text"])]) for i, row in enumerate(PAIRS)])
    elif format_name == "warc":
        html = "<html><body><img src='{url}' alt='{text}'></body></html>"
        pages = [html.format(**row).encode() for row in PAIRS]
        write_crawl(
            file, [warc_page(f"http://a/{i}/", page, kind="text/html; charset=utf-8") for i, page in enumerate(pages)]
        )
    else:
        pytest.fail(f"the contract has no file of the new format '{format_name}': add one here")
    return str(file)


def _jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3)).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("format_name", inputs.formats())
def test_contract(format_name, tmp_path):
    module, file = inputs.formats()[format_name], _write(format_name, tmp_path)
    rows = PAIRS if format_name in CRAWLS else TEXTS if format_name == "imagefolder" else ROWS
    schema = module.schema(file)
    assert set(rows[0]) <= set(schema.names)
    assert module.count(file) == len(rows)
    whole = pa.Table.from_batches(module.read(file)).to_pylist()
    assert [{name: row[name] for name in rows[0]} for row in whole] == rows
    for start in (0, 1, 9, 10, 11, 56, 57, 100):
        batches = list(module.read(file, start, batch_rows=8))
        assert all(0 < batch.num_rows <= 8 and batch.schema.names == schema.names for batch in batches)
        assert [row for batch in batches for row in batch.to_pylist()] == whole[start:]
    assert isinstance(module.SEEKABLE, bool)
    assert isinstance(module.DECLARED, bool)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst", ".bz2", ".GZ"])
@pytest.mark.parametrize("format_name", ["csv", "jsonl"])
def test_compressed(format_name, ending, tmp_path):
    module, file = inputs.formats()[format_name], Path(_write(format_name, tmp_path))
    data = file.read_bytes()
    cut = data.index(b"\n", len(data) // 2) + 1
    packed = {".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress, "": bytes}[ending.lower()]
    # Two frames in a row, as pigz, pzstd and `cat` make them.
    zipped = tmp_path / f"y{file.suffix}{ending}"
    zipped.write_bytes(packed(data[:cut]) + packed(data[cut:]))
    assert find(str(zipped))[0] == format_name
    assert pa.Table.from_batches(module.read(str(zipped))).equals(pa.Table.from_batches(module.read(str(file))))


@pytest.mark.parametrize("ending", ["gz", "zst", "bz2"])
def test_a_compressed_file_that_is_cut_off_is_an_error(ending, tmp_path):
    packed = {"gz": gzip.compress, "zst": zstandard.compress, "bz2": bz2.compress}[ending]
    file = tmp_path / f"x.jsonl.{ending}"
    file.write_bytes(packed("".join(json.dumps(r) for r in ROWS).encode())[:-20])
    with pytest.raises(OSError, match="runcated"), opened(str(file)) as handle:
        handle.read()


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_find(tmp_path):
    _touch(tmp_path, "data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "data/sub/x.parquet")
    _touch(tmp_path, "README.md", "dataset_infos.json", ".git/y.csv", "data/_tmp/z.csv", "data/.z.parquet.crc")
    expected = [
        str(tmp_path / "data" / name)
        for name in ("sub/x.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet")
    ]
    assert find(str(tmp_path)) == ("parquet", expected)
    assert find(f"{tmp_path}/") == ("parquet", expected)
    assert find(f"{tmp_path}/data/train-*.parquet") == ("parquet", expected[1:])
    assert find(f"{tmp_path}/d*") == ("parquet", expected)
    assert find(f"file://{tmp_path}/data/sub") == ("parquet", ["file://" + expected[0]])


def test_find_a_name_with_glob_characters(tmp_path):
    _touch(tmp_path, "a[1].csv")
    assert find(f"{tmp_path}/a[1].csv") == ("csv", [f"{tmp_path}/a[1].csv"])


def test_find_img2dataset_folder(tmp_path):
    _touch(tmp_path, "00000.tar", "00000.parquet", "00000_stats.json", "00001.tar")
    assert find(str(tmp_path)) == ("webdataset", [f"{tmp_path}/00000.tar", f"{tmp_path}/00001.tar"])
    _touch(tmp_path, "other.parquet")
    with pytest.raises(CurateError, match="a mix of parquet, webdataset"):
        find(str(tmp_path))


def test_find_with_the_format_named(tmp_path):
    _touch(tmp_path, "part-00000", "part-00001")
    assert find(str(tmp_path), "csv")[1] == [f"{tmp_path}/part-00000", f"{tmp_path}/part-00001"]
    _touch(tmp_path, "x.csv", "y.jsonl")
    assert find(str(tmp_path), "csv")[1] == [f"{tmp_path}/x.csv"]
    with pytest.raises(CurateError, match="a mix of csv, jsonl"):
        find(str(tmp_path))
    with pytest.raises(CurateError, match=r"no input format 'cvs' \(did you mean 'csv'\?\)"):
        find(str(tmp_path), "cvs")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{0}/none", "no input at"),
        ("{0}/*.parquet", "no input at"),
        ("{0}", "no input at"),
        ("memory://none.csv", "no input at"),
        ("nope://x", "cannot open input"),
    ],
)
def test_nothing_there(source, message, tmp_path):
    with pytest.raises(CurateError, match=message):
        find(source.format(tmp_path))


def test_a_folder_of_unknown_files(tmp_path):
    _touch(tmp_path, "a.docx")
    with pytest.raises(CurateError, match=r"no file of a known kind; known: .*\.parquet"):
        find(str(tmp_path))


def test_memory_file_system():
    fs = fsspec.filesystem("memory")
    fs.pipe("/found/sub/a.jsonl", b"{}\n")
    assert find("memory://found") == ("jsonl", ["memory:///found/sub/a.jsonl"])
    assert inputs.formats()["jsonl"].count("memory:///found/sub/a.jsonl") == 1


def test_distinct_names_stay_distinct():
    assert distinct(["a_3", "a", "a", "a"]) == ["a_3", "a", "a_3_3", "a_4"]


MEASURE = """
import resource, sys
from curate.read import inputs
module, file = inputs.formats()[sys.argv[1]], sys.argv[2]
assert module.count(file) == sum(batch.num_rows for batch in module.read(file)) == int(sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("format_name", "rows"), [("parquet", 40_000), ("jsonl", 20_000)])
def test_memory_stays_flat(format_name, rows, tmp_path):
    """Ten times the rows, not much more memory: the text alone would take 10 times 16 or 8 MB."""
    peaks, text = [], "x" * 400
    for times in (1, 10):
        file = tmp_path / f"{times}.{format_name}"
        if format_name == "parquet":
            table = pa.table(
                {"url": [f"http://a/{i}" for i in range(rows)], "text": [f"{i}{text}" for i in range(rows)]}
            )
            with pq.ParquetWriter(file, table.schema, compression="none", use_dictionary=False) as writer:
                for _ in range(times):
                    writer.write_table(table, row_group_size=rows)
        else:
            line = json.dumps({"url": "http://a/b", "text": text}) + "\n"
            with open(file, "w") as handle:
                handle.writelines(line * rows for _ in range(times))
        found = subprocess.run(
            [sys.executable, "-c", MEASURE, format_name, str(file), str(rows * times)],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(found.stdout))
    assert peaks[1] - peaks[0] < 40, peaks


def test_several_tars_as_webdataset_writes_them(tmp_path):
    _touch(tmp_path, "a.tar", "b.tar", "c/00.tar", "c/01.tar")
    files = [str(tmp_path / name) for name in ("a.tar", "b.tar", "c/00.tar", "c/01.tar")]
    assert find(f"{tmp_path}/a.tar::{tmp_path}/b.tar") == ("webdataset", files[:2])
    assert find(f"{tmp_path}/a.tar::{tmp_path}/b.tar::{tmp_path}/c/{{00..01}}.tar") == ("webdataset", files)
    with pytest.raises(CurateError, match=r"no input at '.*none.tar'"):
        find(f"{tmp_path}/a.tar::{tmp_path}/none.tar")
