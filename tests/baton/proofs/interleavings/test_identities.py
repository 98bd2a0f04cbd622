"""Every interleaving of two requests about identities: one account has an identity, and a way to log in stays.

As in `test_factors`, each call of a store is a step, and one write of each schedule may be sent twice.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from chalicelib.baton import settings
from chalicelib.baton.environment import Effects
from chalicelib.baton.factors.password_hash import TEST_COST
from chalicelib.baton.factors.ports import NotFetched
from chalicelib.baton.federation.id_token import login_nonce
from chalicelib.baton.storage.memory import storage as memory
from chalicelib.baton.storage.memory.identities import MemoryIdentities
from chalicelib.baton.testing.gateway import load_app
from chalicelib.baton.testing.identity_provider import IdentityProvider
from tests.baton.fixture import APP
from tests.baton.proofs.interleavings.scheduler import Course, Refuted, explore
from tests.baton.proofs.interleavings.test_factors import ADMIT, END, Deployment, refute
from tests.baton.wire.conversation import JSON, Device, Said, through
from tests.baton.wire.second_factor import EMAIL
from tools.dev.gateway import Gateway

pytestmark = pytest.mark.guarantee(2, 6, 8)

MINE, EVE = "/me/identities", "eve@example.com"
LINK, UNLINK, END_ALL = "identities.link", "identities.unlink", "lineages.end_all"


@dataclass
class WithProviders(Deployment):
    """Two environments with identity providers, whose keys they have."""

    providers: dict[str, IdentityProvider] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Load the environments."""
        effects = Effects(lambda: self.now, secrets.token_bytes, None, self.around, fetch=self._fetch)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BATON_STORAGE", "memory")
            patch.setenv("BATON_CLIENTS", self.clients)
            patch.setattr(memory, "OF_THIS_PROCESS", self.tables)
            patch.setattr(settings, "_PROVIDERS", "identity-providers.toml")
            loaded = [load_app(APP, effects) for _ in range(2)]
        self.gateway = Gateway([one.app for one in loaded])
        rows = loaded[0].baton.settings.providers.by_name
        self.providers |= {name: IdentityProvider(row, lambda: self.now) for name, row in rows.items()}

    def _fetch(self, url: str, **_: Any) -> bytes | NotFetched:
        found = next(one.fetch() for one in self.providers.values() if one.provider.jwks_uri == url)
        return found or NotFetched("out of order")

    def device(self) -> Device:
        """Make a device with a key."""
        return Device(through(self.gateway), lambda: self.now)

    def token(self, device: Device, attempt: str, provider: str, sub: str) -> dict[str, str]:
        """Sign in at a provider, for one attempt of a device."""
        nonce = login_nonce(provider=provider, client_id="mobile", keyid=device.key.thumbprint(), attempt=attempt)
        return {"provider": provider, "id_token": self.providers[provider].token(sub, nonce, "mobile")}


@dataclass
class Scene:
    """Ada with two devices, and Eve."""

    deployment: WithProviders
    phone: Device
    tablet: Device
    eve: Device

    def link(self, device: Device, provider: str = "google", sub: str = "ada") -> Callable[[], Said]:
        """Step up, and give the request that links an identity."""
        attempt = secrets.token_urlsafe(16)
        body = json.dumps(self.deployment.token(device, attempt, provider, sub)).encode()
        headers = JSON | {"baton-grant": device.step_up("POST", MINE, body), "idempotency-key": attempt}
        return lambda: device.request("POST", MINE, body, headers)

    def unlink(self, device: Device, provider: str = "google") -> Callable[[], Said]:
        """Step up, and give the request that unlinks an identity."""
        path = f"{MINE}/{provider}"
        grant = {"baton-grant": device.step_up("DELETE", path)}
        return lambda: device.request("DELETE", path, b"", grant)

    def enter(self, device: Device, sub: str = "ada") -> Callable[[], Said]:
        """Sign in at the provider, and give the request that logs in."""
        attempt = secrets.token_urlsafe(16)
        body = self.deployment.token(device, attempt, "google", sub)
        body |= {"client_id": "mobile", "device": {"name": "phone", "public_key": device.key.jwk()}}  # type: ignore[dict-item] # an object
        return lambda: device.post("/login/federated", body, {"idempotency-key": attempt}, token=None)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Make the scene. Both environments have read the keys of the providers."""
    token = TEST_COST.set((8, 1, 1))
    deployment = WithProviders()
    phone, tablet, eve = (deployment.device() for _ in range(3))
    assert phone.register(EMAIL).status == 201
    assert tablet.login(EMAIL).status == 200
    assert eve.register(EVE).status == 201
    made = Scene(deployment, phone, tablet, eve)
    for provider in ("google", "google", "acme", "acme"):
        assert made.link(eve, provider, "warm")().status == 201
        assert made.unlink(eve, provider)().status == 204
        assert eve.get("/me").status == 200  # the other environment answers the next link
    yield made
    TEST_COST.reset(token)


def test_an_identity_goes_to_one_account(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """Two accounts link the identity at the same time."""
    acts = {"ada": scene.link(scene.phone), "eve": scene.link(scene.eve)}
    rewind, tables = scene.deployment.remember(), scene.deployment.tables

    def one(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        having = [user.account for user in tables.users.values() if user.identities]
        if sorted(each.status for each in said.values()) != [201, 409] or len(having) != 1:
            refute(course, f"answered {said}", scene.deployment)
        if [identity.account for identity in tables.identities.values()] != having:
            refute(course, "the two items differ", scene.deployment)

    record_property("schedules", explore(one).schedules)


@pytest.mark.parametrize("how", ["logout", "everywhere"])
def test_a_login_that_has_ended_links_nothing(
    scene: Scene, how: str, record_property: Callable[[str, object], None]
) -> None:
    """The link was authorized. Before its write, this device or the other device ended the login."""
    link = scene.link(scene.phone)
    if how == "logout":
        ends = END
        acts = {"link": link, "end": lambda: scene.phone.post("/logout", {})}
    else:
        ends, body = END_ALL, b'{"everywhere": true}'
        grant = JSON | {"baton-grant": scene.tablet.step_up("POST", "/logout", body)}
        acts = {"link": link, "end": lambda: scene.tablet.request("POST", "/logout", body, grant)}
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        written = scene.deployment.written
        if LINK in written and ends in written and written.index(LINK) > written.index(ends):
            refute(course, "linked after the end", scene.deployment)
        if (said["link"].status == 201) is not (LINK in written):
            refute(course, f"answered {said}", scene.deployment)
        if LINK not in written and ends not in written:
            refute(course, f"nothing happened: {said}", scene.deployment)

    record_property("schedules", explore(against).schedules)


def last_two(scene: Scene) -> dict[str, Callable[[], Said]]:
    """Give an account whose only credentials are two identities, and two devices that unlink one each."""
    for provider in ("google", "acme"):
        assert scene.link(scene.phone, provider)().status == 201
    acts = {"phone": scene.unlink(scene.phone), "tablet": scene.unlink(scene.tablet, "acme")}
    tables = scene.deployment.tables
    account = next(user.account for user in tables.users.values() if user.identities)
    tables.users[account] = replace(tables.users[account], password_hash=None)
    return acts


def test_one_of_the_last_two_credentials_stays(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """Two devices unlink one identity each."""
    acts = last_two(scene)
    rewind, tables = scene.deployment.remember(), scene.deployment.tables

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        left = [len(user.identities) for user in tables.users.values() if user.password_hash is None]
        if left != [1] or sorted(each.status for each in said.values()) not in ([204, 401], [204, 409]):
            refute(course, f"left {left}: {said}", scene.deployment)

    record_property("schedules", explore(against).schedules)


def test_an_unlinked_identity_logs_nobody_in(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """The login read the identity before it was unlinked."""
    assert scene.link(scene.phone)().status == 201
    acts = {"unlink": scene.unlink(scene.phone), "login": scene.enter(scene.deployment.device())}
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        written = scene.deployment.written
        if ADMIT in written and UNLINK in written and written.index(ADMIT) > written.index(UNLINK):
            refute(course, "admitted by an unlinked identity", scene.deployment)
        if said["unlink"].status != 204 or (said["login"].status == 200) is not (ADMIT in written):
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(against).schedules)


def test_a_store_that_forgets_the_condition_is_noticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seeded fault makes an ended login look active to the store, and the scene must fail."""
    acts = {"link": scene.link(scene.phone), "end": lambda: scene.phone.post("/logout", {})}
    stored = scene.deployment.tables.users
    monkeypatch.setattr(MemoryIdentities, "_changeable", lambda _self, actor, *_, **__: stored[actor.account])
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        scene.deployment.played(course, acts)
        written = scene.deployment.written
        if LINK in written and END in written and written.index(LINK) > written.index(END):
            refute(course, "linked after the end", scene.deployment)

    with pytest.raises(Refuted, match="linked after the end"):
        explore(against)
