"""Licences of the input: their columns go out with the samples, and the card counts them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import HERE, MakeStore, picture

from curate.store.folder import Folder
from curate.write.licences import columns, with_licences
from curate.write.step import WriteOptions, write

ROWS = [
    {
        "license": ["CC-BY-4.0", "CC0 | public\ndomain", "CC-BY-4.0", None, "", "CC-BY-4.0"][n],
        "license_url": f"https://creativecommons.org/licenses/by/4.0/#{n}",
        "author": f"Painter {n}",
        "retrieved": f"2024-02-2{n}",
    }
    for n in range(6)
]


def card_of(make_store: MakeStore, to: Path, rows: list[dict[str, str | None]], **options: object) -> str:
    view = make_store(rows, 4, [picture(n) for n in range(len(rows))])
    write(view, WriteOptions(to=str(to), samples_per_shard=4, **options), HERE)  # type: ignore[arg-type]
    return (to / "README.md").read_text()


def test_they_go_out_with_each_sample_and_the_card_counts_them(make_store: MakeStore, tmp_path: Path) -> None:
    card = card_of(make_store, tmp_path / "shards", ROWS)
    samples = [row for n in (0, 1) for row in pq.read_table(tmp_path / "shards" / f"0000{n}.parquet").to_pylist()]
    assert [{name: row[name] for name in ROWS[0]} for row in samples] == ROWS
    with tarfile.open(tmp_path / "shards" / "00000.tar") as tar:
        about = json.load(tar.extractfile(next(m for m in tar if m.name.endswith(".json"))))  # type: ignore[arg-type]
    assert {name: about[name] for name in ROWS[0]} == ROWS[0]
    assert card.partition("## Licences")[2] == (
        "\n\nWhat the input told of each sample's licence, unchecked:\n\n"
        "- licence: column `license`\n- licence url: column `license_url`\n- attribution: column `author`\n"
        "- retrieved: column `retrieved`\n\n"
        "| `license` | samples |\n| --- | ---: |\n"
        "| CC-BY-4.0 | 3 |\n| none given | 2 |\n| CC0 \\| public domain | 1 |\n"
    )


def test_no_section_where_nothing_tells(make_store: MakeStore, tmp_path: Path) -> None:
    assert "Licences" not in card_of(make_store, tmp_path / "none", [{"n": "1"}])
    assert "Licences" not in card_of(make_store, tmp_path / "left", ROWS, leave_out=tuple(ROWS[0]))


def test_a_card_is_counted_anew(make_store: MakeStore, tmp_path: Path) -> None:
    """As a removal does it: what is said is what the shards hold then."""
    folder = tmp_path / "shards"
    card = card_of(make_store, folder, ROWS)
    assert with_licences(card, Folder(str(folder)), 2) == card
    only = pq.read_table(folder / "00001.parquet")
    pq.write_table(only.slice(0, 1), folder / "00001.parquet")
    fewer = with_licences(card, Folder(str(folder)), 2)
    assert "| CC-BY-4.0 | 2 |" in fewer and fewer.count("## Licences") == 1


def test_very_many_licences_are_summed(make_store: MakeStore, tmp_path: Path) -> None:
    card = card_of(make_store, tmp_path / "shards", [{"LICENSE_URL": f"http://l/{n:02}"} for n in range(35)])
    assert card.endswith("| http://l/29 | 1 |\n| 5 others | 5 |\n")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["license", "licence"], {"licence": "licence"}),
        (["LICENSE", "Photographer"], {"licence": "LICENSE", "attribution": "Photographer"}),
        (["retrieved_input", "licensed", "authors"], {"retrieved": "retrieved_input"}),
        (["url", "text"], {}),
    ],
)
def test_which_columns_are_taken(names: list[str], told: dict[str, str]) -> None:
    assert columns(names) == told
