"""The host names of a development server."""

import ipaddress

import pytest

from chalicelib.baton.settings import SettingsProblems, read_settings
from tests.baton.conftest import ENVIRONMENT
from tools.dev import serve
from tools.dev.addresses import EVERYWHERE, THIS_MACHINE, authorities, own_addresses, read_host
from tools.dev.gateway import GatewayServer


def test_a_loopback_server_accepts_only_loopback_names() -> None:
    """A server on the network accepts every name that a phone can use for it."""
    assert authorities(THIS_MACHINE, 8000, ["192.168.1.5"]) == ["localhost:8000", "127.0.0.1:8000"]
    assert authorities(EVERYWHERE, 8000, ["192.168.1.5"]) == [
        "localhost:8000",
        "127.0.0.1:8000",
        "192.168.1.5:8000",
        "10.0.2.2:8000",
        "*.local:8000",
    ]


def test_own_addresses_exclude_loopback() -> None:
    """The list is empty on a machine without a network."""
    for address in own_addresses():
        assert not ipaddress.ip_address(address).is_loopback
    assert len(set(own_addresses())) == len(own_addresses())


@pytest.mark.parametrize("said", ["", "localhost", "192.168.1.5", "my-laptop", "::"])
def test_an_unknown_host_setting_is_refused_with_the_valid_values(said: str) -> None:
    """Some shells set HOST to the machine name.

    Without the check, the server could listen on the network by mistake.
    """
    with pytest.raises(SystemExit, match=r"HOST is 127\.0\.0\.1 .* or 0\.0\.0\.0 "):
        read_host(said)
    assert [read_host(host) for host in (THIS_MACHINE, EVERYWHERE)] == [THIS_MACHINE, EVERYWHERE]


def test_names_under_local_are_accepted_in_development_only() -> None:
    """A deployment must name each of its hosts."""
    said = ENVIRONMENT | {"BATON_AUTHORITIES": "localhost:80,*.local:8000,*.local"}
    assert read_settings(said).authorities == {"localhost", "*.local:8000", "*.local"}
    for wrong in ("*", "*.com", "*.local.com", "a.*.local", "*.*.local"):
        with pytest.raises(SettingsProblems):
            read_settings(ENVIRONMENT | {"BATON_AUTHORITIES": wrong})
    production = {
        "BATON_ISSUER": "https://api.example.com/api",
        "BATON_TABLE_PREFIX": "x",
        "BATON_KEY_RING": "kms:alias/x",
        "BATON_CLIENTS": "clients.toml",
        "AWS_DEFAULT_REGION": "us-east-1",
        "BATON_AUTHORITIES": "*.local",
    }
    with pytest.raises(SettingsProblems, match=r"\*\.local"):
        read_settings(production)


@pytest.mark.parametrize("host", [THIS_MACHINE, EVERYWHERE])
def test_the_start_table_shows_the_addresses_for_a_phone(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A server on the network prints every address. Otherwise the table says how to enable the network."""
    with GatewayServer(0) as server:
        shown = "\n".join(serve.for_phones(host, server.server_port, ["192.168.1.5"]))
        port = server.server_port
    assert f"adb reverse tcp:{port} tcp:{port}" in shown
    if host == EVERYWHERE:
        for address in ("192.168.1.5", "10.0.2.2"):
            assert f"http://{address}:{port}/api" in shown
        assert ".local" in shown
        assert "can reach the API" in shown
    else:
        assert "make dev HOST=0.0.0.0" in shown
