"""Remove each guard of the Kotlin client once, in a copy, and check that a test fails: ``python clients/kotlin/mutants.py``.

The rows of the table of rules are deleted in ``AttemptsTest``. A word as argument selects the mutants that have it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
LATE: Final = 300


class Mutant(NamedTuple):
    """A guard: where it stands, what is removed, and the tests that must fail."""

    file: str
    name: str
    text: str
    replacement: str
    tests: str


FLOWS: Final = "FlowsTest"
LOGIN: Final = "LoginTest"
REVOKE: Final = "RevokeTest"
STORAGE: Final = "StorageTest"
TRANSPORT: Final = "TransportTest"

MUTANTS: Final = (
    Mutant(
        "core/flows/Exchange.kt",
        "rule 2: a token that storage has replaced is sent",
        "if (!same(record.session, parent) || token == null)",
        "if (token == null)",
        FLOWS,
    ),
    Mutant(
        "core/flows/Core.kt",
        "rule 2: each caller exchanges",
        "running?.let { return Triple(it.name, it.work, false) }",
        "",
        FLOWS,
    ),
    Mutant(
        "core/flows/Exchange.kt",
        "rule 2: an exchange ends with its first caller",
        "join(core.scope, parent.attempt)",
        "join(kotlinx.coroutines.CoroutineScope(kotlin.coroutines.coroutineContext), parent.attempt)",
        FLOWS,
    ),
    Mutant(
        "core/flows/Exchange.kt",
        "rule 3: a late child replaces a newer record",
        "if (same(now.session, parent)) now.copy(session = child) else now",
        "now.copy(session = child)",
        FLOWS,
    ),
    Mutant(
        "core/flows/Exchange.kt",
        "rule 7: a token that has expired is used",
        "core.now() < session.expiresAt - EARLY",
        "true",
        FLOWS,
    ),
    Mutant(
        "core/flows/Exchange.kt", "rule 8: no revocation", "    revokeWaiting(core, patience, now = true)\n", "", FLOWS
    ),
    Mutant(
        "core/flows/Exchange.kt",
        "rule 8: an unanswered revocation counts as confirmed",
        "!waits(core.read())",
        "true",
        FLOWS,
    ),
    Mutant(
        "core/flows/Exchange.kt",
        "rule 6: the end of an older session ends the newer one",
        "if (same(now.session, used)) withoutSession(now, reason, at) else now",
        "withoutSession(now, reason, at)",
        "AttemptsTest",
    ),
    Mutant(
        "core/flows/Exchange.kt",
        "rule 1: a child keeps the attempt of its parent",
        "attempt = randomName(),",
        "attempt = parent?.attempt ?: randomName(),",
        FLOWS,
    ),
    Mutant(
        "core/rules/Record.kt",
        "rule 8: a copied key is used again",
        "key = if (copied) null else record.key",
        "key = record.key",
        FLOWS,
    ),
    Mutant("core/rules/Record.kt", "a logout forgets its revocation", "(waiting + one)", "waiting", FLOWS),
    Mutant(
        "core/rules/Record.kt",
        "the secret of an HMAC login is forgotten",
        "last = lastSecret(record), ended",
        "last = null, ended",
        LOGIN,
    ),
    Mutant(
        "core/flows/Revoke.kt",
        "every answer completes a revocation",
        "if (asked.step == Step.DONE) forget",
        "if (true) forget",
        REVOKE,
    ),
    Mutant(
        "core/flows/Revoke.kt",
        "a revocation that was not answered is forgotten",
        "core.revokeAfter = core.options.clock() + REVOCATION_REST",
        "forgetRevocation(core, one)",
        FLOWS,
    ),
    Mutant(
        "core/flows/Revoke.kt",
        "a revocation is sent at each call",
        "if (!now && core.options.clock() < core.revokeAfter) return",
        "",
        REVOKE,
    ),
    Mutant(
        "core/flows/Revoke.kt",
        "a revocation is signed by another key",
        "if (signer?.keyId == one.keyId) Signing(signer) else null",
        "Signing(signer)",
        REVOKE,
    ),
    Mutant(
        "core/flows/Core.kt",
        "rule 9: a foreign answer counts",
        'is Read.Foreign -> throw NoAnswer("the answer is not Baton\'s: ${read.why}")',
        "is Read.Foreign -> Read.Ours(Answer(raw.status, raw.headers, raw.bytes), emptyMap(), null)",
        FLOWS,
    ),
    Mutant(
        "core/flows/Core.kt",
        "a key that differs is used",
        "if (signer?.keyId == session.keyId) return signer",
        "return signer",
        FLOWS,
    ),
    Mutant(
        "core/flows/Core.kt",
        "trouble of the key store ends a session",
        'options.sleep(wait ?: throw StorageUnavailable("The key of the device cannot be used now.", error))',
        "options.sleep(wait ?: return null)",
        FLOWS,
    ),
    Mutant("core/flows/Core.kt", "a listener hears of a state twice", "if (state == told) return", "", LOGIN),
    Mutant("core/flows/Core.kt", "the loss of a key has no reason", '"key_lost", at)', "null, at)", FLOWS),
    Mutant(
        "core/flows/Login.kt",
        "a login after a restart has another attempt",
        "pending = if (goesOn) now.pending else fresh",
        "pending = fresh",
        LOGIN,
    ),
    Mutant(
        "core/flows/Login.kt",
        "a login that was overtaken is stored",
        "if (now.pending?.attempt == attempt) now.copy(session",
        "if (true) now.copy(session",
        REVOKE,
    ),
    Mutant(
        "core/flows/Login.kt",
        "a session of a factor is not stored",
        "pending.copy(authSession = session, ",
        "pending.copy(",
        LOGIN,
    ),
    Mutant(
        "core/flows/Step.kt",
        "a void session of a factor is kept",
        'if (asked.refused?.code == "invalid_session") dropPending',
        "if (false) dropPending",
        LOGIN,
    ),
    Mutant("core/flows/Step.kt", "a problem shows its session", 'problem - "auth_session"', "problem", LOGIN),
    Mutant(
        "core/flows/Call.kt",
        "the person is asked twice",
        "val shown = proof ?: o.confirm",
        "val shown = o.confirm",
        LOGIN,
    ),
    Mutant(
        "core/flows/Baton.kt",
        "a deleted account stays logged in",
        "if (now.session?.deviceId != ended) return@update now",
        "if (true) return@update now",
        LOGIN,
    ),
    Mutant("jvm/FileStorage.kt", "a process writes without the lock", "file.lock().use { work() }", "work()", STORAGE),
    Mutant(
        "jvm/FileStorage.kt",
        "a thread writes without the lock",
        "LOCKS.computeIfAbsent(folder) { ReentrantLock() }",
        "ReentrantLock()",
        STORAGE,
    ),
    Mutant(
        "jvm/FileStorage.kt",
        "others can read the record",
        'mode("rw-------")).use { file ->\n            val',
        'mode("rw-r--r--")).use { file ->\n            val',
        STORAGE,
    ),
    Mutant(
        "jvm/JdkTransport.kt",
        "a redirect is followed",
        "HttpClient.Redirect.NEVER",
        "HttpClient.Redirect.ALWAYS",
        TRANSPORT,
    ),
    Mutant(
        "jvm/JdkTransport.kt",
        "an answer without an end is read",
        "if (bytes.size() + part.remaining() > most)",
        "if (false)",
        TRANSPORT,
    ),
    Mutant(
        "jvm/JdkTransport.kt",
        "a cancelled call keeps its connection",
        "sending.cancel(true)",
        "sending.cancel(false)",
        TRANSPORT,
    ),
    Mutant("jvm/JdkTransport.kt", "each failure counts as not sent", "error !is ConnectException", "false", TRANSPORT),
)


def maven(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Maven in a copy, offline: the packages are in its local repository."""
    command = ["mvn", "-q", "-B", "-o", "-T1", *arguments]
    environment = {"MAVEN_OPTS": "-Xmx1g", **os.environ}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=LATE)


def path_of(copy: Path, file: str) -> Path:
    """Return the path of a source file."""
    module, name = file.split("/", 1)
    return copy / module / "src/main/kotlin" / name


def fate(copy: Path, mutant: Mutant) -> str | None:
    """Try a mutant. Return what is wrong with it, or None: a test fails, as it must. The compiled tests stay."""
    path = path_of(copy, mutant.file)
    source = path.read_text("utf-8")
    if source.count(mutant.text) != 1:
        return f"its text stands {source.count(mutant.text)} times"
    path.write_text(source.replace(mutant.text, mutant.replacement), "utf-8")
    modules = "core" if mutant.file.startswith("core/") else "core,jvm"
    only = (f"-Dtest={mutant.tests}", "-Dsurefire.failIfNoSpecifiedTests=false")
    try:
        compiled = maven(copy, "-pl", modules, "kotlin:compile@compile")
        if compiled.returncode != 0:
            return f"it does not compile: {compiled.stdout[-600:]}"
        return None if maven(copy, "-pl", modules, "surefire:test@default-test", *only).returncode != 0 else "survived"
    except subprocess.TimeoutExpired:
        return None  # A test that never ends has failed too.
    finally:
        path.write_text(source, "utf-8")


def main(words: list[str]) -> int:
    """Try each mutant. Print those that survive, and a count."""
    chosen = [
        mutant for mutant in MUTANTS if not words or any(word in f"{mutant.file} {mutant.name}" for word in words)
    ]
    with tempfile.TemporaryDirectory(prefix="baton-mutants-") as folder:
        copy = Path(folder) / "kotlin"
        shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("target"))
        shutil.copytree(HERE.parent / "vectors", Path(folder) / "vectors")
        pom = copy / "pom.xml"
        pom.write_text(
            pom.read_text("utf-8").replace("<arg>-Werror</arg>", ""), "utf-8"
        )  # A mutant leaves what is unused.
        whole = maven(copy, "test")
        if whole.returncode != 0:
            print(f"The tests fail without a mutant:\n{whole.stdout[-4000:]}")
            return 1
        wrong = 0
        for mutant in chosen:
            if (why := fate(copy, mutant)) is not None:
                wrong += 1
                print(f"{mutant.file}: {mutant.name}: {why}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} mutants of the Kotlin client killed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
