"""Addresses: every special one is refused, at both of its ends and in every disguise, on every release of Python."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.download.address import is_allowed

# First and last address of each special network, written out by hand: literal in, literal out.
REFUSED = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.0",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.10",
    "192.0.0.170",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.0",
    "192.88.99.255",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.0",
    "198.51.100.255",
    "203.0.113.0",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::8.8.8.8",
    "100::",
    "100::ffff:ffff:ffff:ffff",
    "100:0:0:1::",
    "64:ff9b:1::",
    "64:ff9b:1:ffff::",
    "1::",
    "2001:1::1",
    "2001:2::",
    "2001:3::",
    "2001:10::",
    "2001:1f:ffff::",
    "2001:20::",
    "2001:30::",
    "2001:1ff:ffff::",
    "2001:db8::",
    "2001:db8:ffff::",
    "3fff::",
    "3fff:fff:ffff::",
    "4000::",
    "5f00::",
    "fc00::",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fdff:ffff::",
    "fe80::1",
    "fe80::1%eth0",
    "febf::",
    "fec0::1",
    "feff::",
    "ff00::",
    "ff02::1",
    "ffff::",
]
ALLOWED = [
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::",
    "2001:200::",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "3ffe::",
    "3fff:1000::",
    "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]


@pytest.mark.parametrize("address", REFUSED)
def test_special_addresses_are_refused(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_their_neighbours_are_not(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize("text", ["", "not an address", "1.2.3", "127.1", "0x7f.0.0.1", "8.8.8.8/32", "\ud800"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not is_allowed(text)


def disguises(ipv4: int) -> list[str]:
    """IPv6 addresses that lead to an IPv4 address: mapped, translated, NAT64, 6to4, Teredo."""
    client = ipv4 ^ 0xFFFFFFFF  # Teredo writes it inverted
    numbers = [
        (0xFFFF << 32) + ipv4,
        (0xFFFF << 48) + ipv4,
        (0x0064FF9B << 96) + ipv4,
        (0x2002 << 112) + (ipv4 << 80) + 1,
        (0x20010000 << 96) + (0x08080808 << 64) + client,
    ]
    return [str(ipaddress.IPv6Address(number)) for number in numbers]


@pytest.mark.parametrize("address", [a for a in REFUSED + ALLOWED if ":" not in a])
def test_disguises_are_seen_through(address: str) -> None:
    for disguise in disguises(int(ipaddress.IPv4Address(address))):
        assert is_allowed(disguise) is is_allowed(address), disguise


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**128 - 1) | st.integers(0, 2**64 - 1).map(lambda low: (0x2001 << 112) + low))
def test_nothing_outside_the_global_range_is_allowed(number: int) -> None:
    address = ipaddress.IPv6Address(number)
    leads_elsewhere = number >> 32 in (0xFFFF, 0xFFFF0000, 0x0064FF9B << 64) or number >> 96 == 0x20010000
    if not leads_elsewhere and not 0x2000 <= number >> 112 <= 0x3FFF:
        assert not is_allowed(str(address))
    assert is_allowed(str(address), [ipaddress.ip_network("::/0")])


def test_networks_that_were_named_are_allowed_in_every_disguise() -> None:
    loopback = [ipaddress.ip_network("127.0.0.0/8")]
    assert all(is_allowed(d, loopback) for d in ["127.0.0.1", *disguises(0x7F000001)])
    assert not any(is_allowed(d, loopback) for d in ["10.0.0.1", *disguises(0x0A000001)])
    assert is_allowed("2002:a00:1::", [ipaddress.ip_network("2002::/16")])
