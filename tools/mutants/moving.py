"""Listed mutants of imported passwords, of narrowed tokens, and of signatures with the tag ``httpsig-oauth``."""

# ruff: noqa: E501 - a table: one mutant, one line
from typing import Final

from tools.mutants.mutant import Mutant


def _of(file: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(file, name, old, new) for name, old, new in changes]


MOVING: Final[list[Mutant]] = [
    *_of(
        "chalicelib/baton/factors/password_hash.py",
        ("a password is accepted for an unknown account", "    if password_hash is None:\n        raise InvalidCredentials", "    if False:\n        raise InvalidCredentials"),
        ("the password as typed is not tried", "elif as_sent and as_sent != password and read.matches(as_sent):", "elif False:"),
        ("the password is computed twice for a wrong ASCII password", "as_sent != password and ", ""),
        ("a hash of another system stays", "or not is_current(read))", "or False)"),
        ("a hash of the password as typed stays", "rehash=(matched != password or not", "rehash=(not"),
        ("a mistyped end of a long password is stored", " and not _is_cut(read, matched)", ""),
        ("an unknown account costs Baton's own hash", "(decoy or _NOBODYS_PASSWORD_HASH)", "_NOBODYS_PASSWORD_HASH"),
    ),
    *_of(
        "chalicelib/baton/factors/hashes/argon2_hash.py",
        ("a hash with unlimited memory is computed", "MEMORY_KIB_PER_LANE * lanes, MEMORY_KIB_MAX)", "MEMORY_KIB_PER_LANE * lanes, 2**40)"),
        ("a hash with unlimited passes is computed", '    check_range("t", passes, 1, PASSES_MAX)\n', ""),
        ("a hash with unlimited lanes is computed", '    check_range("p", lanes, 1, LANES_MAX)\n', ""),
        ("a salt that the library cannot decode is accepted", '    _check_base64(match[5], least=SALT_BYTES_MIN, most=SALT_BYTES_MAX, what="salt")\n', ""),
        ("a hash that the library cannot decode is accepted", '    _check_base64(match[6], least=TAG_BYTES_MIN, most=TAG_BYTES_MAX, what="hash")\n', ""),
        ("many passes over much memory are computed", '    check_range("m times t", memory_kib * passes, 1, MEMORY_PASSES_KIB_MAX)\n', ""),
    ),
    *_of(
        "chalicelib/baton/factors/hashes/bcrypt_hash.py",
        ("bcrypt of any cost is computed", "COST_MIN, COST_MAX = 4, 13", "COST_MIN, COST_MAX = 4, 31"),
        ("a long password is a defect of bcrypt", "password[:PASSWORD_BYTES]", "password"),
        ("other unused bits of a salt are a server error", "_cleared(last_of_salt, bits=4)", "last_of_salt"),
        ("a hash with other unused bits has no password", "_cleared(last, bits=2)", "last"),
        ("the faulty bcrypt is accepted", r"\$2[aby]\$", r"\$2[abxy]\$"),
    ),
    *_of(
        "chalicelib/baton/factors/hashes/scrypt_hash.py",
        ("scrypt of any work is computed", '    check_range("N times r times p", 2**ln * r * p, 1, WORK_MAX)\n', ""),
        ("scrypt of any N is computed", '    check_range("ln", ln, LN_MIN, ln_max)\n', ""),
        ("scrypt of any r is computed", '    check_range("r", r, 1, r_max)\n', ""),
        ("scrypt that OpenSSL refuses is accepted", "    if ln >= 16 * r:\n", "    if False:\n"),
    ),
    *_of(
        "chalicelib/baton/factors/hashes/firebase_hash.py",
        ("Firebase's scrypt has the limits of scrypt", "scrypt_hash.check_cost(n, r, p, ln_max=N_MAX, r_max=R_MAX)", "scrypt_hash.check_cost(n, r, p)"),
        ("the salt separator is left out", "salt + separator, signer_key, tag", "salt, signer_key, tag"),
    ),
    *_of(
        "chalicelib/baton/factors/hashes/pbkdf2_hash.py",
        ("the blocks of a hash do not count", '    check_range("i of all blocks of the hash", rounds * _blocks(digest, tag), ROUNDS_MIN, ROUNDS_MAX[digest])\n', ""),
        ("PBKDF2 of few rounds is accepted", "ROUNDS_MIN = 1_000", "ROUNDS_MIN = 1"),
    ),
    *_of(
        "chalicelib/baton/factors/decoys.py",
        ("a range moves when the share of another kind falls", "        begin += first\n", "        begin += share\n"),
        ("the shares after an import may be more than everything", "    if begin > _WHOLE:\n", "    if False:\n"),
    ),
    *_of(
        "chalicelib/baton/accounts/migration.py",
        ("another system is asked for ever", "migration is None or now >= migration.until", "migration is None"),
        ("the password alone avoids the old second factor", "migrated is None or (migrated.second_factor and not self.mail)", "migrated is None"),
        ("another system replaces a password", "waits = user is not None and user.migrate and user.password_hash is None", "waits = user is not None"),
        ("another system enables an account", "(waits and account_state is not None and account_state.status is Status.ACTIVE)", "(waits and account_state is not None)"),
        ("a slow system means a wrong password", '    if not answers:\n        raise errors.Unavailable("migrate_with: the function is too slow")\n', "    if not answers:\n        return None\n"),
        ("a failing system means a wrong password", "    if failures:\n", "    if failures:\n        return None\n    if failures:\n"),
        ("the second factor of the other system is forgotten", "            second_factor_required=migrated.second_factor,\n", ""),
    ),
    *_of(
        "chalicelib/baton/factors/credentials.py",
        ("every address has the same decoy", "decoy=self.decoys.of(account)", "decoy=None"),
        ("an account without a password is a server error", "user is not None and user.password_hash is not None and password_hash is None", "user is not None and password_hash is None"),
    ),
    *_of(
        "chalicelib/baton/lineages/resources.py",
        ("Baton's own audience may be a resource", "    elif identifier in own:\n", "    elif False:\n"),
        ("a narrowed token may live for a day", "1 <= max_s <= NARROWED_MAX_S", "1 <= max_s <= 86400"),
        ("two resources have one identifier", 'row["identifier"] in {one.identifier for one in found.values()}', "False"),
    ),
    *_of(
        "chalicelib/baton/storage/aws/cognito.py",
        ("a user name that looks like an address verifies it", ' and str(claims.get("email", "")).lower() == email', ""),
        ("an error of the pool is a wrong password", "            return None\n        raise\n", "            return None\n        return None\n"),
        ("a challenge for a second factor is a wrong password", 'if answer.get("ChallengeName") in FACTORS:', "if False:"),
    ),
    *_of(
        "chalicelib/baton/tokens/narrow.py",
        ("a stolen token can be narrowed", "        self.proof.signature(message, proved, now=now)\n", ""),
        ("any client may ask for any server", "if proved.client.id not in resource.clients:", "if False:"),
        ("an ended login can be narrowed", "        if not isinstance(verdict, Active):\n", "        if False:\n"),
        ("a token that only renews can be narrowed", "if proved.token.kind is Kind.REFRESH or proved.client.retired:", "if proved.client.retired:"),
        ("a narrowed token has more scope than the login", "if not scope or not scope <= allowed:", "if not scope:"),
        ("a narrowed token without scope is issued", "if not scope or not scope <= allowed:", "if not scope <= allowed:"),
        ("a narrowed token outlives the token it came from", "min(now + resource.max_s, self._rest(proved, active), active.lineage.expires_at)", "now + resource.max_s"),
        ("a server sees the tokens of another", "not known or claims.aud != resource.identifier or", "not known or"),
        ("a narrowed token is of a later login with the same id", "if lineage.auth_time != claims.auth_time:", "if False:"),
        ("a narrowed token of an ended login is active", "return claims if ended is None else None", "return claims"),
        ("an actor token is ignored", 'if "actor_token" in form or "actor_token_type" in form:', "if False:"),
    ),
    *_of(
        "chalicelib/baton/tokens/presented.py",
        ("two signatures may have two nonces", "other is None or other.nonce != verified.nonce", "other is None"),
        ("the second signature is a decoration", "        if read_signature(message) is not None:\n            other", "        if False:\n            other"),
        ("the tag httpsig-oauth is ignored beside Bearer", "            if any(HTTPSIG.tag in line", "            if False and any(HTTPSIG.tag in line"),
    ),
    *_of(
        "chalicelib/baton/proof/signature_input.py",
        ("a list needs no space in one step", r"({_PLAIN_NAME}(?: {_PLAIN_NAME})*+)", r"((?:{_PLAIN_NAME} ?)++)"),
        ("a component with a space is two components", r"""_PLAIN_NAME = r'"[!#-""", r"""_PLAIN_NAME = r'"[ !#-"""),
        ("base64 of any length is read in one step", " and len(plain[2]) % 4 == 0:", ":"),
        ("a message names its own key", '{"created": int, "expires": int, "nonce": str, "tag": str}', '{"created": int, "expires": int, "nonce": str, "tag": str, "keyid": str, "alg": str}'),
    ),
]  # fmt: skip
