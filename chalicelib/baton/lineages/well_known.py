"""The files in which a site lists its apps and its related sites, at ``https://{rp_id}/.well-known/``. No I/O.

Phones and browsers read these files before they offer a passkey. Apple's ``apple-app-site-association`` and Android's
``assetlinks.json`` list the apps. ``webauthn`` lists the related origins (WebAuthn Level 3, section 5.11).
``passkey-endpoints`` lists the pages on which a person adds and manages passkeys.
"""

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.baton.lineages.clients import Clients

APPLE: Final = "apple-app-site-association"
ANDROID: Final = "assetlinks.json"
ORIGINS: Final = "webauthn"
ENDPOINTS: Final = "passkey-endpoints"
WELL_KNOWN: Final = (APPLE, ANDROID, ORIGINS, ENDPOINTS)

_LINKS: Final = "delegate_permission/common.handle_all_urls"
_PASSWORDS: Final = "delegate_permission/common.get_login_creds"


def well_known(clients: Clients) -> Mapping[str, Any]:
    """Return the JSON value of each file that these clients need, by the name of the file."""
    party, files = clients.relying_party, dict[str, Any]()
    app_ids = list(dict.fromkeys(one for client in clients for one in client.apps.app_ids))
    packages: dict[str, list[bytes]] = {}
    for client in clients:
        for package, certificates in client.apps.packages.items():
            packages.setdefault(package, []).extend(certificates)
    if app_ids:
        links = {"appIDs": app_ids, "components": [{"/": "/baton/*"}]}
        files[APPLE] = {"webcredentials": {"apps": app_ids}, "applinks": {"details": [links]}}
    if packages:
        of_apps = [_statement(package, certificates) for package, certificates in sorted(packages.items())]
        files[ANDROID] = [*of_apps, _of_web(party.rp_id)] if party else of_apps
    if party is not None:
        files[ORIGINS] = {"origins": list(party.related)}
        pages = {"enroll": party.enroll_url, "manage": party.manage_url}
        files[ENDPOINTS] = {name: url for name, url in pages.items() if url}
    return files


def _statement(package: str, certificates: list[bytes]) -> dict[str, Any]:
    """Return the statement about an Android package. The digests of its certificates are in upper case, with colons."""
    target = {
        "namespace": "android_app",
        "package_name": package,
        "sha256_cert_fingerprints": [one.hex(":").upper() for one in dict.fromkeys(certificates)],
    }
    return {"relation": [_LINKS, _PASSWORDS], "target": target}


def _of_web(rp_id: str) -> dict[str, Any]:
    return {"relation": [_PASSWORDS], "target": {"namespace": "web", "site": f"https://{rp_id}"}}
