// The size of what a page loads. A change above the limit needs a reason.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const PLAIN_KB = 30; // As the console loads it, with its comments.
const MINIFIED_KB = 14;
const BROWSER = new URL("../src/browser.js", import.meta.url);
const INSTALLED = ["..", "../../../build/typescript"].map((folder) => new URL(`${folder}/node_modules/esbuild/lib/main.js`, import.meta.url));

/** List an entry and all that it imports. */
function loaded(entry, found = new Map()) {
  if (found.has(entry.href)) return found;
  const source = readFileSync(entry, "utf8");
  found.set(entry.href, source);
  for (const [, name] of source.matchAll(/^(?:import|export)[^;"]*"(\.[^"]+)"/gm)) loaded(new URL(name, entry), found);
  return found;
}

const kilobytes = (text) => gzipSync(text, { level: 9 }).length / 1024;

test("the plain sources of the browser entry, compressed", (t) => {
  const sources = loaded(BROWSER);
  const size = kilobytes([...sources.values()].join("\n"));
  t.diagnostic(`${size.toFixed(1)} KB in ${sources.size} files`);
  assert.ok(size <= PLAIN_KB, `${size.toFixed(1)} KB, the limit is ${PLAIN_KB}`);
  assert.ok([...sources.values()].every((source) => !/from "(?!\.)/.test(source)), "a page loads nothing else");
});

const esbuild = INSTALLED.find((path) => existsSync(path));
test("the browser entry, minified and compressed", { skip: esbuild ? false : "no esbuild: `make clients` installs it" }, (t) => {
  const { buildSync } = createRequire(import.meta.url)(fileURLToPath(esbuild));
  const { outputFiles } = buildSync({ entryPoints: [fileURLToPath(BROWSER)], bundle: true, minify: true, format: "esm", write: false });
  const size = kilobytes(outputFiles[0].contents);
  t.diagnostic(`${size.toFixed(1)} KB`);
  assert.ok(size <= MINIFIED_KB, `${size.toFixed(1)} KB, the limit is ${MINIFIED_KB}`);
});
