"""A row is blamed for the death of its worker only when it killed twice while it was alone."""

from __future__ import annotations

import numpy as np
import pytest

from curate.cluster.suspects import Suspects
from curate.store.store import Store


@pytest.fixture
def suspects(tmp_path):
    store = Store(str(tmp_path))
    return lambda session="run": Suspects(store, "table", 3, session)


def die_in(suspects: Suspects, *rows: int) -> None:
    """The worker dies while it works on these rows."""
    suspects.trying(np.array(rows))


def test_a_chunk_in_which_a_worker_died_is_taken_row_by_row(suspects):
    die_in(suspects(), 4, 5, 6)
    chunks = suspects().split([np.array([1, 2, 3]), np.array([4, 5, 6])])
    assert [chunk.tolist() for chunk in chunks] == [[1, 2, 3], [4], [5], [6]]


def test_one_death_alone_blames_nobody_the_second_does(suspects):
    die_in(suspects(), 4, 5, 6)
    die_in(suspects(), 5)
    assert suspects().deadly == set()
    die_in(suspects(), 5)
    assert suspects().deadly == {5}


def test_three_kills_from_outside_blame_no_row(suspects):
    for rows in ((4, 5, 6), (4,), (6,)):
        die_in(suspects(), *rows)
    assert suspects().deadly == set()


def test_a_lost_node_is_nobodys_fault(suspects):
    die_in(suspects(), 4, 5)
    for _ in range(3):
        die_in(suspects(), 5)
        suspects().acquit()
    assert suspects().deadly == set()


def test_a_run_that_was_stopped_says_nothing_of_the_row_it_was_at(suspects):
    die_in(suspects(), 5)
    die_in(suspects("first"), 5)
    die_in(suspects("second"), 5)
    assert suspects("third").deadly == set()


def test_what_is_known_stays_known_in_the_next_run(suspects):
    die_in(suspects(), 5)
    die_in(suspects(), 5)
    die_in(suspects(), 6)
    assert suspects("next").deadly == {5}
