// Baton for TypeScript and JavaScript, without a platform. `./browser`, `./node` and `./react-native` have storages and keys.

export { Answer } from "./rules/answer.js";
export { AnswerLost, BatonError, BrokenStorage, LoggedOut, NoAnswer, NotLoggedIn, Offline, Refused, StorageUnavailable } from "./flows/errors.js";
export { Baton } from "./flows/baton.js";
export { LoginStep } from "./flows/step.js";
export { MemoryStorage } from "./edges/memory.js";
export { SoftwareKeys } from "./edges/software-keys.js";
export { fetchTransport } from "./edges/fetch.js";
export { readRecord, writeRecord } from "./rules/record.js";
