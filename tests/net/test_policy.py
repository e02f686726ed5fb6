"""Which addresses may be reached (protocol.md §9.14; IANA special-purpose registries)."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from callgate.net.errors import EgressRefused
from callgate.net.policy import METADATA, TargetPolicy, check_address

DEFAULT = TargetPolicy()
PRIVATE = TargetPolicy(allow_private=True)
EVERYTHING = TargetPolicy(allow_private=True, allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "2a00:1450:4001::8a",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
    ],
)
def test_a_public_address_is_reached_by_default(text: str) -> None:
    check_address(ip_address(text), DEFAULT)


REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "127.0.0.1", "127.255.255.254", "100.64.0.1", "100.127.255.255",
    "169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.7", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:808:808::1", "2001::1",
    "2001:db8::1", "3fff::1", "100::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "4000::1", "5f00::1", "64:ff9b:2::1", "1::1",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_a_special_address_is_refused_by_default_with_a_sentence(text: str) -> None:
    with pytest.raises(EgressRefused) as caught:
        check_address(ip_address(text), DEFAULT)
    assert caught.value.reason.endswith(".")
    assert not caught.value.request_sent


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "172.16.9.9", "192.168.1.1", "127.0.0.1", "100.64.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
)
def test_allow_private_opens_private_shared_and_loopback_addresses(text: str) -> None:
    check_address(ip_address(text), PRIVATE)


@pytest.mark.parametrize("text", ["169.254.1.1", "fe80::1", "240.0.0.1", "198.18.0.1", "192.0.2.1", "2002:808:808::1"])
def test_allow_private_alone_opens_nothing_else(text: str) -> None:
    with pytest.raises(EgressRefused, match="CALLGATE_ALLOWED_NETWORKS"):
        check_address(ip_address(text), PRIVATE)


def test_an_allowed_network_opens_just_itself() -> None:
    policy = TargetPolicy(allowed_networks=(ip_network("10.1.0.0/16"), ip_network("fe80::/64")))
    check_address(ip_address("10.1.2.3"), policy)
    check_address(ip_address("::ffff:10.1.2.3"), policy)
    check_address(ip_address("64:ff9b::10.1.2.3"), policy)
    check_address(ip_address("fe80::5"), policy)
    for text in ("10.2.0.1", "127.0.0.1", "fd00::1"):
        with pytest.raises(EgressRefused):
            check_address(ip_address(text), policy)


@pytest.mark.parametrize("text", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"])
def test_unspecified_multicast_and_broadcast_are_never_opened(text: str) -> None:
    with pytest.raises(EgressRefused, match="can not be opened"):
        check_address(ip_address(text), EVERYTHING)


HIDDEN = ["::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::169.254.169.254"]


@pytest.mark.parametrize("text", [*sorted(map(str, METADATA)), *HIDDEN, "fe80::a9fe:a9fe%eth0"])
def test_metadata_addresses_stay_shut_whatever_is_allowed(text: str) -> None:
    with pytest.raises(EgressRefused, match="metadata"):
        check_address(ip_address(text), EVERYTHING)


def test_a_teredo_address_that_hides_a_metadata_address_stays_shut() -> None:
    client = int(ip_address("169.254.169.254")) ^ 0xFFFFFFFF
    with pytest.raises(EgressRefused, match="metadata"):
        check_address(ip_address((0x20010000 << 96) | client), EVERYTHING)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_never_more_open_than_the_plain_one(ip) -> None:
    """Property: hiding an IPv4 address inside IPv6 gains nothing (`::` and `::1` are addresses of their own)."""
    assume(int(ip) > 1)
    for outer in (f"::ffff:{ip}", f"64:ff9b::{ip}", f"::{ip}"):
        for policy in (DEFAULT, PRIVATE):
            if _refused(ip, policy):
                assert _refused(ip_address(outer), policy)


@given(st.ip_addresses())
def test_what_passes_by_default_is_global_in_the_registries(ip) -> None:
    if not _refused(ip, DEFAULT):
        assert ip.is_global or ip.version == 6
        assert not ip.is_private
        assert not ip.is_multicast
        assert not ip.is_link_local


def _refused(ip, policy: TargetPolicy) -> bool:
    try:
        check_address(ip, policy)
    except EgressRefused:
        return True
    return False
