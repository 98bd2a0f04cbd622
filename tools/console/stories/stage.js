// The stage of a story: its phones, what one step may do, and the facts that its expectation is compared with.
import { addFault, skip } from "../parts/machine.js";
import { dev, part } from "../parts/server.js";
import { PASSWORD, addPhone, change, clonePhone, freeName, phones, refresh, removePhone } from "../phones/phones.js";

export class Stage {
  /** @param {string} story its name, for the address of its account */
  constructor(story) {
    this.email = `${story}-${crypto.randomUUID().slice(0, 6)}@example.com`;
    this.cast = new Map();
    this.account = null;
    this.lineage = null;
  }

  /** The phone of a role. Throws if a person has removed the phone in another tab. */
  phone(role) {
    const found = phones.get().find(({ phone }) => phone === this.cast.get(role));
    if (!found) throw new Error(`The ${role} is no longer on the Phones page. Start the story again.`);
    return found.phone;
  }

  async add(role, phone) {
    await change(phone, { story: true });
    this.cast.set(role, phone);
  }

  /** Carry out one step, and return the facts. An error of the client library is a fact, too. */
  async carryOut([verb, role, ...given]) {
    const sentBefore = new Map([...this.cast.values()].map((phone) => [phone, phone.sent.length]));
    let result = "ok";
    let reason = null;
    try {
      await VERBS[verb](this, role, ...given);
    } catch (error) {
      if (!error.kind) throw error;
      result = error.kind;
      reason = error.reason ?? error.code ?? null;
    }
    const phone = this.phone(role);
    const view = await phone.view();
    await refresh(phone);
    this.account = view.account ?? this.account;
    this.lineage = view.lineage ?? this.lineage;
    const lineage = await this.#onServer();
    return {
      result,
      reason,
      phone_generation: view.generation,
      server_generation: lineage?.current ?? null,
      login: lineage ? (lineage.ended?.reason ?? "live") : null,
      repeated: lineage?.generations.flatMap(({ again }) => again.map(({ outcome }) => outcome)) ?? [],
      answers: phone.sent.slice(sentBefore.get(phone) ?? 0),
    };
  }

  async #onServer() {
    if (!this.account) return null;
    const { lineages } = await dev(`accounts/${part(this.account)}/lineages`);
    return lineages.find(({ lineage }) => lineage === this.lineage) ?? null;
  }

  clear() {
    for (const phone of this.cast.values()) {
      if (phones.get().some((entry) => entry.phone === phone)) removePhone(phone);
    }
  }
}

const lost = (stage, role, name) => addFault({ name, match: { phone: stage.phone(role).name, route: "/oauth/token" }, times: 1 });

/** What a step may do. The role is the phone that does it. */
export const VERBS = {
  async register(stage, role) {
    const phone = await addPhone({ name: freeName(role), email: stage.email });
    await stage.add(role, phone);
    await phone.register(stage.email, PASSWORD);
  },
  login: (stage, role) => stage.phone(role).login(stage.email, PASSWORD),
  exchange: (stage, role) => stage.phone(role).exchange(),
  /** The answer or the request is lost, and the phone stays offline until this exchange has failed. */
  async tunnel(stage, role, name) {
    const phone = stage.phone(role);
    await lost(stage, role, name);
    phone.tunnel = true;
    try {
      await phone.exchange();
    } finally {
      phone.tunnel = false;
      await change(phone, { offline: false });
    }
  },
  async clone(stage, role, as) {
    await stage.add(as, await clonePhone(stage.phone(role), freeName(as)));
  },
  backup: async (stage, role) => stage.phone(role).backup(),
  restore: async (stage, role) => stage.phone(role).restore(),
  clock: (stage, role, seconds) => change(stage.phone(role), { clock: seconds }),
  skip: async (stage, role, seconds) => skip(seconds),
  call: (stage, role, method, path, json) => stage.phone(role).call(method, path, json ? { json, idempotencyKey: key() } : {}),
  confirmed: (stage, role, method, path, json) =>
    stage.phone(role).call(method, path, { json, idempotencyKey: key(), confirm: async () => ({ password: PASSWORD }) }),
};

const key = () => crypto.randomUUID().replaceAll("-", "");
