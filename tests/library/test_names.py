"""Names that become folders: none leaves the store, hides a part of it, or commands a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import load_filter
from curate.library.names import check_name
from curate.pipeline.file import load_pipeline

BAD = [
    "../x", "..", ".", "", " ", "/etc/x", "a/b", "a\\b", "a\0b", "a\nb", "\x1b[31mred", "a\u202eb", "a b", ".hidden",
    "-rf", "x" * 101, "keep_x", "KEEP_x", "a:b", "a*", "ünï", "a\x9b2J", "~", "${x}", "%2e%2e%2f",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused_for_tables_and_filters(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a filter"):
        check_name(name, "filter")
    # An empty name is the default one.
    if name:
        with pytest.raises(CurateError, match=r"score.words: .* cannot be the name of a table"):
            load({"score.words": {"name": name}})
    with pytest.raises(CurateError, match=r"filter filter: .* cannot be the name of a filter") as caught:
        load_filter({"name": name, "where": "words > 2"})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["records", "images", "manifest", "shards", "Images", "uid"])
def test_parts_of_a_store_are_not_tables(name: str) -> None:
    with pytest.raises(CurateError, match="the store uses it itself, choose another `name`"):
        load({"score.words": {"name": name}})
    # A filter's table begins with keep_: nothing is hidden.
    assert load_filter({"name": name, "where": "words > 2"}).name == name


@pytest.mark.parametrize("name", ["words", "w2", "clip_l14", "a-b.c", "X", "9"])
def test_usual_names(name: str) -> None:
    assert check_name(name, "table") == check_name(name, "filter") == name
    assert load({"score.words": {"name": name}}).table() == name


@pytest.mark.parametrize("name", ["../x", "a b", "x\x1b]0;t\x07"])
def test_pipelines(name: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("url,text\nhttp://a.example/1.jpg,a\n")
    (tmp_path / "x.yaml").write_text(f"name: {ascii(name)[1:-1]!r}\nsteps: [read: {{input: {tmp_path / 'in.csv'}}}]\n")
    with pytest.raises(CurateError, match="cannot be the name of a pipeline"):
        load_pipeline(tmp_path / "x.yaml", {"root": str(tmp_path / "s")})


def test_a_filter_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "keep_all.yaml").write_text("where: words > 2\n")
    with pytest.raises(CurateError, match="keep_all"):
        load_filter(str(tmp_path / "keep_all.yaml"))


def test_the_download_step_keeps_its_name() -> None:
    with pytest.raises(CurateError, match="'download' cannot be the name of a filter: the store uses it itself"):
        load_filter({"name": "download", "where": "words > 2"})
