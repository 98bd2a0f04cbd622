"""End a login whose token was possibly copied, and record the facts for the owner.

Two modules call `EndReused`:

- ``exchange.py``, if `judge` in ``lineages/rules.py`` returns ``Reused`` (E8). With ``BATON_REVOKE_ON_WRONG_KEY``,
  it also calls `EndReused` if the signature of an exchange names another key (E2). Then ``judge`` is not called.
- ``revoke.py``, if the token to revoke belongs to a bound login whose mechanism exchanges tokens, and is two or more
  generations old (`_is_reuse`).
"""

from typing import Literal

from msgspec import Struct

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.events.ports import Log, Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import EndReason, Lineage
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import attempt_digest, used_by
from chalicelib.baton.policy import FOREIGN_KEY_TOLD_EVERY_S, FOREIGN_KEYS_REMEMBERED
from chalicelib.baton.routing import Message, source_network
from chalicelib.baton.tokens.presented import VerifiedToken

USER_AGENT_CHARACTERS_MAX = 200


class ForeignKeys:
    """Report exchanges whose signature names the wrong key, at most once in 15 minutes for each account.

    Without this limit, one account could raise the metric ``exchange_wrong_key`` without bound. Each execution
    environment of Lambda has its own limit.
    """

    def __init__(self, log: Log) -> None:
        """Report to ``log``."""
        self._log = log
        self._told: dict[AccountId, int] = {}

    def report(self, account: AccountId, lineage: LineageId, *, client: str, now: int) -> None:
        """Record the event ``exchange_wrong_key``, unless it was recorded for this account within 15 minutes."""
        told_at = self._told.get(account)
        if told_at is not None and 0 <= now - told_at < FOREIGN_KEY_TOLD_EVERY_S:
            return
        self._told[account] = now
        if len(self._told) > FOREIGN_KEYS_REMEMBERED:
            del self._told[next(iter(self._told))]
        self._log.record("exchange_wrong_key", account=account, lineage=lineage, client=client)


class EndReused(Struct, frozen=True, kw_only=True):
    """End a login with the reason ``reuse``, and record the reuse."""

    lineage_store: LineageStore
    record: Record

    def __call__(  # noqa: PLR0913 - the facts of the two presentations
        self,
        proved: VerifiedToken,
        message: Message,
        *,
        source: str,
        attempt: str,
        lineage: Lineage | None,
        key: Literal["own", "another", "none"],
        now: int,
    ) -> Done | Refused:
        """End the login before the answer is sent. ``Refused``: the login had already ended, and nothing is recorded.

        ``lineage`` is the login as it was stored, or ``None`` if it was not read. ``key`` says which key signed this
        request: the key of the login, another key, or none.
        """
        token = proved.token
        ended = self.lineage_store.end(token.account, token.lineage, EndReason.REUSE, now=now)
        if isinstance(ended, Done):
            evidence: dict[str, str | int] = {
                "key": key,
                "network": source_network(source),
                "user_agent": _user_agent(message),
                **({"attempt": attempt_digest(attempt).hex()} if attempt else {}),
                **(_first_presentation(lineage, token.generation) if lineage else {}),
            }
            self.record(
                "token_reused",
                account=token.account,
                lineage=token.lineage,
                client=proved.client.id,
                generation=token.generation,
                details=evidence,
                told=Told(device=lineage.label if lineage else ""),
            )
        return ended


def _first_presentation(lineage: Lineage, generation: int) -> dict[str, str | int]:
    """Return the stored facts about the earlier use of the reused token, the token of ``generation``.

    The facts are the current generation, the time of the last exchange, and ``first_attempt``: the digest of the
    attempt that exchanged the token. A digest is stored for four generations. After that, ``first_attempt`` is missing.
    """
    known: dict[str, str | int] = {
        "current_generation": lineage.generation,
        "last_exchange_at": lineage.issued_at,
    }
    first_attempt = used_by(lineage, generation)
    return known if first_attempt is None else {**known, "first_attempt": first_attempt.hex()}


def _user_agent(message: Message) -> str:
    """Return the User-Agent. The caller chose this text, so it is cut and has only printable ASCII characters."""
    given = message.fields.get("user-agent", ("",))[0]
    return "".join(character for character in given if " " <= character <= "~")[:USER_AGENT_CHARACTERS_MAX]
