"""The pages of the console: the files of ``tools/console/``, with a strict Content-Security-Policy."""

from pathlib import Path
from typing import Final

from chalicelib.baton.testing.gateway import ROOT, GatewayResponse

FOLDER: Final = ROOT / "tools" / "console"
CLIENT: Final = ROOT / "clients" / "typescript" / "src"
CLIENT_PREFIX: Final = "client/"
"""The phones of the console run the unchanged TypeScript client, from ``/client/browser.js``."""

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


def page(path: str, folder: Path = FOLDER) -> GatewayResponse | None:
    """Return the file for a path, or ``None`` if the console has no such file. ``/`` means ``index.html``."""
    name = path.removeprefix("/") or "index.html"
    root = folder
    if name.startswith(CLIENT_PREFIX):
        root, name = CLIENT, name.removeprefix(CLIENT_PREFIX)
    file = (root / name).resolve()
    media_type = _MEDIA_TYPES.get(file.suffix)
    if media_type is None or not file.is_relative_to(root.resolve()) or not file.is_file():
        return None
    headers = (
        ("Content-Type", media_type),
        ("Content-Security-Policy", CSP),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
    )
    return GatewayResponse(200, headers, file.read_bytes())
