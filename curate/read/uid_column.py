"""Whether a column of that name holds uids: some datasets keep numbers or names of the user's there."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from curate import record
from curate.read import exact_types
from curate.read.columns import mapping

if TYPE_CHECKING:
    from curate.read.source import Source

#: Rows that show it.
UID_ROWS = 1_000


def holds_uids(source: Source) -> bool:
    """Whether the column of that name holds uids, as the first rows show it, and no numbers or names of the user's."""
    if source.caption == "each":
        # A pair's uid would be that of several rows.
        return False
    for number, schema in enumerate(source.schemas):
        theirs = mapping(schema.names, source.columns).get("uid")
        batch = next(iter(source.batches(number)), None) if theirs else None
        if batch is None or theirs not in batch.schema.names:
            continue
        values = [
            value for value in islice(exact_types.plain(batch[theirs]).to_pylist(), UID_ROWS) if value is not None
        ]
        if values:
            return all(record.as_uid(value) for value in values)
    return True
