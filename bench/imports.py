"""The modules that the first request of each route imports: ``make bench-imports``.

For each measurement the packaged zip starts under the runtime client of AWS, with a local database (moto) in another
process on loopback. KMS decrypts the key ring, as at every cold start. The database uses plain HTTP, so TLS modules are
listed only if another module imports them. On Lambda every database request imports them.
"""

import itertools
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from baton_client import BatonClient
from bench.cold import PASSWORD, bench, cpu, imported

STARTS = 3
WATCHED = {
    "Argon2": "argon2",
    "boto3": "boto3",
    "botocore": "botocore.session",
    "Chalice": "chalice",
    "cryptography": "cryptography",
    "e-mail": "email",
    "JWT": "jwt",
    "SMTP": "smtplib",
    "TLS": "ssl",
    "urllib": "urllib.request",
}
"""The heavy packages, each with a module that identifies it."""


def routes() -> Iterator[tuple[str, Callable[[BatonClient], object]]]:
    """Yield one request of each kind, with the name of its route, for a phone that is logged in."""
    newcomers = (f"newcomer-{number}@example.com" for number in itertools.count())
    yield "GET /time", BatonClient.sync_clock
    yield "GET /health", lambda phone: phone.call("GET", "/health")
    yield "GET /.well-known/jwks.json", lambda phone: phone.call("GET", "/.well-known/jwks.json")
    yield "POST /oauth/token", BatonClient.exchange
    yield "GET /me", BatonClient.me
    yield "POST /step-up", lambda phone: phone.step_up(PASSWORD, "DELETE", "/me")
    yield "POST /login", lambda phone: phone.login("bench@example.com", PASSWORD, "bench")
    yield "POST /register", lambda phone: phone.register(next(newcomers), PASSWORD, "bench")


def row(route: str, modules: Iterable[str], cpus_s: Sequence[float]) -> str:
    """Format a line: the number of modules, the median CPU time until the answer, and the heavy packages."""
    asked_for = set(modules)
    marks = "".join(f"{'yes' if module in asked_for else '-':>{len(name) + 2}}" for name, module in WATCHED.items())
    return f"{route:<27}{len(asked_for):>8}{statistics.median(cpus_s) * 1000:>7.0f} ms{marks}"


def main() -> int:
    """Measure the imports and print the results for a reader.

    ``tests/baton/house/test_imports.py`` checks the limits.
    """
    print(f"{'until the first answer':<27}{'modules':>8}{'CPU':>10}" + "".join(f"  {name}" for name in WATCHED))
    with bench() as made:
        for route, act in routes():
            modules = (name for name, _ in imported(made.imports(act)))
            print(row(route, modules, [cpu(made.first(act)) for _ in range(STARTS)]), flush=True)
        bare_ms = statistics.median(cpu(made.nothing()) for _ in range(STARTS)) * 1000
    print(f"AWS's runtime client is included: with a bare handler it takes {bare_ms:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
