"""Wikipedia dumps, page views and WordNet files as sources of entries."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import polars as pl
import pytest

from curate.errors import CurateError
from curate.metadata.build import build
from curate.metadata.corpus_text import find
from curate.metadata.page_views import views
from curate.metadata.rules import Rules
from curate.metadata.wiki_dump import articles, plain
from curate.metadata.wordnet import names

pytestmark = pytest.mark.slow

DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="de">
  <siteinfo><namespaces>
    <namespace key="0" /><namespace key="6">Datei</namespace><namespace key="14">Kategorie</namespace>
  </namespaces></siteinfo>
  <page><title>Whitby</title><ns>0</ns><revision><text xml:space="preserve">'''Whitby''' ist eine [[Stadt]].
[[Datei:W.jpg|mini|Die [[Abtei]]]] [[Kategorie:Ort]]</text></revision></page>
  <page><title>Alt</title><ns>0</ns><redirect title="Neu" /><revision><text>#REDIRECT [[Neu]]</text></revision></page>
  <page><title>Diskussion:Whitby</title><ns>1</ns><revision><text>Rede</text></revision></page>
  <page><title>Leer</title><ns>0</ns><revision><text /></revision></page>
  <page><title>Q</title><ns>0</ns><revision><text>A &amp;amp; B &lt;br/&gt; C&amp;nbsp;D</text></revision></page>
</mediawiki>
"""


@pytest.mark.parametrize("name", ["dewiki-pages-articles.xml", "de.xml.bz2", "de-pages-articles1.xml-p1p297.bz2"])
def test_articles_of_a_dump(tmp_path: Path, name: str) -> None:
    data = DUMP.encode()
    # Two bz2 streams, as the multistream dumps have.
    packed = bz2.compress(data[:200]) + bz2.compress(data[200:]) if name.endswith("bz2") else data
    (tmp_path / name).write_bytes(packed)
    assert list(articles(str(tmp_path / name))) == ["Whitby ist eine Stadt.\n ", "A & B   C\u00a0D"]
    built = build(Rules.published("de", word_share=1), find([str(tmp_path / name)]))
    assert built.entries[100:] == ["A", "B", "C", "D", "Stadt", "Whitby", "eine", "ist"]


def test_a_dump_cut_off_is_an_error(tmp_path: Path) -> None:
    packed = bz2.compress(DUMP.encode())
    for name, data in (
        ("a.xml", DUMP.encode()[:600]),
        ("b.xml.bz2", packed[: len(packed) // 2]),
        ("c.xml", b"plain text"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CurateError, match="not a whole XML dump"):
            list(articles(str(tmp_path / name)))
    (tmp_path / "d.xml").write_bytes(b"<html><p>x</p></html>")
    with pytest.raises(CurateError, match=r"no <page> in it .*<html>"):
        list(articles(str(tmp_path / "d.xml")))


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("[[town]] [[town|seaside town]]s [[:File:x.jpg]]", "town seaside towns File:x.jpg"),
        ("[[File:a.jpg|thumb|A [[red|blue]] {{x}} ''sea'']]end", "end"),
        ("[[image:a.jpg]]a[[de:Haus]]b[[de:Haus|c]]", "abc"),
        ("a{{x|{{y}}|[[z]]}}b", "a\nb"),
        ("a {{never closed {{b}} c", "a {{never closed \n c"),
        ("a}} b", "a}} b"),
        ("a\n{| class=x\n| b {{y|}}\n{|\n| n\n|}\n|}\nc", "a\n\n\nc"),
        ("{{x|a=}}|}}", "\n|}}"),
        ("a<!-- b -->c<ref name=x/>d<ref>{{cite}} e</ref>f<REF a='b'>g</REF>", "acdf"),
        ("x<math>a^2</math>y<gallery>\nFile:a|b\n</gallery>z", "xyz"),
        ("[https://a.b/c the site] http://a.b x [//a.b y] [1] [mailto:a@b c]", "the site  x y [1] c"),
        ("'''b''' ''i'' it's __NOTOC__", "b i it's "),
        ("== Heading ==\n* item\n*# nested\n; term\n:: said", "Heading \nitem\nnested\nterm\nsaid"),
        ("H<sub>2</sub>O<br />a<br>b 1 < 2", "H2O a b 1 < 2"),
        ("&eacute;&amp;&#160;", "é&\u00a0"),
        ("a <!-- never closed", "a "),
        ("", ""),
    ],
)
def test_markup(markup: str, text: str) -> None:
    assert plain(markup) == text


@pytest.mark.parametrize(
    "part", ["{{", "[[", "<ref>", "<!--", "[http://a ", "{|\n", "<", "http://", "''", "[[a", "=", " ", "= "]
)
def test_markup_never_closed_takes_linear_time(part: str) -> None:
    """A megabyte of each would take hours otherwise."""
    plain(part * (1_000_000 // len(part)))
    plain("[//" + part * (100_000 // len(part)))
    plain("=" + part * (100_000 // len(part)))


def pageviews(path: Path, lines: bytes) -> str:
    path.write_bytes(gzip.compress(lines))
    return str(path)


def test_views_add_up_over_hours(tmp_path: Path) -> None:
    first = pageviews(
        tmp_path / "pageviews-20220829-000000.gz",
        b"de Berlin 90 0\nen Red_car 50 0\nen Red_car's 49 0\nen Talk:Car 99 0\nen caf\xe9 99 0\nen.m Red_car 60 0\n"
        b'en a b c d 70 0\nen short 70\n"" Nothing 99 0\nen "quoted" 55 0\nen N/A 51 0\nen many x 0\n',
    )
    second = pageviews(
        tmp_path / "pageviews-20220829-010000.gz", b"en Red_car 61 0\nzh-yue \xe9\xa6\x99\xe6\xb8\xaf 3 0\n"
    )
    found = views([first, second], "en", 50, mobile=False).sort("title")
    assert found.rows() == [('"quoted"', 55), ("N/A", 51), ("Red car", 111)]
    assert dict(views([first, second], "en", 50, mobile=True).rows())["Red car"] == 171
    assert views([second], "zh_yue", 1, mobile=True).rows() == [("香港", 3)]


def test_many_titles_are_added_up_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.metadata.page_views.HELD_TITLES", 5)
    files = [
        pageviews(tmp_path / f"{hour}.gz", b"".join(b"en T%d 60 0\n" % n for n in range(hour, hour + 4)))
        for hour in range(6)
    ]
    expected = {f"T{n}": 60 * sum(hour <= n < hour + 4 for hour in range(6)) for n in range(9)}
    assert dict(views(files, "en", 50, mobile=False).rows()) == expected


def test_a_title_needs_its_views(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("word")
    file = pageviews(tmp_path / "v.gz", b"en A 69 0\nen B 70 0\nen C 80 0\nen D 70 0\n")
    built = build(Rules(), find([str(tmp_path / "t.txt")]), [file])
    assert [(part.seen, part.candidates, part.entries) for part in built.parts][-1] == (4, 3, ["C", "B", "D"])


def test_names_of_other_wordnets(tmp_path: Path) -> None:
    tab = tmp_path / "wn-data-fra.tab"
    tab.write_text(
        "# French\n00001740-n\tfra:lemma\tentité\n1-n\tfra:def\t0\tce qui est\n1-n\tfra:lemma\tchien_chaud\n"
    )
    assert names(str(tab)) == ["chien chaud", "entité"]
    (tmp_path / "data.noun").write_text("00001740 03 n 01 entity 0 003 | that which is\n")
    assert names(str(tmp_path)) == ["entity"]
    for path in ("none.tab", "none"):
        with pytest.raises(CurateError, match=r"no file|no WordNet"):
            names(str(tmp_path / path))


def test_hugging_face_folder(tmp_path: Path) -> None:
    """Layout of `wikimedia/wikipedia`: a folder of parquet files a language."""
    folder = tmp_path / "20231101.fr"
    folder.mkdir()
    for number in range(2):
        rows = {"id": ["1"], "url": ["u"], "title": ["Titre"], "text": [f"Une ville\n\nmot{number}"]}
        pl.DataFrame(rows).write_parquet(folder / f"train-{number:05}-of-00002.parquet")
    built = build(Rules.published("fr", word_share=1, pmi=0), find([str(folder)]))
    assert built.entries[100:] == ["Une", "ville", "mot0", "mot1", "Une ville"]
