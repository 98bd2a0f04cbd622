"""The addresses of the development server, and the hosts by which phones on the same network reach it."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator

THIS_MACHINE = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # nosec B104 - only if a developer sets HOST=
EMULATOR = "10.0.2.2"
"""The address at which the Android emulator reaches this machine (developer.android.com, "Network address space")."""
MULTICAST_DNS = "*.local"
"""The domain of multicast DNS names (RFC 6762)."""
_DOCUMENTATION = ("192.0.2.1", 9)
"""A documentation address (RFC 5737). Finding the route to it sends nothing."""


def read_host(said: str) -> str:
    """Return the value of ``HOST``, the address to listen on. Exit with an error message if the value is wrong."""
    if said in {THIS_MACHINE, EVERYWHERE}:
        return said
    raise SystemExit(
        f"HOST is {THIS_MACHINE} (this machine only) or {EVERYWHERE} (phones on the network too), not {said[:64]!r}."
    )


def own_addresses() -> list[str]:
    """Return the IPv4 addresses of this machine on its networks. The address of the default route is first."""
    found = [address for address in _addresses() if not ipaddress.ip_address(address).is_loopback]
    return list(dict.fromkeys(found))


def _addresses() -> Iterator[str]:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(_DOCUMENTATION)
        yield asked.getsockname()[0]
    with contextlib.suppress(OSError):
        yield from sorted(
            str(address[0]) for *_, address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        )


def authorities(host: str, port: int, addresses: list[str]) -> list[str]:
    """Return each authority, such as ``localhost:8000``, at which clients reach a server that listens on ``host``."""
    hosts = ["localhost", THIS_MACHINE]
    if host == EVERYWHERE:
        hosts += [*addresses, EMULATOR, MULTICAST_DNS]
    return [f"{name}:{port}" for name in hosts]
