"""The keys of a deployment: their purposes, their rotation and their limits."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, LineageId, Secret
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.ring import CannotDecrypt, Ring, SigningKey, root_version
from chalicelib.baton.keys.ring_format import RingUnreadable, ring_from_bytes, ring_to_bytes
from chalicelib.baton.keys.rotation import (
    KEY_KEPT_AFTER_USE_S,
    Entropy,
    make_ring,
    raise_not_before,
    retire_keys,
    rotate_due,
    rotate_root,
    rotate_signing,
)
from chalicelib.baton.policy import (
    DAY_S,
    ISSUED_AFTER_KEY_MAX_S,
    ISSUED_AHEAD_MAX_S,
    MECHANISMS,
    RING_SEEN_EVERYWHERE_S,
    ROOT_ROTATED_AFTER_S,
    SIGNING_KEY_PUBLISHED_BEFORE_USE_S,
    SIGNING_KEY_ROTATED_AFTER_S,
)
from chalicelib.baton.tokens.jwt import jwks

pytestmark = pytest.mark.guarantee(10)

NOW = 1_700_000_000
EMAIL = "ada@example.com"
ATTEMPT = "0123456789abcdef"
NONCE = bytes(range(12))


def counted_entropy() -> Entropy:
    """Make bytes that look random and are the same in each run."""
    number = count()

    def draw(size: int) -> bytes:
        return hashlib.shake_256(f"entropy {next(number)}".encode()).digest(size)

    return draw


ENTROPY = counted_entropy()
RING = make_ring(ENTROPY, now=NOW)
ACCOUNT, LINEAGE = RING.account_ids(EMAIL, ATTEMPT, now=NOW)[0], RING.lineage_ids(EMAIL, ATTEMPT, now=NOW)[0]


def hkdf(secret: Secret, info: bytes) -> bytes:
    """Compute RFC 5869 for 32 bytes, independently of Baton."""
    extracted = hmac.digest(bytes(32), secret.reveal(), "sha256")
    return hmac.digest(extracted, info + b"\1", "sha256")


class TestMaking:
    """`make_ring`."""

    def test_the_first_keys_are_usable_immediately(self) -> None:
        """A machine whose clock is behind can use them too."""
        for now in (NOW, NOW - DAY_S):
            assert RING.signer(now) is RING.signing[0]
            assert RING.root_for_new(now) is RING.roots[0]
        assert RING.revision == 1
        assert RING.not_before == 0

    def test_every_key_is_drawn_separately(self) -> None:
        """No two keys of a ring have the same bytes."""
        assert len(set(_secrets(RING))) == 5

    def test_scalars_out_of_range_are_drawn_again(self) -> None:
        """Zero and the order of the curve are not valid private keys (FIPS 186-5 A.2.2)."""
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        draws = iter([bytes(32), order.to_bytes(32, "big"), b"\xff" * 32, (order - 1).to_bytes(32, "big")])
        ring = make_ring(lambda size: next(draws, bytes([1]) * size), now=NOW)
        assert ring.signing[0].private == Secret((order - 1).to_bytes(32, "big"))

    def test_the_kid_is_the_thumbprint(self) -> None:
        """The kid is the RFC 7638 thumbprint of the published key."""
        jwk = RING.signing[0].public_jwk()
        members = ",".join(f'"{name}":"{jwk[name]}"' for name in ("crv", "kty", "x", "y"))
        assert jwk["kid"] == encode_base64url(hashlib.sha256(f"{{{members}}}".encode()).digest())
        assert jwk.keys() == {"crv", "kty", "x", "y", "kid", "use", "alg"}
        assert (jwk["alg"], jwk["use"]) == ("ES256", "sig")

    def test_no_repr_shows_a_secret(self) -> None:
        """The secret is not shown raw, in hexadecimal or in base64url."""
        shown = repr(RING) + str(RING) + repr(RING.signing[0]) + repr(RING.lineage_secret(LINEAGE))
        for secret in _secrets(RING):
            for spelling in (repr(secret)[2:-1], secret.hex(), encode_base64url(secret), str(int.from_bytes(secret))):
                assert spelling not in shown


class TestRotating:
    """`rotate_signing`, `rotate_root`, `raise_not_before`."""

    def test_a_new_signing_key_is_published_before_it_signs(self) -> None:
        """The ring already has the next key. This key signs ten minutes later, and another next key is published."""
        ring = rotate_signing(RING, ENTROPY, now=NOW)
        old, new, following = ring.signing
        starts = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        assert (old, new.kid) == (RING.signing[0], RING.signing[1].kid)
        assert ring.signer(starts - 1) is old
        assert ring.signer(starts) is new
        assert following.signs_from == starts + SIGNING_KEY_ROTATED_AFTER_S
        assert [key["kid"] for key in jwks(ring)["keys"]] == [old.kid, new.kid, following.kid]

    def test_a_rotation_in_progress_is_not_delayed(self) -> None:
        """A second rotation does not delay the next key, nor does one shortly before it is due.

        A later key stays later.
        """
        twice = rotate_signing(rotate_signing(RING, ENTROPY, now=NOW), ENTROPY, now=NOW + 60)
        assert [key.signs_from for key in twice.signing[:2]] == [0, NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S]
        assert len(twice.signing) == 3
        due = RING.signing[1].signs_from
        late = rotate_signing(RING, ENTROPY, now=due - 5)
        assert late.signing[1] == RING.signing[1]

    def test_a_new_root_is_in_every_cache_before_it_is_used(self) -> None:
        """A new root is used after ten minutes, like a new signing key. Both roots remain in the ring."""
        ring = rotate_root(RING, ENTROPY, now=NOW)
        old, new = ring.roots
        starts = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        assert ring.root_for_new(starts - 1) is old
        assert ring.root_for_new(starts) is new
        assert (ring.root(1), ring.root(2), ring.root(3), ring.root(0)) == (old, new, None, None)

    def test_a_key_is_rotated_when_it_is_due(self) -> None:
        """Each day of two years: signing keys rotate every 90 days, roots every 365. Old keys are removed in time."""
        ring, signed_by, rooted_in = RING, list[int](), [NOW]
        for now in range(NOW, NOW + 730 * DAY_S, DAY_S):
            signer = ring.signer(now - 1)
            rotated = rotate_due(ring, ENTROPY, now=now)
            assert (rotated is ring) == (rotated.revision == ring.revision)
            signed_by += [now] if rotated.signer(now) != signer else []
            rooted_in += [now] if rotated.roots[-1] != ring.roots[-1] else []
            ring = rotated
            assert len(ring.signing) <= KEY_KEPT_AFTER_USE_S // SIGNING_KEY_ROTATED_AFTER_S + 4
            assert (now - ring.signing[-1].made_at) // DAY_S <= 90
        assert signed_by == list(range(NOW, NOW + 730 * DAY_S, SIGNING_KEY_ROTATED_AFTER_S))[1:]
        assert rooted_in == [NOW, NOW + ROOT_ROTATED_AFTER_S]
        assert ring_from_bytes(ring_to_bytes(ring)) == ring

    def test_the_ring_always_has_a_next_key_that_every_environment_has_read(self) -> None:
        """Each day of two years: the rotation job fails on six of seven days, and an operator rotates keys too."""
        ring = RING
        for day in range(730):
            now = NOW + day * DAY_S
            known = {key.kid for key in ring.signing}
            if day % 7 == 0:
                ring = rotate_due(ring, ENTROPY, now=now)
            if day % 100 == 50:
                ring = rotate_signing(ring, ENTROPY, now=now)
            if day % 100 == 99:
                ring = retire_keys(ring, ENTROPY, now=now)
            # An environment that read the ring ten minutes ago signs and verifies with it, although the stored ring may
            # be newer.
            assert ring.signer(now).kid in known
            assert ring.signing[-1].signs_from > now + DAY_S
            assert ring.signing[-1].made_at > now - 91 * DAY_S
        assert ring_from_bytes(ring_to_bytes(ring)) == ring

    def test_an_old_ring_gets_its_next_key_at_the_next_rotation_job(self) -> None:
        """An old version published no next key. No key signs before each environment has read it, whatever its age."""
        for age_s in (0, DAY_S, SIGNING_KEY_ROTATED_AFTER_S - 60, 10 * SIGNING_KEY_ROTATED_AFTER_S):
            stored = ring_from_bytes(ring_to_bytes(replace(RING, signing=RING.signing[:1])))
            now = NOW + age_s
            ring = rotate_due(stored, ENTROPY, now=now)
            old, following = ring.signing
            due = NOW + SIGNING_KEY_ROTATED_AFTER_S
            assert following.signs_from == max(due, now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S)
            for change in (rotate_signing, retire_keys):
                changed = change(stored, ENTROPY, now=now)
                assert changed.signer(now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S - 1) == old
                assert changed.signer(now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S) == changed.signing[1]
                assert len(changed.signing) == 3

    def test_retiring_ends_the_use_of_every_key_in_the_ring(self) -> None:
        """The next key signs immediately, because each reader of the ring has it. A new key signs ten minutes later."""
        later = NOW + DAY_S
        ring = retire_keys(RING, ENTROPY, now=later)
        old, following, new, next_ = ring.signing
        takes_over = later + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        assert (old.kid, following.kid) == tuple(key.kid for key in RING.signing)
        assert [ring.signer(now) for now in (later - 1, later, takes_over - 1, takes_over)] == [
            old, following, following, new
        ]  # fmt: skip
        assert [ring.served_until(key) for key in ring.signing] == [later, takes_over, next_.signs_from, None]
        assert ring.revision == RING.revision + 1

    def test_retiring_also_ends_the_keys_that_do_not_sign_yet(self) -> None:
        """Their number and age do not matter. A key that some environment may not have read never signs."""
        ring = rotate_due(RING, ENTROPY, now=NOW + 89 * DAY_S)
        assert len(ring.signing) == 3
        retired = retire_keys(retire_keys(ring, ENTROPY, now=NOW + 89 * DAY_S + 5), ENTROPY, now=NOW + 89 * DAY_S + 9)
        takes_over = NOW + 89 * DAY_S + 9 + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        new = retired.signing[-2]
        assert retired.signer(takes_over) is new
        assert new.made_at == NOW + 89 * DAY_S + 9
        for key in retired.signing[:-2]:
            end = retired.served_until(key)
            assert end is not None
            assert end <= takes_over
        for now in range(NOW + 89 * DAY_S, takes_over, 5):
            assert retired.signer(now).made_at <= now - SIGNING_KEY_PUBLISHED_BEFORE_USE_S

    def test_a_key_serves_until_ten_minutes_after_its_successor_signs(self) -> None:
        """The ten minutes cover a cached ring and two clocks a minute apart.

        There is no lower bound, and the newest key has no end.
        """
        end = NOW + DAY_S
        ring = retire_keys(RING, ENTROPY, now=end)
        old, _, _, newest = ring.signing
        for issued_at in (0, end, end + RING_SEEN_EVERYWHERE_S + 2 * ISSUED_AHEAD_MAX_S, end + ISSUED_AFTER_KEY_MAX_S):
            assert ring.serves(old, issued_at)
        assert not ring.serves(old, end + ISSUED_AFTER_KEY_MAX_S + 1)
        assert ring.serves(newest, 0)
        assert ring.serves(newest, 2**32 - 1)

    def test_a_key_that_signs_earlier_ends_the_keys_before_it(self) -> None:
        """A version that rotates by age appends a key that signs before the next key."""
        old, following = RING.signing
        ahead = replace(following, kid="made by an earlier version", signs_from=NOW + 600)
        ring = replace(RING, signing=(old, following, ahead))
        assert ring.signer(NOW + 600) is ahead
        assert ring.signer(following.signs_from) is ahead
        assert [ring.served_until(key) for key in ring.signing] == [NOW + 600, NOW + 600, None]

    def test_a_key_of_ended_logins_only_is_not_published(self) -> None:
        """After a raised not-before time, other servers must not accept tokens of a leaked key."""
        now = NOW + DAY_S
        ring = retire_keys(RING, ENTROPY, now=now)
        ends = now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S + ISSUED_AFTER_KEY_MAX_S
        assert len(jwks(raise_not_before(ring, now=now))["keys"]) == 4
        assert len(jwks(raise_not_before(ring, now=ends - 1))["keys"]) == 3
        fenced = raise_not_before(ring, now=ends)
        assert [key["kid"] for key in jwks(fenced)["keys"]] == [key.kid for key in ring.signing[2:]]
        assert fenced.signing == ring.signing

    @pytest.mark.parametrize("rotate", [rotate_signing, retire_keys, rotate_root])
    def test_a_rotation_changes_nothing_else(self, rotate: Callable[..., Ring]) -> None:
        """The revision rises by one. The given ring is not changed."""
        before = ring_to_bytes(RING)
        rotated = rotate(RING, ENTROPY, now=NOW)
        assert ring_to_bytes(RING) == before
        assert rotated.revision == RING.revision + 1
        assert (rotated.email_key, rotated.password_key, rotated.not_before) == (RING.email_key, RING.password_key, 0)

    def test_a_key_is_kept_while_its_tokens_can_be_valid(self) -> None:
        """Three years of monthly rotation: no valid token loses its key, and no key is kept longer than necessary."""
        life = max(mechanism.absolute_s for mechanism in MECHANISMS.values())
        ring, made = RING, list[tuple[int, str, int]]()
        for now in range(NOW, NOW + 3 * 365 * DAY_S, 10 * DAY_S):
            if (now - NOW) // DAY_S % 30 == 0:
                ring = rotate_root(rotate_signing(ring, ENTROPY, now=now), ENTROPY, now=now)
            made.append((now, ring.signer(now).kid, ring.root_for_new(now).version))
            for at, kid, version in made:
                if now <= at + life:
                    assert kid in {key.kid for key in ring.signing}
                    assert ring.root(version) is not None
            assert len(ring.signing) <= life // (30 * DAY_S) + 3
            assert len(ring.roots) == len(ring.signing) - 1

    def test_a_key_is_removed_in_the_second_after_its_last_token(self) -> None:
        """At that time, the successor of the key has been in use for longer than the longest login."""
        taken_over = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        for rotate in (rotate_signing, retire_keys, rotate_root):
            ring = rotate(RING, ENTROPY, now=NOW)
            kept, gone = (rotate(ring, ENTROPY, now=taken_over + KEY_KEPT_AFTER_USE_S + late_s) for late_s in (0, 1))
            first = (RING.roots if rotate is rotate_root else RING.signing)[0]
            assert first in kept.roots + kept.signing
            assert first not in gone.roots + gone.signing

    def test_a_key_is_kept_for_the_last_login_that_it_can_have_signed(self) -> None:
        """An environment with a cached ring signs with it for ten more minutes.

        That login can last as long as any other.
        """
        life = max(mechanism.absolute_s for mechanism in MECHANISMS.values())
        assert life + ISSUED_AFTER_KEY_MAX_S == KEY_KEPT_AFTER_USE_S

    def test_the_newest_key_is_never_removed(self) -> None:
        """The time since the last rotation does not matter."""
        for change in (rotate_signing, rotate_due, retire_keys):
            now = NOW + 10 * KEY_KEPT_AFTER_USE_S
            ring = change(RING, ENTROPY, now=now)
            assert ring.signer(now) == RING.signing[1]
            assert RING.signing[0] not in ring.signing

    def test_root_versions_start_again_after_255(self) -> None:
        """A version is one byte and never 0. A version that is still in the ring is not used again."""
        ring, now = replace(RING, roots=(replace(RING.roots[0], version=254),)), NOW
        for version in (255, 1, 2):
            now += DAY_S
            ring = rotate_root(ring, ENTROPY, now=now)
            assert ring.roots[-1].version == version
        full = replace(ring, roots=(replace(ring.roots[0], version=8), replace(ring.roots[0], version=7)))
        with pytest.raises(ValueError, match="255"):
            rotate_root(full, ENTROPY, now=now)

    def test_the_not_before_time_never_decreases(self) -> None:
        """The later of two times holds, in either order."""
        raised = raise_not_before(RING, now=NOW)
        assert (raised.not_before, raised.revision) == (NOW + 1, 2)
        assert raise_not_before(raised, now=NOW - 5).not_before == NOW + 1
        assert raise_not_before(raised, now=NOW + 5).not_before == NOW + 6

    def test_a_ring_without_a_usable_key_is_a_server_error(self) -> None:
        """The answer is 503. A key that becomes usable later does not sign."""
        ring = replace(
            RING,
            signing=tuple(replace(key, signs_from=NOW + 1) for key in RING.signing),
            roots=(replace(RING.roots[0], used_from=NOW + 1),),
        )
        with pytest.raises(Unavailable):
            ring.signer(NOW)
        with pytest.raises(Unavailable):
            ring.root_for_new(NOW)
        with pytest.raises(Unavailable):
            ring.lineage_ids(EMAIL, ATTEMPT, now=NOW)


class TestNames:
    """Ids and indexes derived from an e-mail address and an attempt."""

    def test_ids_are_twelve_bytes_that_begin_with_the_root_version(self) -> None:
        """An id has 16 characters in its canonical spelling."""
        for identity in (ACCOUNT, LINEAGE):
            assert len(decode_base64url(identity)) == 12
            assert root_version(identity) == 1

    def test_ids_are_an_hmac_under_their_own_key(self) -> None:
        """The test computes them independently.

        A changed derivation would give each repeated request another account.
        """
        message = len(EMAIL).to_bytes(4, "big") + EMAIL.encode() + len(ATTEMPT).to_bytes(4, "big") + ATTEMPT.encode()
        for identity, info in ((ACCOUNT, b"baton account id"), (LINEAGE, b"baton lineage id")):
            mac = hmac.digest(hkdf(RING.roots[0].secret, info), message, "sha256")
            assert decode_base64url(identity) == b"\1" + mac[:11]
        index = hmac.digest(hkdf(RING.email_key, b"baton email index"), message[: 4 + len(EMAIL)], "sha256")
        assert RING.email_index(EMAIL) == encode_base64url(index)

    def test_every_input_changes_the_id(self) -> None:
        """The inputs are address, attempt, purpose and deployment. The parts cannot run together."""
        other = make_ring(ENTROPY, now=NOW)
        ids = [
            ACCOUNT,
            LINEAGE,
            RING.decoy_account(EMAIL),
            RING.decoy_account("bob@example.com"),
            other.account_ids(EMAIL, ATTEMPT, now=NOW)[0],
            other.decoy_account(EMAIL),
            *RING.lineage_ids("bob@example.com", ATTEMPT, now=NOW),
            *RING.lineage_ids(EMAIL, "another attempt!", now=NOW),
            *RING.lineage_ids(EMAIL + "0", ATTEMPT[1:], now=NOW),
        ]
        assert len(set(ids)) == len(ids)
        assert RING.email_index(EMAIL) != RING.email_index("bob@example.com") != other.email_index("bob@example.com")

    def test_the_first_of_several_ids_is_for_a_new_account(self) -> None:
        """The others find an earlier request before, during and after a rotation of the root."""
        ring = rotate_root(RING, ENTROPY, now=NOW)
        starts = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        for names in (ring.account_ids, ring.lineage_ids):
            before, after = names(EMAIL, ATTEMPT, now=starts - 1), names(EMAIL, ATTEMPT, now=starts)
            assert [root_version(name) for name in before] == [1, 2]
            assert [root_version(name) for name in after] == [2, 1]
            assert set(before) == set(after)
        assert ring.account_ids(EMAIL, ATTEMPT, now=NOW)[0] == ACCOUNT
        assert ring.lineage_ids(EMAIL, ATTEMPT, now=NOW)[0] == LINEAGE

    def test_the_email_index_does_not_change_with_a_rotation(self) -> None:
        """With another index no account could be found."""
        rotated = rotate_root(rotate_signing(RING, ENTROPY, now=NOW), ENTROPY, now=NOW)
        assert rotated.email_index(EMAIL) == RING.email_index(EMAIL)
        assert rotated.decoy_account(EMAIL) == RING.decoy_account(EMAIL)

    def test_a_decoy_account_has_the_form_of_an_account_and_cannot_exist(self) -> None:
        """No root has version 0."""
        decoy = decode_base64url(RING.decoy_account(EMAIL))
        assert len(decoy) == 12
        assert decoy[0] == 0


class TestSecretsOfLineages:
    """`lineage_secret`."""

    def test_a_lineage_secret_is_derived_from_its_own_root(self) -> None:
        """The secret is HKDF(root, lineage) with 32 bytes, and does not change with a rotation."""
        secret = RING.lineage_secret(LINEAGE)
        assert secret == Secret(hkdf(RING.roots[0].secret, b"baton lineage secret " + LINEAGE.encode()))
        assert rotate_root(RING, ENTROPY, now=NOW).lineage_secret(LINEAGE) == secret
        assert RING.lineage_secret(RING.lineage_ids(EMAIL, "another attempt!", now=NOW)[0]) != secret

    def test_without_its_root_there_is_no_lineage_secret(self) -> None:
        """The ring drops a root only when every lineage of this root has ended."""
        assert RING.lineage_secret(LineageId(encode_base64url(b"\2" + bytes(11)))) is None
        assert RING.lineage_secret(LineageId(encode_base64url(bytes(12)))) is None


class TestEncryption:
    """`encrypt_for` and `decrypt_for`."""

    def test_an_encrypted_value_decrypts_only_for_its_own_account(self) -> None:
        """A password hash that is copied to another account does not work there."""
        sealed = RING.encrypt_for(b"a verifier", account=ACCOUNT, nonce=NONCE)
        assert RING.decrypt_for(sealed, account=ACCOUNT) == b"a verifier"
        assert b"a verifier" not in sealed
        for account in (AccountId(LINEAGE), RING.decoy_account(EMAIL), AccountId("")):
            with pytest.raises(CannotDecrypt):
                RING.decrypt_for(sealed, account=account)

    def test_it_decrypts_after_every_rotation_and_in_no_other_deployment(self) -> None:
        """The key for passwords never rotates."""
        sealed = RING.encrypt_for(b"a verifier", account=ACCOUNT, nonce=NONCE)
        rotated = rotate_root(rotate_signing(RING, ENTROPY, now=NOW), ENTROPY, now=NOW)
        assert rotated.decrypt_for(sealed, account=ACCOUNT) == b"a verifier"
        with pytest.raises(CannotDecrypt):
            make_ring(ENTROPY, now=NOW).decrypt_for(sealed, account=ACCOUNT)

    def test_a_changed_byte_is_detected(self) -> None:
        """A missing byte is detected too."""
        sealed = RING.encrypt_for(b"a verifier", account=ACCOUNT, nonce=NONCE)
        for position in range(len(sealed)):
            altered = bytearray(sealed)
            altered[position] ^= 1
            for wrong in (bytes(altered), sealed[:position], sealed[position + 1 :]):
                with pytest.raises(CannotDecrypt):
                    RING.decrypt_for(wrong, account=ACCOUNT)

    def test_a_nonce_has_twelve_bytes(self) -> None:
        """A shorter nonce could repeat."""
        for size in (0, 8, 11, 13, 16):
            with pytest.raises(ValueError, match="12 bytes"):
                RING.encrypt_for(b"a verifier", account=ACCOUNT, nonce=bytes(size))


class TestStoring:
    """`ring_to_bytes` and `ring_from_bytes`."""

    def test_a_stored_ring_is_read_back(self) -> None:
        """Each key and its times are the same."""
        ring = raise_not_before(rotate_root(rotate_signing(RING, ENTROPY, now=NOW), ENTROPY, now=NOW), now=NOW)
        assert ring_from_bytes(ring_to_bytes(ring)) == ring

    @pytest.mark.parametrize(
        "stored",
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"\xff",
            b'{"format":2}',
            b'{"format":1}',
            b'{"format":"1"}',
            b"[" * 100_000,
            b"\xef\xbb\xbf" + ring_to_bytes(RING),
            ring_to_bytes(RING).decode().encode("utf-16"),
            ring_to_bytes(RING)[:-1],
            ring_to_bytes(RING) + b"{}",
            ring_to_bytes(RING).replace(b'"not_before":0', b'"not_before":0,"not_before":1'),
            ring_to_bytes(RING).replace(b'"not_before":0', b'"not_before":NaN'),
            ring_to_bytes(RING).replace(b'"not_before":0', b'"not_before": 0'),
            ring_to_bytes(RING).replace(b'"not_before":0', b'"not_before":-0'),
            ring_to_bytes(RING).replace(b'"not_before":0', b'"not_before":' + b"9" * 5000),
        ],
        ids=lambda stored: repr(stored[:12]),
    )
    def test_an_invalid_ring_is_refused(self, stored: bytes) -> None:
        """The reader is strict and guesses nothing."""
        with pytest.raises(RingUnreadable):
            ring_from_bytes(stored)

    def test_the_stored_form_does_not_change(self) -> None:
        """A ring of another version is read. Its members are in order and without spaces."""
        ring = raise_not_before(rotate_root(RING, ENTROPY, now=NOW), now=NOW)
        fields = json.loads(ring_to_bytes(ring))
        assert ring_to_bytes(ring) == _written(fields)
        assert list(fields) == ["format", "revision", "signing", "roots", "email_key", "password_key", "not_before"]
        assert {tuple(key) for key in fields["signing"]} == {("kid", "private", "made_at", "signs_from")}
        assert {tuple(root) for root in fields["roots"]} == {("version", "secret", "made_at", "used_from")}
        for secret in (fields["email_key"], fields["signing"][0]["private"], fields["roots"][1]["secret"]):
            assert decode_base64url(secret) in _secrets(ring)

    def test_a_ring_of_format_1_is_read(self) -> None:
        """Two members had other names. The ring is written in the current format."""
        ring = raise_not_before(rotate_root(RING, ENTROPY, now=NOW), now=NOW)
        stored = ring_to_bytes(ring).replace(b'"format":2', b'"format":1')
        stored = stored.replace(b'"password_key"', b'"verifier_key"').replace(b'"not_before"', b'"fence"')
        assert ring_from_bytes(stored) == ring

    def test_every_member_is_required_and_no_other_is_allowed(self) -> None:
        """The members of the ring, of a signing key and of a root are tested."""
        for place in ((), ("signing", 0), ("roots", 0)):
            for name in _at(_fields(), place):
                fields = _fields()
                del _at(fields, place)[name]
                _assert_unreadable(fields)
            fields = _fields()
            _at(fields, place)["another"] = 1
            _assert_unreadable(fields)

    @pytest.mark.parametrize(
        "change",
        [
            lambda fields: fields.update(format=3),
            lambda fields: fields.update(format=1),
            lambda fields: fields.update(revision=0),
            lambda fields: fields.update(revision=True),
            lambda fields: fields.update(revision=1.0),
            lambda fields: fields.update(not_before=-1),
            lambda fields: fields.update(not_before="0"),
            lambda fields: fields.update(not_before=2**60),
            lambda fields: fields.update(signing=[]),
            lambda fields: fields.update(roots=[]),
            lambda fields: fields.update(signing={}),
            lambda fields: fields.update(signing=5),
            lambda fields: fields.update(roots=[[]]),
            lambda fields: fields.update(email_key=None),
            lambda fields: fields.update(email_key=5),
            lambda fields: fields.update(email_key=fields["email_key"][:-2]),
            lambda fields: fields.update(password_key=fields["password_key"] + "="),
            lambda fields: fields.update(password_key=encode_base64url(bytes(33))),
            lambda fields: fields["signing"].append(fields["signing"][0]),
            lambda fields: fields["roots"].append({**fields["roots"][0], "secret": fields["email_key"]}),
            lambda fields: fields["signing"][0].update(kid="another"),
            lambda fields: fields["signing"][0].update(kid=None),
            lambda fields: fields["signing"][0].update(private=fields["email_key"]),
            lambda fields: fields["signing"][0].update(private=encode_base64url(bytes(32))),
            lambda fields: fields["signing"][0].update(private=encode_base64url(b"\xff" * 32)),
            lambda fields: fields["signing"][0].update(signs_from=None),
            lambda fields: fields["roots"][0].update(version=0),
            lambda fields: fields["roots"][0].update(version=256),
            lambda fields: fields["roots"][0].update(secret="short"),
        ],
    )
    def test_every_value_is_checked(self, change: Callable[[dict[str, Any]], None]) -> None:
        """The checks are types, limits, lengths, the kid of a signing key, and repetitions."""
        fields = _fields()
        assert ring_from_bytes(_written(fields)) == RING
        change(fields)
        _assert_unreadable(fields)


def _secrets(ring: Ring) -> list[bytes]:
    keys = [key.private for key in ring.signing] + [root.secret for root in ring.roots]
    return [secret.reveal() for secret in (*keys, ring.email_key, ring.password_key)]


def _fields() -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(ring_to_bytes(RING))
    return fields


def _written(fields: dict[str, Any]) -> bytes:
    """Write members in the stored form, so that only the tested value is wrong."""
    return json.dumps(fields, separators=(",", ":")).encode()


def _at(fields: dict[str, Any], place: tuple[Any, ...]) -> dict[str, Any]:
    found: Any = fields
    for step in place:
        found = found[step]
    assert isinstance(found, dict)
    return found


def _assert_unreadable(fields: dict[str, Any]) -> None:
    with pytest.raises(RingUnreadable) as refusal:
        ring_from_bytes(_written(fields))
    for secret in _secrets(RING):
        assert encode_base64url(secret) not in str(refusal.value)


@pytest.mark.parametrize(
    ("message", "r", "s"),
    [
        (
            b"sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            b"test",
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
            "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
        ),
    ],
)
def test_rfc6979_a_2_5(message: bytes, r: str, s: str) -> None:
    """A repeated exchange must return the same child token, with each version of OpenSSL."""
    private = Secret(bytes.fromhex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"))
    key = SigningKey(kid="of RFC 6979", private=private, made_at=0, signs_from=0)
    assert key.sign(message) == bytes.fromhex(r + s)


def test_the_signature_of_the_same_bytes_is_the_same() -> None:
    """The signature is deterministic (RFC 6979), so a repeated token has equal bytes.

    Other bytes get another signature.
    """
    key = make_ring(secrets.token_bytes, now=0).signing[0]
    signature = key.sign(b"a token")
    assert signature == key.sign(b"a token") != key.sign(b"another")
    assert len(signature) == 64
    assert key.public_key().verifies(signature, b"a token")
    assert not key.public_key().verifies(signature, b"another")
