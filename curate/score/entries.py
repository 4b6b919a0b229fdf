"""Which entries of a metadata list a caption holds: MetaCLIP's substring matching."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import PrivateAttr, model_validator

from curate.messages.progress import console
from curate.metaclip.entry_lists import SMALL, EntryLists
from curate.op import Rows, Score


class Entries(Score):
    """`entries`: sorted ids of the entries that stand in the caption, each once; stored, so that another balancing
    threshold needs no matching. With `by` also `entries_lang`, the language whose list they are from.

    metadata: MetaCLIP's metadata.json, or a text file with one entry per line; `small` is a list to try things with:
        the 50,000 most frequent English words of the package wordfreq, also capitalised, and the numbers 0 to 99. With
        `by`, a folder of `<language>.json` lists; ids count through all lists in the order of their names.
    by: column with the caption's language, `lang` of score.language. Its list is the one of that name, else of the part
        before `_` or `-` (zh-tw: zh), else `other`. Without any, a row has no entries and the status `no_list`.
    spacing: `metaclip`: entries match between blanks. `metaclip2`, the default with `by`: an end in a script that puts
        none between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer, Tibetan), or in punctuation, needs none.
    """

    reads_null: ClassVar[bool] = True  # captions of unknown language are matched too
    cite: ClassVar[str] = "Xu et al., Demystifying CLIP Data, 2023; MetaCLIP 2, 2025"
    batch_size: int = 10_000
    metadata: str = SMALL
    by: str = ""
    spacing: Literal["metaclip", "metaclip2"] | None = None

    _matchers: Any = PrivateAttr(None)

    @model_validator(mode="after")
    def _folder(self) -> Entries:
        if self.by and self.metadata == SMALL:
            raise ValueError("`by` chooses among the lists of a folder: give it as `metadata`")
        return self

    def reads(self) -> tuple[str, ...]:
        return ("text", self.by) if self.by else ("text",)

    def packages(self) -> tuple[str, ...]:
        return ("numba", "wordfreq") if self.metadata == SMALL else ("numba",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"entries": pa.list_(pa.uint32())} | ({"entries_lang": pa.string()} if self.by else {})

    def lists(self) -> EntryLists:
        return EntryLists(self.metadata, bool(self.by))

    def weights(self) -> str:
        return self.lists().identity()

    def check(self) -> None:
        if self.metadata != SMALL:
            _say(self.lists())

    def setup(self) -> None:
        from curate.metaclip.kept_matcher import kept_matcher
        from curate.metaclip.matching import Matcher
        from curate.metaclip.scripts import ScriptMatcher

        lists = self.lists()
        starts = lists.starts() if self.by else {"": 0}
        kind: type[Matcher | ScriptMatcher] = (
            ScriptMatcher if self.spacing == "metaclip2" or (self.by and not self.spacing) else Matcher
        )

        def of(name: str) -> tuple[Matcher | ScriptMatcher, int]:
            return kept_matcher(kind, lists.version(name), partial(lists.load, name)), starts[name]

        # A list is made ready when the first caption of its language comes.
        self._matchers = cache(of)
        # What is compiled or read once is no part of how fast captions are matched.
        kind(["a"]).match(pa.array(["a"]))
        if not self.by:
            self._matchers("")

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        texts = rows["text"]
        silent = texts.is_null().to_numpy(zero_copy_only=False)
        if not self.by:
            matcher, _ = self._matchers("")
            status = {"status": np.where(silent, "no_text", "ok").tolist()} if texts.null_count else {}
            return {"entries": matcher.match(texts), **status}
        spoken = rows[self.by].cast(pa.string()).dictionary_encode()
        lists = self.lists()
        names = [lists.name_of(language) for language in (*spoken.dictionary.to_pylist(), None)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        indices = spoken.indices.fill_null(len(names) - 1).to_numpy()
        chosen = np.array([numbers[name] for name in names])[indices]
        order = [np.flatnonzero(chosen == number) for number in numbers.values()]
        parts = [self._matched(name, texts.take(pa.array(places))) for name, places in zip(numbers, order, strict=True)]
        unlisted = np.array([name is None for name in names])[indices]
        unknown = np.where(spoken.is_null().to_numpy(zero_copy_only=False), f"no_{self.by}", "no_list")
        return {
            "entries": pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(order)))),
            "entries_lang": pa.array(list(numbers), pa.string()).take(pa.array(chosen)),
            "status": np.where(silent, "no_text", np.where(unlisted, unknown, "ok")).tolist(),
        }

    def _matched(self, name: str | None, texts: pa.Array) -> pa.ListArray:
        """What of one list stands in texts; nothing where there is no list."""
        if name is None:
            offsets, ids = pa.array(np.zeros(len(texts) + 1, np.int32)), pa.array([], pa.uint32())
        else:
            matcher, start = self._matchers(name)
            entries = matcher.match(texts)
            offsets, ids = entries.offsets, pc.add(entries.values, pa.scalar(start, pa.uint32()))
        return pa.ListArray.from_arrays(offsets, ids, mask=texts.is_null() if texts.null_count else None)


@cache
def _say(lists: EntryLists) -> None:
    """Once a run, whoever checks."""
    if notice := lists.notice():
        console.print(f"score.entries: {notice}", markup=False)
