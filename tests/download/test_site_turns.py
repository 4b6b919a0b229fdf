"""Turns at sites: what a worker does with those it is given, and what all workers together never exceed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from curate.download.run_hosts import SILENT_SECONDS, Ask, Reply, RunHosts, Site
from curate.download.site_turns import SiteTurns

# Two hosts of three share an address, and host 0 has two sites.
SITES = [
    Site("http://h0", "h0", "a0"),
    Site("https://h0", "h0", "a0"),
    Site("http://h1", "h1", "a0"),
    Site("http://h2", "h2", "a1"),
    Site("http://h3", "h3", "a1"),
    Site("http://h4", "h4", "a2"),
]
STEP = st.sampled_from(["add", "take", "leave", "give back", "visit", "hold", "release", "drop", "unpark"])
STEPS = st.lists(st.tuples(STEP, st.integers(0, 2), st.integers(0, 5)), max_size=120)


class Worker:
    def __init__(self, name: str, hosts: RunHosts) -> None:
        self.name, self.hosts = name, hosts
        self.turns: SiteTurns[int] = SiteTurns()
        self.running: list[tuple[Site, int]] = []
        self.waiting: list[tuple[Site, int]] = []
        self.held: set[str] = set()

    def visit(self) -> None:
        wants = self.turns.wants(4)
        self.turns.receive(wants, self.hosts.visit(Ask(self.name, self.turns.turns(), wants)))

    def add(self, site: Site, item: int) -> None:
        self.waiting.append((site, item))
        self.turns.add(site, item)

    def take(self) -> bool:
        if turn := self.turns.take():
            self.waiting.remove(turn)
            self.running.append(turn)
            assert turn[0].host not in self.held
        return turn is not None

    def leave(self, which: int, keep: bool = True) -> None:
        if self.running:
            self.turns.leave(self.running.pop(which % len(self.running))[0], keep)

    def hold(self, site: Site) -> None:
        self.held.add(site.host)
        self.turns.hold(site.host)

    def release(self, site: Site) -> None:
        self.held.discard(site.host)
        self.turns.release(site.host)

    def drop(self, site: Site) -> None:
        assert self.turns.drop(site) == [item for where, item in self.waiting if where == site]
        self.waiting = [pair for pair in self.waiting if pair[0] != site]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(STEPS, st.integers(1, 3))
def test_turns_in_any_order(steps: list[tuple[str, int, int]], per_host: int) -> None:
    """No item is lost or given twice, no host or address gets more than its turns of all workers, no held host one; and
    in the end all are done."""
    hosts = RunHosts(per_host)
    workers = [Worker(f"w{n}", hosts) for n in range(3)]
    numbers = count()
    for step, who, which in steps:
        worker, site = workers[who], SITES[which]
        do: dict[str, Callable[[], object]] = {
            "add": partial(worker.add, site, next(numbers)),
            "take": worker.take,
            "leave": partial(worker.leave, which),
            "give back": partial(worker.leave, which, keep=False),
            "visit": worker.visit,
            "hold": partial(worker.hold, site),
            "release": partial(worker.release, site),
            "drop": partial(worker.drop, site),
            "unpark": worker.turns.unpark,
        }
        do[step]()
        running = Counter(key for w in workers for where, _ in w.running for key in (where.host, where.address))
        assert all(number <= per_host for number in running.values())
        assert worker.turns.idle == sum(worker.turns.turns().values()) - len(worker.running)
    for worker in workers:
        for site in SITES:
            worker.release(site)
    for worker in workers * 1000:
        while worker.running:
            worker.leave(0)
        worker.turns.unpark()
        worker.visit()
        while worker.take():
            pass
    assert not any(worker.waiting or worker.turns.idle for worker in workers)


def test_a_busy_site_keeps_no_other_waiting() -> None:
    worker = Worker("w", RunHosts(per_host=1))
    for item in range(50):
        worker.turns.add(SITES[0], item)
    worker.turns.add(SITES[3], 50)
    order = []
    for _ in range(6):
        worker.visit()
        while turn := worker.turns.take():
            order.append(turn[1])
            worker.turns.leave(turn[0])
    assert order.index(50) < 3


def test_a_turn_that_comes_after_the_host_asked_for_a_pause_is_not_taken_up() -> None:
    turns: SiteTurns[int] = SiteTurns()
    turns.add(SITES[0], 1)
    wants = turns.wants(1)
    turns.hold(SITES[0].host)
    turns.receive(wants, Reply({SITES[0]: 1}))
    assert (turns.take(), turns.turns()) == (None, {})
    turns.release(SITES[0].host)
    assert turns.wants(1) == {SITES[0]: 1}


def test_hosts_that_nobody_asks_any_more_are_forgotten() -> None:
    clock = [0.0]
    hosts = RunHosts(per_host=1, per_second=10, clock=lambda: clock[0])
    for number in range(1000):
        site = Site(f"http://h{number}", f"h{number}", f"192.0.2.{number}")
        hosts.visit(Ask("a", wants={site: 1}))
        hosts.visit(Ask("b", wants={site: 1}))
    clock[0] = 2 * SILENT_SECONDS
    hosts.visit(Ask("c"))
    assert (hosts._lines, hosts._next) == ({}, {})


def test_turns_are_shared_and_the_one_who_waits_longest_is_next() -> None:
    clock = [0.0]
    hosts = RunHosts(per_host=2, clock=lambda: clock[0])
    site = SITES[0]
    assert hosts.visit(Ask("a", wants={site: 9})).turns == {site: 2}
    waits = hosts.visit(Ask("b", wants={site: 9}))
    assert (waits.turns, waits.again) == ({}, 0.05)
    assert hosts.visit(Ask("c", wants={site: 1})).turns == {}
    assert hosts.visit(Ask("a", turns={site: 2})).few == {site}
    hosts.visit(Ask("a", turns={site: 1}))
    assert hosts.visit(Ask("c", wants={site: 1})).turns == {}, "b came first"
    assert hosts.visit(Ask("b", wants={site: 9})).turns == {site: 1}
    clock[0] += SILENT_SECONDS + 1  # a was killed: its turn is free after a while, and so is b's
    assert hosts.visit(Ask("c", wants={site: 9})).turns == {site: 2}


def test_an_actor_that_was_started_again_knows_after_a_round() -> None:
    site, again = SITES[0], RunHosts(per_host=2)
    again.visit(Ask("a", turns={site: 2}))
    assert again.visit(Ask("b", wants={site: 1})).turns == {}


def test_an_address_has_no_more_turns_than_a_host() -> None:
    hosts = RunHosts(per_host=2)
    sites = [Site(f"http://n{n}", f"n{n}", "192.0.2.1") for n in range(5)]
    assert sum(hosts.visit(Ask("a", wants=dict.fromkeys(sites, 2))).turns.values()) == 2


def test_requests_in_a_second() -> None:
    clock = [100.0]
    hosts = RunHosts(per_host=8, per_second=2, clock=lambda: clock[0])
    site, other = SITES[0], SITES[2]  # of one address
    begun = []
    while clock[0] < 103:
        for worker, wanted in (("a", site), ("b", site), ("c", other)):
            reply = hosts.visit(Ask(worker, wants={wanted: 5}))
            assert sum(reply.turns.values()) <= 1
            assert reply.once == set(reply.turns)
            begun += [clock[0]] * len(reply.turns)
        clock[0] += 0.05
    assert len(begun) == 6
    assert all(second - first >= 0.5 - 1e-9 for first, second in pairwise(begun))


def test_a_crawl_delay_is_the_site_s_alone() -> None:
    clock = [0.0]
    hosts = RunHosts(per_host=4, clock=lambda: clock[0])
    slow, fast = SITES[0], SITES[3]
    hosts.visit(Ask("a", delays={slow.origin: 10.0}))
    assert hosts.visit(Ask("a", wants={slow: 4, fast: 3})).turns == {slow: 1, fast: 3}
    reply = hosts.visit(Ask("b", wants={slow: 1}))
    assert (reply.turns, reply.again) == ({}, 10.0)
    clock[0] = 10.0
    assert hosts.visit(Ask("b", wants={slow: 1})).turns == {slow: 1}
