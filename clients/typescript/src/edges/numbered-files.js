// The record in numbered files of one folder. There is no lock that could be left behind.
//
// A write makes file n+1 by `link`, which fails if the file exists: then another process was faster, and the change is
// applied to the record of that process. A reader takes the highest number.

import { link, mkdir, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { BrokenStorage } from "../flows/errors.js";
import { EMPTY, readRecord, writeRecord } from "../rules/record.js";

/** @typedef {import("../types.js").Storage} Storage */

const NAME = /^record\.(\d{12})$/;
const LEFTOVER = /^new\./;
const LEFTOVER_LIFE = 60e3; // Milliseconds. A killed process left an older file.
const STARTED = "started"; // Exists as soon as there was a record: without a record, the folder is then broken, not empty.
const LISTINGS = 50;

/** @implements {Storage} */
export class FileStorage {
  #folder;

  /** @param {string} folder only for this record; it is made if it is missing */
  constructor(folder) {
    this.#folder = folder;
  }

  async read() {
    return (await this.#newest()).record;
  }

  /** @param {import("../types.js").Change} change */
  async update(change) {
    for (;;) {
      const { number, record } = await this.#newest();
      const after = change(record);
      if (after === record) return record;
      if (await this.#write(number + 1, writeRecord(after))) return after;
    }
  }

  /** @returns {Promise<{ number: number, record: import("../types.js").DeviceRecord }>} */
  async #newest() {
    for (let listing = 1; ; listing++) {
      const names = await this.#names();
      const number = highest(names);
      if (number === 0 && !names.includes(STARTED)) return { number, record: EMPTY };
      // A listing is not atomic: meanwhile, others may have made the next file and deleted the listed file.
      const text = number === 0 ? null : await readFile(this.#path(number), "utf8").catch(missing);
      if (text !== null) return { number, record: readRecord(text) };
      if (listing === LISTINGS) throw new BrokenStorage("The record is missing from its folder. Nothing was changed.");
      await new Promise((resolve) => setTimeout(resolve, listing));
    }
  }

  async #names() {
    return (await readdir(this.#folder).catch(missing)) ?? [];
  }

  /** Make file `number`, durably. False: another process was faster. @param {number} number @param {string} text */
  async #write(number, text) {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    if (number === 1) await (await open(join(this.#folder, STARTED), "a", 0o600)).close();
    const beside = join(this.#folder, `new.${randomUUID()}`);
    try {
      const file = await open(beside, "wx", 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await link(beside, this.#path(number));
    } catch (error) {
      if (codeOf(error) === "EEXIST") return false;
      throw error;
    } finally {
      await rm(beside, { force: true });
    }
    await this.#flush();
    const names = await this.#names();
    if (highest(names) !== number) {
      // Faster processes have made and deleted this number before: this file is below a newer one.
      await rm(this.#path(number), { force: true });
      return false;
    }
    await this.#sweep(names, number);
    return true;
  }

  async #flush() {
    if (process.platform === "win32") return;
    const folder = await open(this.#folder, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** @param {string[]} names @param {number} number */
  async #sweep(names, number) {
    for (const name of names) {
      const path = join(this.#folder, name);
      const before = Number(NAME.exec(name)?.[1] ?? number) < number;
      const left = LEFTOVER.test(name) && Date.now() - ((await stat(path).catch(missing))?.mtimeMs ?? Infinity) > LEFTOVER_LIFE;
      if (before || left) await rm(path, { force: true });
    }
  }

  /** @param {number} number */
  #path(number) {
    return join(this.#folder, `record.${String(number).padStart(12, "0")}`);
  }
}

/** @param {string[]} names */
const highest = (names) => Math.max(0, ...names.map((name) => Number(NAME.exec(name)?.[1] ?? 0)));

/** @param {unknown} error */
const codeOf = (error) => /** @type {{ code?: string }} */ (error).code;

/** @param {unknown} error @returns {null} */
function missing(error) {
  if (codeOf(error) === "ENOENT") return null;
  throw error;
}
