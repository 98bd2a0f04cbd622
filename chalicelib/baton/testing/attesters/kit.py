"""Devices that attest, for tests and the development server. They make the member ``attestation`` of a login."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from chalicelib.baton.attestation.ports import Anchors
from chalicelib.baton.attestation.rules import client_data
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.testing.attesters.android import STRONGBOX, Android, described
from chalicelib.baton.testing.attesters.apple import Apple, assert_again
from chalicelib.baton.testing.attesters.certificates import Key, new_key

APPLE_DEFECTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "challenge": {"nonce": bytes(32)},
    "key": {"credential_id": bytes(32)},
    "environment": {"environment": "appattestsandbox"},
    "development": {"environment": "development"},
    "counter": {"counter": 1},
}
"""Defects that `Apple.attest` makes, each with its arguments. `Attester` makes the other defects of an attestation."""
ANDROID_DEFECTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "app": {"certificates": [bytes(32)]},
    "security": {"levels": (0, 0)},
    "device": {"locked": b"\0"},
    "key": {"origin": 2},
}
DEFECTS: Final[Mapping[str, frozenset[str]]] = {
    "apple-attestation": frozenset({*APPLE_DEFECTS, "app", "chain", "device_key"}),
    "apple-assertion": frozenset({"app", "counter", "device_key", "key"}),
    "android-key": frozenset({*ANDROID_DEFECTS, "chain", "challenge", "device_key", "revoked"}),
}
"""The defects of each format."""
REVOKED_SERIAL: Final = 0xBAD0BAD0
"""The serial of a revoked certificate. The revocation list of the test must have ``revoked_digest("bad0bad0")``."""


class Attester:
    """The attestation authorities of Apple and Google, with test roots, and the devices that attest."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """Make the authorities of Apple and Google. For the defect ``chain``, make two more, which no server trusts."""
        self._clock = clock
        self._apple, self._android = Apple(now=clock()), Android(now=clock())
        self._strangers = Apple(now=clock()), Android(now=clock())
        self._keys: dict[bytes, tuple[Key, str]] = {}
        self._counters: dict[bytes, int] = {}
        self.anchors = Anchors(lambda: self._apple.root, lambda: (self._android.root,))

    def member(
        self,
        form: str,
        client: Client,
        *,
        challenge: str,
        public_key: PublicKey,
        key_id: str = "",
        defect: str = "",
        strongbox: bool = False,
    ) -> dict[str, Any]:
        """Make the member ``attestation`` of a login, in the format ``form``.

        ``key_id`` is only for an ``apple-assertion``: the id of the key that signs the assertion. An earlier
        ``apple-attestation`` contains this id.
        ``defect`` is one of the format's ``DEFECTS``, or empty for evidence without a defect.

        Raises ``ValueError`` in these cases:

        - ``form``, ``defect`` or ``key_id`` is unknown.
        - ``apple-attestation``: the client has no Apple app.
        - ``android-key``: the client has no Android app, or the key is not P-256.
        """
        if form not in DEFECTS:
            raise ValueError(f"format is one of {', '.join(DEFECTS)}")
        if defect and defect not in DEFECTS[form]:
            raise ValueError(f"the defect of an {form} is one of {', '.join(sorted(DEFECTS[form]))}")
        self._apple.now = self._android.now = self._clock()
        keyid = _other_keyid() if defect == "device_key" else public_key.keyid
        text_hash = sha256(client_data(client.id, challenge, keyid)).digest()
        match form:
            case "apple-attestation":
                return {"format": form, "challenge": challenge, **self._attest(client, text_hash, defect)}
            case "apple-assertion":
                return {"format": form, "challenge": challenge, **self._assert(key_id, text_hash, defect)}
            case _:
                chain = self._chain(client, challenge, public_key, defect, strongbox=strongbox)
                return {"format": form, "challenge": challenge, "chain": [_base64(one) for one in chain]}

    def _attest(self, client: Client, text_hash: bytes, defect: str) -> dict[str, str]:
        app = _first(client.apps.app_ids, "apple.app_ids")
        app_id = "OTHER12345.com.example.tampered" if defect == "app" else app
        authority = self._strangers[0] if defect == "chain" else self._apple
        knobs = APPLE_DEFECTS.get(defect, {})
        made = authority.attest(app_id, text_hash, **knobs)
        self._keys[made.key_id] = made.key, app_id
        return {"key_id": _base64(made.key_id), "object": _base64(made.attestation)}

    def _assert(self, key_id: str, text_hash: bytes, defect: str) -> dict[str, str]:
        known = self._keys.get(b64decode(key_id))
        if known is None:
            raise ValueError("key_id is that of an earlier apple-attestation of this process")
        key, app_id = known
        counter = self._counters.get(b64decode(key_id), 0) + (defect != "counter")
        self._counters[b64decode(key_id)] = counter
        signer = new_key() if defect == "key" else key
        app_id = "OTHER12345.com.example.tampered" if defect == "app" else app_id
        return {"key_id": key_id, "object": _base64(assert_again(signer, app_id, text_hash, counter=counter))}

    def _chain(
        self, client: Client, challenge: str, public_key: PublicKey, defect: str, *, strongbox: bool
    ) -> list[bytes]:
        package = _first(tuple(client.apps.packages), "android.packages")
        authority = self._strangers[1] if defect == "chain" else self._android
        level = {"levels": (STRONGBOX, STRONGBOX)} if strongbox else {}
        description = described(
            b"another" if defect == "challenge" else challenge.encode(),
            package=package,
            certificate=client.apps.packages[package][0],
            **{**level, **ANDROID_DEFECTS.get(defect, {})},
        )
        device = new_key().public_key() if defect == "device_key" else _ec_key(public_key)
        return authority.chain(device, description, serials={1: REVOKED_SERIAL} if defect == "revoked" else {})


def _ec_key(public_key: PublicKey) -> EllipticCurvePublicKey:
    if public_key.curve != "P-256":
        raise ValueError("Android attests P-256 keys only")
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public_key.raw)


def _other_keyid() -> str:
    return "another-thumbprint"


def _first(values: tuple[str, ...], name: str) -> str:
    if not values:
        raise ValueError(f"the client has no {name}")
    return values[0]


def _base64(value: bytes) -> str:
    return b64encode(value).decode()
