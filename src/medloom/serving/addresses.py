"""Which addresses of the network are anyone's, and which lead into the network of the server.

An address may hide another: IPv6 has several ways to say an IPv4 address, and a gateway on the way sends what is
addressed so into the network that was meant to be closed. So of IPv6 only what is handed out to the world is public,
without the parts of it that stand for something else.

Source: https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry, RFC 6890; the metadata services of clouds are in their
documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["Address", "Network", "is_allowed", "is_metadata", "is_public"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by customers of one provider
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's machine agent
            "169.254.0.0/16",  # link-local: metadata of clouds and of ECS
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # to several
            "240.0.0.0/4",
        ),
    )
)
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # Teredo, ORCHID and other protocols
            "2001:db8::/32",
            "2002::/16",  # 6to4, with an IPv4 address inside
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
"""What stands before an IPv4 address in the second half of an address of ISATAP."""

_METADATA = (
    IPv4Network("169.254.0.0/16"),
    IPv4Network("168.63.129.16/32"),
    IPv4Network("100.100.100.200/32"),
    IPv6Network("fd00:ec2::/32"),
    IPv6Network("fd20:ce::/32"),
    IPv6Network("fe80::/10"),
)
"""Where clouds hand their credentials to whoever asks from the machine."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the world's, whose traffic no gateway turns into something else."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return False
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def is_metadata(address: Address) -> bool:
    """Whether the metadata service of a cloud answers there, however the network is set up."""
    return any(address.version == network.version and address in network for network in _METADATA)


def is_allowed(text: str, networks: Sequence[Network] = ()) -> bool:
    """Whether the server may connect to an address on behalf of a client.

    Args:
        text: The address as a resolver gives it; never a name.
        networks: Networks of the operator's that are allowed although they are not public.

    Example:
        >>> is_allowed("93.184.215.14"), is_allowed("::ffff:93.184.215.14"), is_allowed("10.1.2.3")
        (True, False, False)
        >>> from ipaddress import ip_network
        >>> is_allowed("10.1.2.3", [ip_network("10.1.0.0/16")])
        True
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if is_metadata(address):
        return False
    return is_public(address) or any(address.version == network.version and address in network for network in networks)
