"""Whose folder it is: shards of one selection lie in it, whole or begun, or from which rows were removed since."""

from __future__ import annotations

import json
import re
from typing import Any

from curate.errors import CurateError
from curate.store.folder import Folder
from curate.write.dataset_card import NAME as CARD
from curate.write.dataset_card import is_ours

#: In the manifest of shards: the version of the store's last removal that changed them. In selection.json: how many
#: removals the store had had when they were begun.
REMOVALS = "removals"

#: What lies in a folder of shards, and is no user's.
_OURS = re.compile(r"\d{5,}(\.tar|\.parquet|_stats\.json)?|sizes\.json|manifest\.json")


def make_room(out: Folder, selection: str) -> None:
    """Delete the shards of another selection; `selection.json`, which says that they are shards, goes last."""
    try:
        held = json.loads(out.read_bytes("selection.json"))["selection"]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return  # `claim` looks at what lies there
    if held != selection:
        for name in sorted(out.names()):
            if _OURS.fullmatch(name):
                out.remove(name)
        if is_ours(out):
            out.remove(CARD)
        out.remove("selection.json")


def claim(out: Folder, selection: str, removals: int) -> None:
    """Refuse a folder that holds another selection; mark one that is ours before the first shard.

    removals: how many the store has had: shards that were begun before one are not gone on with.
    """
    mark: dict[str, Any] = {"selection": selection} | ({REMOVALS: removals} if removals else {})
    try:
        content = json.loads(out.read_bytes("selection.json"))
        held = content["selection"]
    except (KeyError, TypeError, ValueError):
        raise CurateError(f"'{out.url}/selection.json' is damaged or not curate's: write to another folder") from None
    except FileNotFoundError:
        taken = sorted(n for n in out.names() if n.endswith((".tar", ".parquet", ".json")) and not n.startswith("."))
        if taken:
            raise CurateError(
                f"'{out.url}' holds files that are not of these shards ({taken[0]}): write to another folder"
            ) from None
        out.write_bytes("selection.json", json.dumps(mark).encode())
        return
    if held != selection:
        raise CurateError(
            f"'{out.url}' holds another selection ({held}, this one is {selection}): write to another folder, "
            "or leave `to` out and each selection gets its own"
        )
    if content.get(REMOVALS, 0) != removals and not out.exists("manifest.json"):
        raise CurateError(f"'{out.url}' holds shards that were begun before rows were removed: delete it and run again")


def shrunk(out: Folder, selection: str) -> dict[str, Any] | None:
    """What a write step says of shards from which rows were removed since: they are cut as they were, with gaps.

    Raises:
        CurateError: when some of them are missing, which cannot be made as they were.
    """
    if not out.exists("manifest.json"):
        return None
    about = out.read_json("manifest.json")
    if about["selection"] != selection or REMOVALS not in about:
        return None
    if missing := sorted(about["files"].keys() - out.names()):
        raise CurateError(
            f"{out.url}: rows were removed from these shards, and {missing[0]} is missing: delete the folder and run "
            "again, all shards are then written anew without them"
        )
    weight = sum(file["bytes"] for file in about["files"].values())
    done = {"to": out.url, "samples": about["samples"], "shards": about["shards"], "bytes": weight}
    return done | {name: about[name] for name in ("rows",) if name in about}
