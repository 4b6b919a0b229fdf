"""What a worker has to do at each site, and the turns that it was given there; see curate.download.run_hosts."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from curate.download.run_hosts import Reply, Site

Item = TypeVar("Item")


@dataclass
class _Queue(Generic[Item]):
    """busy: turns in use; idle: turns to be used. once: a turn is good for one item. few: others wait for turns."""

    items: deque[Item] = field(default_factory=deque)
    busy: int = 0
    idle: int = 0
    once: bool = False
    few: bool = False


class SiteTurns(Generic[Item]):
    """Items by site. `take` gives an item of a site with a turn, in rotation; `leave` ends the turn.

    `wants` says where turns are needed, `receive` takes what came of it. A site whose wish was not met is parked until
    a turn at its host or address comes free here, or `unpark`. A site that is held wants nothing.

    >>> turns, a = SiteTurns(), Site("http://a", "a", "192.0.2.1")
    >>> turns.add(a, 1); turns.add(a, 2); turns.wants(8) == {a: 2}
    True
    >>> turns.receive({a: 2}, Reply({a: 1})); turns.take(), turns.take()
    ((Site(origin='http://a', host='a', address='192.0.2.1'), 1), None)
    """

    def __init__(self) -> None:
        self._queues: dict[Site, _Queue[Item]] = {}
        # A site with items is in one of these at most; one with turns may wait for more.
        self._waiting: OrderedDict[Site, None] = OrderedDict()
        self._parked: OrderedDict[Site, None] = OrderedDict()
        self._ready: OrderedDict[Site, None] = OrderedDict()
        self._parked_at: defaultdict[str, OrderedDict[Site, None]] = defaultdict(OrderedDict)
        self._held: set[str] = set()
        self.idle = 0

    @property
    def waiting(self) -> int:
        """Sites that have to be asked for."""
        return len(self._waiting)

    @property
    def startable(self) -> int:
        """Sites at which an item could start now, or once a turn has been asked for."""
        return len(self._waiting) + len(self._ready)

    def turns(self) -> dict[Site, int]:
        """The turns that are here."""
        return {site: queue.busy + queue.idle for site, queue in self._queues.items() if queue.busy + queue.idle}

    def add(self, site: Site, item: Item, first: bool = False) -> None:
        queue = self._queues.setdefault(site, _Queue())
        (queue.items.appendleft if first else queue.items.append)(item)
        if site not in self._parked and site.host not in self._held:
            self._list(site, queue)

    def take(self) -> tuple[Site, Item] | None:
        """The next item, its turn begun; None when there is none with a turn."""
        if not self._ready:
            return None
        site, _ = self._ready.popitem(last=False)
        queue = self._queues[site]
        queue.idle, queue.busy, self.idle = queue.idle - 1, queue.busy + 1, self.idle - 1
        item = queue.items.popleft()
        if queue.items:
            self._list(site, queue)
        elif queue.idle:
            self._return(queue)
        return site, item

    def leave(self, site: Site, keep: bool = True) -> None:
        """End a turn. It stays for the next item of the site, unless another site or worker waits for one."""
        queue = self._queues[site]
        queue.busy -= 1
        if keep and queue.items and not (queue.few or queue.once or self._waiting or site.host in self._held):
            queue.idle, self.idle = queue.idle + 1, self.idle + 1
            self._unlist_parked(site)
            self._list(site, queue)
            return
        self._unpark_at(site)
        if queue.items and site not in self._parked and site.host not in self._held:
            self._list(site, queue)
        self._forget(site)

    def wants(self, most: int) -> dict[Site, int]:
        """Turns that are needed, `most` in all, of sites in their rotation."""
        sites = list(self._waiting)[: max(0, most)]
        each = max(1, most // max(1, len(sites)))
        return {site: min(each, len(self._queues[site].items)) for site in sites}

    def receive(self, wants: dict[Site, int], reply: Reply) -> None:
        for site in reply.few:
            if site in self._queues:
                self._queues[site].few = True
        for site in wants:
            queue = self._queues.get(site)
            if queue is None or not queue.items or site.host in self._held:
                continue  # dropped or held meanwhile: a turn is not taken up
            self._waiting.pop(site, None)
            number = min(reply.turns.get(site, 0), len(queue.items))
            if number:
                queue.few, queue.once = site in reply.few, site in reply.once
                queue.idle, self.idle = queue.idle + number, self.idle + number
                self._list(site, queue)
            elif site.host not in self._held:
                self._park(site)

    def unpark(self) -> None:
        """Ask again for what was not to be had."""
        for site in list(self._parked):
            self._unpark(site)

    def hold(self, host: str) -> None:
        """Nothing is begun at the host until `release`."""
        if host not in self._held:
            self._held.add(host)
            for site in self.of_host(host):
                self._return(self._queues[site])
                for sites in (self._waiting, self._ready):
                    sites.pop(site, None)
                self._unlist_parked(site)

    def release(self, host: str) -> None:
        if host in self._held:
            self._held.discard(host)
            for site in self.of_host(host):
                if self._queues[site].items:
                    self._list(site, self._queues[site])

    def drop(self, site: Site, which: Callable[[Item], bool] = lambda item: True) -> list[Item]:
        """Take items off a site's queue."""
        if (queue := self._queues.get(site)) is None:
            return []
        dropped = [item for item in queue.items if which(item)]
        if dropped:
            queue.items = deque(item for item in queue.items if not which(item))
        if not queue.items:
            self._return(queue)
            self._unlist_parked(site)
            for sites in (self._waiting, self._ready):
                sites.pop(site, None)
            self._forget(site)
        return dropped

    def of_origin(self, origin: str) -> list[Site]:
        return [site for site in self._queues if site.origin == origin]

    def at(self, key: str) -> list[Site]:
        """Of a host or an address, as Site.keys has them."""
        return [site for site in self._queues if key in site.keys]

    def of_host(self, host: str) -> list[Site]:
        return [site for site in self._queues if site.host == host]

    def _list(self, site: Site, queue: _Queue[Item]) -> None:
        """Where a site with items belongs."""
        if queue.idle:
            self._waiting.pop(site, None)
            self._ready.setdefault(site)
        elif site not in self._ready:
            self._waiting.setdefault(site)

    def _return(self, queue: _Queue[Item]) -> None:
        self.idle -= queue.idle
        queue.idle = 0

    def _forget(self, site: Site) -> None:
        queue = self._queues[site]
        if not queue.items and not queue.busy and not queue.idle:
            del self._queues[site]

    def _park(self, site: Site) -> None:
        self._parked[site] = None
        for key in (site.host, site.address):
            self._parked_at[key][site] = None

    def _unpark(self, site: Site) -> None:
        self._unlist_parked(site)
        queue = self._queues.get(site)
        if queue is not None and queue.items and site.host not in self._held:
            self._list(site, queue)

    def _unpark_at(self, site: Site) -> None:
        """A turn at a host and an address came free: for the one there that waits longest."""
        for key in (site.host, site.address):
            if parked := self._parked_at.get(key):
                self._unpark(next(iter(parked)))

    def _unlist_parked(self, site: Site) -> None:
        self._parked.pop(site, None)
        for key in (site.host, site.address):
            if parked := self._parked_at.get(key):
                parked.pop(site, None)
                if not parked:
                    del self._parked_at[key]
