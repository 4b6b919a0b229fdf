"""Reading: any input as records in shards, streamed; a file that was read is never read twice."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from rich.markup import escape

from curate import record
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.messages.remarks import Remarks, say
from curate.read.exact_types import common, holds
from curate.read.input_scan import scanned
from curate.read.options import ReadOptions
from curate.read.read_slice import ReadSlice, Slice
from curate.read.refusing import SAID
from curate.read.source import Source, on_files, open_source
from curate.refuse import opt_out
from curate.store.file_list import InputFile, files_id, read_file_list, write_file_list
from curate.store.folder import identity
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.manifest import Input, Table
from curate.store.store import Store
from curate.store.view import View

#: Rows that one task reads from a file that can be entered anywhere.
ROWS_PER_TASK = 320_000


def plan(rows: list[int], rows_per_shard: int, first_shard: int, seekable: bool) -> list[Slice]:
    """Tasks that read every file about once: the shards that begin in a file belong to that file's task.

    >>> plan([5, 7], 4, 0, seekable=False)
    [Slice(first_shard=0, shards=2, file=0, skip=0), Slice(first_shard=2, shards=1, file=1, skip=3)]
    """
    slices, begin = [], 0
    for file, count in enumerate(rows):
        first = -(-begin // rows_per_shard)
        last = -(-(begin + count) // rows_per_shard)
        step = max(1, ROWS_PER_TASK // rows_per_shard) if seekable else max(last - first, 1)
        for shard in range(first, last, step):
            size = min(step, last - shard)
            slices.append(Slice(first_shard + shard, size, file, shard * rows_per_shard - begin))
        begin += count
    return slices


def read(store: Store, options: ReadOptions, cluster: Cluster) -> View:
    """Records of an input, appended to what the store has; files already read are left alone.

    Raises:
        CurateError: when a file that was read has changed since, other columns or another input are asked for, or the
            input is empty.
    """
    groups = store.manifest().inputs
    source = open_source(options)
    for group in groups:
        if group.rows_per_shard != options.rows_per_shard:
            raise CurateError(
                f"{store.url} was read with rows_per_shard: {group.rows_per_shard}, not {options.rows_per_shard}"
            )
    fresh = _fresh(store, source, options)
    another = groups and len(fresh) == len(source.names) and options.place not in {group.input for group in groups}
    if another and not options.append:
        raise CurateError(
            f"{store.url} holds the rows of '{groups[0].input}', not of '{options.place}': use a new root, "
            "or add them with read: {append: true} (--set append=true for the pipelines that ship)"
        )
    lists = opt_out.lists_kept(store, options.opt_out)
    # What an earlier run began comes first: its first shard settles the types.
    for number in range(len(groups)):
        _read_group(store, number, source, cluster, lists)
    if fresh:
        own, remarks, counts = scanned(source.subset(fresh), cluster)
        _read_group(store, _plan_group(store, own, options, counts, remarks), own, cluster, lists)
    return records_view(store)


def _fresh(store: Store, source: Source, options: ReadOptions) -> list[str]:
    """Files that the store does not have.

    Raises:
        CurateError: when one that it has changed, or is to be read in another way.
    """
    known = {
        file.name: (file, group)
        for number, group in enumerate(store.manifest().inputs)
        for file in read_file_list(store, number)
    }
    fresh = []
    for number, (name, size) in enumerate(zip(source.names, source.sizes, strict=True)):
        if name not in known:
            fresh.append(name)
            continue
        file, group = known[name]
        if group.choices is not None and group.choices != options.choices:
            was, now = _differing(group.choices, options.choices)
            raise CurateError(
                f"{store.url} was read with {was}, not with {now}: use a new root (--set root=...), or go on with {was}"
            )
        if file.size != size:
            raise CurateError(
                f"'{name}' had {file.size} bytes when {store.url} read it and has {size} now: "
                "use a new root, or give the changed file another name"
            )
        # The hash is asked only where the file system cannot say that the file is the same.
        moved = group.input != options.place or not file.mark or file.mark != source.marks[number]
        if moved and file.ends != source.content(source.files[number]):
            if group.input == options.place:
                raise CurateError(
                    f"'{name}' has changed since {store.url} read it, at the same size: use a new root, or give the "
                    "changed file another name"
                )
            raise CurateError(
                f"{store.url} has read another '{name}', from '{group.input}': use a new root, or rename the file"
            )
    return fresh


def _differing(was: dict[str, Any], now: dict[str, Any]) -> tuple[str, str]:
    """The options that differ, as they were and as they are."""
    usual = ReadOptions.model_fields
    was, now = ({name: one.get(name, usual[name].default) for name in {**was, **now}} for one in (was, now))
    names = [name for name in now if was[name] != now[name]]
    before, after = (", ".join(f"{name}: {one[name]}" for name in names) for one in (was, now))
    return before, after


def records_view(store: Store) -> View:
    """The store as reading left it: what later steps make is theirs to add, in the order of the pipeline."""
    manifest = store.manifest()
    view = View(store).with_table("records", manifest.inputs[0].columns)
    images = manifest.images_of_input
    return View(store, view.with_table(images, IMAGE_FIELDS).columns, None, images) if images else view


def _plan_group(store: Store, source: Source, options: ReadOptions, counts: list[int], remarks: Remarks) -> int:
    """Enter files to be read into the manifest; returns the number of their input."""
    manifest = store.manifest()
    if not sum(counts) and not manifest.inputs:
        why = ", ".join(remarks.lines())
        raise CurateError(f"input '{options.place}' holds no rows" + (f": {why}" if why else ""))
    types = _types(store, source)
    left_out = {name for number in range(len(source.files)) for name in source.types_of(number)} - set(types.names)
    for theirs, ours in source.kept_as().items():
        why = ", since they are not 32 hex digits: new uids are made" if ours.startswith("uid_input") else ""
        remarks.add(f"column(s) '{theirs}' kept as '{ours}'{why}", 1)
    for name in sorted(left_out):
        remarks.add(f"column(s) left out, with which {store.url} did not begin: {name}", 1)
    columns = zip(source.names, source.sizes, counts, on_files(source.content, source.files), source.marks, strict=True)
    files = [InputFile(*values) for values in columns]
    group = Input(
        input=options.place,
        format=source.format,
        columns=types.names,
        mapping=source.mapping | ({"image": source.inline} if source.inline else {}),
        choices=options.choices,
        listed=source.listed,
        files=len(files),
        files_id=files_id(files),
        first_shard=sum(group.shards for group in manifest.inputs),
        shards=-(-sum(counts) // options.rows_per_shard),
        rows=sum(counts),
        rows_per_shard=options.rows_per_shard,
        images=f"images-{identity(adopted=source.format, version=2)}" if source.has_images else None,
        scanned=remarks.to_json(),
    )
    if manifest.inputs and manifest.inputs[0].images != group.images:
        which = "without images" if group.images is None else "with images"
        raise CurateError(f"'{options.place}' holds pairs {which}, {store.url} the other kind: use a new root")
    write_file_list(store, len(manifest.inputs), files)
    manifest.add_input(group)
    store.save(manifest)
    return len(manifest.inputs) - 1


def _types(store: Store, source: Source) -> pa.Schema:
    """Types of the records' columns; appended input takes those that the store has.

    Raises:
        CurateError: when an appended file's column does not fit.
    """
    if 0 not in store.parts("records"):
        return source.types()
    types: pa.Schema = store.read_part("records", 0).schema
    for number, file in enumerate(source.files):
        for name, kind in source.types_of(number).items():
            own = types.field(name).type if name in types.names and name not in record.SCHEMA.names else kind
            if not holds(own, kind) and not (own in common(own, kind) and source.fits(number, name, own)):
                raise CurateError(f"column '{name}' of '{file}' is {kind}, and {own} in {store.url}: use a new root")
    return types


def _read_group(store: Store, number: int, source: Source, cluster: Cluster, lists: str) -> None:
    group = store.manifest().inputs[number]
    shards = group.shard_numbers
    missing = set(shards) - store.parts("records")
    if missing:
        files = read_file_list(store, number)
        names = [file.name for file in files]
        gone = set(names) - set(source.names)
        if gone:
            raise CurateError(f"'{min(gone)}' was not read to its end and is no longer in the input")
        own, size = source.subset(names), group.rows_per_shard
        if not own.complete:
            own, _, _ = scanned(own, cluster)
        rows = {s: r for s, r in store.shard_rows().items() if s in shards}
        slices = plan([file.rows for file in files], size, group.first_shard, own.seekable)
        todo = [i for i, s in enumerate(slices) if missing & set(range(s.first_shard, s.first_shard + s.shards))]
        work = ReadSlice(
            store=store,
            source=own.for_workers(),
            slices=slices,
            rows=rows,
            images=group.images or "",
            types=_types(store, own),
            rows_per_shard=size,
            lists=lists,
        )
        sizes = {i: sum(rows[s] for s in range(c.first_shard, c.first_shard + c.shards)) for i, c in enumerate(slices)}
        cluster.do("read", work, todo, sizes)
    if group.images and store.manifest().current.get("images") != group.images:
        remarks = store.remarks(group.images)
        say("read", remarks)
        entry = Table(name="images", op="read", columns=[*IMAGE_FIELDS], remarks=remarks.to_json())
        store.note_table(group.images, entry)
    if group.remarks is None:
        _note_remarks(store, number)


def _note_remarks(store: Store, number: int) -> None:
    """Record and print what was read, from which columns, and what was done with rows."""
    manifest = store.manifest()
    group = manifest.inputs[number]
    remarks = Remarks.from_json(group.scanned)
    remarks.merge(store.remarks("records", group.shard_numbers))
    chosen = [f"{ours} <- {theirs}" for ours, theirs in group.mapping.items()]
    caption = (group.choices or {}).get("caption")
    if "text" not in group.mapping:
        chosen.append("no captions: text is null")
    elif group.listed or caption == "each":
        chosen[list(group.mapping).index("text")] += f" ({caption} of a list)"
    line = [counted(group.rows, "row"), *chosen, *remarks.lines()]
    console.print(f"[yellow]read: {escape(', '.join(line))}" if remarks else f"[dim]read: {escape(', '.join(line))}")
    group.remarks = remarks.to_json()
    counts = {word: remarks.counts.get(kind, 0) for word, kind in SAID.items()}
    group.out = {word: rows for word, rows in counts.items() if rows}
    store.save(manifest)
