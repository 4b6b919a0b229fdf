"""score.entries: one list, and a list for each language."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import HERE, MakeStore
from rich.console import Console

from curate.annotate.step import annotate
from curate.catalog import load, load_all
from curate.errors import CurateError
from curate.op import Rows
from curate.score import entries as module

pytestmark = pytest.mark.slow

ENTRIES = ["a", "A", "photo", "dog", "cat", "2019", "of", "dog house"]


def lists(path: Path, **of: list[str]) -> str:
    path.mkdir(exist_ok=True)
    for name, entries in of.items():
        (path / f"{name}.json").write_text(json.dumps(entries))
    return str(path)


def columns(texts: list[str | None], languages: list[str | None] | None = None, **options: object) -> dict[str, list]:
    op = load({"score.entries": options})
    op.setup()
    of = {} if languages is None else {str(options["by"]): pa.array(languages, pa.string())}
    made = op.batch(Rows({"text": pa.array(texts, pa.string()), **of}))
    return {name: pa.array(values).to_pylist() for name, values in made.items()}


def test_one_list(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(ENTRIES))
    made = columns(["A photo of a dog", "dog house", "", None], metadata=str(tmp_path / "m.json"))
    assert made == {"entries": [[0, 1, 2, 3, 6], [3, 7], [], None], "status": ["ok", "ok", "ok", "no_text"]}


def test_a_list_for_each_language(tmp_path: Path) -> None:
    folder = lists(tmp_path, en=["dog", "red dog"], fr=["chien", "a"], other=["a", "1"], zh=["犬", "T恤"])
    texts = ["a red dog 1", "a red dog 1", "chien a", "小犬1", "红 T恤衫", "a 1", "a 1", None, "dog"]
    languages = ["en", "fr", "fr", "zh-tw", "zh_CN", "tlh", None, "en", "en_GB"]
    made = columns(texts, languages, metadata=folder, by="lang")
    # en 0 and 1, fr 2 and 3, other 4 and 5, zh 6 and 7
    assert made["entries"] == [[0, 1], [3], [2, 3], [6], [7], [4, 5], [4, 5], None, [0]]
    assert made["entries_lang"] == ["en", "fr", "fr", "zh", "zh", "other", "other", "en", "en"]
    assert made["status"] == ["ok"] * 7 + ["no_text", "ok"]


def test_without_a_list_a_row_has_no_entries_and_says_so(tmp_path: Path) -> None:
    folder = lists(tmp_path, en=["dog"], zh=["犬"])
    made = columns(["dog", "dog", "犬", "dog", None], ["fr", None, "zh", "en", None], metadata=folder, by="lang")
    assert made["entries"] == [[], [], [1], [0], None]
    assert made["entries_lang"] == [None, None, "zh", "en", None]
    assert made["status"] == ["no_list", "no_lang", "ok", "ok", "no_text"]


@pytest.mark.parametrize(
    ("spacing", "found"), [(None, [[0], [], []]), ("metaclip", [[0], [], []]), ("metaclip2", [[0], [0], []])]
)
def test_spacing(tmp_path: Path, spacing: str | None, found: list[list[int]]) -> None:
    (tmp_path / "m.json").write_text('["犬", "dog"]')
    made = columns(["小 犬", "小犬", "dogs"], metadata=str(tmp_path / "m.json"), spacing=spacing)
    assert made["entries"] == found


def test_spacing_of_the_first_metaclip_for_languages(tmp_path: Path) -> None:
    folder = lists(tmp_path, zh=["犬"])
    assert columns(["小犬"], ["zh"], metadata=folder, by="lang", spacing="metaclip")["entries"] == [[]]


def test_through_a_store_in_any_shards(tmp_path: Path, make_store: MakeStore) -> None:
    folder = lists(tmp_path / "lists", en=["dog"], fr=["chien"], zh=["犬"])
    rows = [
        {"text": "a dog", "lang": "en"},
        {"text": "小犬", "lang": "zh"},
        {"text": "dog", "lang": None},
        {"text": None, "lang": "en"},
        {"text": "dog chien", "lang": "fr"},
        {"text": "dog", "lang": "de"},
    ]
    for rows_per_shard in (2, 10):
        view = make_store(rows, rows_per_shard)
        view = annotate(view, load_all([{"score.entries": {"metadata": folder, "by": "lang"}}]), HERE)
        names = ["entries", "entries_lang", "entries_status"]
        made = pa.concat_tables([view.read(shard, names[:2]) for shard in view.store.shard_rows()])
        assert made["entries"].to_pylist() == [[0], [2], [], None, [1], []]
        assert made["entries_lang"].to_pylist() == ["en", "zh", None, "en", "fr", None]
        statuses = [view.store.read_part(view.columns["entries"], s, names[2:]) for s in view.store.shard_rows()]
        assert pa.concat_tables(statuses)["entries_status"].to_pylist() == [
            "ok", "ok", "no_lang", "no_text", "ok", "no_list",
        ]  # fmt: skip


def test_what_never_matches_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(module, "console", Console(file=file, width=300))
    (tmp_path / "m.json").write_text('["St. Louis", "dog", "[U.S.]"]')
    for _ in range(3):
        load({"score.entries": {"metadata": str(tmp_path / "m.json")}}).check()
    said = file.getvalue()
    assert said.count("\n") == 1
    assert "m.json: 2 of 3 entries can never match" in said and "'St. Louis', '[U.S.]'" in said
    (tmp_path / "good.json").write_text('["dog"]')
    load({"score.entries": {"metadata": str(tmp_path / "good.json")}}).check()
    assert file.getvalue() == said


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="`by` chooses among the lists of a folder"):
        load({"score.entries": {"by": "lang"}})
    with pytest.raises(CurateError, match="option 'spacing'"):
        load({"score.entries": {"spacing": "metaclip3"}})
    (tmp_path / "m.json").write_text("[]")
    with pytest.raises(CurateError, match="no entries in it"):
        load({"score.entries": {"metadata": str(tmp_path / "m.json")}}).check()
