// Baton for TypeScript and JavaScript, without a platform. `./browser`, `./node` and `./react-native` have storages and keys.

export { Answer } from "./rules/answer.js";
export { AnswerLost, BatonError, BrokenStorage, LoggedOut, NoAnswer, NotLoggedIn, Offline, Refused, StorageUnavailable } from "./flows/errors.js";
export { Baton } from "./flows/baton.js";
export { LoginStep } from "./flows/step.js";
export { MemoryStorage } from "./edges/memory.js";
export { SoftwareKeys } from "./edges/software-keys.js";
export { fetchTransport } from "./edges/fetch.js";
export { readRecord, writeRecord } from "./rules/record.js";

/**
 * The types of an app.
 * @typedef {import("./types.js").BatonOptions} BatonOptions
 * @typedef {import("./types.js").CallOptions} CallOptions
 * @typedef {import("./types.js").Confirm} Confirm
 * @typedef {import("./types.js").DeviceKeys} DeviceKeys
 * @typedef {import("./types.js").DeviceRecord} DeviceRecord
 * @typedef {import("./types.js").Login} Login
 * @typedef {import("./types.js").LoginOptions} LoginOptions
 * @typedef {import("./types.js").Proof} Proof
 * @typedef {import("./types.js").State} State
 * @typedef {import("./types.js").Storage} Storage
 * @typedef {import("./types.js").Transport} Transport
 */
