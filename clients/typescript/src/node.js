// Baton in Node: the record, with its key, in a folder that only its owner can read.

import { FileStorage } from "./edges/numbered-files.js";
import { SoftwareKeys } from "./edges/software-keys.js";
import { Baton } from "./flows/baton.js";

export * from "./index.js";
export { FileStorage };

/**
 * Make a client. Several processes may share the folder.
 * @param {Partial<import("./types.js").BatonOptions> & { baseUrl: string, clientId: string, folder: string }} options
 */
export function nodeBaton({ folder, ...options }) {
  return new Baton({ storage: new FileStorage(folder), keys: new SoftwareKeys(), ...options });
}
