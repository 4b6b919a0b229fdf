"""Samples of a tar: members that share a key, wherever they lie, and what of each is damaged.

webdataset's rules: the key ends at the first dot of the file's name, the rest is the extension. Beyond them: members of
a sample may lie apart, and files with dots in their names are taken apart where each has a caption of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from curate.pictures.image_kind import EXTENSIONS
from curate.read.tar_members import Damage, End, Member, walk

TEXT_EXTENSIONS = ("txt", "text", "caption", "cap")

APART = "samples whose files lie apart in the tar, put together"
NO_END = "tars without an end mark, which may be cut"
NO_TARGET = "links in tars to a file that is not there"


@dataclass(slots=True)
class Sample:
    """Members by extension. `damage`: what of the tar's damage is about this sample.

    number: how many samples of the tar had this key before.
    """

    key: str | None
    number: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def split(name: str) -> tuple[str, str] | None:
    """Key and extension of a member; None for a file that is no part of a sample.

    >>> split("a/b.seg.PNG"), split("a/.hidden.jpg"), split("README")
    (('a/b', 'seg.png'), None, None)
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return (folder + slash + stem, extension.lower()) if stem and extension else None


def last(extension: str) -> str:
    """The last part of an extension.

    >>> last("seg.png")
    'png'
    """
    return extension.rpartition(".")[2]


@dataclass
class _Groups:
    """Samples in the order of their first members, and damages with the samples beside them."""

    order: list[Sample] = field(default_factory=list)
    #: Damage, how many samples came before, the sample before, the sample of the next member.
    damages: list[tuple[Damage, int, Sample | None, Sample | None]] = field(default_factory=list)
    latest: dict[str, Sample] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    before: Sample | None = None

    def member(self, member: Member) -> None:
        parts = split(member.name)
        if parts is None:
            return
        key, extension = parts
        sample = self.latest.get(key)
        target = self._target(member.link) if member.link is not None else member
        if sample is None or extension in sample.members:
            sample = Sample(key, self.numbers[key])
            self.numbers[key] += 1
            self.latest[key] = sample
            self.order.append(sample)
        elif sample is not self.before and APART not in sample.remarks:
            sample.remarks.append(APART)
        if target is None:
            sample.remarks.append(NO_TARGET)
        else:
            sample.members[extension] = target
        for place in reversed(range(len(self.damages))):
            damage, count, before, after = self.damages[place]
            if after is not None:
                break
            self.damages[place] = (damage, count, before, sample)
        self.before = sample

    def _target(self, name: str | None) -> Member | None:
        parts = split(name or "")
        sample = self.latest.get(parts[0]) if parts else None
        return sample.members.get(parts[1]) if sample and parts else None

    def damage(self, damage: Damage) -> None:
        self.damages.append((damage, len(self.order), self.before, None))

    def end(self, mark: End) -> None:
        if mark.whole:
            # The same key in the next tar is another sample.
            self.latest.clear()
        elif self.before is not None:
            self.before.remarks.append(NO_END)

    def settled(self) -> list[Sample]:
        """Each damage is told by the samples that it hit; where none is known, by a row of its own."""
        sets = Counter(frozenset(sample.members) for sample in self.order)
        usual = max(sets, key=lambda names: (sets[names], len(names), sorted(names)), default=frozenset())
        by_key: dict[str | None, list[Sample]] = {}
        for sample in self.order:
            by_key.setdefault(sample.key, []).append(sample)
        apart = any(APART in sample.remarks for sample in self.order)
        alone: dict[int, list[Sample]] = {}
        for damage, count, before, after in self.damages:
            beside = list({id(sample): sample for sample in (after, before) if sample is not None}.values())
            lacking = [s for s in (*beside, *(self.order if apart else ())) if not usual <= s.members.keys()]
            hit, own = _hit(damage, beside, lacking, by_key)
            alone.setdefault(count, []).extend(own)
            for sample in hit + own:
                sample.damage.append(str(damage))
        if self.order and NO_END in self.order[-1].remarks and not usual <= self.order[-1].members.keys():
            self.order[-1].damage.append("the tar ends here: it has no end mark")
        places = range(len(self.order) + 1)
        return [sample for at in places for sample in [*alone.get(at, []), *self.order[at : at + 1]]]


def _hit(
    damage: Damage, beside: list[Sample], lacking: list[Sample], by_key: Mapping[str | None, list[Sample]]
) -> tuple[list[Sample], list[Sample]]:
    """The samples that a damage hit, and samples that only the damage tells of.

    beside: samples before and after it. lacking: those that lack a file that others have, the nearest first.
    """
    if damage.start == damage.end:
        return (beside[:1], []) if beside else ([], [Sample(None)])
    hit: dict[int, Sample] = {}
    strange: dict[str | None, None] = {}
    for key, extension in filter(None, map(split, damage.names)):
        known = [sample for sample in by_key.get(key, ()) if extension not in sample.members]
        if known:
            hit[id(known[-1])] = known[-1]
        else:
            strange[key] = None
    unknown = list(strange) if strange or hit else [None]
    # A name that no sample has may itself be damaged: that of a sample that lacks a file.
    others = {id(sample): sample for sample in lacking if id(sample) not in hit and not sample.damage}
    taken = list(others.values())[: len(unknown)]
    return [*hit.values(), *taken], [Sample(key) for key in unknown[len(taken) :]]


def groups(handle: BinaryIO) -> list[Sample]:
    """All samples of a tar. Reads headers, no data."""
    collector = _Groups()
    for event in walk(handle):
        if isinstance(event, Member):
            collector.member(event)
        elif isinstance(event, Damage):
            collector.damage(event)
        else:
            collector.end(event)
    return [part for sample in collector.settled() for part in _apart(sample)]


def _apart(sample: Sample) -> Iterable[Sample]:
    """`a.v1.jpg`, `a.v1.txt`, `a.v2.jpg`, `a.v2.txt` are two samples: each image has a caption of its own."""
    images = [e for e in sample.members if last(e) in EXTENSIONS]
    stems = list(dict.fromkeys(e.rpartition(".")[0] for e in images))
    if len(stems) < 2 or "" in stems:
        return [sample]
    captioned = {e.rpartition(".")[0] for e in sample.members if last(e) in (*TEXT_EXTENSIONS, "json")}
    if not captioned >= set(stems):
        return [sample]
    parts = {stem: Sample(f"{sample.key}.{stem}", sample.number, {}, sample.damage, sample.remarks) for stem in stems}
    for extension, member in sample.members.items():
        stem, _, end = extension.rpartition(".")
        parts[stem if stem in parts else stems[0]].members[end if stem in parts else extension] = member
    return list(parts.values())
