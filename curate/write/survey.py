"""What the driver must know of all rows before it writes: which go out, and what their columns and files hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.messages.remarks import Remarks
from curate.record import MALFORMED
from curate.store.view import View
from curate.write.shard_columns import EQUAL, RENAMED, Column, read, shown

#: Hugging Face's loader learns the columns of a tar from so many samples.
LEARNT_FROM = 5
NEEDED = f"samples needed to show every column, and loaders look at {LEARNT_FROM}: load_dataset(folder) knows them all"
#: Extensions under which open_clip's loader looks for images.
USUAL_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp"})
LARGEST_INT64 = 2**63 - 1


def writable(view: View, shard: int) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Rows that are in and have an image, the sizes of these, and how many lack one, by status."""
    assert view.images is not None
    about = view.store.read_part(view.images, shard, ["status", "size"])
    status = np.asarray(about["status"].to_pylist(), object)
    kept = view.kept(shard)
    inside = np.ones(len(status), bool) if kept is None else kept
    rows = np.flatnonzero(inside & (status == "success"))
    words, counts = np.unique(status[inside & (status != "success")].astype(str), return_counts=True)
    sizes = about["size"].fill_null(0).to_numpy()[rows]
    return rows, sizes, dict(zip(words.tolist(), counts.tolist(), strict=True))


def sample_files(view: View, shard: int, rows: np.ndarray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Of rows that have an image: the extension of its file; the sample's other files, null where it has none."""
    assert view.images is not None
    with view.store.opened(view.store.part(view.images, shard)) as part:
        names = [name for name in ("extension", "members") if name in part.schema.names]
        table = part.read(names).take(pa.array(rows))
    members = table["members"] if "members" in names else pa.chunked_array([pa.nulls(len(rows))])
    return table["extension"], members


@dataclass
class Survey:
    """Facts of the rows that are written.

    sizes: of each store shard, bytes of the images of its writable rows. without: statuses of kept rows without image.
    extensions: samples by the extension of their image. members: whether samples have other files.
    first: rows that have to come first, as (shard, place among its writable rows): together they show each column.
    """

    sizes: dict[int, np.ndarray] = field(default_factory=dict)
    without: Counter[str] = field(default_factory=Counter)
    extensions: Counter[str] = field(default_factory=Counter)
    members: bool = False
    first: list[tuple[int, int]] = field(default_factory=list)
    unequal: set[str] = field(default_factory=set)
    too_large: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)


def survey(view: View, columns: Sequence[Column]) -> Survey:
    """Looks at all shards: at the images table, and at as few of the columns as tell what is asked."""
    facts = Survey(empty={column.name for column in columns})
    by_name = {column.name: column for column in columns}
    natural: list[tuple[int, int]] = []
    for shard in sorted(view.store.shard_rows()):
        rows, facts.sizes[shard], without = writable(view, shard)
        facts.without.update(without)
        if not len(rows):
            continue
        extensions, members = sample_files(view, shard, rows)
        facts.extensions.update(extensions.to_pylist())
        facts.members |= members.null_count < len(rows)
        _compare(view, shard, rows, columns, by_name, facts)
        unseen = [column for column in columns if column.name in facts.empty]
        natural += [(shard, i) for i in range(min(len(rows), LEARNT_FROM - len(natural)))]
        if unseen:
            _first(view, shard, rows, unseen, facts)
    # Mostly the rows that are first anyway show all.
    facts.first = [] if set(facts.first) <= set(natural) else _fewest(view, columns, facts.first)
    return facts


def _compare(
    view: View, shard: int, rows: np.ndarray, columns: Sequence[Column], by_name: dict[str, Column], facts: Survey
) -> None:
    """Columns of the input that differ from curate's of that name, and numbers that few readers take."""
    pairs = [(c, by_name[c.shadowed]) for c in columns if c.shadowed in by_name and c.name not in facts.unequal]
    wide = [c for c in columns if pa.types.is_uint64(c.kind) and not c.form and c.name not in facts.too_large]
    if not pairs and not wide:
        return
    table = read(view, shard, dict.fromkeys([*(c for pair in pairs for c in pair), *wide])).take(pa.array(rows))
    for theirs, ours in pairs:
        if table[theirs.name].to_pylist() != table[ours.name].to_pylist():
            facts.unequal.add(theirs.name)
    for column in wide:
        if (pc.max(table[column.name]).as_py() or 0) > LARGEST_INT64:
            facts.too_large.add(column.name)


def _first(view: View, shard: int, rows: np.ndarray, unseen: list[Column], facts: Survey) -> None:
    """Adds each row that shows a column that no row before it shows: the same ones however the store is cut."""
    visible = _visible(view, shard, rows, unseen)
    open_columns = np.ones(len(unseen), bool)
    while (places := visible[open_columns].any(axis=0)).any():
        place = int(places.argmax())
        facts.first.append((shard, place))
        open_columns &= ~visible[:, place]
    facts.empty -= {column.name for column, still in zip(unseen, open_columns, strict=True) if not still}


def _visible(view: View, shard: int, rows: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """Whether a column (first axis) shows a value in a row (second axis)."""
    table = read(view, shard, columns).take(pa.array(rows))
    return np.array([shown(table[column.name]).to_numpy(zero_copy_only=False) for column in columns], bool)


def _fewest(view: View, columns: Sequence[Column], first: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """As few of the rows as show every column that they show together, in the order of the store."""
    shows = []
    for shard, place in first:
        row = writable(view, shard)[0][place : place + 1]
        shows.append(_visible(view, shard, row, columns)[:, 0])
    matrix, chosen = np.array(shows).T, list[int]()
    open_columns = matrix.any(axis=1)
    while open_columns.any():
        chosen.append(int(matrix[open_columns].sum(axis=0).argmax()))
        open_columns &= ~matrix[:, chosen[-1]]
    return sorted(first[place] for place in chosen)


def settled(columns: Sequence[Column], facts: Survey, by_default: bool, remarks: Remarks) -> list[Column]:
    """The columns without those that say nothing new."""
    names = {column.name for column in columns}
    equal = {c.name: c.source for c in columns if by_default and c.shadowed in names and c.name not in facts.unequal}
    if equal:
        remarks.add(EQUAL, len(equal), ", ".join(sorted(equal.values())))
    gone = equal.keys() | ({MALFORMED} & facts.empty)
    stay = [replace(c, form="text") if c.name in facts.too_large else c for c in columns if c.name not in gone]
    renamed = [column.source for column in stay if column.shadowed]
    if renamed:
        remarks.add(RENAMED, len(renamed), ", ".join(renamed))
    return stay


def say_what_loaders_miss(facts: Survey, remarks: Remarks) -> None:
    """What training loaders will not see of the shards, and what was done for them."""
    unusual = {e: n for e, n in sorted(facts.extensions.items()) if e not in USUAL_EXTENSIONS}
    if unusual:
        names = ", ".join(f"{extension}: {rows:,}" for extension, rows in unusual.items())
        remarks.add(
            "samples whose image is none of jpg, jpeg, png, webp: open_clip skips them", sum(unusual.values()), names
        )
    if len(facts.extensions) > 1:
        names = ", ".join(f"{extension}: {rows:,}" for extension, rows in sorted(facts.extensions.items()))
        remarks.add(
            'kinds of images: load_dataset("webdataset") wants one, load_dataset(folder) takes all',
            len(facts.extensions),
            names,
        )
    if facts.first:
        remarks.add("samples brought to the front: loaders learn the columns from the first ones", len(facts.first))
    if len(facts.first) > LEARNT_FROM:
        remarks.add(NEEDED, len(facts.first))
