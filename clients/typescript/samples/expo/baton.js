// Baton in an Expo app: the record and the key in the secure store, signatures by react-native-quick-crypto.

import { expoItems, reactNativeBaton } from "baton-client/react-native";

/**
 * Make the client. `store` is the module `expo-secure-store`, `crypto` the one of `react-native-quick-crypto`.
 * @param {Parameters<typeof expoItems>[0]} store @param {Crypto} crypto
 * @param {{ baseUrl: string, clientId: string, transport?: import("baton-client/react-native").Transport }} options
 */
export const makeBaton = (store, crypto, options) => reactNativeBaton({ ...options, items: expoItems(store), crypto });

/** @type {Record<string, string>} */
const REASONS = {
  logout: "You are logged out.",
  ended_by_owner: "You have ended this login on another device.",
  password_changed: "The password was changed on another device.",
  reuse: "A copy of this phone's data was used. Log in again.",
  key_lost: "The key of this phone is gone. Log in again.",
  identity_unlinked: "A way to log in was removed from your account. Log in again.",
  idle: "You were away for a long time. Log in again.",
};

/** Say why there is no login. @param {string | null} reason */
export const wordsFor = (reason) => (reason === null ? "Log in." : (REASONS[reason] ?? reason));
