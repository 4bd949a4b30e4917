"""Which addresses functions may reach: a table, and random addresses and the standard library as a twin."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from actors.egress import Address, EgressRules, is_public

REFUSED = """
    127.0.0.1 127.255.255.254 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254
    100.64.0.1 198.18.0.1 192.0.2.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
    64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1::5 2001:db8::1 2001::1 3fff::1
    ::7f00:1 100::1 fec0::1
"""
ALLOWED = """
    1.1.1.1 8.8.8.8 93.184.216.34 172.15.255.255 172.32.0.0 11.0.0.0 100.63.255.255
    100.128.0.0 223.255.255.255 2606:4700:4700::1111 2a00:1450:4001:80b::200e ::ffff:8.8.8.8
    64:ff9b::808:808 2002:808:808::1
"""
OTHER_SPELLINGS = "2130706433 127.1 0177.0.0.1 10.0 ::ffff:127.1 fe80::1%eth0 [::1] 127.0.0.1"
STRICT = EgressRules(refuse_private=True)


@pytest.mark.parametrize("text", REFUSED.split())
def test_what_is_not_of_the_public_internet_is_refused(text: str) -> None:
    assert not STRICT.allow_address(ip_address(text))
    assert not STRICT.allow_host(text)
    assert EgressRules().allow_address(ip_address(text)), "only when the operator wants it"


@pytest.mark.parametrize("text", ALLOWED.split())
def test_what_is_of_the_public_internet_is_allowed(text: str) -> None:
    assert STRICT.allow_address(ip_address(text))
    assert STRICT.allow_host(text)


@pytest.mark.parametrize("host", OTHER_SPELLINGS.split())
def test_other_ways_to_write_an_address_are_refused(host: str) -> None:
    assert not STRICT.allow_host(host)


@pytest.mark.parametrize("host", ["example.com", "localhost", "0x7f.example", "metadata.google.internal"])
def test_a_name_is_not_judged_before_it_is_resolved(host: str) -> None:
    assert STRICT.allow_host(host)


def test_random_addresses_are_judged_as_the_standard_library_does() -> None:
    generator = random.Random(61)
    borders = [int(ip_address(text)) for text in (REFUSED + ALLOWED).split() if ":" not in text]
    for _ in range(20_000):
        near = generator.choice(borders) + generator.randint(-3, 3)
        number = generator.choice([generator.getrandbits(32), near]) % 2**32
        address = IPv4Address(number)
        assert is_public(address) == _is_public_twin(address), f"{address}, seed 61"
        mapped = IPv6Address(0xFFFF_0000_0000 | number)
        assert is_public(mapped) == is_public(address), f"{mapped}, seed 61"


def test_random_ipv6_addresses_are_refused_where_the_standard_library_refuses_them() -> None:
    generator = random.Random(62)
    beginnings = [int(ip_address(text)) for text in (REFUSED + ALLOWED).split() if ":" in text]
    for _ in range(20_000):
        keep = generator.choice([16, 32, 48])
        beginning = generator.choice(beginnings) >> (128 - keep) << (128 - keep)
        address = IPv6Address(beginning | generator.getrandbits(128 - keep))
        if is_public(address) and not _leads_to_ipv4(address):
            assert _is_public_twin(address), f"{address}, seed 62"


def _is_public_twin(address: Address) -> bool:
    """Ours also refuses 192.88.99.0/24, whose relays are no more."""
    relays = isinstance(address, IPv4Address) and str(address).startswith("192.88.99.")
    return address.is_global and not (address.is_multicast or address.is_reserved or relays)


def _leads_to_ipv4(address: IPv6Address) -> bool:
    translated = int(address) >> 32 == 0x64FF9B << 64
    return address.ipv4_mapped is not None or address.sixtofour is not None or translated
