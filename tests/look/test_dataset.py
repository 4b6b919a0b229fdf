"""`curate.open`: tables, verdicts, samples and images of a store, and errors that name what is there."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from conftest import HERE, MakeStore, picture

import curate
from curate.annotate.step import annotate
from curate.catalog import load_all
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.sql import condition
from curate.filter.step import select
from curate.look.dataset import Dataset
from curate.store.store import Store

TEXTS = ["one", "two words", "three words here", "four words are here", "", "now there are five words"]


@pytest.fixture
def store(make_store: MakeStore) -> Dataset:
    """Six rows in three shards, five with an image, filtered by `long` and then by `best`."""
    images = [picture(number) if number != 2 else None for number in range(6)]
    rows = [{"text": text, "score": number / 10} for number, text in enumerate(TEXTS)]
    view = make_store(rows, rows_per_shard=2, images=images)
    view = annotate(view, load_all(["score.words"]), HERE)
    view, _ = select(view, Filter(name="long", where={"too short": "words > 1"}))
    select(view, Filter(name="best", top={"by": "score", "rows": 2}))
    return curate.open(view.store.url)


def uids(store: Dataset) -> list[str]:
    return store["records"].collect()["uid"].to_list()


def test_it_says_what_it_holds(store: Dataset) -> None:
    assert store.rows == 6
    assert {"records", "words", "images", "keep_long", "keep_best"} <= set(store.tables())
    assert store.columns()["words"] == store.tables()["words"]
    assert "6 rows" in repr(store)


def test_a_table_is_in_the_order_of_the_input(store: Dataset) -> None:
    assert store["records"].collect()["text"].to_list() == TEXTS
    assert store["words"].select("words").collect()["words"].to_list() == [1, 2, 3, 4, 0, 5]


def test_columns_of_several_tables_side_by_side(store: Dataset) -> None:
    table = store.table("score", "words", "kept", "score", "reason").collect()
    assert table.columns == ["score", "words", "kept", "reason"]
    assert table["kept"].to_list() == [False, False, False, True, False, True]
    assert store.table("words").collect().columns == ["words"]


def test_verdicts_after_a_step_and_after_all(store: Dataset) -> None:
    assert store.ledger("long").collect()["kept"].to_list() == [False, True, True, True, False, True]
    assert store.ledger().collect()["dropped_by"].to_list() == ["long", "best", "best", None, "long", None]
    assert store.table("kept", step="long").collect()["kept"].sum() == 4


def test_the_funnel_adds_up(store: Dataset) -> None:
    funnel = store.funnel()
    assert funnel.columns == ["step", "entered", "reason", "rows", "left"]
    steps = funnel.filter(pl.col("reason").is_null())
    assert steps.drop("reason").rows() == [("long", 6, 2, 4), ("best", 4, 2, 2)]
    for step, rows in steps.select("step", "rows").iter_rows():
        reasons = funnel.filter((pl.col("step") == step) & pl.col("reason").is_not_null())
        assert reasons["rows"].sum() == rows
    assert store.funnel("long")["step"].unique().to_list() == ["long"]


def test_thresholds_are_those_that_were_used(store: Dataset) -> None:
    assert store.thresholds().rows() == [("long", "words", ">", 1.0), ("best", "score", ">=", pytest.approx(0.3))]
    assert list(store.rules()) == ["long", "best"]


def test_only_the_tightest_limit_counts(make_store: MakeStore) -> None:
    view = make_store([{"n": number} for number in range(9)])
    view, _ = select(view, Filter(name="a", where=["n >= 1", "n < 8", "n > 3"]))
    select(view, Filter(name="b", where="n BETWEEN 2 AND 6"))
    assert curate.open(view.store.url).thresholds().rows() == [("a", "n", ">", 3.0), ("b", "n", "<=", 6.0)]


def test_scores_are_told_without_listing_any_table(store: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = store.scores()
    monkeypatch.setattr(Store, "names", None)
    assert store.scores() == expected and expected[0] == "words"


def test_scores_are_the_numbers_that_say_something(store: Dataset) -> None:
    assert store.scores()[:2] == ["words", "score"]
    assert "characters" in store.scores()
    assert not {"offset", "size", "original_bytes", "width", "text", "kept"} & set(store.scores())


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("match >= 0.2", [("match", ">=", 0.2)]),
        ("0.2 < match", [("match", ">", 0.2)]),
        ('"match" <= -1e-3', [("match", "<=", -0.001)]),
        ("(words > 2 AND (characters < 10_000))", [("words", ">", 2), ("characters", "<", 10000)]),
        ("a > 1 OR b > 2", []),
        ("(a > 1 AND b) OR (c AND d > 2)", []),
        ("a <= 3 * b", []),
        ("NOT a", []),
        ("lang = 'en'", []),
    ],
)
def test_limits_are_read_from_conditions(sql: str, found: list[tuple[str, str, float]]) -> None:
    assert condition(sql).compared() == found


def test_samples(store: Dataset) -> None:
    assert store.sample(9).columns == ["uid", "text", "kept", "dropped_by", "reason"]
    assert store.sample(9, "score", "words")["score"].to_list() == [0.3, 0.5]
    assert store.sample(9, kept=False)["kept"].sum() == 0
    assert len(store.sample(9, kept=None)) == 6
    assert len(store.sample(2, kept=None)) == 2
    assert store.sample(9, dropped_by="long")["reason"].to_list() == ["too short", "too short"]
    assert store.sample(9, reason="too short").equals(store.sample(9, dropped_by="long"))
    assert store.sample(9, step="long")["kept"].to_list() == [True] * 4
    assert uids(store)[2] not in store.sample(9, kept=None, with_image=True)["uid"]
    assert len(store.sample(9, kept=None, with_image=True)) == 5


def test_a_sample_depends_on_the_seed_only(store: Dataset) -> None:
    first = store.sample(3, kept=None, seed=1)
    assert store.sample(3, kept=None, seed=1).equals(first)
    assert any(not store.sample(3, kept=None, seed=seed).equals(first) for seed in range(2, 12))


def test_a_sample_may_be_empty(store: Dataset) -> None:
    assert len(store.sample(3, "score", dropped_by="long", reason="too short", step="long", with_image=True)) == 2
    none = store.sample(0, "score")
    assert none.columns == ["uid", "text", "kept", "dropped_by", "reason", "score"]
    assert len(none) == 0


def test_a_rare_row_is_found_behind_many_shards(make_store: MakeStore) -> None:
    view = make_store([{"n": number} for number in range(60)], rows_per_shard=1)
    select(view, Filter(name="rare", where="n = 41"))
    rows = curate.open(view.store.url).sample(3, "n")
    assert rows["n"].to_list() == [41]


def test_images_come_in_the_order_that_is_asked_for(store: Dataset) -> None:
    names = uids(store)
    asked = [names[5], "no such uid", names[0], names[2], names[5]]
    images = store.images(asked)
    assert [image is None for image in images] == [False, True, False, True, False]
    # picture() paints the number into the first channel, JPEG keeps it to within a few levels.
    assert images[0].getpixel((0, 0))[0] == pytest.approx(5 * 37, abs=4)
    assert images[2].getpixel((0, 0))[0] == pytest.approx(0, abs=4)
    assert images[0].mode == "RGB"
    assert store.image(names[0]).size == (16, 12)
    assert store.images(pl.Series(names[:1]))[0] is not None


def test_samples_know_where_their_images_lie(store: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = store.sample(9, with_image=True)
    read_part = type(store.store).read_part
    tables = []
    monkeypatch.setattr(
        type(store.store),
        "read_part",
        lambda self, table, *rest: (tables.append(table), read_part(self, table, *rest))[1],
    )
    assert all(image is not None for image in store.images(rows["uid"]))
    assert "records" not in tables


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda store: store["wrds"], "no table 'wrds' (did you mean 'words'?)"),
        (lambda store: store.table("wrds"), "no column 'wrds' (did you mean 'words'?)"),
        (lambda store: store.table("kepd"), "no column 'kepd' (did you mean 'kept'?)"),
        (lambda store: store.table(), "name at least one column; there are: "),
        (lambda store: store.ledger("lng"), "no filter step 'lng' (did you mean 'long'?); there are: best, long"),
        (lambda store: store.funnel("lng"), "no filter step 'lng' (did you mean 'long'?)"),
        (lambda store: store.sample(1, step="bst"), "no filter step 'bst' (did you mean 'best'?)"),
        (lambda store: store.sample(1, dropped_by="bst"), "no filter step 'bst' (did you mean 'best'?)"),
        (lambda store: store.sample(1, reason="to short"), "no reason 'to short' (did you mean 'too short'?)"),
        (lambda store: store.sample(1, "scor"), "no column 'scor' (did you mean 'score'?)"),
    ],
)
def test_errors_name_the_nearest(store: Dataset, call, message: str) -> None:
    with pytest.raises(CurateError) as caught:
        call(store)
    assert message in str(caught.value)


def test_what_is_not_there_yet(make_store: MakeStore, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="holds no records"):
        curate.open(str(tmp_path / "nothing"))
    view = make_store(3)
    fresh = curate.open(view.store.url)
    with pytest.raises(CurateError, match="nothing was filtered yet"):
        fresh.ledger()
    with pytest.raises(CurateError, match="has no images"):
        fresh.images(["x"])
    assert fresh.scores() == []


def test_a_table_under_way_is_not_put_beside_others(make_store: MakeStore) -> None:
    view = annotate(make_store(6, rows_per_shard=2), load_all(["score.words"]), HERE)
    store = curate.open(view.store.url)
    folder = store.tables()["words"]
    (Path(view.store.url) / folder / "00001.parquet").unlink()
    with pytest.raises(CurateError, match=f"{folder} lacks 1 of 3 shards"):
        store.table("text", "words")
    assert len(store["words"].collect()) == 4
