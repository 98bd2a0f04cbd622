"""The member of a Signature-Input field that carries our tag (RFC 9421 section 4.1): find, read and write it."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from chalicelib.baton.proof.structured_fields import Item, Token, parse_dictionary

TAG = "baton"
WRITE_INPUT = f'Write it as `baton=("@method" "@authority" "@path");created=...;keyid="...";nonce="...";tag="{TAG}"`.'


class SignatureInput(Struct, frozen=True):
    """One member of a Signature-Input field.

    ``components`` are component identifiers as ``component`` writes them. ``written`` is the whole member in its
    canonical spelling, which is the value of ``@signature-params`` in the signature base.
    """

    label: str
    components: tuple[str, ...]
    parameters: dict[str, str | int]
    written: str


class InputDefective(ValueError):
    """The member with our tag is not a signature input. ``reason`` is for the log, ``detail`` for the caller."""

    def __init__(self, reason: str, detail: str) -> None:
        """Describe the defect twice."""
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def find_input(text: str) -> SignatureInput | None:
    """Find the one member with our tag; ``None`` if there is none.

    Raises ``NotStructured`` if the field is not a dictionary, ``InputDefective`` if two members have it, or if
    the member does not list plain components and parameters.
    """
    ours = [(label, *member) for label, member in parse_dictionary(text).items() if _has_our_tag(member[1])]
    if not ours:
        return None
    if len(ours) > 1:
        raise InputDefective("two of our tag", f'Two signatures have the tag "{TAG}". Send exactly one.')
    label, items, given = ours[0]
    if not isinstance(items, list):
        raise InputDefective("no list of components", f"`Signature-Input` does not list the components. {WRITE_INPUT}")
    components = tuple([_identifier(item) for item in items])
    parameters = {name: value for name, value in given.items() if isinstance(value, str | int)}
    if len(parameters) < len(given):
        raise InputDefective("a parameter's type", "A signature parameter has the wrong type.")
    return SignatureInput(label, components, parameters, write_input(components, parameters))


def component(name: str, parameter: str | None = None) -> str:
    """Write a component identifier (RFC 9421 section 2); ``parameter`` is the ``name`` of ``@query-param``."""
    return _string(name) if parameter is None else f"{_string(name)};name={_string(parameter)}"


def write_input(components: Iterable[str], parameters: Mapping[str, str | int]) -> str:
    """Write a member of Signature-Input in its canonical spelling (RFC 9421 section 2.3)."""
    written = "".join(
        [f";{name}={value if isinstance(value, int) else _string(value)}" for name, value in parameters.items()]
    )
    return f"({' '.join(components)}){written}"


def _has_our_tag(parameters: Mapping[str, object]) -> bool:
    """Compare the tag. A token in place of the string is our tag too: ``find_input`` then refuses its type."""
    return parameters.get("tag") in {TAG, Token(TAG)}


def _identifier(item: Item) -> str:
    name, parameters = item
    if type(name) is str and not parameters and name != "@query-param":
        return _string(name)
    parameter = parameters.get("name")
    if name == "@query-param" and parameters.keys() == {"name"} and isinstance(parameter, str):
        return component("@query-param", parameter)
    raise InputDefective(
        "a component's parameters",
        'A covered component must be a name without parameters, or `"@query-param";name="..."`.',
    )


def _string(text: str) -> str:
    """Write a string (RFC 9651 section 4.1.6)."""
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
