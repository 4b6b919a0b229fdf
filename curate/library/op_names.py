"""What ops are called, and which packages hold those that ship."""

from __future__ import annotations

import re

#: Packages whose modules each hold one op.
KINDS = ("score", "dedupe", "balance")

#: Of these, the verbs whose step drops rows by an op's decision.
DECIDE = ("dedupe", "balance")


def snake(name: str) -> str:
    """A class's name as a table's.

    >>> snake("WordCount"), snake("CLIPScore2")
    ('word_count', 'clip_score2')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def op_name(cls: type) -> str:
    """`score.words` for ours, `package.module:Class` for a user's."""
    module = cls.__module__
    if module.startswith("curate.") and module.split(".")[1] in KINDS:
        return module.removeprefix("curate.")
    return f"{module}:{cls.__qualname__}"
