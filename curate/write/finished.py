"""What a write step notes in the store once all its shards lie there: the same step again then opens no part.

The note answers only where nothing is left to be written. While a file is missing the store is looked at anew, so no
byte of a shard ever comes from a note, and a kill between the survey and the last shard leaves none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from curate import __version__
from curate.errors import CurateError
from curate.store.folder import Folder, identity, is_torn
from curate.store.store import WRITTEN
from curate.store.view import View
from curate.write.dataset_card import NAME as CARD
from curate.write.dataset_card import is_ours

#: Files of all shards together, beside the manifest that lists them.
_SMALL = ("sizes.json", "selection.json", CARD)


@dataclass(frozen=True)
class Finished:
    """The note of one write step. name: its file in the store, made of all that the step's result hangs on."""

    view: View
    name: str

    @classmethod
    def of(cls, view: View, options: dict[str, Any]) -> Finished:
        """options: those of the step but `to`."""
        assert view.images is not None
        states = {folder: view.state(folder) for folder in {*view.columns.values(), view.images}}
        columns = {name: states[folder] for name, folder in view.columns.items()}
        # Another version of curate may choose other columns, or say other things of them.
        made_of = identity(
            pool=view.pool(), images=states[view.images], columns=columns, options=options, curate=__version__
        )
        return cls(view, f"{WRITTEN}/{made_of}.json")

    def note(self, selection: str, done: dict[str, Any]) -> None:
        """Called when the last file of the shards is there. done: what the step returns."""
        self.view.store.write_json(self.name, {"selection": selection, "done": done})

    def again(self, to: str | None) -> dict[str, Any] | None:
        """What the step returns, where all that it wrote lies in `to` (default: the store's folder of the selection);
        None where there is something to be done."""
        try:
            note = self.view.store.read_json(self.name)
            out = Folder(to or default_folder(self.view, note["selection"]))
            about = out.read_json("manifest.json")
        except (OSError, CurateError):  # not there, or damaged: made anew
            return None
        if about.get("selection") != note["selection"] or not _whole(out, about["files"]):
            return None
        return {**note["done"], "to": out.url}


def default_folder(view: View, selection: str) -> str:
    """Where a selection is written when the user names no folder."""
    return f"{view.store.url}/shards-{selection}"


def file_facts(name: str, data: bytes) -> dict[str, Any]:
    """A file as the manifest of the shards lists it."""
    return {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}


def small_files(out: Folder) -> dict[str, Any]:
    """The files of all shards together, as the manifest lists them: without a card of the user's."""
    files: dict[str, Any] = {}
    for name in _SMALL:
        if name != CARD or is_ours(out):
            files |= file_facts(name, out.read_bytes(name))
    return files


def _whole(out: Folder, files: dict[str, Any]) -> bool:
    """Whether all files of the shards are there, the small ones as they were written, and no torn ones beside them."""
    names = out.names()
    folders = {name.rpartition("/")[0] for name in files} - {""}
    inside = {f"{folder}/{name}" for folder in folders for name in out.names(folder)}
    if not files.keys() <= names | inside or any(map(is_torn, names)):
        return False
    return small_files(out) == {name: files[name] for name in _SMALL if name in files}
