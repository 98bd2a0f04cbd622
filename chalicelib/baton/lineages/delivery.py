"""How a client gets its tokens: in the body of an answer, or in cookies. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from chalicelib.baton.urls import is_page_origin

Delivery = Literal["body", "cookie"]
DeviceBound = Literal["off", "offer"]


def delivery_problems(row: Mapping[str, object]) -> Iterator[str]:
    """List the problems of ``delivery``, ``device_bound``, ``trusted_sources`` and ``origins`` in a row of a client."""
    delivery, origins = row.get("delivery", "body"), row.get("origins", [])
    if delivery not in get_args(Delivery):
        yield f"delivery is one of {', '.join(get_args(Delivery))}"
    if delivery == "cookie" and row.get("mechanism") != "session":
        yield 'delivery is "cookie" for mechanism session only'
    if delivery == "cookie" and (row.get("binding") != "optional" or row.get("restore")):
        yield 'delivery "cookie" needs binding = "optional" and no restore: a browser has no device key'
    if row.get("device_bound", "off") not in get_args(DeviceBound):
        yield f"device_bound is one of {', '.join(get_args(DeviceBound))}"
    elif row.get("device_bound") == "offer" and delivery != "cookie":
        yield 'device_bound is for delivery "cookie": it binds cookies to the key of a browser'
    yield from _source_problems(row.get("trusted_sources", []), delivery)
    if not (isinstance(origins, list) and all(isinstance(one, str) and is_page_origin(one) for one in origins)):
        yield 'origins is a list of exact origins, such as "https://app.example.com"'
    elif origins and delivery != "cookie":
        yield 'origins is for delivery "cookie". The setting BATON_ORIGINS lists the pages that sign their calls'


def _source_problems(sources: object, delivery: object) -> Iterator[str]:
    if sources == []:
        return
    if not isinstance(sources, list) or not all(isinstance(one, str) and _is_network(one) for one in sources):
        yield 'trusted_sources is a list of networks, such as "198.51.100.0/24"'
    elif delivery == "cookie":
        yield 'trusted_sources is for delivery "body": a browser sends its requests itself'


def _is_network(text: str) -> bool:
    import ipaddress  # noqa: PLC0415 - cold start: few registries need it

    try:
        return ipaddress.ip_network(text).prefixlen > 0  # a prefix of 0 bits would trust every address
    except ValueError:
        return False
