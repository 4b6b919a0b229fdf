"""Which network addresses a fetch may connect to: public ones, and the private ones that were named.

A URL list is written by strangers: without this, one row (or one redirect) reads the cloud's metadata service or a
neighbour's database with the crawler's rights. Names are not judged, since a name may resolve to anything and to
something else a second later: `guarded_socket` judges the address that is about to be connected to.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Azure's platform service: an address of the public range that, inside Azure, is the machine's own host.
_SEEMINGLY_PUBLIC = frozenset({ipaddress.IPv4Address("168.63.129.16")})
# "127.1", "2130706433", "0177.0.0.1", "0x7f.1": the C library reads them all as 127.0.0.1.
_NUMERIC_HOST = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?", re.IGNORECASE)


class AddressRefused(OSError):
    """The address is loopback, private, link-local, reserved or multicast, and was not allowed."""

    def __init__(self) -> None:
        # One text for every address: aiohappyeyeballs merges errors of different texts into a plain OSError.
        super().__init__("loopback, private, link-local, reserved or multicast address (see allow_private_addresses)")


def is_allowed(text: str, allowed: Sequence[Network] = ()) -> bool:
    """Whether a fetch may connect to an address.

    >>> is_allowed("8.8.8.8"), is_allowed("169.254.169.254"), is_allowed("::ffff:127.0.0.1")
    (True, False, False)
    >>> is_allowed("127.0.0.1", [ipaddress.ip_network("127.0.0.0/8")])
    True
    """
    try:
        address = _reached(ipaddress.ip_address(text))
    except ValueError:
        return False
    return _is_public(address) or any(address in network for network in allowed)


def _reached(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to (mapped, NAT64, 6to4, Teredo), or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    tunnelled = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    return tunnelled or address


def _is_public(address: Address) -> bool:
    # is_global alone lets multicast, site-local and IPv4-compatible (::127.0.0.1) addresses through.
    if not address.is_global or address.is_multicast or address.is_reserved or address in _SEEMINGLY_PUBLIC:
        return False
    return isinstance(address, ipaddress.IPv4Address) or not address.is_site_local


def numeric_host(host: str) -> str | None:
    """The dotted form of a host written as numbers, None for a name. ValueError when it is no address.

    >>> numeric_host("2130706433"), numeric_host("0x7f.1"), numeric_host("example.com")
    ('127.0.0.1', '127.0.0.1', None)
    """
    if not _NUMERIC_HOST.fullmatch(host):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError:
        raise ValueError(f"host '{host}' is not an address") from None


def guarded_socket(allowed: Sequence[Network]) -> Callable[[tuple[Any, ...]], socket.socket]:
    """A socket factory for aiohttp's connector: the one place every connection passes, on every redirect hop."""

    def make(address_info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = address_info
        if not is_allowed(address[0], allowed):
            raise AddressRefused
        return socket.socket(family=family, type=kind, proto=protocol)

    return make
