"""The operator's commands: ``python -m tools.operate COMMAND``, with the deployment's settings in the environment.

STAGE=dev takes those of .chalice/config.json.

make-ring               make the key ring of a new deployment, once
rotate-signing-key      publish a new key for tokens; it signs ten minutes later
rotate-root             the same for the root of ids, secrets and opaque tokens
raise-fence             end every login from before this moment, everywhere: after any restore
disable E-MAIL          end every login of an account and let nobody in
enable E-MAIL           let the person in again; what was ended stays ended
delete E-MAIL           delete an account, or finish a deletion that broke off; the address becomes free
"""

import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from chalicelib.core import errors
from chalicelib.core.key_ring import Entropy, Ring, raise_fence, rotate_root, rotate_signing
from chalicelib.core.model import Status
from chalicelib.core.policy import RING_SEEN_EVERYWHERE_S
from chalicelib.core.ports import Done
from chalicelib.flows.account import SetStatus
from chalicelib.flows.record import Record
from chalicelib.settings import SettingsProblems, read_settings
from chalicelib.signals import Signals
from chalicelib.stores.audit import Audit
from chalicelib.stores.engine import Engine, Tables
from chalicelib.stores.gates import Gates
from chalicelib.stores.key_ring import KeyRing, KmsWrapper, LocalWrapper
from chalicelib.stores.users import Users
from tools import aws
from tools.stages import UnknownStage, enter

PROGRESS_EVERY_S = 10


def clock() -> int:
    """Read the time."""
    return int(time.time())


def _fenced(ring: Ring, _: Entropy, *, now: int) -> Ring:
    return raise_fence(ring, now=now)


CHANGES: Mapping[str, Callable[..., Ring]] = {
    "rotate-signing-key": rotate_signing,
    "rotate-root": rotate_root,
    "raise-fence": _fenced,
}
STATUSES: Mapping[str, Status] = {"disable": Status.DISABLED, "enable": Status.ACTIVE, "delete": Status.DELETED}


class Operator:
    """Somebody with the deployment's settings and AWS credentials."""

    def __init__(self, *, pause: Callable[[float], None] = time.sleep) -> None:
        """Read the settings. Raises ``aws.NotReady`` and ``SettingsProblems``."""
        aws.require_account()
        settings = read_settings()
        self._pause = pause
        self._engine = Engine(Tables(settings.table_prefix))
        wrapper = KmsWrapper(settings.kms_key_id) if settings.kms_key_id else LocalWrapper()
        self._key_ring = KeyRing(self._engine, wrapper, secrets.token_bytes)
        self._signals = Signals(service=settings.deployment, level="ERROR", metrics=False)

    def make_ring(self) -> str:
        """Make the key ring, where there is none."""
        made = self._key_ring.create(now=clock())
        return "made the key ring" if isinstance(made, Done) else "there is a key ring already: nothing was changed"

    def change_ring(self, command: str) -> str:
        """Rotate a key, or raise the fence, and wait until every cache must have seen it."""
        ring = self._key_ring.current(now=clock())
        changed = CHANGES[command](ring, secrets.token_bytes, now=clock())
        if not isinstance(self._key_ring.replace(changed, expected_revision=ring.revision), Done):
            raise errors.Unavailable("somebody else changed the ring at this moment: run it again")
        for left in range(RING_SEEN_EVERYWHERE_S, 0, -PROGRESS_EVERY_S):
            print(f"\r  waiting for every cache to see it: {left:>3} s ", end="", flush=True)
            self._pause(min(PROGRESS_EVERY_S, left))
        return f"\r{command}: done, revision {changed.revision}, seen everywhere"

    def set_status(self, command: str, email: str) -> str:
        """Disable, enable or delete an account."""
        users, gates, audit = Users(self._engine), Gates(self._engine), Audit(self._engine, self._signals)
        record = Record(clock, secrets.token_bytes, audit, self._signals)
        act = SetStatus(clock, self._key_ring, users, gates, record)
        account = act(email, STATUSES[command])
        return f"{command}d account {account}; all its logins have ended"


@aws.in_one_line
def main(arguments: Sequence[str], *, pause: Callable[[float], None] = time.sleep) -> int:
    """Carry out one command; exit 2 where the words are off, 1 where it could not be done."""
    try:
        if stage := os.environ.get("STAGE"):
            enter(stage)
        match list(arguments):
            case ["make-ring"]:
                print(Operator(pause=pause).make_ring())
            case [command] if command in CHANGES:
                print(Operator(pause=pause).change_ring(command))
            case [command, email] if command in STATUSES:
                print(Operator(pause=pause).set_status(command, email))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (SettingsProblems, UnknownStage) as problems:
        print(problems, file=sys.stderr)
        return 1
    except errors.Refusal as refusal:
        print(f"Not done: {refusal.reason or refusal.sentence}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
