"""Which addresses the functions of a deployment may connect to (spec 03 3.9): a pure core.

An operator whose server stands beside things that strangers must not reach turns `refuse_private` on: then
only addresses of the public internet are left. A name says nothing: what it resolves to is judged, each time,
by whoever connects (actors/fetch.py). An IPv6 address that leads to an IPv4 address is judged as that one.

Read in this order: EgressRules, is_public.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_RESERVED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; 0.0.0.0 is this very machine
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by the customers of a provider
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local: the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # once relays between 4 and 6
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved; its last is broadcast
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")
"""All that is assigned for use in the internet; loopback, private, link-local and multicast lie outside."""
_RESERVED_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, tunnels among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
_LEADING_TO_IPV4 = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("64:ff9b::/96"), 0),  # translated
    (IPv6Network("2002::/16"), 80),  # 6to4
)
"""(network, how many bits stand behind the IPv4 address)."""


@dataclass(frozen=True, slots=True)
class EgressRules:
    """What the operator has set."""

    refuse_private: bool = False

    def allow_host(self, host: str) -> bool:
        """Whether a request may name this host. True for names: their addresses are judged."""
        address = _literal(host)
        if address is not None:
            return self.allow_address(address)
        return not self.refuse_private or not _resembles_address(host)

    def allow_address(self, address: Address) -> bool:
        return not self.refuse_private or is_public(address)


def is_public(address: Address) -> bool:
    """Whether the address is one of the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _RESERVED_IPV4)
    for network, bits_behind in _LEADING_TO_IPV4:
        if address in network:
            return is_public(IPv4Address(int(address) >> bits_behind & 0xFFFF_FFFF))
    return address in _GLOBAL_IPV6 and not any(address in network for network in _RESERVED_IPV6)


def _literal(host: str) -> Address | None:
    """The address a host is written as; without the scope that may stand behind an IPv6 address."""
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        return ip_address(bare)
    except ValueError:
        return None


def _resembles_address(host: str) -> bool:
    """No address as we read them, but perhaps as the operating system does: 2130706433, 127.1."""
    return ":" in host or host.replace(".", "").isdigit()
