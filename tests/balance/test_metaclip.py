"""MetaCLIP balancing through a store, on the example that can be done by hand."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import polars as pl
import pytest
from conftest import MakeStore, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from curate.annotate.step import annotate
from curate.arrays.string_hash import hash_strings
from curate.balance import metaclip as module
from curate.catalog import load_all
from curate.cli import app
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import read_remarks, select
from curate.look import show
from curate.look.report import write_report
from curate.metaclip.entry_lists import EntryLists
from curate.read.source import ReadOptions
from curate.read.step import read
from curate.store.store import Store
from curate.store.view import View
from curate.write.step import WriteOptions, write

pytestmark = pytest.mark.slow

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
    view = read(store, ReadOptions(input=str(folder / "in.parquet"), rows_per_shard=max(3, len(texts) // 10)), HERE)
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
    report = view.store.manifest().tables[view.columns["metaclip_p"]].report
    assert report["t"] == 3 and report["matches"] == 20 and report["entries_over_t"] == 2
    assert column(view, "metaclip_p") == pytest.approx([0.3] * 10 + [0.75] * 4 + [1] * 6)


def report(view: View) -> dict[str, object]:
    entry: dict[str, object] = view.store.manifest().tables[view.columns["metaclip_p"]].report
    return entry


def test_t_from_a_number_of_rows(tmp_path: Path) -> None:
    # dog 10, cat 4, photo 3: with t = 1, 2, 3, 4, 5 expected are 3, 6, 9, 11, 12.
    texts: list[str | None] = ["dog"] * 10 + ["cat"] * 4 + ["photo"] * 3
    for rows, t, expected in [(1, 1, 3), (8, 3, 9), (11, 4, 11), (12, 5, 12), (17, 10, 17)]:
        view = balanced(tmp_path / str(rows), {"rows": rows}, ENTRIES, texts)
        assert report(view)["t"] == t and report(view)["expected_rows"] == expected
        assert column(view, "metaclip_p") == pytest.approx(
            [t / max(10, t)] * 10 + [min(1, t / 4)] * 4 + [min(1, t / 3)] * 3
        )


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 40))
def test_rows_give_the_nearest_t_in_any_shards(tmp_path_factory: pytest.TempPathFactory, rows: int) -> None:
    words = ["a", "photo", "dog", "cat", "of"]
    texts: list[str | None] = [" ".join(words[: 1 + i % 5]) if i % 7 else words[i % 5] for i in range(40)]
    view = balanced(tmp_path_factory.mktemp("rows"), {"rows": rows}, ENTRIES, texts)
    sets = [set(text.split()) for text in texts if text]
    counts = {word: sum(word in found for found in sets) for word in words}

    def size(t: int) -> float:
        total = 0.0
        for found in sets:
            missed = 1.0
            for word in found:
                missed *= 1 - t / max(counts[word], t)
            total += 1 - missed
        return total

    best = min(abs(size(t) - rows) for t in range(1, 41))
    t = report(view)["t"]
    assert isinstance(t, int) and abs(size(t) - rows) == pytest.approx(best, abs=1e-4)


def test_a_size_that_no_t_gives_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(module, "console", Console(file=file, width=200))
    balanced(tmp_path / "1", {"rows": 1}, ENTRIES, ["dog", "dog", "cat", "cat", "of"])
    assert file.getvalue() == "balance.metaclip: 1 row wanted, the nearest t, 1, keeps 3 in expectation\n"
    balanced(tmp_path / "3", {"rows": 3}, ENTRIES, ["dog", "dog", "cat", "cat", "of"])
    assert file.getvalue().count("\n") == 1
    with pytest.raises(CurateError, match="6 rows wanted, but 5 match an entry: no t gives that many"):
        balanced(tmp_path / "2", {"rows": 6}, ENTRIES, ["dog", "dog", "cat", "cat", "of", None, "x"])


LANGUAGES = {
    "en": {"one": 1, "two": 2, "three": 3, "four": 4, "ten": 10},
    "fr": {"un": 1, "huit": 8, "onze": 11, "vingt": 20},
    "zh": {"犬": 5},
}


def spoken(folder: Path, options: dict[str, object], more: tuple[tuple[str | None, str | None], ...] = ()) -> View:
    """Captions of one word each, as often as LANGUAGES says."""
    (folder / "lists").mkdir(parents=True)
    for language, counts in LANGUAGES.items():
        (folder / "lists" / f"{language}.json").write_text(json.dumps(list(counts)))
    rows = [(word, name) for name, counts in LANGUAGES.items() for word, n in counts.items() for _ in range(n)] + [
        *more
    ]
    texts, languages = zip(*rows, strict=True)
    frame = pl.DataFrame({"url": [f"http://a.example/{i}" for i in range(len(rows))], "text": texts, "lang": languages})
    frame.write_parquet(folder / "in.parquet")
    view = read(Store(str(folder / "store")), ReadOptions(input=str(folder / "in.parquet"), rows_per_shard=7), HERE)
    entries = {"metadata": str(folder / "lists"), "by": "lang"}
    ops = [{"score.entries": entries}, {"balance.metaclip": {"by": "entries_lang", **options}}]
    return annotate(view, load_all(ops), HERE)


def probabilities(view: View) -> dict[object, object]:
    return dict(zip(column(view, "text"), column(view, "metaclip_p"), strict=True))


def test_thresholds_of_languages_by_hand(tmp_path: Path) -> None:
    # en: shares .05 .15 .30 .50 1; t = 4 leaves 0.3 to the tail.
    # fr, 40 matches: .025 .225 .5 1: the nearest to 0.3 is .225, so t = 8. zh: one entry, t = 5.
    view = spoken(tmp_path, {"t": 4}, ((None, "en"), ("犬", "zh-tw"), ("犬", "fr"), ("one", "de")))
    assert probabilities(view) == pytest.approx({
        "one": None, "two": 1, "three": 1, "four": 1, "ten": 0.4,
        "un": 1, "huit": 1, "onze": 8 / 11, "vingt": 0.4, "犬": 0, None: None,
    })  # fmt: skip
    groups = report(view)["groups"]
    assert [{k: g[k] for k in ("group", "t", "entries", "before", "after", "tail_share")} for g in groups] == [  # type: ignore[attr-defined]
        {"group": "fr", "t": 8, "entries": 4, "before": 40, "after": 25.0, "tail_share": 0.025},
        {"group": "en", "t": 4, "entries": 5, "before": 20, "after": 14.0, "tail_share": 0.3},
        {"group": "zh", "t": 6, "entries": 1, "before": 6, "after": 6.0, "tail_share": 0.0},
    ]


def test_a_tail_share_for_every_language(tmp_path: Path) -> None:
    found = probabilities(spoken(tmp_path, {"tail_share": 0.5}))
    # en t = 4, fr t = 11, zh t = 5
    assert found == pytest.approx({
        "one": 1, "two": 1, "three": 1, "four": 1, "ten": 0.4, "un": 1, "huit": 1, "onze": 1, "vingt": 0.55, "犬": 1,
    })  # fmt: skip


def test_rows_of_all_languages_together(tmp_path: Path) -> None:
    # t of en 1, 2, 3, 4, 5 to 10, 11: shares 0, .05, .15, .3, .5, 1; t of fr 1, 1, 8, 8, 11, 20; zh 5 always.
    # Expected: 5 + 4 + 5, 9 + 4 + 5, 12 + 25 + 5, 14 + 25 + 5, ...
    view = spoken(tmp_path / "a", {"rows": 19})
    assert report(view)["expected_rows"] == 18
    assert [(g["group"], g["t"]) for g in report(view)["groups"]] == [("fr", 1), ("en", 2), ("zh", 5)]  # type: ignore[attr-defined]
    assert report(spoken(tmp_path / "b", {"rows": 65}))["expected_rows"] == 65
    with pytest.raises(CurateError, match="66 rows wanted, but 65 match"):
        spoken(tmp_path / "c", {"rows": 66})


def test_a_reference_without_matches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"'entries_lang' with matches: no reference 'eng' \(did you mean 'en'\?\)"):
        spoken(tmp_path, {"t": 4, "reference": "eng"})


def test_the_report_of_the_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str | None] = ["dog"] * 18 + ["a dog"] * 2 + ["cat"] * 10 + ["of"] * 4 + ["photo", "no", None]
    view = balanced(tmp_path, {"t": 5}, ENTRIES, texts)
    # dog 20: p 0.25; cat 10: p 0.5; the others are in the tail, so "a dog" stays.
    assert report(view) == {
        "t": 5, "captions": 36, "matching": 35, "expected_rows": 16.5, "matches": 37, "expected_matches": 18.5,
        "entries_seen": 5, "entries_over_t": 2, "tail_share": 7 / 37,
        "frequencies": [
            {"captions": "0", "entries": 3, "before": 0, "after": 0.0},
            {"captions": "1 to 9", "entries": 3, "before": 7, "after": 7.0},
            {"captions": "10 to 99", "entries": 2, "before": 30, "after": 11.5},
            {"captions": "below t", "entries": 3, "before": 7, "after": 7.0},
            {"captions": "t and above", "entries": 2, "before": 30, "after": 11.5},
        ],
        "head": [
            {"entry": "dog", "before": 20, "after": 6.5}, {"entry": "cat", "before": 10, "after": 5.0},
            {"entry": "of", "before": 4, "after": 4.0}, {"entry": "a", "before": 2, "after": 2.0},
            {"entry": "photo", "before": 1, "after": 1.0},
        ],
    }  # fmt: skip
    file = io.StringIO()
    monkeypatch.setattr(show, "out", Console(file=file, width=160))
    show.print_store(view.store.url)
    lines = [line.split() for line in file.getvalue().splitlines()]
    assert ["t", "and", "above", "2", "30", "11.5"] in lines and ["dog", "20", "6.5"] in lines
    assert "metaclip: t 5, captions 36, matching 35, expected rows 16.5, matches 37" in file.getvalue()
    select(view, Filter(name="drawn", where={"not drawn": "metaclip_keep"}))
    page = Path(write_report(view.store.url)).read_text()
    assert '<tr><td>t and above</td><td class="n">2</td><td class="n">30</td><td class="n">11.5</td></tr>' in page


def keeps(view: View) -> dict[object, object]:
    return dict(zip(column(view, "url"), column(view, "metaclip_keep"), strict=True))


def test_a_list_with_more_entries_leaves_all_draws(tmp_path: Path) -> None:
    texts: list[str | None] = ["a dog", "dog", "a photo", "photo of a dog"] * 60
    draws = keeps(balanced(tmp_path / "as it was", {"t": 9}, ENTRIES, texts))
    for place in (0, 4, len(ENTRIES)):
        longer = [*ENTRIES[:place], "zebra", "aardvark", *ENTRIES[place:]]
        assert keeps(balanced(tmp_path / str(place), {"t": 9}, longer, texts)) == draws
    assert keeps(balanced(tmp_path / "shuffled", {"t": 9}, ENTRIES[::-1], texts)) == draws


def test_another_language_beside_it_leaves_all_draws(tmp_path: Path) -> None:
    rows = [{"text": word, "lang": "en"} for word in ("one", "two", "one two", "three") for _ in range(60)]
    draws = []
    for names in (["en"], ["aa", "en"], ["en", "zz"]):
        folder = tmp_path / "-".join(names)
        (folder / "lists").mkdir(parents=True)
        for name in names:
            entries = ["one", "two", "three"] if name == "en" else ["uno", "duo", "tres", "one"]
            (folder / "lists" / f"{name}.json").write_text(json.dumps(entries))
        pl.DataFrame([{"url": f"http://a.example/{i}", **row} for i, row in enumerate(rows)]).write_parquet(
            folder / "in.parquet"
        )
        view = read(Store(str(folder / "store")), ReadOptions(input=str(folder / "in.parquet")), HERE)
        ops = [
            {"score.entries": {"metadata": str(folder / "lists"), "by": "lang"}},
            {"balance.metaclip": {"by": "entries_lang", "t": 9}},
        ]
        draws.append(keeps(annotate(view, load_all(ops), HERE)))
    assert draws[0] == draws[1] == draws[2] and len(set(draws[0].values())) == 2


def test_hashes_of_a_range_of_ids_cross_lists(tmp_path: Path) -> None:
    for name, entries in {"aa": ["x"], "bb": ["y", "z"], "cc": ["w"]}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(entries))
    lists = EntryLists(str(tmp_path), by_language=True)
    for low in range(5):
        for end in range(low, 5):
            expected = hash_strings(["x", "y", "z", "w"][low:end]).tolist()
            assert lists.hashes(low, end).tolist() == expected


def test_a_list_that_is_not_what_it_was_is_refused(tmp_path: Path) -> None:
    view = balanced(tmp_path, {"t": 1}, ENTRIES)
    (tmp_path / "entries.txt").write_text("\n".join([*ENTRIES, "zebra"]))
    with pytest.raises(
        CurateError, match=r"matched against entries\.txt@\w+, but '.*' is entries\.txt@\w+: put the old"
    ):
        annotate(view, load_all([{"balance.metaclip": {"t": 2}}]), HERE)
    # The table that is there needs no list.
    (tmp_path / "entries.txt").unlink()
    annotate(view, load_all([{"balance.metaclip": {"t": 1}}]), HERE)


def test_ids_that_something_else_made_are_known_by_number(make_store: MakeStore) -> None:
    rows = [{"text": "x", "entries": [5, 7]}] * 4 + [{"text": "x", "entries": [7]}]
    view = annotate(make_store(rows), load_all([{"balance.metaclip": {"t": 1}}]), HERE)
    assert column(view, "metaclip_p") == pytest.approx([1 - 0.75 * 0.8] * 4 + [0.2])
    assert [line["entry"] for line in report(view)["head"]] == [7, 5]  # type: ignore[attr-defined]


def test_that_nothing_is_thinned_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr("curate.messages.remarks.console", Console(file=file, width=250))

    def said() -> list[str]:
        return [line for line in file.getvalue().splitlines(keepends=True) if line.startswith("metaclip: ")]

    view = balanced(tmp_path / "two", {"t": 3}, ENTRIES)
    line = (
        "metaclip: 4 captions with an entry, and none is thinned: no entry has more than t = 3 "
        "(the most frequent, 'photo', has 3; a smaller t or tail_share thins)\n"
    )
    assert said() == [line]
    # A filter on its columns says it again; one on other columns does not.
    assert [
        (name, remarks.lines()) for name, remarks in read_remarks(view, Filter(name="f", where={"x": "metaclip_keep"}))
    ] == [("metaclip", [line.removeprefix("metaclip: ").strip()])]
    assert not list(read_remarks(view, Filter(name="f", where={"x": "text IS NOT NULL"})))
    balanced(tmp_path / "thinned", {"t": 2}, ENTRIES)
    assert said() == [line]


def test_curate_filter_says_that_nothing_is_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = balanced(tmp_path, {"t": 3}, ENTRIES)
    file = io.StringIO()
    monkeypatch.setattr("curate.messages.remarks.console", Console(file=file, width=250))
    assert CliRunner().invoke(app, ["filter", view.store.url, "--where", "metaclip_keep"]).exit_code == 0
    assert "none is thinned: no entry has more than t = 3" in file.getvalue()


def test_written_samples_carry_their_probability(tmp_path: Path, make_store: MakeStore) -> None:
    (tmp_path / "m.json").write_text(json.dumps(ENTRIES))
    view = make_store([{"text": "dog"}, {"text": "dog"}, {"text": "a cat"}], images=[picture(i) for i in range(3)])
    ops = load_all([{"score.entries": {"metadata": str(tmp_path / "m.json")}}, {"balance.metaclip": {"t": 1}}])
    write(annotate(view, ops, HERE), WriteOptions(to=str(tmp_path / "out")), HERE)
    with tarfile.open(tmp_path / "out" / "00000.tar") as tar:
        about = [json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")]  # type: ignore[arg-type]
    assert sorted((sample["text"], sample["metaclip_p"]) for sample in about) == [
        ("a cat", 1),
        ("dog", 0.5),
        ("dog", 0.5),
    ]


def test_faults_are_said(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no caption holds an entry"):
        balanced(tmp_path / "none", {"t": 1}, ["zebra"])
    with pytest.raises(CurateError, match="give one of `t`, `tail_share` and `rows`"):
        balanced(tmp_path / "both", {"t": 1, "tail_share": 0.1}, ENTRIES)
    with pytest.raises(CurateError, match=r"option 't': .*greater than or equal to 1"):
        balanced(tmp_path / "zero", {"t": 0}, ENTRIES)
