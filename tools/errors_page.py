"""Write ``docs/baton/errors.md`` from the refusals: ``python -m tools.errors_page``."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from chalicelib.baton import errors
from chalicelib.baton.accounts import refusals as of_accounts
from chalicelib.baton.attestation import refusals as of_attestation
from chalicelib.baton.browser import refusals as of_browsers
from chalicelib.baton.factors import refusals as of_factors
from chalicelib.baton.federation import refusals as of_federation
from chalicelib.baton.http.answer import status_and_error
from chalicelib.baton.keys import refusals as of_keys
from chalicelib.baton.proof import refusals as of_proof
from chalicelib.baton.routing import Dialect
from chalicelib.baton.tokens import refusals as of_tokens

DOCS = Path(__file__).parent.parent / "docs" / "baton"
PAGE = DOCS / "errors.md"

MODULES = (errors, of_keys, of_proof, of_tokens, of_browsers, of_attestation, of_federation, of_factors, of_accounts)
"""The modules with errors: one for each package, in the order of the page."""

_HEAD = """# Errors

`python -m tools.errors_page` writes this page from `chalicelib/baton/errors.py` and the module `refusals` of each
package. [exchange.md](exchange.md) explains the numbers E0 to E10.

Use `code` in your program: it is stable. For a `code` that your app does not handle, do what `action` says:

{actions}
Treat an unknown action as `fix_request`. Under `/oauth/*` the body has the members of RFC 6749 (`error`,
`error_description`). Elsewhere the body has the members of RFC 9457 (`application/problem+json`). Both bodies have
`code`, `action`, `retryable`, `request_id` and `server_time`.

With the [hardened template](operations.md#the-hardened-way-for-production), an error of API Gateway or of its firewall
always has the members of RFC 9457, and no `server_time`. An error of the firewall has no `request_id` either.

Each section is a `code`. An entry has the status, the `error` and the `action`, and says when Baton returns the error.
The quoted line is the `detail`. An answer may have a more exact `detail`.
"""


def leaves() -> Iterator[type[errors.Refusal]]:
    """Return the classes of refusals that define a ``code``, in the order of ``MODULES``."""
    for module in MODULES:
        for member in vars(module).values():
            ours = isinstance(member, type) and issubclass(member, errors.Refusal)
            if ours and member.__module__ == module.__name__ and "code" in vars(member):
                yield member


def actions() -> str:
    """Return the table of actions from wire.md, so that errors.md shows the same actions."""
    (table,) = re.findall(r"^\| action \|.*\n(?:\|.*\n)+", (DOCS / "wire.md").read_text("utf-8"), re.MULTILINE)
    return str(table).replace("](#", "](wire.md#")


def render() -> str:
    """Return the text of ``docs/baton/errors.md``."""
    by_code: dict[str, list[type[errors.Refusal]]] = {}
    for leaf in leaves():
        by_code.setdefault(leaf.code, []).append(leaf)
    parts = [_HEAD.replace("{actions}", actions())]
    for code, members in by_code.items():
        parts.append(f"## {code}\n")
        for member in members:
            refusal = member()
            status, error = status_and_error(refusal, Dialect.PROBLEM)
            oauth_status, oauth_error = status_and_error(refusal, Dialect.OAUTH)
            words = f"Status {status}, `error` `{error}`"
            if (oauth_status, oauth_error) != (status, error):
                words += f" (under `/oauth/*`: {oauth_status}, `{oauth_error}`)"
            meaning = " ".join((inspect.getdoc(member) or "").split())
            parts.append(f"{words}, `action` `{refusal.action}`. {meaning}\n\n> {refusal.detail}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"{PAGE.name} written")
