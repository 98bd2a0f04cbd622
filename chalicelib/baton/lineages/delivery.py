"""How a client gets its tokens: in the body of an answer, or in cookies. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from chalicelib.baton.urls import is_page_origin

Delivery = Literal["body", "cookie"]


def delivery_problems(row: Mapping[str, object]) -> Iterator[str]:
    """Describe what is wrong with ``delivery`` and ``origins`` of a row of the registry."""
    delivery, origins = row.get("delivery", "body"), row.get("origins", [])
    if delivery not in get_args(Delivery):
        yield f"delivery is one of {', '.join(get_args(Delivery))}"
    if delivery == "cookie" and row.get("mechanism") != "session":
        yield 'delivery is "cookie" for mechanism session only'
    if delivery == "cookie" and (row.get("binding") != "optional" or row.get("restore")):
        yield 'delivery "cookie" needs binding = "optional" and no restore: a browser has no device key'
    if not (isinstance(origins, list) and all(isinstance(one, str) and is_page_origin(one) for one in origins)):
        yield 'origins is a list of exact origins, such as "https://app.example.com"'
    elif origins and delivery != "cookie":
        yield 'origins is for delivery "cookie". List the pages that sign their calls in BATON_ORIGINS'
