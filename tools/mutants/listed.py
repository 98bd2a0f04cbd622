"""Mutants by hand: guards that a syntax tree does not show, most of them written as conditions to DynamoDB."""

# ruff: noqa: E501 - a table: one mutant, one line
from typing import Final

from tools.mutants.mutant import Mutant

_CORE: Final = "chalicelib/core/"
_STORES: Final = "chalicelib/stores/"


def _of(file: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(file, name, old, new) for name, old, new in changes]


LISTED: Final[list[Mutant]] = [
    *_of(
        _CORE + "lineage.py",
        ("a child may be older than its parent", "issued_at=max(now, presented.issued_at)", "issued_at=now"),
        ("a token outlives its lineage", "return min(issued_at + mechanism.use_s, lineage.expires_at)", "return issued_at + mechanism.use_s"),
        ("an attempt may hash to an empty slot", 'return digest if digest != NO_ATTEMPT else b"\\1" * len(NO_ATTEMPT)', "return digest"),
        ("the living are replaced before the dead", "return (2, lineage.issued_at, lineage.id)", "return (0, lineage.issued_at, lineage.id)"),
        ("the raise of the epoch is forgotten", "return gate.raised or Ended(", "return Ended("),
        ("a late use turns the clock back", "issued_at=max(now, lineage.issued_at), in", "issued_at=now, in"),
        ("a gap is forgotten", "    if renewed or now >= lineage.issued_at + mechanism.use_s:\n", "    if renewed:\n"),
        ("an earlier id slides along", "    if renewed or now >= lineage", "    if now >= lineage"),
        ("a second life has the tokens of the first", "if presented.issued_at < lineage.auth_time:", "if False:"),
    ),
    *_of(
        _CORE + "signatures.py",
        ("the method is not covered", "ALWAYS_COVERED = ('\"@method\"', '\"@authority\"', '\"@path\"')", "ALWAYS_COVERED = ('\"@authority\"', '\"@path\"')"),
        ("the authority is not covered", "ALWAYS_COVERED = ('\"@method\"', '\"@authority\"', '\"@path\"')", "ALWAYS_COVERED = ('\"@method\"', '\"@path\"')"),
        ("the path is not covered", "ALWAYS_COVERED = ('\"@method\"', '\"@authority\"', '\"@path\"')", "ALWAYS_COVERED = ('\"@method\"', '\"@authority\"')"),
        ("the token is not covered", '("authorization", "idempotency-key", "baton-grant")', '("idempotency-key", "baton-grant")'),
        ("the attempt is not covered", '("authorization", "idempotency-key", "baton-grant")', '("authorization", "baton-grant")'),
        ("the grant is not covered", '("authorization", "idempotency-key", "baton-grant")', '("authorization", "idempotency-key")'),
        ("the query is not covered", ', *(component("@query-param", _encoded(name)) for name in names)]', "]"),
        ("the digest is not checked", "    check_digest(message)\n    created", "    created"),
        ("the coverage is not checked", "    _check_coverage(message, signature)\n    if", "    if"),
        ("the value is not checked", "    _check_value(message, signature, key)\n", ""),
        ("the window is twice as wide", "abs(now - created) > window_s", "abs(now - created) > 2 * window_s"),
        ("a request from the future passes", "abs(now - created) > window_s", "now - created > window_s"),
        ("an old request passes", "abs(now - created) > window_s", "created - now > window_s"),
        ("a nonce need not be there", 'for name in ("created", "keyid", "nonce"):', 'for name in ("created", "keyid"):'),
        ("the token shows in the base", 'value = _digest_value("sha-256", value.encode())', "pass"),
        ("line ends can be signed", '_UNSIGNABLE = re.compile(r"[^\\t -~]")', '_UNSIGNABLE = re.compile(r"[^\\n\\t -~]")'),
    ),
    *_of(
        _CORE + "tokens.py",
        ("a type need not be that of a token", '_TYPE = "at+jwt"', '_TYPE = "jwt"'),
        ("a member may stand twice", "object_pairs_hook=_once, ", ""),
        ("NaN is a number", ", parse_constant=_no_constant", ""),
        ("opaque tokens of other uses are read", '_DOMAIN = b"baton opaque token 1"', '_DOMAIN = b""'),
        ("the version is not sealed in", "decrypt(sealed, [_DOMAIN, lead])", "decrypt(sealed, [_DOMAIN])"),
        ("a token is not capped", "if len(text) > TOKEN_BYTES_MAX:", "if len(text) > 1024 * TOKEN_BYTES_MAX:"),
    ),
    *_of(
        _CORE + "key_ring.py",
        ("signatures are drawn by chance", "deterministic_signing=True", "deterministic_signing=False"),
        ("a verifier opens in any row", "decrypt(nonce, ciphertext, _row(account))", 'decrypt(nonce, ciphertext, b"")'),
        ("a verifier is sealed for any row", "encrypt(nonce, plaintext, _row(account))", 'encrypt(nonce, plaintext, b"")'),
        ("a key signs before it is published", "if key.signs_from <= now]", "if True]"),
        ("a root is used before it is known", "if root.used_from <= now]", "if True]"),
        ("the fence goes down", "fence=max(ring.fence, now + 1)", "fence=now + 1"),
        ("the fence spares this second", "fence=max(ring.fence, now + 1)", "fence=max(ring.fence, now)"),
        ("a key goes too early", "<= KEY_KEPT_AFTER_USE_S\n", "<= KEY_KEPT_AFTER_USE_S - 1\n"),
        ("two lists of parts read the same", 'b"".join(len(part).to_bytes(4, "big") + part for part in encoded)', 'b"".join(encoded)'),
        ("a scalar may be nought", "if 0 < int.from_bytes(drawn", "if 0 <= int.from_bytes(drawn"),
    ),
    *_of(
        _CORE + "passwords.py",
        ("a password is not capped", "> policy.PASSWORD_BYTES_MAX:", "> 1024 * policy.PASSWORD_BYTES_MAX:"),
        ("a short password will do", "if len(password) < policy.PASSWORD_CHARACTERS_MIN:", "if len(password) < policy.PASSWORD_CHARACTERS_MIN - 1:"),
        ("memory is not bounded", "memory_kib > _MEMORY_KIB_MAX or ", ""),
        ("passes are not bounded", "or passes > _PASSES_MAX ", ""),
        ("lanes are not bounded", " or lanes > _LANES_MAX", ""),
        ("nobody's password may be right", "    if verifier is None:\n        raise InvalidCredentials", "    if False:\n        raise InvalidCredentials"),
        ("words of the address will do", "if any(word in folded for word in whole):", "if False:"),
        ("common words will do", "if guesses(text, _common_words()) < GUESSES_MIN:", "if False:"),
    ),
    *_of(
        _CORE + "public_key.py",
        ("a key of small order is a key", "or y in _SMALL_ORDER ", ""),
        ("a y over the prime is a key", "if y >= _P or ", "if "),
        ("a second spelling of a point is a key", "if len(raw) != _COMPRESSED_BYTES:", "if False:"),
        ("y need not fit x", 'if key.to_jwk()["y"] != jwk["y"]:', "if False:"),
        ("a signature may have any length", "if len(signature) != SIGNATURE_BYTES:", "if False:"),
        ("a private key is read as a public one", "<= jwk.keys() <= required | _ALLOWED:", "<= jwk.keys():"),
    ),
    *_of(
        _CORE + "base64url.py",
        ("stray bits are taken", "if last is not None and text[-1] not in last:", "if False:"),
        ("padding is taken", 'b"-_+/=", b"+/---"', 'b"-_+/", b"+/--"'),
    ),
    *_of(
        _CORE + "fields.py",
        ("a parameter may stand twice", "if len(parameters) < len(found):", "if False:"),
        ("a key may stand twice", ", on_duplicate_key=_refuse_duplicate", ""),
    ),
    *_of(
        _CORE + "email.py",
        ("an address is not capped", "> EMAIL_BYTES_MAX:", "> 4 * EMAIL_BYTES_MAX:"),
        ("an address has as many spellings as cases", ".lower()\n", "\n"),
    ),
    *_of(
        _STORES + "gates.py",
        ("a disabled account is active", 'ACTIVE: Final = "#status = :active"', 'ACTIVE: Final = "#status <> :deleted"'),
        ("the last second is over", '#expires_at > :now"', '#expires_at >= :now"'),
        ("idle a second early", '#issued_at >= :idle_before"', '#issued_at > :idle_before"'),
        ("the fence a second late", '#auth_time >= :fence"', '#auth_time > :fence"'),
        ("any epoch is this one", '.#epoch = #epoch"', '.#epoch <= #epoch"'),
        ("a login too many", 'HAS_ROOM: Final = "size(#lineages) < :room"', 'HAS_ROOM: Final = "size(#lineages) <= :room"'),
        ("the attempt is not written", ' #lineages.#lineage.#attempts[{slot}] = :attempt"', ' #lineages.#lineage.#attempts[{slot}] = #lineages.#lineage.#attempts[{slot}]"'),
        ("a raised epoch keeps all", 'RAISE_EPOCH: Final = "SET #epoch = #epoch + :one,', 'RAISE_EPOCH: Final = "SET #epoch = #epoch,'),
        ("an end is not written", "#lineages.#lineage.#ended_why = :why REMOVE", "#lineages.#lineage.#label = :why REMOVE"),
        ("deleted is not absorbing", "                (EXISTS, NOT_DELETED),\n", "                (EXISTS,),\n"),
        ("nobody's gate is made", "RAISE_EPOCH, (EXISTS,), values", "RAISE_EPOCH, (NOT_DELETED,), values"),
        ("what is replaced need not be as read", "(*ADMISSIBLE, *replaced_as_read),", "ADMISSIBLE,"),
        ("any write was our own", "Done() if gate is not None and gate.lineages.get(lineage.id) == lineage else Moved()", "Done()"),
        ("no write was our own", "Done() if gate is not None and gate.lineages.get(lineage.id) == lineage else Moved()", "Moved()"),
        ("a child is issued in the past", '":issued_at": number(max(now, presented.issued_at)),', '":issued_at": number(now),'),
        ("a gate is written over another", "**expression({}, condition=IS_NEW)}}", '**expression({}, condition=f"{IS_NEW} OR {EXISTS}")}}'),
        ("the verifier version stays", "number(expected.verifier_version + 1)", "number(expected.verifier_version)"),
        ("mine ends with the others", '":next_epoch": number(expected.epoch + 1)', '":next_epoch": number(expected.epoch)'),
        ("an item with nothing in it is none (read)", "return gate_of(item) if item is not None else None\n\n    def", "return gate_of(item) if item else None\n\n    def"),
        ("an item with nothing in it is none (judged)", "return gate_of(item) if item is not None else None\n\n\ndef", "return gate_of(item) if item else None\n\n\ndef"),
    ),
    *_of(
        _STORES + "ephemeral.py",
        ("a nonce may be spent again", 'condition=f"{IS_NEW} OR {IS_OVER}"', 'condition=f"{IS_NEW} OR {IS_OVER} OR attribute_exists(pk)"'),
        ("a nonce is spent for ever", 'condition=f"{IS_NEW} OR {IS_OVER}"', "condition=IS_NEW"),
        ("our own nonce is a replay", "return Done() if _spent_by(failed.item, mark) else Refused()", "return Refused()"),
        ("a replay is our own", "return Done() if _spent_by(failed.item, mark) else Refused()", "return Done()"),
        ("a grant is for every lineage", "all_of(FOR_THIS_LINEAGE, FOR_THIS_OPERATION, NOT_EXPIRED, NOT_SPENT)", "all_of(FOR_THIS_OPERATION, NOT_EXPIRED, NOT_SPENT)"),
        ("a grant is for every operation", "all_of(FOR_THIS_LINEAGE, FOR_THIS_OPERATION, NOT_EXPIRED, NOT_SPENT)", "all_of(FOR_THIS_LINEAGE, NOT_EXPIRED, NOT_SPENT)"),
        ("a grant lives for ever", "all_of(FOR_THIS_LINEAGE, FOR_THIS_OPERATION, NOT_EXPIRED, NOT_SPENT)", "all_of(FOR_THIS_LINEAGE, FOR_THIS_OPERATION, NOT_SPENT)"),
        ("a grant may be spent again", "all_of(FOR_THIS_LINEAGE, FOR_THIS_OPERATION, NOT_EXPIRED, NOT_SPENT)", "all_of(FOR_THIS_LINEAGE, FOR_THIS_OPERATION, NOT_EXPIRED)"),
        ("a spent grant is anybody's", "if item is not None and _spent_by(item, mark) else Refused()", "if item is not None else Refused()"),
        ("a throttle never fills", "taken < :limit", "taken < :limit OR taken >= :limit"),
        ("a throttle has one place more", "taken < :limit", "taken <= :limit"),
        ("a throttle goes below nought", 'SOMETHING_TAKEN: Final = "taken > :zero"', 'SOMETHING_TAKEN: Final = "taken > :zero OR attribute_not_exists(taken) OR taken <= :zero"'),
    ),
    *_of(
        _STORES + "users.py",
        ("a claim is written over another", "**expression({}, condition=IS_NEW)}}", '**expression({}, condition=f"{IS_NEW} OR attribute_exists(pk)")}}'),
        ("somebody else's claim is freed", "condition=CLAIMED_BY_ACCOUNT)", 'condition=f"{CLAIMED_BY_ACCOUNT} OR attribute_exists(pk)")'),
        ("a changed verifier is rehashed over", "condition=all_of(VERSION_AS_READ, VERIFIER_AS_READ)", "condition=VERSION_AS_READ"),
        ("a password changes over a change", "            condition=VERSION_AS_READ,\n", '            condition=f"{VERSION_AS_READ} OR attribute_exists(pk)",\n'),
        ("any registration was our own", "if stored is not None and _user_of(stored) == user:", "if stored is not None:"),
        ("no registration was our own", "if stored is not None and _user_of(stored) == user:", "if False:"),
    ),
    *_of(
        _STORES + "engine.py",
        ("a read may be stale", "ConsistentRead=True", "ConsistentRead=False"),
        ("a cancelled transaction needs no reasons", '"ConditionalCheckFailed" in reasons and ', ""),
        ("a throttled transaction has failed", 'reasons <= {"None", "ConditionalCheckFailed"}:\n                raise', "reasons:\n                raise"),
        ("reasons may be too few", "if len(failed.items) != len(writes):", "if False:"),
        ("half an answer is an answer", "        json.loads(http_response.content)\n", "        pass\n"),
        ("a checksum is not looked at", "zlib.crc32(http_response.content) != int(", "0 == int("),
        ("a conflict is not waited out", "if pause_s is None or not _conflicted(response):", "if True:"),
        ("a conflict is waited out for ever", "(*CONFLICT_PAUSES_S, None)", "(*CONFLICT_PAUSES_S * 9, None)"),
    ),
    *_of(
        _STORES + "items.py",
        ("what cannot be read is a defect", "except (KeyError, ValueError, TypeError, IndexError) as error:", "except IndexError as error:"),
        ("a label is not capped", "if len(lineage.label.encode()) > LABEL_BYTES_MAX:", "if False:"),
    ),
    *_of(
        _STORES + "key_ring.py",
        ("a ring that nobody wrapped is taken", 'if "data_key" not in stored:', "if False:"),
        ("a wrapped ring is read as it is", 'if "data_key" in stored:', "if False:"),
        ("a ring is written over a newer one", 'REVISION_AS_READ: Final = "revision = :revision"', 'REVISION_AS_READ: Final = "revision >= :revision OR revision < :revision"'),
        ("a ring may be of another revision", "if ring.revision != revision:", "if False:"),
        ("a ring is never looked at again", "_within(KEY_RING_REFRESH_S, since=cached.read_at, now=now)", "True"),
        ("garbage makes us read", "_within(KEY_RING_UNKNOWN_KID_S, since=asked_at, now=now)", "False"),
        ("an absent ring is made anywhere", "makes_absent_ring: ClassVar[bool] = False", "makes_absent_ring: ClassVar[bool] = True"),
    ),
    *_of(
        _STORES + "audit.py",
        ("an event is written over another", "condition=IS_NEW),\n            )", 'condition=f"{IS_NEW} OR attribute_exists(pk)"),\n            )'),
        ("an event that is lost undoes what happened", "        except Exception as error:  # noqa", "        except ZeroDivisionError as error:  # noqa"),
    ),
    *_of(
        _STORES + "transport.py",
        ("a checksum is not looked at", "zlib.crc32(body) != int(", "0 == int("),
        ("a refusal is an answer", "if status != _OK:", "if status >= _OUR_SIDE:"),
        ("a dropped connection is kept", 'self.kept = headers.get("connection", "").lower() != "close"', "self.kept = True"),
        ("what broke is used again", "            connection.close()\n            raise\n", "            self._idle.append(connection)\n            raise\n"),
        ("it is sent once", "for attempt in range(1, self._attempts + 1):", "for attempt in range(self._attempts, self._attempts + 1):"),
        ("yesterday's key signs", "if known != day:", "if not known:"),
        ("a plain no is asked again", "if last or not (status", "if last and not (status"),
    ),
]  # fmt: skip
"""One for each guard. What replaces a condition is still a condition, so that no mutant dies of its grammar."""

_QUICKEST: Final = frozenset({"lineage.py", "key_ring.py", "public_key.py", "base64url.py", "engine.py"})
SHORT: Final = [mutant for mutant in LISTED if mutant.file.rpartition("/")[2] in _QUICKEST][::3][:12]
"""A dozen, of the files whose tests are the quickest."""
