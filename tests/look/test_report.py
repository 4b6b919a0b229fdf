"""The report: exact numbers, one picture per sample, nothing loaded, nothing run, whatever captions and urls say."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from finished_run import HOSTILE, finish
from PIL import Image

import curate
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.look.histograms import bars_of
from curate.look.report import write_report

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "br"}
MAY_LOAD = {"src", "href", "srcset", "poster", "data", "action", "background"}


class Page(HTMLParser):
    """Tags with attributes, text by tag, the cells of the table rows; fails on tags that do not nest."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def said(self) -> str:
        """What stands in the tables."""
        return " ".join(cell for row in self.rows for cell in row)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return finish(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def text(root: str) -> str:
    path = write_report(root)
    assert path == f"{root}/report.html"
    return Path(path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_funnel_has_the_exact_numbers(root: str, page: Page) -> None:
    store = curate.open(root)
    funnel = store.funnel()
    cells = [[cell.strip() for cell in row] for row in page.rows]
    expected = []
    for row in funnel.iter_rows(named=True):
        share = f"{row['rows'] / row['entered']:.1%}"
        name = row["step"] if row["reason"] is None else row["reason"]
        expected.append([name, f"{row['rows']:,}", share])
    shown = [row[:3] for row in cells if row[:3] in expected]
    assert shown == expected
    lefts = {row[0]: row[-1] for row in cells if row and row[-1] and row[0] in set(funnel["step"])}
    assert lefts == {step: f"{left:,}" for step, left in funnel.select("step", "left").unique().iter_rows()}
    kept = int(store.ledger().select(pl.col("kept").sum()).collect().item())
    assert f"{kept} kept + {store.rows - kept} dropped = {store.rows} in" in page.said()


def test_every_sample_has_its_picture(root: str, page: Page) -> None:
    pictures = page.named("img")
    assert len(pictures) == len(page.named("figure")) == len(page.texts["figcaption"])
    for picture in pictures:
        kind, _, data = str(picture["src"]).partition(",")
        assert kind == "data:image/jpeg;base64"
        assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= 288
    kept = int(curate.open(root).ledger().select(pl.col("kept").sum()).collect().item())
    store = curate.open(root)
    downloaded = store.ledger().collect().filter(pl.col("dropped_by").is_in(["images", "duplicates", "sure"]))
    dropped = downloaded.group_by("dropped_by", "reason").len()["len"]
    assert len(pictures) == min(24, kept) + sum(min(6, n) for n in dropped)


def test_what_was_not_downloaded_is_shown_as_text(page: Page) -> None:
    headings = [heading.rpartition(" ")[0].rpartition(" ")[0] for heading in page.texts["h4"]]
    assert {"fewer than 5 words", "http_404", "too small", "the same image file"} <= set(headings)
    items = page.texts["li"]
    assert any("(no caption)" in item for item in items)
    assert any(item.startswith("http://127.0.0.1") for item in items)


def test_it_loads_nothing(text: str, page: Page) -> None:
    assert not {"script", "link", "iframe", "object", "embed", "form", "base", "svg"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in MAY_LOAD:
                assert str(value).startswith("data:image/jpeg;base64,")
    style = "".join(page.texts["style"]) + "".join(a.get("style") or "" for _, a in page.tags)
    assert not re.search(r"url\(|@import|expression\(", style)
    policy = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_captions_urls_and_reasons_are_text(text: str, page: Page) -> None:
    assert "<script" not in text
    assert "<img src=http" not in text
    assert sum(HOSTILE in caption for caption in page.texts["figcaption"]) == len(page.texts["figcaption"])
    assert any(f'javascript:alert(1)"{HOSTILE}' in item for item in page.texts["li"])
    assert any("no English & no <b>Latin</b>" in row[0] for row in page.rows if row)


def test_limits_of_filters_are_marked(page: Page) -> None:
    assert page.texts["s"] == ["> 4", "≥ 100", "≥ 100", "≥ 0.6"]
    charts = [re.sub(r"[\d,]+ rows$", "", heading) for heading in page.texts["header"]]
    assert charts[:4] == ["words", "original_width", "original_height", "lang_score"]
    assert not {"original_bytes", "offset", "size", "phash", "dup_sha256_size"} & set(charts)


def test_the_same_store_makes_the_same_page(root: str, text: str, tmp_path: Path) -> None:
    path = write_report(root, str(tmp_path / "again.html"))
    assert Path(path).read_text(encoding="utf-8") == text


def test_a_page_of_the_store_as_it_is_stays_and_any_other_is_written_anew(root: str, text: str, tmp_path: Path) -> None:
    path = Path(write_report(root, str(tmp_path / "page.html")))
    written = path.stat().st_mtime_ns

    def anew() -> bool:
        nonlocal written
        before, _ = written, write_report(root, str(path))
        written = path.stat().st_mtime_ns
        assert path.read_text(encoding="utf-8") == text
        return written != before

    assert not anew()
    path.write_text(text.replace("balanced", "unbalanced") + " ", encoding="utf-8")
    assert anew(), "a page that somebody changed"
    path.write_text("", encoding="utf-8")
    assert anew(), "a page that is empty"
    assert not anew()


def test_a_filter_that_is_applied_later_makes_another_page(make_store) -> None:
    view = make_store(5)
    select(view, Filter(name="a", where="text != 'x'"))
    before = Path(write_report(view.store.url)).read_text()
    select(view, Filter(name="b", where="text != 'y'"))
    assert Path(write_report(view.store.url)).read_text() != before


def test_without_a_filter_there_is_nothing_to_report(make_store) -> None:
    view = make_store(5)
    with pytest.raises(CurateError, match="nothing was filtered yet"):
        write_report(view.store.url)


def test_a_store_without_images_or_runs(make_store) -> None:
    view = make_store([{"text": f"<i>{number}</i>", "n": number} for number in range(30)])
    select(view, Filter(name="half", where={"too low": "n >= 15"}))
    page = Page(Path(write_report(view.store.url)).read_text(encoding="utf-8"))
    assert page.named("img") == []
    assert page.texts["s"] == ["≥ 15"]
    assert any("<i>" in item for item in page.texts["li"])


def test_all_rows_may_be_dropped(make_store) -> None:
    view = make_store(7)
    select(view, Filter(name="none", where={"never": "1 = 2"}))
    page = Page(Path(write_report(view.store.url)).read_text(encoding="utf-8"))
    assert "0 kept + 7 dropped = 7 in" in page.said()


def test_bars_count_every_row_and_limits_stand_between_whole_numbers() -> None:
    values = np.array([0, 1, 1, 2, 3, 3, 3, 9.0])
    bars = bars_of(values, values > 2, [(">", 2.0)], whole=True)
    assert [bar["kept"] + bar["dropped"] for bar in bars["bars"]] == pytest.approx(
        [100 * n / 3 for n in (1, 2, 1, 3, 0, 0, 0, 0, 0, 1)]
    )
    assert [bar["kept"] > 0 for bar in bars["bars"]] == [False] * 3 + [True] + [False] * 5 + [True]
    assert bars["marks"] == [{"at": pytest.approx(30), "label": "> 2"}]
    assert (bars["low"], bars["high"], bars["rows"]) == ("0", "9", 8)


def test_which_columns_were_taken_is_shown(text: str) -> None:
    assert "url &lt;- url, text &lt;- text" in text


def test_a_page_goes_where_it_is_told(make_store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = make_store(5)
    select(view, Filter(name="a", where="text != 'x'"))
    monkeypatch.chdir(tmp_path)
    for target in ("page.html", "below/page.html", str(tmp_path / "full" / "page.html")):
        assert write_report(view.store.url, target) == target
        assert Path(target).read_bytes().rstrip().endswith(b"-->")
