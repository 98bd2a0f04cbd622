"""Make the flows (the objects that answer requests) and their routes, with one function for each package.

A cold start does not import this module. The first request to a route of ``later_routes.py`` imports it.
"""

from chalicelib.baton.accounts import routes as accounts
from chalicelib.baton.accounts.activity import ShowActivity
from chalicelib.baton.accounts.auth_session import AskForFactor, ReadSession
from chalicelib.baton.accounts.deletion import DeleteAccount
from chalicelib.baton.accounts.devices import EndDevice, ListDevices
from chalicelib.baton.accounts.export import ExportAccount
from chalicelib.baton.accounts.first_tokens import Admit, FirstTokens
from chalicelib.baton.accounts.login import Login
from chalicelib.baton.accounts.login_email import ProveLoginEmail
from chalicelib.baton.accounts.login_factor import FinishLogin
from chalicelib.baton.accounts.login_passkey import LoginWithPasskey
from chalicelib.baton.accounts.login_request import Judge, ReadLoginRequest
from chalicelib.baton.accounts.migration import Migrate
from chalicelib.baton.accounts.passkey_factor import PasskeysOfLogin
from chalicelib.baton.accounts.password import ChangePassword
from chalicelib.baton.accounts.register import Register
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.attestation_assembly import attestation_routes_of, judge_evidence_of
from chalicelib.baton.browser_assembly import browser_routes_of
from chalicelib.baton.core_assembly import email_status_of
from chalicelib.baton.factors import routes as factors
from chalicelib.baton.factors.breach import BreachCheck
from chalicelib.baton.factors.changes import ChangeFactors
from chalicelib.baton.factors.new_password import NewPassword
from chalicelib.baton.factors.prove_totp import ProveTotp
from chalicelib.baton.factors.step_up import IssueStepUpGrant
from chalicelib.baton.federation.prove import ProveIdentity
from chalicelib.baton.federation.step_up import ProveLinkedIdentity
from chalicelib.baton.federation_assembly import federation_routes_of, prove_identity_of
from chalicelib.baton.http.signed import Web
from chalicelib.baton.mail.flows import MailFlows
from chalicelib.baton.parts import Parts, product_of
from chalicelib.baton.passkey_assembly import (
    enrollable_of,
    passkey_ceremonies,
    passkey_routes_of,
    restore_login_of,
    restore_routes_of,
)
from chalicelib.baton.policy import PASSWORD_BESIDE_FACTOR_CHARACTERS_MIN, PASSWORD_CHARACTERS_MIN
from chalicelib.baton.routing import Route


def routes_of(parts: Parts, web: Web | None) -> tuple[Route, ...]:
    """Make the routes that ``later_routes.py`` lists."""
    judge_evidence, prove = judge_evidence_of(parts), prove_identity_of(parts)
    return (
        *browser_routes_of(parts, web, _admit(parts)),
        *_accounts(parts, judge_evidence),
        *attestation_routes_of(parts, judge_evidence),
        *federation_routes_of(
            parts,
            introduce=_introduce(parts),
            judge_evidence=judge_evidence,
            prove=prove,
            admit=_admit(parts),
        ),
        *_own_view(parts),
        *_factors(parts, prove),
        *passkey_routes_of(parts),
        *restore_routes_of(parts),
        *_mail(parts).routes(),
    )


def _accounts(parts: Parts, judge_evidence: JudgeEvidence) -> tuple[Route, ...]:
    clock, entropy, key_ring, log = parts.clock, parts.entropy, parts.storage.key_ring, parts.log
    users, lineage_store, record = parts.storage.accounts, parts.storage.lineages, parts.record
    new_password = _new_password(parts)
    mail, judge = _mail(parts), Judge(clients=parts.clients, enrollable=enrollable_of(parts))
    ask = AskForFactor(entropy=entropy, email_first=mail.enabled)
    read_session = ReadSession(key_ring=key_ring, clients=parts.clients, proof=parts.proof, site=parts.site)
    admit = _admit(parts)
    return accounts.routes(
        register=Register(
            clock=clock,
            entropy=entropy,
            key_ring=key_ring,
            introduce=_introduce(parts),
            judge_evidence=judge_evidence,
            new_password=new_password,
            credentials=parts.credentials,
            users=users,
            lineage_store=lineage_store,
            ephemeral=parts.storage.one_time,
            first_tokens=admit.first_tokens,
            judge=judge,
            ask=ask,
            log=log,
            record=record,
            limits=parts.settings.limits,
            address_proof=mail.prove_address,
            verify_first=parts.settings.verify_first,
        ),
        login=Login(
            clock=clock,
            key_ring=key_ring,
            introduce=_introduce(parts),
            judge_evidence=judge_evidence,
            credentials=parts.credentials,
            users=users,
            lineage_store=lineage_store,
            migrate=Migrate(entropy=entropy, users=users, record=record, migration=parts.migration, mail=mail.enabled),
            judge=judge,
            ask=ask,
            admit=admit,
        ),
        finish_login=FinishLogin(
            clock=clock,
            entropy=entropy,
            read_session=read_session,
            judge=judge,
            users=users,
            store=parts.storage.factors,
            lineage_store=lineage_store,
            prove_totp=_prove_totp(parts),
            passkeys=PasskeysOfLogin(ceremonies=passkey_ceremonies(parts)),
            ask=ask,
            admit=admit,
            log=log,
            record=record,
            product=product_of(parts.settings),
        ),
        prove_email=ProveLoginEmail(
            clock=clock,
            read_session=read_session,
            users=users,
            lineage_store=lineage_store,
            judge=judge,
            codes=mail.login_codes,
            ask=ask,
            record=record,
        ),
        login_with_passkey=LoginWithPasskey(
            clock=clock,
            key_ring=key_ring,
            introduce=_introduce(parts),
            judge_evidence=judge_evidence,
            passkeys=passkey_ceremonies(parts),
            users=users,
            lineage_store=lineage_store,
            admit=admit,
        ),
        restore_login=restore_login_of(parts, _introduce(parts), admit, judge_evidence),
        delete=DeleteAccount(
            clock=clock,
            users=users,
            lineage_store=lineage_store,
            record=record,
            forget_later=parts.forget_later,
            at_providers=parts.late.revoke_tokens.before_deletion,
        ),
        change_password=ChangePassword(
            clock=clock,
            entropy=entropy,
            key_ring=key_ring,
            new_password=new_password,
            users=users,
            lineage_store=lineage_store,
            record=record,
        ),
        end_device=EndDevice(clock=clock, lineage_store=lineage_store, record=record),
    )


def _admit(parts: Parts) -> Admit:
    return Admit(
        clients=parts.clients,
        lineage_store=parts.storage.lineages,
        first_tokens=FirstTokens(issue=parts.issue),
        log=parts.log,
        record=parts.record,
    )


def _introduce(parts: Parts) -> ReadLoginRequest:
    return ReadLoginRequest(entropy=parts.entropy, clients=parts.clients, proof=parts.proof, site=parts.site)


def _new_password(parts: Parts) -> NewPassword:
    beside_factor = parts.clients.all_require_second_factor
    return NewPassword(
        characters_min=PASSWORD_BESIDE_FACTOR_CHARACTERS_MIN if beside_factor else PASSWORD_CHARACTERS_MIN,
        breaches=BreachCheck(fetch=parts.fetch, log=parts.log) if parts.settings.breach_check else None,
        product=parts.clients.mail.product,
    )


def _own_view(parts: Parts) -> tuple[Route, ...]:
    audit = parts.storage.audit
    return accounts.own_view_routes(
        show_activity=ShowActivity(clock=parts.clock, audit=audit),
        export=ExportAccount(
            clock=parts.clock,
            clients=parts.clients,
            users=parts.storage.accounts,
            email_status=email_status_of(parts),
            audit=audit,
            list_devices=ListDevices(clock=parts.clock, key_ring=parts.storage.key_ring, clients=parts.clients),
            record=parts.record,
            on_export=parts.on_export,
            providers=parts.names.providers,
        ),
    )


def _factors(parts: Parts, prove: ProveIdentity) -> tuple[Route, ...]:
    return factors.routes(
        step_up=IssueStepUpGrant(
            clock=parts.clock,
            entropy=parts.entropy,
            key_ring=parts.storage.key_ring,
            credentials=parts.credentials,
            prove_totp=_prove_totp(parts),
            passkeys=passkey_ceremonies(parts),
            prove_identity=ProveLinkedIdentity(prove=prove),
            ephemeral=parts.storage.one_time,
            log=parts.log,
        ),
        factors=ChangeFactors(
            clock=parts.clock,
            entropy=parts.entropy,
            key_ring=parts.storage.key_ring,
            clients=parts.clients,
            users=parts.storage.accounts,
            store=parts.storage.factors,
            lineage_store=parts.storage.lineages,
            record=parts.record,
            product=product_of(parts.settings),
            verified_only=parts.settings.mail != "off",
        ),
    )


def _prove_totp(parts: Parts) -> ProveTotp:
    return ProveTotp(
        store=parts.storage.factors,
        ephemeral=parts.storage.one_time,
        log=parts.log,
        record=parts.record,
        limits=parts.settings.limits,
    )


def _mail(parts: Parts) -> MailFlows:
    storage = parts.storage
    return MailFlows(
        clock=parts.clock,
        entropy=parts.entropy,
        key_ring=storage.key_ring,
        users=storage.accounts,
        lineage_store=storage.lineages,
        ephemeral=storage.one_time,
        queue=parts.queue_mail,
        log=parts.log,
        record=parts.record,
        proof=parts.proof,
        introduce=_introduce(parts),
        new_password=_new_password(parts),
        enabled=parts.settings.mail != "off",
        limits=parts.settings.limits,
        claims_from=parts.settings.mail_claims_from,
        forget_later=parts.forget_later,
    )
