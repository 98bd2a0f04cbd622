"""A mutant: one change of one file, defined by the text that it replaces."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

HANDOVER = ("tests/baton/browser/test_handover.py", "tests/baton/browser/test_handed_over.py")
BOUND = ("tests/baton/browser/test_bound.py",)
BROWSER = (
    "tests/baton/browser/test_sites.py",
    "tests/baton/browser/test_sessions.py",
    "tests/baton/browser/test_pages.py",
    "tests/baton/browser/test_replaced_cookies.py",
)
ATTESTED = ("tests/baton/attestation/test_logins.py", "tests/baton/attestation/test_operations.py")
APPLE = ("tests/baton/federation/test_apple.py", "tests/baton/federation/test_apple_deletion.py")
DEVELOPMENT = "tests/baton/operations/dev"
NAMELESS = "tests/baton/federation/test_nameless.py"
WITHOUT_ADDRESS = "tests/baton/federation/test_without_address.py"
LINKED = ("tests/baton/federation/test_link.py", "tests/baton/federation/test_unlink.py")
TESTS: dict[str, tuple[str, ...]] = {
    "chalicelib/baton/accounts/operate.py": (
        f"{DEVELOPMENT}/test_accounts.py",
        f"{DEVELOPMENT}/test_operate_answers.py",
        WITHOUT_ADDRESS,
    ),
    "chalicelib/baton/accounts/login.py": ("tests/baton/attestation/test_migrated.py",),
    "tools/dev/api/accounts.py": (f"{DEVELOPMENT}/test_faults.py",),
    "tools/dev/api/faults.py": (f"{DEVELOPMENT}/test_faults.py",),
    "tools/dev/gateway.py": (f"{DEVELOPMENT}/test_browser_connections.py",),
    "tools/dev/api/front.py": (f"{DEVELOPMENT}/test_faults.py",),
    "tools/dev/api/guards.py": (f"{DEVELOPMENT}/test_guards.py",),
    "tools/dev/api/masks.py": (f"{DEVELOPMENT}/test_masks.py", f"{DEVELOPMENT}/test_requests.py"),
    "tools/dev/api/records.py": (f"{DEVELOPMENT}/test_masks.py",),
    "tools/dev/api/watch.py": (f"{DEVELOPMENT}/test_faults.py",),
    "tools/stage_console.py": (f"{DEVELOPMENT}/test_stage_console.py",),
    "chalicelib/baton/attestation/app_attest.py": ("tests/baton/attestation/test_app_attest.py",),
    "chalicelib/baton/attestation/certificates.py": (
        "tests/baton/attestation/test_app_attest.py",
        "tests/baton/attestation/test_key_attestation.py",
    ),
    "chalicelib/baton/attestation/key_attestation.py": ("tests/baton/attestation/test_key_attestation.py",),
    "chalicelib/baton/attestation/key_description.py": ("tests/baton/attestation/test_key_attestation.py",),
    "chalicelib/baton/attestation/attest.py": ATTESTED,
    "chalicelib/baton/attestation/judge.py": ATTESTED,
    "chalicelib/baton/attestation/model.py": ATTESTED,
    "chalicelib/baton/attestation/revocations.py": ATTESTED,
    "chalicelib/baton/attestation/switches.py": ATTESTED,
    "chalicelib/baton/federation/id_token.py": (
        "tests/baton/federation/test_id_token.py",
        "tests/baton/federation/test_step_up.py",
    ),
    "chalicelib/baton/federation/key_set.py": ("tests/baton/federation/test_id_token.py",),
    "chalicelib/baton/federation/provider_keys.py": ("tests/baton/federation/test_log_in.py",),
    "chalicelib/baton/federation/prove.py": (
        "tests/baton/federation/test_log_in.py",
        "tests/baton/federation/test_step_up.py",
    ),
    "chalicelib/baton/federation/providers.py": (
        "tests/baton/federation/test_providers.py",
        "tests/baton/federation/test_step_up.py",
    ),
    "chalicelib/baton/federation/step_up.py": ("tests/baton/federation/test_step_up.py",),
    "chalicelib/baton/federation/log_in.py": (
        "tests/baton/federation/test_log_in.py",
        "tests/baton/federation/test_apple.py",
    ),
    "chalicelib/baton/federation/apple.py": APPLE,
    "chalicelib/baton/federation/apple_key.py": ("tests/baton/operations/tools/test_operate_provider_key.py",),
    "chalicelib/baton/federation/apple_tokens.py": APPLE,
    "chalicelib/baton/federation/notices.py": ("tests/baton/federation/test_apple_notices.py",),
    "chalicelib/baton/federation/manage.py": (*LINKED, "tests/baton/federation/test_apple_link.py"),
    "chalicelib/baton/federation/routes.py": LINKED,
    "tools/moving/identities.py": ("tests/baton/operations/tools/test_import_identities.py",),
    "chalicelib/baton/storage/dynamodb/provider_tokens.py": ("tests/baton/storage/test_dynamodb.py",),
    "chalicelib/baton/storage/dynamodb/waiting_tokens.py": (
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_full_tokens.py",
    ),
    "chalicelib/baton/storage/dynamodb/identities.py": (
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_lost_answers_of_identities.py",
    ),
    "chalicelib/baton/storage/dynamodb/identity_items.py": ("tests/baton/storage/test_dynamodb.py",),
    "chalicelib/baton/attestation/shapes.py": ("tests/baton/attestation/test_wire_fuzz.py",),
    "chalicelib/baton/lineages/attestation_policy.py": ("tests/baton/lineages/test_attestation_policy.py",),
    "chalicelib/baton/lineages/assurance.py": (
        "tests/baton/lineages/test_assurance.py",
        "tests/baton/tokens/test_rights.py",
    ),
    "chalicelib/baton/storage/dynamodb/attestations.py": ("tests/baton/storage/test_dynamodb.py",),
    "chalicelib/baton/storage/aws/cognito.py": ("tests/baton/storage/test_cognito.py",),
    "chalicelib/baton/tokens/narrow.py": ("tests/baton/wire/test_narrowed.py", "tests/baton/tokens/test_narrowed.py"),
    "chalicelib/baton/tokens/introspect.py": ("tests/baton/tokens/test_narrowed.py",),
    "chalicelib/baton/lineages/resources.py": ("tests/baton/wire/test_narrowed.py",),
    "chalicelib/baton/factors/credentials.py": (
        "tests/baton/accounts/test_migration.py",
        "tests/baton/operations/tools/test_import.py",
    ),
    "chalicelib/baton/accounts/migration.py": ("tests/baton/accounts/test_migration.py",),
    "chalicelib/baton/factors/decoys.py": ("tests/baton/factors/test_hashes.py",),
    "chalicelib/baton/factors/hashes/pbkdf2_hash.py": ("tests/baton/factors/test_hashes.py",),
    "chalicelib/baton/factors/hashes/firebase_hash.py": ("tests/baton/factors/test_hashes.py",),
    "chalicelib/baton/factors/hashes/scrypt_hash.py": ("tests/baton/factors/test_hashes.py",),
    "chalicelib/baton/factors/hashes/bcrypt_hash.py": ("tests/baton/factors/test_hashes.py",),
    "chalicelib/baton/factors/hashes/argon2_hash.py": ("tests/baton/factors/test_hashes.py",),
    "chalicelib/baton/browser/sites.py": BROWSER,
    "chalicelib/baton/browser/csrf.py": BROWSER,
    "chalicelib/baton/browser/cookies.py": (*BROWSER, *BOUND),
    "chalicelib/baton/browser/rules.py": BROWSER,
    "chalicelib/baton/browser/delivery.py": BROWSER + BOUND,
    "chalicelib/baton/browser/sessions.py": (*BROWSER, *BOUND, *HANDOVER),
    "chalicelib/baton/browser/pages.py": (*BROWSER, "tests/baton/browser/test_bound_pages.py"),
    "chalicelib/baton/browser/bound.py": BOUND,
    "chalicelib/baton/browser/proofs.py": BOUND,
    "chalicelib/baton/browser/open_page.py": HANDOVER,
    "chalicelib/baton/accounts/handover.py": HANDOVER,
    "chalicelib/baton/http/source.py": ("tests/baton/http/test_source.py",),
    "chalicelib/baton/tokens/source.py": ("tests/baton/http/test_source.py",),
    "chalicelib/baton/storage/dynamodb/values.py": ("tests/baton/storage/test_dynamodb.py",),
    "chalicelib/baton/storage/dynamodb/browser_writes.py": ("tests/baton/storage/test_dynamodb.py",),
    "chalicelib/baton/storage/dynamodb/outcomes.py": (
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_lost_answers.py",
    ),
    "chalicelib/baton/lineages/delivery.py": ("tests/baton/lineages/test_clients.py",),
    "chalicelib/baton/keys/base64url.py": ("tests/baton/keys/test_base64url.py",),
    "chalicelib/baton/accounts/email.py": (
        "tests/baton/accounts/test_email.py",
        "tests/baton/accounts/test_equivalent_names.py",
    ),
    "chalicelib/baton/proof/signature_input.py": (
        "tests/baton/proof/test_fields.py",
        "tests/baton/proof/test_signatures.py",
        "tests/baton/proof/test_httpsig.py",
    ),
    "chalicelib/baton/factors/normal_form.py": (
        "tests/baton/factors/test_other_runtimes.py",
        "tests/baton/factors/test_passwords.py",
    ),
    "chalicelib/baton/keys/ring.py": ("tests/baton/keys/test_key_ring.py",),
    "chalicelib/baton/keys/tickets.py": ("tests/baton/keys/test_tickets.py",),
    "chalicelib/baton/lineages/login_rules.py": (
        "tests/baton/lineages/test_lineage.py",
        "tests/baton/lineages/test_handed_over.py",
        "tests/baton/wire/test_restore.py",
        NAMELESS,
        *HANDOVER,
    ),
    "chalicelib/baton/lineages/rules.py": (
        "tests/baton/lineages/test_lineage.py",
        "tests/baton/lineages/test_handed_over.py",
        *HANDOVER,
    ),
    "chalicelib/baton/factors/strength.py": ("tests/baton/factors/test_strength.py",),
    "chalicelib/baton/factors/block_list.py": ("tests/baton/factors/test_strength.py",),
    "chalicelib/baton/factors/context_words.py": ("tests/baton/factors/test_strength.py",),
    "chalicelib/baton/factors/breach.py": ("tests/baton/factors/test_breach.py",),
    "chalicelib/baton/accounts/register.py": (
        "tests/baton/accounts/test_new_passwords.py",
        "tests/baton/mail/test_registration.py",
    ),
    "chalicelib/baton/accounts/password.py": ("tests/baton/accounts/test_new_passwords.py",),
    "chalicelib/baton/storage/fetch.py": ("tests/baton/storage/test_fetch.py",),
    "chalicelib/baton/keys/public_key.py": ("tests/baton/keys/test_public_key.py",),
    "chalicelib/baton/proof/signature.py": (
        "tests/baton/proof/test_signatures.py",
        "tests/baton/proof/test_httpsig.py",
    ),
    "chalicelib/baton/proof/structured_fields.py": ("tests/baton/proof/test_structured_fields.py",),
    "chalicelib/baton/tokens/jwt.py": ("tests/baton/tokens/test_tokens.py", "tests/baton/tokens/test_rights.py"),
    "chalicelib/baton/tokens/opaque.py": ("tests/baton/tokens/test_tokens.py",),
    "chalicelib/baton/tokens/token.py": (
        "tests/baton/tokens/test_tokens.py",
        "tests/baton/tokens/test_known_tokens.py",
    ),
    "chalicelib/baton/tokens/presented.py": (
        "tests/baton/tokens/test_tokens.py",
        "tests/baton/tokens/test_exchange.py",
        "tests/baton/wire/test_must_tell.py",
        "tests/baton/proof/test_httpsig.py",
        "tests/baton/browser/test_sessions.py",
    ),
    "chalicelib/baton/urls.py": (
        "tests/baton/app/test_settings.py",
        "tests/baton/lineages/test_clients.py",
        "tests/baton/http/test_cors.py",
        *BROWSER,
    ),
    "chalicelib/baton/settings.py": ("tests/baton/app/test_settings.py",),
    "chalicelib/baton/storage/aws/credentials.py": ("tests/baton/storage/test_access_key.py",),
    "chalicelib/baton/storage/dynamodb/audit.py": (
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_engine.py",
    ),
    "chalicelib/baton/access_key.py": ("tests/baton/app/test_settings.py",),
    "chalicelib/baton/storage/dynamodb/database.py": (
        "tests/baton/storage/test_engine.py",
        "tests/baton/storage/test_access_key.py",
    ),
    "chalicelib/baton/storage/dynamodb/one_time.py": (
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_lost_answers.py",
    ),
    "chalicelib/baton/storage/dynamodb/lineages.py": (
        "tests/baton/storage/test_liveness.py",
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_lost_answers.py",
        "tests/baton/storage/test_engine.py",
        "tests/baton/storage/test_rule_is_the_condition.py",
    ),
    "chalicelib/baton/storage/dynamodb/state_writes.py": (
        "tests/baton/storage/test_liveness.py",
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_lost_answers.py",
        "tests/baton/storage/test_engine.py",
        "tests/baton/storage/test_rule_is_the_condition.py",
    ),
    "chalicelib/baton/storage/dynamodb/items.py": (
        "tests/baton/storage/test_engine.py",
        "tests/baton/storage/test_state_size.py",
        "tests/baton/storage/test_dynamodb.py",
    ),
    "chalicelib/baton/storage/dynamodb/key_ring.py": ("tests/baton/storage/test_key_ring.py",),
    "chalicelib/baton/storage/aws/small_client.py": ("tests/baton/storage/test_transport.py",),
    "chalicelib/baton/storage/dynamodb/accounts.py": (
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_lost_answers.py",
    ),
    "chalicelib/baton/storage/dynamodb/mail_users.py": (
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_lost_answers.py",
        "tests/baton/storage/test_engine.py",
    ),
    "chalicelib/baton/storage/aws/mail.py": ("tests/baton/mail/test_jobs.py",),
    "chalicelib/baton/mail/sessions.py": (
        "tests/baton/mail/test_reset.py",
        "tests/baton/mail/test_verify.py",
        "tests/baton/mail/test_new_address.py",
        "tests/baton/browser/test_handover.py",
    ),
    "chalicelib/baton/mail/reset.py": ("tests/baton/mail/test_reset.py", "tests/baton/mail/test_links.py"),
    "chalicelib/baton/mail/not_me.py": ("tests/baton/mail/test_not_me.py", "tests/baton/mail/test_reset.py"),
    "chalicelib/baton/mail/registration.py": ("tests/baton/mail/test_registration.py",),
    "chalicelib/baton/mail/verify.py": (
        "tests/baton/mail/test_verify.py",
        "tests/baton/mail/test_links.py",
        WITHOUT_ADDRESS,
    ),
    "chalicelib/baton/factors/changes.py": ("tests/baton/mail/test_login_email.py",),
    "chalicelib/baton/mail/login_code.py": ("tests/baton/mail/test_login_email.py",),
    "chalicelib/baton/accounts/login_email.py": ("tests/baton/mail/test_login_email.py", NAMELESS),
    "chalicelib/baton/mail/new_address.py": (
        "tests/baton/mail/test_new_address.py",
        "tests/baton/mail/test_attacks.py",
        "tests/baton/mail/test_undo.py",
    ),
    "chalicelib/baton/mail/undo.py": (
        "tests/baton/mail/test_attacks.py",
        "tests/baton/mail/test_undo.py",
        "tests/baton/mail/test_links.py",
    ),
    "chalicelib/baton/mail/links.py": ("tests/baton/mail/test_links.py",),
    "chalicelib/baton/mail/notices.py": ("tests/baton/mail/test_undo.py",),
    "chalicelib/baton/mail/deliver.py": (
        "tests/baton/mail/test_attacks.py",
        "tests/baton/mail/test_jobs.py",
        "tests/baton/mail/test_notices.py",
        "tests/baton/mail/test_suppression.py",
    ),
    "chalicelib/baton/accounts/second_factor.py": ("tests/baton/operations/tools/test_operate.py",),
    "chalicelib/baton/accounts/deletion.py": ("tests/baton/mail/test_forget.py",),
    "chalicelib/baton/background.py": ("tests/baton/mail/test_forget.py",),
    "chalicelib/baton/mail/suppression.py": ("tests/baton/mail/test_suppression.py",),
    "chalicelib/baton/storage/dynamodb/suppressions.py": ("tests/baton/storage/test_dynamodb.py",),
    "chalicelib/baton/http/jobs.py": ("tests/baton/mail/test_suppression.py",),
    "chalicelib/baton/mail/templates.py": ("tests/baton/mail/test_texts.py",),
    "chalicelib/baton/keys/ring_format.py": ("tests/baton/keys/test_key_ring.py",),
    "chalicelib/baton/keys/rotation.py": ("tests/baton/keys/test_key_ring.py",),
    "chalicelib/baton/factors/password_hash.py": (
        "tests/baton/factors/test_passwords.py",
        "tests/baton/factors/test_hashes.py",
    ),
    "chalicelib/baton/proof/once_rules.py": ("tests/baton/proof/test_once_rules.py",),
    "chalicelib/baton/keys/once_answers.py": ("tests/baton/keys/test_once_answers.py",),
    "chalicelib/baton/http/once.py": ("tests/baton/http/test_once.py",),
    "chalicelib/baton/storage/dynamodb/once.py": (
        "tests/baton/storage/test_once.py",
        "tests/baton/storage/test_lost_answers.py",
        "tests/baton/storage/test_dynamodb.py",
    ),
    "chalicelib/baton/storage/aws/connection.py": ("tests/baton/storage/test_transport.py",),
    "chalicelib/baton/storage/aws/service.py": ("tests/baton/storage/test_engine.py",),
    "chalicelib/baton/storage/dynamodb/key_wrapping.py": ("tests/baton/storage/test_key_ring.py",),
    "chalicelib/baton/events/record.py": ("tests/baton/events/test_record.py",),
    "clients/python/baton_client.py": (
        "tests/baton/wire/test_client_vectors.py",
        "tests/baton/wire/test_baton_client.py",
        "tests/baton/wire/test_foreign_answers.py",
        "tests/baton/wire/test_client_second_factor.py",
    ),
    "chalicelib/baton/http/dispatch.py": (
        "tests/baton/wire/test_caches_and_clocks.py",
        "tests/baton/wire/test_must_tell.py",
    ),
    "chalicelib/baton/http/answer.py": (
        "tests/baton/http/test_cors.py",
        "tests/baton/wire/test_public_api.py",
        *BROWSER,
    ),
    "chalicelib/baton/http/request.py": ("tests/baton/wire/test_public_api.py",),
    "chalicelib/baton/http/signed.py": (
        "tests/baton/http/test_once.py",
        "tests/baton/wire/test_public_api.py",
        *BROWSER,
    ),
    "chalicelib/baton/tokens/caller.py": (
        "tests/baton/wire/test_public_api.py",
        "tests/baton/tokens/test_call.py",
        "tests/baton/wire/test_second_factor.py",
        "tests/baton/federation/test_step_up.py",
    ),
    "chalicelib/baton/factors/rules.py": (
        "tests/baton/federation/test_unlink.py",
        "tests/baton/mail/test_undo.py",
        "tests/baton/factors/test_second_factors.py",
        "tests/baton/wire/test_second_factor.py",
        "tests/baton/wire/test_restore.py",
    ),
    "chalicelib/baton/factors/totp.py": ("tests/baton/factors/test_second_factors.py",),
    "chalicelib/baton/factors/recovery_codes.py": ("tests/baton/factors/test_second_factors.py",),
    "chalicelib/baton/factors/prove_totp.py": ("tests/baton/wire/test_second_factor.py",),
    "chalicelib/baton/factors/step_up.py": (*HANDOVER, "tests/baton/federation/test_step_up.py"),
    "chalicelib/baton/factors/rate_limits.py": ("tests/baton/wire/test_second_factor.py", *HANDOVER),
    "chalicelib/baton/factors/enrolment.py": ("tests/baton/wire/test_second_factor.py",),
    "chalicelib/baton/accounts/auth_session.py": ("tests/baton/wire/test_second_factor.py", *BROWSER),
    "chalicelib/baton/accounts/login_request.py": BROWSER,
    "chalicelib/baton/accounts/login_factor.py": (
        "tests/baton/wire/test_second_factor.py",
        "tests/baton/mail/test_login_email.py",
    ),
    "chalicelib/baton/storage/dynamodb/factors.py": (
        "tests/baton/storage/test_dynamodb.py",
        "tests/baton/storage/test_lost_answers.py",
    ),
    "chalicelib/baton/storage/dynamodb/passkeys.py": ("tests/baton/storage/test_dynamodb.py",),
    "chalicelib/baton/keys/strict_json.py": ("tests/baton/keys/test_strict_json.py",),
    "chalicelib/baton/keys/cbor.py": ("tests/baton/keys/test_cbor.py",),
    "chalicelib/baton/factors/client_data.py": ("tests/baton/factors/test_verify_passkey.py",),
    "chalicelib/baton/factors/verify_passkey.py": (
        "tests/baton/factors/test_verify_passkey.py",
        "tests/baton/wire/test_restore.py",
    ),
    "chalicelib/baton/factors/restore_model.py": ("tests/baton/wire/test_restore.py",),
    "chalicelib/baton/factors/restore_keys.py": ("tests/baton/wire/test_restore.py",),
    "chalicelib/baton/accounts/login_restore.py": ("tests/baton/wire/test_restore.py",),
    "chalicelib/baton/accounts/first_tokens.py": (
        "tests/baton/wire/test_restore.py",
        "tests/baton/mail/test_restore.py",
        NAMELESS,
    ),
    "chalicelib/baton/storage/dynamodb/restore_keys.py": ("tests/baton/storage/test_dynamodb.py",),
    "chalicelib/baton/factors/passkey_challenge.py": ("tests/baton/wire/test_passkeys.py",),
    "chalicelib/baton/factors/prove_passkey.py": (
        "tests/baton/wire/test_passkeys.py",
        "tests/baton/wire/test_passkey_attacks.py",
    ),
    "chalicelib/baton/factors/passkeys.py": (
        "tests/baton/federation/test_unlink.py",
        "tests/baton/mail/test_attacks.py",
        "tests/baton/wire/test_passkeys.py",
        "tests/baton/mail/test_passkeys.py",
    ),
    "chalicelib/baton/factors/add_passkey.py": ("tests/baton/wire/test_passkeys.py",),
    "chalicelib/baton/accounts/login_passkey.py": ("tests/baton/wire/test_passkeys.py",),
    "chalicelib/baton/accounts/passkey_factor.py": (
        "tests/baton/wire/test_passkey_attacks.py",
        "tests/baton/wire/test_passkeys.py",
        "tests/baton/mail/test_passkeys.py",
    ),
    "chalicelib/baton/lineages/well_known.py": (
        "tests/baton/lineages/test_relying_party.py",
        "tests/baton/wire/test_passkeys.py",
    ),
    "chalicelib/baton/lineages/relying_party.py": ("tests/baton/lineages/test_relying_party.py",),
    "chalicelib/baton/accounts/activity.py": ("tests/baton/accounts/test_own_view.py",),
    "chalicelib/baton/accounts/forget.py": ("tests/baton/accounts/test_own_view.py", "tests/baton/mail/test_forget.py"),
    "chalicelib/baton/tokens/claims.py": ("tests/baton/tokens/test_rights.py",),
    "chalicelib/baton/lineages/clients.py": (
        "tests/baton/accounts/test_short_passwords.py",
        "tests/baton/lineages/test_clients.py",
        "tests/baton/tokens/test_rights.py",
        "tests/baton/wire/test_second_factor.py",
    ),
}
"""The fast tests of each mutated file. The tests that most probably fail are first."""


class Stale(Exception):
    """A mutant no longer matches the source. For example, its text is missing or occurs more than once."""


@dataclass(frozen=True)
class Mutant:
    """``old`` becomes ``new`` in ``file``. ``name`` describes this change or its effect."""

    file: str
    name: str
    old: str
    new: str
    at: int | None = None
    """The position of ``old``, for a generated mutant. The text of a listed mutant must occur once."""

    def __str__(self) -> str:
        """Return the name."""
        return f"{self.file.removeprefix('chalicelib/baton/')}: {self.name}"

    @property
    def tests(self) -> tuple[str, ...]:
        """Return the fast tests of the mutated file. At least one of them must fail."""
        return TESTS[self.file]

    def applied(self, source: str) -> str:
        """Return the source with the change.

        Raises ``Stale`` if ``old`` does not match the source, and ``SyntaxError`` if the result is not Python.
        """
        found = source.count(self.old)
        if self.at is None and found != 1:
            raise Stale(f"{self}: its text occurs {found} times in {self.file}")
        at = source.index(self.old) if self.at is None else self.at
        if source[at : at + len(self.old)] != self.old:
            raise Stale(f"{self}: its text is not where it was")
        changed = source[:at] + self.new + source[at + len(self.old) :]
        compile(changed, self.file, "exec")
        return changed
