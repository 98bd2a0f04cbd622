"""Find and read the signature with the tag of a profile, and write ``Signature-Input`` (RFC 9421 section 4). No I/O.

``signature.py`` verifies the signature.

There are two profiles: Baton's own, and the profile of draft-richer-oauth-httpsig. In the second profile, the signature
does not name a key: the client must sign with the key of its token.
"""

import re
from binascii import a2b_base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from chalicelib.baton.proof.refusals import SignatureDefective, SignatureRequired
from chalicelib.baton.proof.structured_fields import Item, NotStructured, Token, parse_dictionary
from chalicelib.baton.routing import Message

TAG = "baton"
WRITE_INPUT = f'Write it as `baton=("@method" "@authority" "@path");created=...;keyid="...";nonce="...";tag="{TAG}"`.'
COMPONENTS_MAX = 64
NONCE_CHARACTERS_MAX = 128
_KEYID_CHARACTERS_MAX = 128
_PLAIN_NAME = r'"[!#-\[\]-~]*"'
_PLAIN_PARAMETERS = r'(?:;[a-z*][a-z0-9_.*-]*=(?:"[ !#-\[\]-~]*"|0|-?[1-9][0-9]{0,14}))*+'
_PLAIN = re.compile(rf"([a-z*][a-z0-9_.*-]*)=(\(({_PLAIN_NAME}(?: {_PLAIN_NAME})*+)\)({_PLAIN_PARAMETERS}))")
"""The form of nearly every ``Signature-Input``: one member in canonical form. Its parameters are integers and strings
without escapes, and its components have no spaces. Reading this form in one step takes a third of the time of the
general parser."""
_PLAIN_PARAMETER = re.compile(r';([^=]*)=(?:"([^"]*)"|([-0-9]*))')
_PLAIN_VALUE = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):")
_NONCE = re.compile(rf"[!-~]{{1,{NONCE_CHARACTERS_MAX}}}")
_WRITE_VALUE = "Write it as `baton=:<base64 of the signature>:`."
_LABEL_SHOWN_MAX = 64
_MILLISECONDS_MIN = 10**11
"""A number of this size or more is a time in milliseconds: in seconds it would be in the year 5138 or later."""


class Profile(Struct, frozen=True):
    """The rules for signatures with the tag ``tag``.

    ``parameters`` has the allowed parameters with their types, and ``required`` the names of the required parameters.
    """

    tag: str
    parameters: Mapping[str, type]
    required: tuple[str, ...]


BATON = Profile(
    TAG,
    {"created": int, "expires": int, "keyid": str, "nonce": str, "alg": str, "tag": str},
    ("created", "keyid", "nonce"),
)
HTTPSIG = Profile("httpsig-oauth", {"created": int, "expires": int, "nonce": str, "tag": str}, ("created", "nonce"))
"""The access token decides the key and the algorithm. So a signature with ``keyid`` or ``alg`` is refused."""


class SignatureInput(Struct, frozen=True):
    """One member of a Signature-Input field.

    - ``components``: component identifiers, in the form that ``component()`` returns.
    - ``written``: the value of ``@signature-params``, which is the member without its label, in canonical form.
    """

    label: str
    components: tuple[str, ...]
    parameters: dict[str, str | int]
    written: str


class InputDefective(ValueError):
    """``Signature-Input`` is unusable. ``reason`` is for the log, ``detail`` for the caller."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the description for the log and the description for the caller."""
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Signature(Struct, frozen=True):
    """A signature with the tag of a profile, not verified.

    ``components`` and ``written`` have the same meaning as in ``SignatureInput``.
    """

    components: tuple[str, ...]
    parameters: Mapping[str, str | int]
    written: str
    value: bytes

    @property
    def keyid(self) -> str:
        """The parameter ``keyid``. Each signature of Baton's profile has it."""
        return str(self.parameters["keyid"])


def read_signature(message: Message, profile: Profile = BATON) -> Signature | None:
    """Return the signature with the tag of a profile, or ``None`` if there is none.

    Raises ``SignatureDefective`` if a field cannot be read, or if the signature breaks a rule. For example, only one
    signature may have the tag.
    """
    given = message.fields.get("signature-input")
    if given is None:
        if "signature" in message.fields:
            raise defective(message, "no Signature-Input", "`Signature` came without `Signature-Input`. Send both.")
        return None
    ours = _our_input(message, _combined(given), profile)
    if ours is None:
        return None
    if len(ours.components) > COMPONENTS_MAX:
        raise defective(
            message, "too many components", f"The signature covers more than {COMPONENTS_MAX} components. Cover fewer."
        )
    if len(set(ours.components)) < len(ours.components):
        twice = Counter(ours.components).most_common(1)[0][0]
        raise defective(message, "a component twice", f"The signature covers {twice} twice. Cover it once.")
    _check_parameters(message, ours.parameters, profile)
    return Signature(ours.components, ours.parameters, ours.written, _value(message, ours.label))


def signature_missing(message: Message, profile: Profile = BATON) -> SignatureRequired:
    """Return the error for a request that has no signature with the tag of ``profile``."""
    if profile is BATON and not _combined(message.fields.get("signature-input", ())):
        return SignatureRequired(path=message.path)
    return SignatureRequired(
        "no tag",
        path=message.path,
        detail=f'No signature of this request has the tag. Add `;tag="{profile.tag}"` to its parameters in '
        "`Signature-Input`.",
    )


def find_input(text: str, tag: str = TAG) -> SignatureInput | None:
    """Return the member with this tag from a Signature-Input field, or ``None`` if no member has the tag.

    Raises:
        NotStructured: the field is not a dictionary.
        InputDefective: two members have the tag, or Baton does not support the form of the member.

    """
    plain = _find_plain(text, tag)
    if plain is not None:
        return plain
    ours = [(label, *member) for label, member in parse_dictionary(text).items() if _has_tag(member[1], tag)]
    if not ours:
        return None
    if len(ours) > 1:
        raise InputDefective("two signatures with the tag", f'Two signatures have the tag "{tag}". Send exactly one.')
    label, items, given = ours[0]
    if not isinstance(items, list):
        raise InputDefective("no list of components", f"`Signature-Input` does not list the components. {WRITE_INPUT}")
    components = tuple([_identifier(item) for item in items])
    parameters = {name: value for name, value in given.items() if isinstance(value, str | int)}
    if len(parameters) < len(given):
        raise InputDefective("a parameter's type", "A signature parameter has the wrong type.")
    return SignatureInput(label, components, parameters, write_input(components, parameters))


def _find_plain(text: str, tag: str) -> SignatureInput | None:
    """Read a field of the form of ``_PLAIN`` in one step. ``None``: the general parser must read the field."""
    found = _PLAIN.fullmatch(text)
    if found is None:
        return None
    label, written, listed, follows = found.groups()
    given = _PLAIN_PARAMETER.findall(follows)
    parameters = {name: int(integer) if integer else string for name, string, integer in given}
    if len(parameters) < len(given) or parameters.get("tag") != tag or '"@query-param"' in listed:
        return None
    return SignatureInput(label, tuple(listed.split(" ")), parameters, written)


def component(name: str, parameter: str | None = None) -> str:
    """Return a component identifier (RFC 9421 section 2). ``parameter``: the name of a query parameter."""
    return _string(name) if parameter is None else f"{_string(name)};name={_string(parameter)}"


def write_input(components: Iterable[str], parameters: Mapping[str, str | int]) -> str:
    """Return a member of Signature-Input without its label, in canonical form (RFC 9421 section 2.3)."""
    written = "".join(
        [f";{name}={value if isinstance(value, int) else _string(value)}" for name, value in parameters.items()]
    )
    return f"({' '.join(components)}){written}"


def defective(message: Message, reason: str, detail: str) -> SignatureDefective:
    """Return the error for a defective signature: ``reason`` (fixed words) for the log, ``detail`` for the caller."""
    return SignatureDefective(reason, detail=detail, hint=detail, path=message.path)


def _our_input(message: Message, text: str, profile: Profile) -> SignatureInput | None:
    try:
        return find_input(text, profile.tag)
    except InputDefective as error:
        raise defective(message, error.reason, error.detail) from None
    except NotStructured as error:
        raise _unreadable(message, "Signature-Input", error, WRITE_INPUT) from None


def _check_parameters(message: Message, parameters: Mapping[str, str | int], profile: Profile) -> None:
    for name, value in parameters.items():
        # type(), not isinstance(): a Boolean is not an Integer, and a Token is not a String.
        wanted = profile.parameters.get(name)
        if wanted is None:
            known = ", ".join(f"`{parameter}`" for parameter in sorted(profile.parameters))
            raise defective(message, "an unknown parameter", f"The only signature parameters are {known}.")
        if type(value) is not wanted:
            kind = "an integer" if wanted is int else "a string"
            raise defective(message, f"the type of {name}", f"The signature parameter `{name}` must be {kind}.")
    for name in profile.required:
        if name not in parameters:
            raise defective(message, f"no {name}", f"The signature parameter `{name}` is missing.")
    for name in ("created", "expires"):
        if int(parameters.get(name, 0)) >= _MILLISECONDS_MIN:
            raise defective(
                message,
                f"{name} in milliseconds",
                f"`{name}` is in seconds since the epoch. This value looks like milliseconds: divide it by 1000.",
            )
    if not _NONCE.fullmatch(str(parameters["nonce"])):
        raise defective(
            message,
            "the nonce is not plain",
            f"`nonce` must have 1 to {NONCE_CHARACTERS_MAX} visible ASCII characters.",
        )
    if len(str(parameters.get("keyid", ""))) > _KEYID_CHARACTERS_MAX:
        raise defective(message, "the keyid is too long", f"`keyid` has more than {_KEYID_CHARACTERS_MAX} characters.")


def _value(message: Message, label: str) -> bytes:
    text = _combined(message.fields.get("signature", ()))
    plain = _PLAIN_VALUE.fullmatch(text)
    if plain is not None and plain[1] == label and len(plain[2]) % 4 == 0:
        return a2b_base64(plain[2])
    try:
        members = parse_dictionary(text)
    except NotStructured as error:
        raise _unreadable(message, "Signature", error, _WRITE_VALUE) from None
    if label not in members:
        raise defective(
            message,
            "no value for the label",
            f"`Signature` has no member with the label `{label[:_LABEL_SHOWN_MAX]}`, which `Signature-Input` has. "
            f"{_WRITE_VALUE}",
        )
    value, _ = members[label]
    if not isinstance(value, bytes):
        at = re.search(rf"(?:^|[ \t,]){re.escape(label)}=?", text)
        where = f" at character {at.end() + 1}" if at else ""
        raise defective(message, "no byte sequence", f"`Signature` cannot be read{where}: expected `:`. {_WRITE_VALUE}")
    return value


def _combined(lines: Sequence[str]) -> str:
    """Join the lines of a dictionary in order (RFC 9651 section 4.2). Empty lines are left out."""
    return lines[0] if len(lines) == 1 else ", ".join([line for line in lines if line.strip(" \t")])


def _unreadable(message: Message, field: str, error: NotStructured, write: str) -> SignatureDefective:
    reason = f"{field.lower()} is not a dictionary"
    return defective(message, reason, f"`{field}` cannot be read: {error}. {write}")


def _has_tag(parameters: Mapping[str, object], tag: str) -> bool:
    """Check whether the parameters have this tag as a string, or as a ``Token``, which ``find_input`` refuses."""
    return parameters.get("tag") in {tag, Token(tag)}


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
    """Return a string in quotes (RFC 9651 section 4.1.6)."""
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
