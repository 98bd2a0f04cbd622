"""Listed mutants of linked identities: link, unlink, claim, undo and import."""

from typing import Final

from tools.mutants.mutant import Mutant


def _of(file: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(file, name, old, new) for name, old, new in changes]


IDENTITIES: Final[list[Mutant]] = [
    *_of(
        "chalicelib/baton/federation/manage.py",
        ("a link needs no stored attempt", "    if not caller.attempt_sent:\n", "    if False:\n"),
        ("an HMAC login links an identity", "    if not isinstance(binding, KeyBinding):\n", "    if False:\n"),
        (
            "another address of the provider proves the account's",
            "and proved.email == user.email,",
            "and bool(proved.email),",
        ),
        (
            "a second identity of a provider replaces the first",
            "if mine is not None or len(user.identities) >= IDENTITIES_MAX:",
            "if len(user.identities) >= IDENTITIES_MAX:",
        ),
        (
            "the last credential is unlinked",
            "            if not leaves_a_credential(user, identities=1):\n",
            "            if False:\n",
        ),
        ("a thief's link has no undo", "since=now if new.linked.by_new_key else None", "since=None"),
        (
            "a mailbox thief undoes the link of a long-used phone",
            "since=now if new.linked.by_new_key else None",
            "since=now",
        ),
        (
            "an identity of a live account counts as the rest of a deletion",
            "account_state is None or account_state.status is not Status.DELETED",
            "account_state is None",
        ),
    ),
    *_of(
        "chalicelib/baton/federation/routes.py",
        (
            "a link needs no step-up",
            "body=LinkShape, bound=True, step_up=proved, takes_attempt=True",
            "body=LinkShape, bound=True, takes_attempt=True",
        ),
        ("an unlink needs no step-up", "unlink, step_up=proved, ", "unlink, "),
    ),
    *_of(
        "chalicelib/baton/storage/dynamodb/identities.py",
        (
            "a second identity of a provider is stored",
            "all_of(VERSION_AS_READ, NOT_LINKED, ROOM_FOR_ONE)",
            "all_of(VERSION_AS_READ, ROOM_FOR_ONE)",
        ),
        (
            "a ninth identity is stored",
            "all_of(VERSION_AS_READ, NOT_LINKED, ROOM_FOR_ONE)",
            "all_of(VERSION_AS_READ, NOT_LINKED)",
        ),
        (
            "a link after a change of credentials",
            "all_of(VERSION_AS_READ, NOT_LINKED, ROOM_FOR_ONE)",
            "all_of(NOT_LINKED, ROOM_FOR_ONE)",
        ),
        ("an identity always proves the address", "LINK_AND_VERIFY if new.verified else LINK", "LINK_AND_VERIFY"),
        (
            "the last credential is deleted",
            "all_of(VERSION_AS_READ, IS_LINKED, CREDENTIAL_LEFT)",
            "all_of(VERSION_AS_READ, IS_LINKED)",
        ),
        (
            "an unlink after a change of credentials",
            "all_of(VERSION_AS_READ, IS_LINKED, CREDENTIAL_LEFT)",
            "all_of(IS_LINKED, CREDENTIAL_LEFT)",
        ),
        (
            "an unlinked identity leaves its item",
            "                *removals(self._database, user.account, (removed.index,), now=now),\n",
            "",
        ),
        (
            "a link by another request counts as ours",
            "return Done() if taken == identity else Moved()",
            "return Done()",
        ),
    ),
    *_of(
        "chalicelib/baton/storage/dynamodb/factors.py",
        (
            "the last credential is a passkey that is removed",
            "(passkeys.HAS_PASSKEY, CREDENTIAL_LEFT)",
            "(passkeys.HAS_PASSKEY,)",
        ),
    ),
    *_of(
        "chalicelib/baton/storage/dynamodb/mail_users.py",
        (
            "a claim leaves the squatter's identity",
            "user.identities.values()] if claim else []",
            "user.identities.values()][:0]",
        ),
        ("a reset unlinks the identities", "user.identities.values()] if claim else []", "user.identities.values()]"),
        (
            "an undo leaves the thief's identity",
            "        entries += removals(self._database, account, undo.removed_identities(user), now=now)\n",
            "",
        ),
    ),
    *_of(
        "chalicelib/baton/factors/rules.py",
        (
            "an undo removes what a long-used phone linked",
            "if not (linked.by_new_key and linked.linked_at >= since)",
            "if not linked.linked_at >= since",
        ),
        (
            "an undo removes what was linked before",
            "if not (linked.by_new_key and linked.linked_at >= since)",
            "if not linked.by_new_key",
        ),
    ),
    *_of(
        "chalicelib/baton/factors/passkeys.py",
        (
            "the last passkey is removed",
            "        if not leaves_a_credential(user, passkeys=1):\n",
            "        if False:\n",
        ),
    ),
    *_of(
        "chalicelib/baton/federation/notices.py",
        (
            "a notice about an account that is not active is never done",
            "            if account_state is None or account_state.status is not Status.ACTIVE:\n",
            "            if False:\n",
        ),
        (
            "a notice of a clock that is ahead counts twice",
            "max(now, notice.at) + NOTICE_KEPT_S",
            "now + NOTICE_KEPT_S",
        ),
        (
            "an identity that its provider deleted is no event",
            'self.record("identity_unlinked", account=identity.account, details=details, told=Told())',
            "pass",
        ),
        ("a notice with half of a character", " and jti.isprintable()):", "):"),
    ),
    *_of(
        "chalicelib/baton/federation/id_token.py",
        ("half of a character is a subject", " and text.isprintable()", ""),
    ),
    *_of(
        "chalicelib/baton/federation/log_in.py",
        (
            "a sign-up is repeated forever",
            "            if outcome.account == account and self.identities.get(index) is None:\n",
            "            if False:\n",
        ),
        (
            "a race of two sign-ups is refused",
            "            if outcome.account == account and self.identities.get(index) is None:\n",
            "            if outcome.account == account:\n",
        ),
    ),
    *_of(
        "chalicelib/baton/lineages/login_rules.py",
        (
            "a restored login forgets its provider",
            "expires_at=expires_at, provider=parent.provider)",
            "expires_at=expires_at)",
        ),
    ),
    *_of(
        "chalicelib/baton/accounts/first_tokens.py",
        ("a restore without an address fails", "undo_since=now if basis.address else None", "undo_since=now"),
    ),
    *_of(
        "chalicelib/baton/accounts/login_email.py",
        ("a code of a login goes nowhere", "        if not user.email:\n", "        if False:\n"),
    ),
    *_of(
        "chalicelib/baton/mail/verify.py",
        ("a code goes nowhere", "        if not user.email:\n", "        if False:\n"),
    ),
    *_of(
        "chalicelib/baton/accounts/operate.py",
        (
            "any text confirms a change of an account without an address",
            "            if typed != user.account:\n",
            "            if False:\n",
        ),
    ),
    *_of(
        "chalicelib/baton/storage/fetch.py",
        ("the query of a URL is left out", 'f"?{parts.query}" if parts.query else ""', '""'),
    ),
    *_of(
        "tools/moving/identities.py",
        ("an identity of an ambiguous issuer is imported", "or (len(issuers) > 1 and not member.issuer)", ""),
        ("an export forgets the issuer", "    if len(issuers) > 1:\n", "    if False:\n"),
        ("two identities of one provider are imported", "        if row.code in found:\n", "        if False:\n"),
    ),
]
