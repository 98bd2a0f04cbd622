// The samples: the adapter of the Expo app over a fake of the secure store. `make clients` checks the types of `App.js`,
// and `make browser` runs the page in Chromium.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { makeBaton, wordsFor } from "../samples/expo/baton.js";
import { NAME } from "./device.js";
import { BASE, EMAIL, FakeServer, PASSWORD } from "./fake-server.js";

/** `expo-secure-store`, as far as the adapter uses it. Locked, it throws as a phone before its first unlock. */
function secureStore() {
  const items = new Map();
  const store = {
    AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: 7,
    locked: false,
    async getItemAsync(name) {
      if (store.locked) throw new Error("errSecInteractionNotAllowed");
      return items.get(name) ?? null;
    },
    setItemAsync: async (name, value) => void items.set(name, value),
    deleteItemAsync: async (name) => void items.delete(name),
  };
  return store;
}

test("the Expo app: login, restart, a locked phone, logout, and the words of its reason", async () => {
  const [server, store] = [new FakeServer(), secureStore()];
  server.time = Date.now() / 1000;
  const app = () => makeBaton(store, globalThis.crypto, { baseUrl: BASE, clientId: "mobile", transport: server.transport });
  assert.equal(wordsFor((await app().state()).reason), "Log in.");
  await app().login(EMAIL, PASSWORD, NAME);
  const restarted = app();
  assert.ok((await restarted.state()).signedIn);
  await restarted.me();
  store.locked = true;
  await assert.rejects(restarted.me(), { kind: "storage_unavailable" });
  store.locked = false;
  assert.deepEqual(await restarted.logout(), { confirmed: true });
  assert.equal(wordsFor((await app().state()).reason), "You are logged out.");
  assert.equal(wordsFor("of_the_future"), "of_the_future");
});

test("the samples stay short", () => {
  for (const name of ["browser/page.js", "expo/App.js"]) {
    const lines = readFileSync(new URL(`../samples/${name}`, import.meta.url), "utf8").split("\n").length;
    assert.ok(lines <= 61, `${name}: ${lines}`);
  }
});
