"""Writing: kept records as WebDataset shards for training, image bytes untouched."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from curate import __version__
from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import in_threads
from curate.errors import CurateError
from curate.messages.remarks import Remarks, say
from curate.store.folder import Folder, identity, is_torn, shard_name
from curate.store.view import View
from curate.write.claim import claim, make_room, shrunk
from curate.write.dataset_card import write_card
from curate.write.faces import FACES, NOT_BLURRED, check_faces, faces_told
from curate.write.finished import Finished, default_folder, file_facts, small_files
from curate.write.one_shard import WriteShard
from curate.write.other_outputs import MIXED, OutputFormat, WriteFiles, WriteParquet
from curate.write.plan import plan
from curate.write.shard_columns import Column, columns_to_write
from curate.write.survey import Survey, say_what_loaders_miss, settled, sizes, survey

#: Files of one training shard; the last one written says that it is complete.
_ENDS: dict[OutputFormat, tuple[str, ...]] = {
    "webdataset": (".tar", ".parquet", "_stats.json"),
    "files": (".parquet", "_stats.json"),
    "parquet": (".parquet", "_stats.json"),
}


class WriteOptions(BaseModel):
    """Training shards.

    to: folder, local or any fsspec URL; by default `shards-<identity>` inside the store.
    samples_per_shard: every shard but the last holds exactly this many, unless bytes_per_shard cuts it earlier.
    bytes_per_shard: most bytes of image files in a shard.
    columns: columns of the json and parquet; by default all that the input brought and what curate made of them,
        except lists (vectors) and the columns of dedupe, which speak of other rows. A column of the input whose name
        curate has taken is called `<name>_input`.
    leave_out: columns of those that are not written.
    blur_faces: blur what a column of face boxes names, in what is written; the stored images stay as they are. True
        takes DataComp's `face_bboxes`; a name takes that column: lists of x0, y0, x1, y1, fractions of the sides.
    output_format: `webdataset`; or, as img2dataset writes them, `files` (a folder of files for each shard) or `parquet`
        (with the images in it).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str | None = None
    samples_per_shard: int = Field(10_000, ge=1)
    bytes_per_shard: int | None = Field(None, ge=1)
    columns: tuple[str, ...] | None = None
    leave_out: tuple[str, ...] = ()
    blur_faces: bool | str = False
    output_format: OutputFormat = "webdataset"

    @property
    def faces(self) -> str:
        """The column of face boxes; "" where nothing is blurred."""
        return FACES if self.blur_faces is True else self.blur_faces or ""

    def values(self, *, without: set[str]) -> dict[str, Any]:
        """The options by name; those that came later only where they are used."""
        later = {"blur_faces": self.faces} if self.faces else {}
        later |= {"output_format": self.output_format} if self.output_format != "webdataset" else {}
        return self.model_dump(exclude={*without, "blur_faces", "output_format"}) | later


def write(view: View, options: WriteOptions, cluster: Cluster, replace: bool = False) -> dict[str, Any]:
    """Write what is in as training shards; what an earlier run of the same selection wrote is left as it is.

    replace: shards of another selection in `to` make room.

    Returns {"to", "samples", "shards", "bytes", "without_image": {status: rows}, "remarks"}, and "rows" where rows have
    copies: those that the samples are of.

    Raises:
        CurateError: when there are no images, or `to` holds another selection.
    """
    if view.images is None:
        raise CurateError("nothing to write: the store has no images (a pipeline without download writes --output)")
    finished = Finished.of(view, options.values(without={"to"}))
    if done := finished.again(options.to):
        say("write", Remarks.from_json(done["remarks"]))
        return done
    remarks = Remarks()
    columns = columns_to_write(view, options.columns, options.leave_out, remarks)
    made_of = _made_of(view, columns)
    selection = _selection(view, options, made_of, remarks)
    out = Folder(options.to or default_folder(view, selection))
    facts = survey(view, columns, cluster)
    columns = settled(columns, facts, options.columns is None, remarks)
    if options.output_format == "webdataset":
        say_what_loaders_miss(facts, remarks)
    most = options.bytes_per_shard
    shards = plan(sizes(view, facts, most is not None), options.samples_per_shard, most, facts.first_sizes(view))
    if not shards:
        lacking = ", ".join(f"{rows:,} {word}" for word, rows in facts.without.items())
        raise CurateError(f"nothing to write: no row with an image is kept{f' ({lacking})' if lacking else ''}")
    if replace:
        make_room(out, selection)
    claim(out, selection, len(view.store.manifest().removals))
    if done := shrunk(out, selection):
        say("write", remarks)
        done |= {"without_image": dict(facts.without), "remarks": remarks.to_json()}
        finished.note(selection, done)
        return done
    names = out.names()
    ends = _ENDS[options.output_format]
    todo = [n for n in range(len(shards)) if not {shard_name(n) + end for end in ends} <= names]
    work = _work(options, facts)(view, out.url, shards, columns, options.samples_per_shard, options.faces)
    samples = dict(enumerate(shards.samples().tolist()))
    cluster.do("write", work, todo, samples)
    if options.faces:
        for kind, images in faces_told(out, len(samples)).items():
            remarks.add(kind, images)
    say("write", remarks)
    if options.output_format == "webdataset":
        write_card(out, sum(samples.values()), len(samples), columns, facts, options.faces)
    done = _finish(out, selection, {c.name: made_of[c.name] for c in columns}, samples, facts.rows)
    done |= {"without_image": dict(facts.without), "remarks": remarks.to_json()}
    finished.note(selection, done)
    return done


def _made_of(view: View, columns: Sequence[Column]) -> dict[str, str]:
    """The state of each column's table, not only its name: a new threshold or model is another selection."""
    states = {folder: view.state(folder) for folder in {column.folder for column in columns}}
    return {column.name: states[column.folder] for column in columns}


def _selection(view: View, options: WriteOptions, made_of: Mapping[str, str], remarks: Remarks) -> str:
    """The identity of what is written. Faces that nobody asks to blur are remarked."""
    assert view.images is not None
    same = options.values(without={"to", "columns", "leave_out"})
    if options.faces:
        check_faces(view, options.faces)
        same["faces"] = view.state(view.columns[options.faces])
    elif FACES in view.columns:
        remarks.add(NOT_BLURRED, 1, FACES)
    return identity(pool=view.pool(), images=view.state(view.images), columns=made_of, options=same, version=2)


def _work(options: WriteOptions, facts: Survey) -> Callable[..., WriteShard]:
    if options.output_format == "files":
        return WriteFiles
    if options.output_format == "parquet":
        return partial(WriteParquet, image=next(iter(facts.extensions)) if len(facts.extensions) == 1 else MIXED)
    return WriteShard


def _shard_facts(out: Folder, number: int) -> dict[str, Any]:
    """Of each file of a training shard."""
    name = f"{shard_name(number)}_stats.json"
    data = out.read_bytes(name)
    files: dict[str, Any] = json.loads(data)["files"]
    return files | file_facts(name, data)


def _finish(
    out: Folder, selection: str, made_of: dict[str, str], samples: dict[int, int], rows: int | None
) -> dict[str, Any]:
    """`sizes.json` as open_clip and DataComp read it, and `manifest.json` with the sha256 of every file."""
    files: dict[str, Any] = {}
    sizes = {f"{shard_name(n)}.tar": count for n, count in samples.items()}
    out.write_bytes("sizes.json", json.dumps(sizes, indent=1).encode())
    for facts in in_threads(partial(_shard_facts, out), len(samples)):
        files |= facts
    files |= small_files(out)
    total = sum(samples.values())
    about = {
        "curate": __version__,
        "selection": selection,
        "samples": total,
        **({} if rows is None else {"rows": rows}),
        "shards": len(samples),
        "columns": made_of,
        "files": files,
    }
    for name in out.names():
        if is_torn(name):
            out.remove(name)
    out.write_json("manifest.json", about)
    weight = sum(f["bytes"] for f in files.values())
    done = {"to": out.url, "samples": total, "shards": len(samples), "bytes": weight}
    return done if rows is None else done | {"rows": rows}
