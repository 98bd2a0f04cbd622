"""Write the files that phones and browsers read at ``https://{rp_id}/.well-known/``, and check the public files.

A public file is such a file on a website. `lineages.well_known` makes the content of the files. The command that writes
the files is ``python -m tools.operate well-known DIR``. ``make doctor`` checks the public files.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any, NamedTuple

from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.well_known import APPLE, well_known

FOLDER = ".well-known"
PATIENCE_S = 5
BYTES_MAX = 256 * 1024


class Public(NamedTuple):
    """The answer of a website to a request for a public file.

    If the website does not answer, ``status`` is 0 and ``body`` has the reason.
    """

    status: int
    media_type: str
    body: str


class Finding(NamedTuple):
    """The result of the check of a public file. ``problem`` is empty if phones and browsers can use the file."""

    url: str
    problem: str


def write(clients: Clients, folder: Path) -> list[Path]:
    """Write the files to ``.well-known`` in a folder, and return their paths."""
    written = []
    for name, content in well_known(clients).items():
        file = folder / FOLDER / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        written.append(file)
    return written


def findings(clients: Clients, fetch: Callable[[str], Public] | None = None) -> Iterator[Finding]:
    """Check that each public file has the content that the client registry requires.

    The result has one ``Finding`` for each file, also for a good file. A public file may have further entries, because
    the site may have other apps.
    """
    party, link_host = clients.relying_party, clients.mail.link_host
    for name, content in well_known(clients).items():
        hosts = [party.rp_id] if party else []
        if name == APPLE and link_host and link_host not in hosts:
            hosts.append(link_host)
        for host in hosts:
            url = f"https://{host}/{FOLDER}/{name}"
            yield Finding(url, _problem((fetch or get)(url), content))


def get(url: str) -> Public:
    """Get a URL. Do not follow a redirect, because Apple and Android follow no redirect either."""
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(url, timeout=PATIENCE_S) as answer:
            media_type = answer.headers.get_content_type()
            return Public(answer.status, media_type, answer.read(BYTES_MAX).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        return Public(error.code, error.headers.get_content_type(), "")
    except (urllib.error.URLError, OSError) as error:
        return Public(0, "", f"no answer ({getattr(error, 'reason', error)})")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow no redirect. ``urllib`` then raises an ``HTTPError`` with the status of the redirect."""
        del req, fp, code, msg, headers, newurl


def _problem(public: Public, content: object) -> str:
    if public.status != 200:
        return f"status {public.status}" if public.status else public.body
    if public.media_type != "application/json":
        return f"the media type is {public.media_type}"
    try:
        value = json.loads(public.body)
    except ValueError:
        return "it is not JSON"
    return "" if _has(value, content) else "it does not have what the client registry requires"


def _has(public: Any, wanted: Any) -> bool:  # noqa: ANN401 - any JSON
    """Check that a value has every wanted member and element. The value may also have others."""
    if isinstance(wanted, Mapping):
        return isinstance(public, dict) and all(_has(public.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(public, list) and all(any(_has(one, value) for one in public) for value in wanted)
    return bool(public == wanted)
