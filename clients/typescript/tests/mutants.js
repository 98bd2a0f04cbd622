// Removes each guard of the flows in a copy of this folder, and checks that a test fails: `node tests/mutants.js`.
// The rows of the table are deleted in tests/attempts.test.js.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const FLOWS = ["flows"];

/** File, what is removed, the text, its replacement, and the tests that must fail. */
const MUTANTS = [
  ["flows/ask.js", "rule 2: a request of a moved token is sent", "if (!prepared) return", "if (false) return", FLOWS],
  ["flows/exchange.js", "rule 2: every caller exchanges", "(core.flight ??= begin", "(core.flight = begin", FLOWS],
  ["flows/exchange.js", "rule 2: an exchange ends with its first caller", "new Patience(core, left)", "patience", FLOWS],
  ["flows/exchange.js", "rule 3: a late child replaces a newer record", "(same(now.session, parent) ? { ...now, session: child } : now)", "({ ...now, session: child })", FLOWS],
  ["flows/exchange.js", "rule 7: a token that has expired is used", "core.now() < session.expires_at - EARLY", "true", FLOWS],
  ["flows/exchange.js", "rule 8: no revocation", "await revokeWaiting(core, patience, true);\n  throw", "throw", FLOWS],
  ["flows/exchange.js", "rule 8: an unanswered revocation counts as confirmed", "!waits(await core.read())", "true", FLOWS],
  ["flows/exchange.js", "rule 6: the end of an older session ends the newer one", "(same(now.session, used) ? withoutSession(now, reason, at) : now)", "withoutSession(now, reason, at)", ["attempts"]],
  ["flows/exchange.js", "rule 1: a child keeps the attempt of its parent", "attempt: core.name(),\n  };", "attempt: parent?.attempt ?? core.name(),\n  };", FLOWS],
  ["rules/record.js", "rule 8: a copied key is used again", 'key: copied ? null : record.key', "key: record.key", FLOWS],
  ["rules/record.js", "a logout forgets its revocation", "revocations: [...waiting, one]", "revocations: [...waiting]", FLOWS],
  ["rules/record.js", "the secret of an HMAC login is forgotten", "last: lastSecret(record), ended", "last: null, ended", FLOWS],
  ["flows/revoke.js", "every answer completes a revocation", 'if (asked.step === "done") await', "await", ["revoke"]],
  ["flows/revoke.js", "a revocation that was not answered is forgotten", "core.revokeAfter = core.clock() + REVOCATION_REST;", "await forgetRevocation(core, one);", FLOWS],
  ["flows/revoke.js", "a logout that no request can confirm is confirmed", "possible = false;", "", FLOWS],
  ["flows/revoke.js", "a revocation is sent at each call", "if (!now && core.clock() < core.revokeAfter) return;", "", ["revoke"]],
  ["flows/revoke.js", "a revocation is signed by another key", "signer?.keyId === one.key_id ? signer : undefined", "signer", ["revoke"]],
  ["flows/core.js", "rule 9: a foreign answer counts", "if (read.foreign !== null) throw", "if (false) throw", FLOWS],
  ["flows/core.js", "a key that differs is used", "if (signer?.keyId === session.key_id) return signer;", "return signer;", FLOWS],
  ["flows/core.js", "trouble of the key store ends a session", "throw new StorageUnavailable(\"The key", "return null; throw new StorageUnavailable(\"The key", FLOWS],
  ["flows/core.js", "a listener hears of a state twice", "if (told === this.#told) return;", "", FLOWS],
  ["flows/login.js", "a login after a restart has another attempt", "pending: goesOn ? pending : fresh", "pending: fresh", FLOWS],
  ["flows/login.js", "a login that was overtaken is stored", "now.pending?.attempt === attempt ? { ...now, session", "true ? { ...now, session", ["revoke"]],
  ["flows/login.js", "a session of a factor is not stored", "pending: { ...now.pending, ...step }", "pending: now.pending", FLOWS],
  ["flows/step.js", "a void session of a factor is kept", 'if (refused?.code === "invalid_session") await', "if (false) await", FLOWS],
  ["flows/step.js", "a problem shows its session", "this.problem = shown;", "this.problem = problem;", FLOWS],
  ["flows/call.js", "a step-up without a proof is sent", "  checkProof(proof);\n  const json", "  const json", FLOWS],
  ["flows/call.js", "the person is asked twice", "proof ??= await", "proof = await", FLOWS],
  ["flows/baton.js", "a deleted account stays logged in", "await work();\n    await this.#core.update(", "await work();\n    await (async (_) => {})(", FLOWS],
  ["edges/indexed-db.js", "a write that is not durable", '"strict"', '"relaxed"', ["browser"]],
  ["edges/indexed-db.js", "a named key is swept", "old && !named.includes(String(cursor.key))", "old", ["browser"]],
  ["edges/tabs.js", "a frozen tab blocks the others", "setTimeout(() => control.abort(), wait * 1000)", "setTimeout(() => {}, 1)", ["browser"]],
  ["edges/numbered-files.js", "a listing without a record is an empty record", "if (number === 0 && !names.includes(STARTED))", "if (number === 0)", ["storages"]],
  ["edges/numbered-files.js", "what was written below a newer record counts", "if (highest(names) !== number) {", "if (false) {", ["revoke"]],
  ["edges/numbered-files.js", "a record of another process is overwritten", 'if (codeOf(error) === "EEXIST") return false;', "if (true) return true;", ["storages"]],
  ["edges/fetch.js", "a redirect is followed", 'redirect: "manual"', 'redirect: "follow"', ["storages"]],
  ["edges/fetch.js", "an answer without an end is read", "if (length > ANSWER_BYTES) {", "if (false) {", ["storages"]],
];

/** Run the tests of a copy. True: one of them fails. */
async function fails(copy, suites) {
  const files = suites.map((suite) => join(copy, "typescript", "tests", `${suite}.test.js`));
  const tests = spawn(process.execPath, ["--test", ...files], { stdio: "ignore", detached: true });
  // A test that never ends has failed too. Each file is a process of its own, so the whole group ends.
  const late = setTimeout(() => process.kill(-tests.pid, "SIGKILL"), 60_000);
  const [code] = await once(tests, "exit");
  clearTimeout(late);
  return code !== 0;
}

const folder = mkdtempSync(join(tmpdir(), "baton-mutants-"));
const survivors = [];
const waiting = [...MUTANTS];

/** Copy this folder, and try mutants in the copy until none is left. */
async function work(copy, waiting) {
  cpSync(HERE, join(copy, "typescript"), { recursive: true, filter: (path) => !path.includes("node_modules") });
  cpSync(join(HERE, "..", "vectors"), join(copy, "vectors"), { recursive: true });
  for (let mutant; (mutant = waiting.shift()); ) {
    const [file, name, old, replacement, suites] = mutant;
    const path = join(copy, "typescript", "src", file);
    const source = readFileSync(path, "utf8");
    if (source.split(old).length !== 2) survivors.push(`${file}: ${name}: its text occurs ${source.split(old).length - 1} times`);
    writeFileSync(path, source.replace(old, () => replacement));
    if (!(await fails(copy, suites))) survivors.push(`${file}: ${name}`);
    writeFileSync(path, source);
  }
}
try {
  const whole = join(folder, "unchanged");
  await work(whole, []);
  const suites = [...new Set(MUTANTS.flatMap(([, , , , named]) => named))];
  if (await fails(whole, suites)) survivors.push("the tests fail without a mutant");
  else await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, (_, at) => work(join(folder, String(at)), waiting)));
} finally {
  rmSync(folder, { recursive: true });
}
for (const survivor of survivors) console.log(`survived: ${survivor}`);
console.log(`${MUTANTS.length - survivors.length} of ${MUTANTS.length} mutants of the TypeScript client killed`);
process.exitCode = survivors.length ? 1 : 0;
