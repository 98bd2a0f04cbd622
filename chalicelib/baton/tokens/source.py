"""The source of a request: the address that rate limits count. The record of a reuse has its network. No I/O."""

from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.routing import Message

_FIELD = "baton-client-address"


def source_of(message: Message, client: Client) -> str:
    """Return the source: the address of the sender, or of the person that a trusted server names.

    ``Baton-Client-Address`` names the person's address. Baton accepts this header only from the networks in
    ``trusted_sources`` of the client. Otherwise any sender could choose its own source.
    """
    stated = message.fields.get(_FIELD)
    if stated is None or len(stated) != 1:
        return message.source
    import ipaddress  # noqa: PLC0415 - cold start: only for such a client

    try:
        sender, person = (ipaddress.ip_address(one.strip(" \t")) for one in (message.source, stated[0]))
    except ValueError:
        return message.source
    trusted = any(sender in ipaddress.ip_network(network) for network in client.trusted_sources)
    return str(person) if trusted else message.source
