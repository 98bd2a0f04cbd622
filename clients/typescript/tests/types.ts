// The types as an app sees them, from the declarations that `npm pack` writes. It is only compiled.

import { Baton, LoggedOut, Refused, nodeBaton, type LoginStep } from "baton-client/node";
import { browserBaton } from "baton-client/browser";
import { expoItems, reactNativeBaton } from "baton-client/react-native";

export async function run(store: Parameters<typeof expoItems>[0]): Promise<void> {
  const options = { baseUrl: "https://api.example.com/api", clientId: "mobile" };
  const baton: Baton = nodeBaton({ ...options, folder: "record" });
  const login = await baton.login("ada@example.com", "a password", { deviceName: "a laptop", deadline: null });
  if (login.done) {
    const device: string = login.deviceId;
    console.log(device, login.recoveryCodes.length);
  } else {
    const step: LoginStep = login.step;
    await step.prove({ totp: "123456" }, { rememberDevice: false });
  }
  try {
    const confirm = async (demand: Refused) => ({ password: demand.code });
    const answer = await baton.call("POST", "/transfers", { json: { amount: 7 }, confirm, idempotencyKey: Baton.newIdempotencyKey() });
    const status: number = answer.status;
    console.log(status, answer.headers.get("baton-replayed"), answer.bytes.length);
  } catch (error) {
    if (error instanceof LoggedOut) console.log(error.kind, error.reason, error.confirmed);
    if (error instanceof Refused) console.log(error.problem["request_id"], error.retryAfter);
  }
  const state = await baton.state();
  console.log(state.signedIn ? state.deviceId : `${state.reason} ${state.at}`);
  const stop: () => void = baton.onState((now) => console.log(now.signedIn));
  stop();
  // @ts-expect-error a number is no password
  await baton.login("ada@example.com", 7, { deviceName: "a laptop" });
  browserBaton({ ...options, clientId: "spa" });
  reactNativeBaton({ ...options, items: expoItems(store) });
}
