"""A subset of finished shards: which samples, how often, under which keys; nothing lost, killed or not."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import HERE, MakeStore, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.reshard.step import UNKNOWN, reshard
from curate.write.step import WriteOptions, write
from curate.write.subset import subset_rows, write_subset


def uid(number: int) -> str:
    return f"{number:032x}"


def subset_file(path: Path, numbers: list[int]) -> str:
    write_subset([subset_rows([uid(n) for n in numbers])], str(path))
    return str(path)


def write_shards(folder: Path, shards: list[list[int | None]], parquet: bool = False) -> str:
    """Shards as img2dataset writes them: an image, a caption, a json with the uid, or the uid in the parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, uids in enumerate(shards):
        keys = [f"{number:05d}{row:04d}" for row in range(len(uids))]
        with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
            for key, name in zip(keys, uids, strict=True):
                about = {"key": key, "caption": f"é {name}"}
                if name is not None and not parquet:
                    about["uid"] = uid(name)
                files = {"jpg": picture(name or 0), "txt": f"é {name}".encode(), "json": json.dumps(about).encode()}
                for extension, data in files.items():
                    info = tarfile.TarInfo(f"{key}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        if parquet:
            rows = {"key": keys, "uid": [None if name is None else uid(name) for name in uids]}
            pl.DataFrame(rows, schema={"key": str, "uid": str}).write_parquet(folder / f"{number:05d}.parquet")
    return str(folder)


def samples(folder: Path) -> list[dict[str, Any]]:
    """As a trainer reads them: each with its key, its files, its shard."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    read = []
    for path in sorted(folder.glob("*.tar")):
        with path.open("rb") as file:
            read += [{**s, "shard": path.name} for s in group_by_keys(tar_file_expander([{"stream": file, "url": ""}]))]
    return read


@pytest.mark.parametrize("parquet", [False, True])
def test_an_example(tmp_path: Path, parquet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """Uid 3 twice, 1 and 5 once, 9 is of no sample; one sample has no uid."""
    shards = write_shards(tmp_path / "in", [[0, 1, 2, 3], [None, 5]], parquet)
    done = curate.reshard(shards, subset_file(tmp_path / "s.npy", [3, 9, 1, 3, 5]), str(tmp_path / "out"), workers=0)
    assert (done.read, done.rows, done.samples, done.shards, done.unknown) == (6, 3, 4, 1, 1)
    assert done.dropped == {"not in the subset": 2, "without a uid": 1}
    read = samples(tmp_path / "out")
    assert [sample["__key__"] for sample in read] == [f"{uid(1)}-0", f"{uid(3)}-0", f"{uid(3)}-1", f"{uid(5)}-0"]
    assert [sample["jpg"] for sample in read] == [picture(n) for n in (1, 3, 3, 5)]
    assert [json.loads(sample["json"])["key"] for sample in read] == [
        "000000001",
        "000000003",
        "000000003",
        "000010001",
    ]
    assert read[1]["txt"].decode() == "é 3"
    assert json.loads((tmp_path / "out/sizes.json").read_text()) == {"00000.tar": 4}
    stats = json.loads((tmp_path / "out/00000_stats.json").read_text())
    assert (stats["successes"], stats["rows"]) == (4, 3)
    table = pl.read_parquet(tmp_path / "out/00000.parquet")
    assert table.columns == ["key", "uid", "source", "source_key"]
    assert table["source"].to_list() == ["00000.tar"] * 3 + ["00001.tar"]
    assert f"reshard: 1 {UNKNOWN}" in " ".join(capfd.readouterr().err.split())
    assert curate.verify(str(tmp_path / "out")).endswith("all as written")
    assert not (tmp_path / "out/.work").exists()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=4),
    st.lists(st.integers(0, 12), max_size=15),
    st.integers(1, 5),
)
def test_as_counting_does(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[int]], subset: list[int], size: int
) -> None:
    """Uids that several samples share keep keys of their own within a shard."""
    folder = tmp_path_factory.mktemp("reshard")
    place = write_shards(folder / "in", list(shards))  # type: ignore[arg-type]
    times = Counter(subset)
    expected = [name for shard in shards for name in shard for _ in range(times[name])]
    file = subset_file(folder / "s.npy", subset)
    if not expected:
        with pytest.raises(CurateError, match=r"none of the \d+ samples"):
            reshard(place, file, str(folder / "out"), size, HERE)
        return
    done = reshard(place, file, str(folder / "out"), size, HERE)
    read = samples(folder / "out")
    assert [sample["jpg"] for sample in read] == [picture(name) for name in expected]
    sizes = list(Counter(sample["shard"] for sample in read).values())
    assert sizes == [size] * (len(expected) // size) + ([len(expected) % size] if len(expected) % size else [])
    assert len({(sample["shard"], sample["__key__"]) for sample in read}) == len(read)
    total = sum(map(len, shards))
    assert done.read == total == done.rows + sum(done.dropped.values())
    assert done.unknown == len(set(subset) - {name for shard in shards for name in shard})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


SHARDS: list[list[int | None]] = [[n * 7 % 23 for n in range(start, start + 6)] for start in range(0, 30, 6)]
SUBSET = [n % 20 for n in range(50)]


@pytest.mark.parametrize("after", range(1, 14, 2))
def test_a_stopped_one_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    from curate.store.folder import Folder

    shards, file = write_shards(tmp_path / "in", SHARDS), subset_file(tmp_path / "s.npy", SUBSET)
    reshard(shards, file, str(tmp_path / "whole"), 4, HERE)
    writing, count = Folder.writing, 0

    def stops(folder: Folder, name: str) -> Any:
        nonlocal count
        count += 1
        if count > 3 * after:
            raise KeyboardInterrupt
        return writing(folder, name)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "writing", stops)
        with pytest.raises(KeyboardInterrupt):
            reshard(shards, file, str(tmp_path / "out"), 4, HERE)
    reshard(shards, file, str(tmp_path / "out"), 4, HERE)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, file = write_shards(tmp_path / "in", SHARDS), subset_file(tmp_path / "s.npy", SUBSET)
    first = reshard(shards, file, str(tmp_path / "out"), 4, HERE)
    monkeypatch.setattr("curate.reshard.step.ListSamples", None)
    assert reshard(shards, file, str(tmp_path / "out"), 4, HERE) == first
    (tmp_path / "out/00001.tar").unlink()
    monkeypatch.undo()
    assert reshard(shards, file, str(tmp_path / "out"), 4, HERE) == first
    with pytest.raises(CurateError, match="holds another selection"):
        reshard(shards, file, str(tmp_path / "out"), 5, HERE)


@pytest.mark.slow
def test_the_same_bytes_on_workers(tmp_path: Path, ray_cluster) -> None:  # type: ignore[no-untyped-def]
    shards, file = write_shards(tmp_path / "in", SHARDS), subset_file(tmp_path / "s.npy", SUBSET)
    reshard(shards, file, str(tmp_path / "here"), 4, HERE)
    reshard(shards, file, str(tmp_path / "there"), 4, ray_cluster)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_shards_of_ones_own(make_store: MakeStore, tmp_path: Path) -> None:
    """What `write` wrote, copies and all, and then a subset of it."""
    view = make_store([{"uid": uid(n), "k": 1 + n % 2} for n in range(4)], 4, [picture(n) for n in range(4)])
    after, _ = select(view, Filter(name="soft", copies="k"))
    write(after, WriteOptions(to=str(tmp_path / "in")), HERE)
    done = reshard(str(tmp_path / "in"), subset_file(tmp_path / "s.npy", [1, 2]), str(tmp_path / "out"), 10, HERE)
    assert (done.read, done.rows, done.samples) == (6, 3, 3)
    assert [sample["__key__"] for sample in samples(tmp_path / "out")] == [f"{uid(1)}-0", f"{uid(1)}-1", f"{uid(2)}-0"]


def test_a_cut_tar_loses_what_is_cut(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", [[0, 1, 2]])
    path = tmp_path / "in/00000.tar"
    path.write_bytes(path.read_bytes()[: 9 * 1024])
    done = reshard(shards, subset_file(tmp_path / "s.npy", [0, 1, 2]), str(tmp_path / "out"), 10, HERE)
    assert done.read == done.rows + sum(done.dropped.values())
    assert done.dropped.keys() == {"damaged"} and done.rows + done.unknown == 3
    assert [sample["jpg"] for sample in samples(tmp_path / "out")] == [picture(n) for n in range(done.rows)]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no shards", "holds no .tar: name a folder of WebDataset shards"),
        ("itself", "the new shards cannot lie in"),
        ("no subset", "subset: there is no file"),
        ("no uid", r"none of the 2 samples of '.*' goes out \(2 not in the subset\)"),
        ("others", "holds files that are not of these shards"),
    ],
)
def test_what_is_refused(tmp_path: Path, case: str, message: str) -> None:
    shards = write_shards(tmp_path / "in", [[0, 1]])
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others/a.tar").write_bytes(b"")
    file = (
        str(tmp_path / "none.npy") if case == "no subset" else subset_file(tmp_path / "s.npy", [7 * (case == "no uid")])
    )
    place = str(tmp_path / "empty") if case == "no shards" else shards
    to = shards if case == "itself" else str(tmp_path / ("others" if case == "others" else "out"))
    with pytest.raises(CurateError, match=message):
        reshard(place, file, to, 10, HERE)


def test_as_a_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from curate.cli import app

    shards, file = write_shards(tmp_path / "in", SHARDS), subset_file(tmp_path / "s.npy", SUBSET)
    ran = CliRunner().invoke(
        app, ["reshard", shards, "--subset", file, "--to", str(tmp_path / "out"), "--workers", "0"]
    )
    assert ran.exit_code == 0
    said = " ".join((ran.output + capfd.readouterr().out).split())
    assert re.search(r"\d+ in the subset, \d+ not in the subset = 30 samples read: exact", said), said
    assert np.load(file).shape == (50,)
