"""Which network addresses a fetch may connect to: public ones, and the private ones that were named.

A URL list is written by strangers: without this, one row (or one redirect) reads the cloud's metadata service or a
neighbour's database with the crawler's rights. Names are not judged, since a name may resolve to anything and to
something else a second later: `guarded_socket` judges the address that is about to be connected to.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# A table of our own: what `ipaddress` calls global differs between releases of Python, and lets through addresses
# that are no place of the web. After IANA's registries of special-purpose addresses (2025-05).
_SPECIAL4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers; a cloud's metadata service is in it
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform service: of the public range, yet the machine's own host
        "169.254.0.0/16",  # link-local; metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata service is in it
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
# All else of IPv6 is not assigned, local, or leads to an IPv4 address.
_GLOBAL6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL6 = [
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
]
# Where the last 32 bits are the IPv4 address: mapped, translated (RFC 2765), NAT64.
_ENDS_IN_IPV4 = [ipaddress.IPv6Network(text) for text in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")]


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
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    reached = _reached(address)
    return _is_public(reached) or any(one in network for one in (address, reached) for network in allowed)


def _reached(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to (mapped, NAT64, 6to4, Teredo), or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _ENDS_IN_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else None) or address


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL4)
    return address in _GLOBAL6 and not any(address in network for network in _SPECIAL6)


def guarded_socket(allowed: Sequence[Network]) -> Callable[[tuple[Any, ...]], socket.socket]:
    """A socket factory for aiohttp's connector: the one place every connection passes, on every redirect hop."""

    def make(address_info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = address_info
        if not is_allowed(address[0], allowed):
            raise AddressRefused
        return socket.socket(family=family, type=kind, proto=protocol)

    return make
