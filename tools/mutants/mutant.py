"""A mutant: one change of one file, by the exact text it replaces."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS: dict[str, tuple[str, ...]] = {
    "chalicelib/core/base64url.py": ("tests/core/test_base64url.py",),
    "chalicelib/core/email.py": ("tests/core/test_email.py", "tests/core/test_equivalent_names.py"),
    "chalicelib/core/fields.py": ("tests/core/test_fields.py", "tests/core/test_signatures.py"),
    "chalicelib/core/frozen_unicode.py": ("tests/core/test_other_runtimes.py",),
    "chalicelib/core/key_ring.py": ("tests/core/test_key_ring.py",),
    "chalicelib/core/lineage.py": ("tests/core/test_lineage.py",),
    "chalicelib/core/passwords.py": ("tests/core/test_passwords.py",),
    "chalicelib/core/public_key.py": ("tests/core/test_public_key.py",),
    "chalicelib/core/signatures.py": ("tests/core/test_signatures.py",),
    "chalicelib/core/structured_fields.py": ("tests/core/test_structured_fields.py",),
    "chalicelib/core/tokens.py": ("tests/core/test_tokens.py",),
    "chalicelib/flows/proof.py": ("tests/flows/test_exchange.py", "tests/web/test_must_tell.py"),
    "chalicelib/settings.py": ("tests/test_settings.py",),
    "chalicelib/stores/access_key.py": ("tests/test_settings.py",),
    "chalicelib/stores/audit.py": ("tests/stores/test_dynamodb.py", "tests/stores/test_engine.py"),
    "chalicelib/stores/engine.py": ("tests/stores/test_engine.py", "tests/stores/test_access_key.py"),
    "chalicelib/stores/ephemeral.py": ("tests/stores/test_dynamodb.py", "tests/stores/test_lost_answers.py"),
    "chalicelib/stores/gates.py": (
        "tests/stores/test_rule_is_the_condition.py",
        "tests/stores/test_dynamodb.py",
        "tests/stores/test_lost_answers.py",
        "tests/stores/test_engine.py",
    ),
    "chalicelib/stores/items.py": ("tests/stores/test_engine.py", "tests/stores/test_gate_size.py"),
    "chalicelib/stores/key_ring.py": ("tests/stores/test_key_ring.py",),
    "chalicelib/stores/transport.py": ("tests/stores/test_transport.py",),
    "chalicelib/stores/users.py": ("tests/stores/test_dynamodb.py", "tests/stores/test_lost_answers.py"),
    "clients/python/baton_client.py": ("tests/clients/test_baton_client.py", "tests/clients/test_foreign_answers.py"),
    "chalicelib/web/cors.py": ("tests/web/test_cors.py",),
    "chalicelib/web/edge.py": ("tests/web/test_caches_and_clocks.py", "tests/web/test_must_tell.py"),
}
"""The fast tests of each file that is mutated, the likeliest to fail first."""


class Stale(Exception):
    """The text that a mutant replaces does not stand in its file exactly once."""


@dataclass(frozen=True)
class Mutant:
    """``old`` becomes ``new`` in ``file``; ``name`` says which guard that takes away."""

    file: str
    name: str
    old: str
    new: str
    at: int | None = None
    """Where ``old`` stands, for one that was generated; a listed one finds its text, which must be there once."""

    def __str__(self) -> str:
        """Name it."""
        return f"{self.file.removeprefix('chalicelib/')}: {self.name}"

    @property
    def tests(self) -> tuple[str, ...]:
        """Name the tests that must notice."""
        return TESTS[self.file]

    def applied(self, source: str) -> str:
        """Give the source with the change. Raises ``Stale``, or ``SyntaxError`` for a change that is no Python."""
        found = source.count(self.old)
        if self.at is None and found != 1:
            raise Stale(f"{self}: its text stands {found} times in {self.file}")
        at = source.index(self.old) if self.at is None else self.at
        if source[at : at + len(self.old)] != self.old:
            raise Stale(f"{self}: its text is not where it was")
        changed = source[:at] + self.new + source[at + len(self.old) :]
        compile(changed, self.file, "exec")
        return changed
