// Baton in a browser: the record and a key that no code can export in IndexedDB, shared by all tabs.

import { Database, IndexedDbStorage, WebCryptoKeys } from "./edges/indexed-db.js";
import { broadcast, webLock } from "./edges/tabs.js";
import { Baton } from "./flows/baton.js";

export * from "./index.js";
export { Database, IndexedDbStorage, WebCryptoKeys, broadcast, webLock };

/**
 * Make the client of this origin. A second call with the same `clientId` shares the login.
 * @param {Partial<import("./types.js").BatonOptions> & { baseUrl: string, clientId: string }} options
 */
export function browserBaton(options) {
  const name = `baton.${options.clientId}`;
  const database = new Database(name);
  const channel = broadcast(name);
  return new Baton({
    storage: new IndexedDbStorage(database),
    keys: new WebCryptoKeys(database),
    lock: webLock(globalThis.navigator?.locks),
    ...(channel ? { channel } : {}),
    ...options,
  });
}

/** Request that the browser does not delete the login when space is short. Call this after a login. */
export const persist = async () => (await globalThis.navigator?.storage?.persist?.()) ?? false;
