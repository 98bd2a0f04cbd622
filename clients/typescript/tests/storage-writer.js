// A process of the storage test: it adds to the record, and is perhaps killed in the middle.

import { FileStorage } from "../src/node.js";

const [folder, times] = process.argv.slice(2);
const storage = new FileStorage(folder);
for (let time = 0; time < Number(times); time++)
  await storage.update(noted(`${process.pid}-${time}`));

/** A guard, as every change of the client: it may be applied again. */
function noted(token) {
  const one = { token, key_id: null, secret: null, since: 0 };
  return (now) => (now.revocations.some((other) => other.token === token) ? now : { ...now, revocations: [...now.revocations, one] });
}
