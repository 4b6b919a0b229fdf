"""The certificate of a removal: what was removed by which rule, and each file before and after. It holds no content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from curate import __version__
from curate.messages.counted import counted
from curate.remove.plan import Plan
from curate.store.folder import Folder, shard_name
from curate.store.removal import REMOVED

Facts = Mapping[str, "tuple[int, str] | None"]

_RULES = {"url": "--urls", "host": "--host", "sha256": "--sha256", "uid": "--uids", "where": "--where"}


def write_certificate(folder: Folder, plan: Plan, before: Facts, after: Facts) -> str:
    """Write `removed/<version>.json` and the same in words; returns the words."""
    name = f"{REMOVED}/{shard_name(plan.version)}"
    files = {
        file: {"before": _fact(before[file]), "after": _fact(after.get(file))}
        for file in sorted(before)
        if before[file] != after.get(file)
    }
    about: dict[str, Any] = {
        "certificate": "rows removed",
        "curate": __version__,
        "place": folder.url,
        "version": plan.version,
        "when": plan.when,
        "command": plan.command,
        "rows": sum(plan.rules.values()),
        "rules": {rule: {"asked": plan.asked.get(rule, 0), "rows": rows} for rule, rows in plan.rules.items()},
        "files": files,
        "notes": plan.notes,
    }
    text = _words(about)
    about["text_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    folder.write_bytes(f"{name}.txt", text.encode())
    folder.write_json(f"{name}.json", about)
    return text


def _fact(fact: tuple[int, str] | None) -> dict[str, Any] | None:
    return None if fact is None else {"bytes": fact[0], "sha256": fact[1]}


def _words(about: Mapping[str, Any]) -> str:
    files = about["files"].values()
    gone = sum(file["after"] is None for file in files)
    lines = [
        f"Removal {about['version']} from {about['place']}, {about['when']}",
        f"by: {about['command']}",
        f"{counted(about['rows'], 'row')} removed",
    ]
    for rule, rows in about["rules"].items():
        asked = f" of {counted(rows['asked'], rule)}" if rows["asked"] else ""
        lines.append(f"  {_RULES.get(rule, '--' + rule)}: {counted(rows['rows'], 'row')}{asked}")
    more = "" if "manifest.json" in about["files"] else "; manifest.json, which names this removal, is not in the list"
    lines.append(f"{counted(len(files) - gone, 'file')} written anew, {gone:,} deleted{more}")
    lines += about["notes"]
    for name, file in about["files"].items():
        after = file["after"]["sha256"] if file["after"] else "deleted"
        lines.append(f"  {name}: {file['before']['sha256'] if file['before'] else 'new'} -> {after}")
    return "\n".join(lines) + "\n"


def read_certificate(folder: Folder, version: int) -> dict[str, Any]:
    """What `write_certificate` wrote."""
    return folder.read_json(f"{REMOVED}/{shard_name(version)}.json")
