import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { GUARDS } from "./guards.js";

test("the text of each guard occurs once, so that its mutant changes something", () => {
  for (const [file, name, text] of GUARDS) {
    const source = readFileSync(new URL(`../src/${file}`, import.meta.url), "utf8");
    assert.equal(source.split(text).length - 1, 1, `${file}: ${name}`);
  }
});
