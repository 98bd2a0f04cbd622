"""Errors of public keys."""

from chalicelib.baton.errors import InvalidRequest


class InvalidKey(InvalidRequest):
    """Baton does not accept the public key in ``device.public_key``."""

    status = 422
    code = "invalid_key"
    detail = "The public key is not valid. Send a JWK of `kty` EC, `crv` P-256, or of `kty` OKP, `crv` Ed25519."
