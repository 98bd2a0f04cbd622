// A record in memory, which is lost when the process ends.

import { EMPTY } from "../rules/record.js";

export class MemoryStorage {
  #record;

  /** @param {import("../types.js").DeviceRecord} record */
  constructor(record = EMPTY) {
    this.#record = record;
  }

  async read() {
    return this.#record;
  }

  /** @param {import("../types.js").Change} change */
  async update(change) {
    return (this.#record = change(this.#record));
  }
}
