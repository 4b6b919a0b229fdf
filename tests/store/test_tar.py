"""Archives: headers as the standard library writes them, members where `add` says they are."""

from __future__ import annotations

import hashlib
import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from curate.store.tar import TarFile, header

NAMES = st.one_of(
    st.from_regex(r"[0-9]{9}\.(jpg|txt|json)", fullmatch=True), st.text(st.characters(codec="ascii"), max_size=90)
)


@given(name=NAMES, size=st.integers(0, 8**11 - 1))
def test_a_header_is_the_standard_librarys(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o644, size
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


def test_names_out_of_the_usual() -> None:
    for name in ("folder/" * 15 + "x.jpg", "größe.jpg", "x" * 100):
        info = tarfile.TarInfo(name)
        info.mode, info.size = 0o644, 5
        assert header(name, 5) == info.tobuf(tarfile.USTAR_FORMAT)


@given(st.lists(st.binary(max_size=1500), max_size=6))
def test_members_are_where_add_says(bodies: list[bytes]) -> None:
    file = io.BytesIO()
    tar = TarFile(file)
    offsets = [tar.add(f"{i:09d}.jpg", body) for i, body in enumerate(bodies)]
    assert tar.position == sum(512 + -(-len(body) // 512) * 512 for body in bodies)
    tar.close()
    whole = file.getvalue()
    assert len(whole) % tarfile.RECORDSIZE == 0
    assert [whole[o : o + len(b)] for o, b in zip(offsets, bodies, strict=True)] == bodies
    with tarfile.open(fileobj=io.BytesIO(whole)) as read:
        assert [read.extractfile(m).read() for m in read] == bodies  # type: ignore[union-attr]
        assert all(m.mtime == 0 and m.uid == 0 for m in read.getmembers())


@given(st.lists(st.binary(max_size=1500), max_size=6), st.integers(0, 6))
def test_several_at_once_are_one_after_the_other(bodies: list[bytes], first: int) -> None:
    one_by_one, at_once = io.BytesIO(), io.BytesIO()
    tar, other = TarFile(one_by_one), TarFile(at_once)
    members = [(f"{i:09d}.jpg", body) for i, body in enumerate(bodies)]
    for name, body in members:
        tar.add(name, body)
    other.add_several(members[:first])
    other.add_several((name, memoryview(body)) for name, body in members[first:])
    assert at_once.getvalue() == one_by_one.getvalue()
    assert (other.position, other.digest()) == (tar.position, tar.digest())


def test_position_and_digest_are_of_all_that_was_written() -> None:
    file = io.BytesIO()
    tar = TarFile(file, hashlib.sha256())
    tar.add("a.txt", b"caption")
    tar.close()
    assert tar.position == len(file.getvalue()) == 10_240
    assert tar.digest() == hashlib.sha256(file.getvalue()).hexdigest()
