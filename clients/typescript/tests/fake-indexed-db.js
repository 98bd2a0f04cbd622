// As much of IndexedDB as the client uses: one version, object stores by key, serial transactions that can be aborted.
// Values are cloned, and a CryptoKey that cannot be exported stays one, as in a browser.

const later = (work) => setImmediate(work);

class Request {
  result = undefined;
  error = null;
  onsuccess = null;
}

class Store {
  constructor(transaction, map) {
    this.transaction = transaction;
    this.map = map;
  }
  #ask(work) {
    const request = new Request();
    this.transaction.pending++;
    later(() => {
      if (this.transaction.aborted) return;
      request.result = work();
      request.onsuccess?.();
      this.transaction.settle();
    });
    return request;
  }
  get(key) {
    return this.#ask(() => clone(this.map.get(key)));
  }
  put(value, key) {
    if (this.transaction.mode === "readonly") throw new DOMException("read only", "ReadOnlyError");
    if (value?.pair?.unstorable) throw new DOMException("cannot clone", "DataCloneError");
    const kept = clone(value);
    return this.#ask(() => void this.map.set(key, kept));
  }
  delete(key) {
    return this.#ask(() => void this.map.delete(key));
  }
  openCursor() {
    const entries = [...this.map];
    const request = this.#ask(() => step(0));
    const step = (at) => {
      if (at >= entries.length) return null;
      const [key, value] = entries[at];
      return { key, value: clone(value), delete: () => this.delete(key), continue: () => {
        this.transaction.pending++;
        later(() => {
          request.result = step(at + 1);
          request.onsuccess?.();
          this.transaction.settle();
        });
      } };
    };
    return request;
  }
}

const clone = (value) => (value?.pair ? { ...value } : structuredClone(value));

class Transaction {
  pending = 0;
  aborted = false;
  error = null;
  constructor(database, mode, durability) {
    this.database = database;
    this.mode = mode;
    this.durability = durability;
  }
  begin() {
    this.before = new Map([...this.database.stores].map(([name, map]) => [name, new Map(map)]));
  }
  objectStore(name) {
    return new Store(this, this.database.stores.get(name));
  }
  abort() {
    this.aborted = true;
    for (const [name, map] of this.before) this.database.stores.set(name, map);
    later(() => (this.onabort?.(), this.database.next()));
  }
  settle() {
    this.pending--;
    later(() => {
      if (this.pending || this.aborted || this.complete) return;
      this.complete = true;
      this.oncomplete?.();
      this.database.next();
    });
  }
}

/** A factory: every `open` of one name shares the data. `transactions` has the durability of each. */
export class FakeIndexedDb {
  databases = new Map();
  transactions = [];
  opened = [];

  open(name) {
    const request = { result: null, error: null };
    const data = this.databases.get(name) ?? { stores: new Map(), queue: [], busy: false };
    const fresh = !this.databases.has(name);
    this.databases.set(name, data);
    const factory = this;
    const connection = {
      closed: false,
      createObjectStore: (store) => data.stores.set(store, new Map()),
      close: () => (connection.closed = true),
      transaction(_stores, mode, { durability }) {
        if (connection.closed) throw new DOMException("the connection is closing", "InvalidStateError");
        factory.transactions.push(durability);
        const database = { get stores() { return data.stores; }, next: () => ((data.busy = false), run()) };
        const transaction = new Transaction(database, mode, durability);
        const objectStore = transaction.objectStore.bind(transaction);
        const waiting = [];
        let begun = false;
        // Requests wait until the transactions before have ended, as in a browser.
        transaction.objectStore = (store) => (begun ? objectStore(store) : queued(store));
        const queued = (store) => new Proxy({}, { get: (_target, verb) => (...parts) => {
          if (begun) return objectStore(store)[verb](...parts);
          const request = new Request();
          if (verb === "put") new Store({ mode, pending: 0, aborted: true }, new Map()).put(...parts);
          waiting.push(() => {
            const inner = objectStore(store)[verb](...parts);
            inner.onsuccess = () => ((request.result = inner.result), request.onsuccess?.());
          });
          return request;
        } });
        data.queue.push(() => {
          begun = true;
          transaction.begin();
          for (const work of waiting) work();
        });
        later(run);
        return transaction;
      },
    };
    const run = () => {
      if (data.busy || !data.queue.length) return;
      data.busy = true;
      data.queue.shift()();
    };
    this.opened.push(connection);
    request.result = connection;
    later(() => {
      if (fresh) request.onupgradeneeded?.();
      request.onsuccess?.();
    });
    return request;
  }
}
