import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.annotate.links import run_linked
from curate.annotate.partitions import USUAL, Cut
from curate.catalog import load
from curate.dedupe.perceptual import Perceptual
from curate.errors import CurateError
from curate.op import Rows
from curate.read.step import ReadOptions, read
from curate.store.store import Store

pytestmark = pytest.mark.slow


def verdicts(folder, op, hashes, rows_per_shard=100, order=None, colours=None, cut=USUAL):
    """(row that stays or None, size) per row of `hashes`; rows stand in the store in `order`."""
    colours = colours or [bytes(48)] * len(hashes)
    order = list(order or range(len(hashes)))
    table = {
        "uid": [f"{i:032x}" for i in order],
        "url": [f"http://x/{i}" for i in order],
        "text": ["t"] * len(order),
        op.by: pa.array([hashes[i] for i in order], pa.uint64() if op.bits == 64 else pa.binary(32)),
        "colours": pa.array([colours[i] for i in order], pa.binary(48)),
    }
    folder.mkdir(exist_ok=True, parents=True)
    pq.write_table(pa.table(table), folder / "in.parquet")
    view = read(
        Store(str(folder / "store")),
        ReadOptions(input=str(folder / "in.parquet"), rows_per_shard=rows_per_shard),
        HERE,
    )
    run_linked(view, op.model_copy(update={"colours": op.colours and "colours"}), "out", HERE, cut)
    found = {uid: (of, size) for uid, of, size in view.store.scan("out").collect().select("uid", *op.makes()).rows()}
    rows = [found[f"{i:032x}"] for i in range(len(hashes))]
    return [(None if of is None else int(of, 16), size) for of, size in rows]


def test_within_the_radius(tmp_path):
    hashes = [0, 0b111111, 0b1111111_0000000, None, 2**64 - 1, 2**64 - 1, 0]
    assert verdicts(tmp_path / "a", Perceptual(radius=6), hashes) == [
        (None, 3),
        (0, 3),
        (None, 1),
        (None, None),
        (None, 2),
        (4, 2),
        (0, 3),
    ]
    near = verdicts(tmp_path / "b", Perceptual(radius=7, by="dhash"), hashes)
    assert [of for of, _ in near] == [None, 0, 0, None, None, 4, 0]
    equal = verdicts(tmp_path / "c", Perceptual(radius=0), hashes)
    assert [of for of, _ in equal] == [None, None, None, None, None, 4, 0]


def test_a_group_over_the_cap_is_cut_at_its_widest_steps(tmp_path):
    chain = [0, 0b1, 0b111, 0b11111]
    assert [of for of, _ in verdicts(tmp_path / "a", Perceptual(radius=2), chain)] == [None, 0, 0, 0]
    assert [of for of, _ in verdicts(tmp_path / "b", Perceptual(radius=2, cap=3), chain)] == [None, 0, None, None]


def test_equal_hashes_are_not_cut(tmp_path):
    assert verdicts(tmp_path, Perceptual(cap=2), [7] * 5 + [6])[0] == (None, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 17}, "radius must be 16 or less for hashes of 64 bits, got 17"),
        ({"by": "pdq", "radius": 32}, "radius"),
        ({"by": "pdq", "pieces": 33}, "pieces go with hashes of 64 bits"),
        ({"radius": 6, "pieces": 6}, "pieces must be more than radius 6"),
        ({"radius": 16, "pieces": 32}, "keys per row, at most 400"),
        ({"keep": "any"}, "no keep"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(CurateError, match=message):
        load({"dedupe.perceptual": options})


def test_pieces_are_no_part_of_the_identity():
    assert Perceptual(pieces=9).spec() == Perceptual().spec() != Perceptual(radius=5).spec()
    assert Perceptual(radius=6).bands() == 28 and Perceptual(by="dhash").table() == "near_dhash"


def test_a_column_that_holds_no_hashes():
    with pytest.raises(CurateError, match="'phash' is string, expected 64-bit hashes"):
        Perceptual(colours=None).keys(Rows({"phash": pa.array(["ff"])}))
    with pytest.raises(CurateError, match="'pdq' is uint64, expected 256-bit hashes"):
        Perceptual(by="pdq", colours=None).keys(Rows({"pdq": pa.array([1], pa.uint64())}))


def test_what_goes_with_a_column():
    assert [Perceptual(by=by).radius for by in ("phash", "dhash", "ahash", "pdq")] == [4, 4, 5, 31]
    assert (Perceptual(by="pdq").bits, Perceptual(by="mine").bits, Perceptual(by="mine", bits=256).bands()) == (
        256,
        64,
        8,
    )
    assert Perceptual(by="pdq").bands() == 32 and Perceptual(by="pdq", radius=3).bands() == 4
    assert Perceptual(by="pdq").reads() == ("pdq", "uid", "pdq_colours")
    assert Perceptual(by="mine").colours is Perceptual(colours=None).colours is None


def grey(level, *more):
    return bytes([level] * (48 - len(more)) + list(more))


def test_only_rows_of_one_colour_are_duplicates(tmp_path):
    # Equal hashes; 32 apart in one channel of one cell is near enough, 33 is not. Row 3 is near 0, not near 2.
    colours = [grey(100), grey(100, 132), grey(100, 133), grey(100, 110), None, grey(100, 150)]
    found = verdicts(tmp_path / "a", Perceptual(), [7] * 6, colours=colours)
    assert found == [(None, 3), (0, 3), (None, 2), (0, 3), (None, None), (2, 2)]
    assert verdicts(tmp_path / "b", Perceptual(colours=None), [7] * 6, colours=colours)[5] == (0, 6)
    assert verdicts(tmp_path / "c", Perceptual(apart=50), [7] * 6, colours=colours)[5] == (0, 5)


def test_256_bits(tmp_path):
    value, near, far = 2**255 + 12345, sum(1 << i for i in range(1, 256, 8)[:31]), sum(1 << i for i in range(0, 256, 8))
    hashes = [value, value ^ near, value ^ far, None, value ^ (2**256 - 1), value]
    found = verdicts(tmp_path / "a", Perceptual(by="pdq"), [h and h.to_bytes(32, "big") for h in hashes])
    assert found == [(None, 3), (0, 3), (None, 1), (None, None), (None, 1), (0, 3)]


@st.composite
def hashes(draw):
    seeds = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    found = []
    for _ in range(draw(st.integers(1, 14))):
        value = draw(st.sampled_from(seeds))
        for bit in draw(st.lists(st.integers(0, 63), max_size=8)):
            value ^= 1 << bit
        found.append(draw(st.sampled_from([value, value, value, None])))
    return found


def expected(values, radius):
    root = list(range(len(values)))
    for i, a in enumerate(values):
        for j in range(i):
            b = values[j]
            if a is not None and b is not None and (a ^ b).bit_count() <= radius:
                old, new = root[i], root[j]
                root = [new if r == old else r for r in root]
    found = []
    for i, a in enumerate(values):
        members = [j for j in range(len(values)) if root[j] == root[i] and values[j] is not None]
        found.append((None, None) if a is None else (None if members[0] == i else members[0], len(members)))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hashes(), st.integers(0, 10), st.integers(1, 2), st.data())
def test_every_pair_is_found_whatever_the_order_the_shards_and_the_pieces(tmp_path_factory, values, radius, more, data):
    op = Perceptual(radius=radius, pieces=radius + more)
    order = data.draw(st.permutations(range(len(values))))
    cut = Cut(rows_per_partition=data.draw(st.sampled_from([50, 10**6])))
    rows_per_shard = data.draw(st.sampled_from([2, 5, 50]))
    judged = verdicts(tmp_path_factory.mktemp("p"), op, values, rows_per_shard, order, cut=cut)
    assert judged == expected(values, radius)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 3, 5, 15, 24, 31]), st.sampled_from([7, 100]))
def test_every_pair_of_256_bits_is_found(tmp_path_factory, seed, radius, rows_per_shard):
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(60):
        value = (
            int.from_bytes(rng.bytes(32), "big")
            if not values or rng.random() < 0.3
            else values[rng.integers(len(values))]
        )
        for bit in rng.choice(256, rng.integers(0, radius + 3), replace=False).tolist():
            value ^= 1 << bit
        values.append(value)
    op = Perceptual(by="pdq", radius=radius)
    found = verdicts(tmp_path_factory.mktemp("w"), op, [v.to_bytes(32, "big") for v in values], rows_per_shard)
    assert found == expected(values, radius)


def test_with_a_recall_most_near_pairs_are_found_and_nothing_else(tmp_path):
    rng = np.random.default_rng(4)
    hashes = [rng.bytes(32) for _ in range(300)]
    for number in range(300):
        flipped = np.unpackbits(np.frombuffer(hashes[number], np.uint8))
        flipped[rng.choice(256, 31 if number < 200 else 32, replace=False)] ^= 1
        hashes.append(np.packbits(flipped).tobytes())
    exact = verdicts(tmp_path / "exact", Perceptual(by="pdq"), hashes)
    assert [of for of, _ in exact[300:]] == [*range(200), *[None] * 100]
    most = verdicts(tmp_path / "most", Perceptual(by="pdq", recall=0.9, key_bits=16), hashes)
    found = [of for of, _ in most[300:]]
    assert all(of in (None, number) for number, of in enumerate(found)) and found[200:] == [None] * 100
    assert 160 < sum(of is not None for of in found) <= 200


def test_tables_of_exact_recall_are_what_they_were():
    assert not {"recall", "key_bits"} & set(Perceptual(by="pdq").spec()["options"])
    assert Perceptual(by="pdq", recall=0.9).spec()["options"]["recall"] == 0.9


def test_what_recall_goes_with():
    assert Perceptual(by="pdq", recall=0.95).bands() == 77
    with pytest.raises(ValueError, match="recall goes with hashes of 256 bits"):
        Perceptual(recall=0.9)
    with pytest.raises(ValueError, match="takes 1,289 keys of 40 bits per row, at most 400"):
        Perceptual(by="pdq", recall=0.99, key_bits=40)
