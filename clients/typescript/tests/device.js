// A device of the tests: a client on a fake server, with a clock and pauses that the test controls.

import { Baton, MemoryStorage, SoftwareKeys } from "../src/index.js";
import { BASE, EMAIL, PASSWORD } from "./fake-server.js";

export const NAME = { deviceName: "a phone" };
export const confirm = async () => ({ password: PASSWORD });

/** @param {import("./fake-server.js").FakeServer} server @param {Record<string, any>} options */
export function device(server, { storage = new MemoryStorage(), wrong = 0, ...options } = {}) {
  const slept = [];
  const client = new Baton({
    baseUrl: BASE, clientId: "mobile", storage, keys: new SoftwareKeys(), transport: server.transport,
    clock: () => server.time + wrong, random: () => 0.5, sleep: async (seconds) => void slept.push(seconds), ...options,
  });
  return { client, storage, slept };
}

export async function loggedIn(server, options = {}) {
  const made = device(server, options);
  await made.client.login(EMAIL, PASSWORD, NAME);
  return made;
}

/** Copy the record: a clone of the device, or its backup. */
export const copyOf = async (storage) => new MemoryStorage(structuredClone(await storage.read()));

/** Let the token expire. */
export const expire = (storage) =>
  storage.update((now) => ({ ...now, session: { ...now.session, expires_at: 0 } }));

/** Return the error that a promise is rejected with. */
export const failure = (promise) => promise.then((value) => { throw new Error(`it returned ${JSON.stringify(value)}`); }, (error) => error);
