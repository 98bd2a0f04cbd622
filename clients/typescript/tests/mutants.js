// Removes each guard of the flows in a copy of this folder, and checks that a test fails: `node tests/mutants.js`.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { GUARDS } from "./guards.js";

const HERE = fileURLToPath(new URL("..", import.meta.url));

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
const waiting = [...GUARDS];

/** Copy this folder, and try mutants in the copy until none is left. */
async function work(copy, waiting) {
  cpSync(HERE, join(copy, "typescript"), { recursive: true, filter: (path) => !path.includes("node_modules") });
  cpSync(join(HERE, "..", "vectors"), join(copy, "vectors"), { recursive: true });
  for (let mutant; (mutant = waiting.shift()); ) {
    const [file, name, old, replacement, suites] = mutant; // guards.test.js: the text occurs once
    const path = join(copy, "typescript", "src", file);
    const source = readFileSync(path, "utf8");
    writeFileSync(path, source.replace(old, () => replacement));
    if (!(await fails(copy, suites))) survivors.push(`${file}: ${name}`);
    writeFileSync(path, source);
  }
}
try {
  const whole = join(folder, "unchanged");
  await work(whole, []);
  const suites = [...new Set(GUARDS.flatMap(([, , , , named]) => named))];
  if (await fails(whole, suites)) survivors.push("the tests fail without a mutant");
  else await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, (_, at) => work(join(folder, String(at)), waiting)));
} finally {
  rmSync(folder, { recursive: true });
}
for (const survivor of survivors) console.log(`survived: ${survivor}`);
console.log(`${GUARDS.length - survivors.length} of ${GUARDS.length} mutants of the TypeScript client killed`);
process.exitCode = survivors.length ? 1 : 0;
