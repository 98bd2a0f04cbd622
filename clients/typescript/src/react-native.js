// Baton in React Native: the record and the key in two items of the secure store.

import { SecureKeys, SecureStorage, expoItems } from "./edges/secure-items.js";
import { Baton } from "./flows/baton.js";
import { rawSignature } from "./rules/der.js";

export * from "./index.js";
export { SecureKeys, SecureStorage, expoItems, rawSignature };

/**
 * Make a client. On a phone a login is bound to a key: `binding: "hmac"` is refused.
 * @param {Partial<import("./types.js").BatonOptions> & { baseUrl: string, clientId: string, items: import("./edges/secure-items.js").SecureItems }} options
 */
export function reactNativeBaton({ items, ...options }) {
  if (options.binding === "hmac") throw new TypeError("On a phone a login is bound to a key: leave `binding` out.");
  const name = `baton.${options.clientId}`;
  return new Baton({ storage: new SecureStorage(items, name), keys: new SecureKeys(items, `${name}.key`, options.crypto), ...options });
}
