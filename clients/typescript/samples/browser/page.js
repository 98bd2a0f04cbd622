// A page with Baton: register, log in, a second factor, a call, a step-up, logout. Copy `src` of the client beside it.

import { browserBaton, persist } from "../../src/browser.js";

const API = new URLSearchParams(location.search).get("api") ?? "http://localhost:8000/api";
const REASONS = {
  logout: "You are logged out.",
  ended_everywhere: "You are logged out on all devices.",
  ended_by_owner: "You have ended this login on another device.",
  password_changed: "The password was changed on another device.",
  reuse: "A copy of this device's data was used. Log in again.",
  replaced: "This device has logged in again.",
  identity_unlinked: "A way to log in was removed from your account. Log in again.",
  idle: "You were away for a long time. Log in again.",
};
const at = (id) => document.getElementById(id);
const say = (text) => void (at("said").textContent = text);
const baton = browserBaton({ baseUrl: API, clientId: "mobile" });
let step = null;

/** Run `work`, and show its error in words. */
const doing = (work) => async (event) => {
  event.preventDefault();
  try {
    await work(event);
  } catch (error) {
    if (error.kind === "offline") say("There is no network. You are still logged in.");
    else if (error.kind !== "logged_out") say(error.code ?? error.message); // The state of a logout has its own words.
  }
};

function show(state) {
  at("entry").hidden = state.signedIn || step !== null;
  at("factor").hidden = state.signedIn || step === null;
  at("inside").hidden = !state.signedIn;
  say(state.signedIn ? "You are logged in." : REASONS[state.reason] ?? state.reason ?? "Log in, or register.");
}

async function entered(login) {
  step = login.done ? null : login.step;
  if (login.done) await persist();
  show(await baton.state());
}

/** Ask for the password, because the route requires it. */
const confirm = () => new Promise((resolve, reject) => {
  at("demand").showModal();
  at("demand").onclose = () => (at("again").value ? resolve({ password: at("again").value }) : reject(new Error("cancelled")));
});

at("entry").onsubmit = doing(async ({ submitter }) =>
  entered(await baton[submitter.value](at("email").value, at("password").value, { deviceName: "a page" })));
at("factor").onsubmit = doing(async () => entered(await step.prove({ totp: at("code").value })));
at("call").onclick = doing(async () => say(`Hello ${(await baton.me()).email}`));
at("everywhere").onclick = doing(() => baton.logoutEverywhere(confirm));
at("logout").onclick = doing(() => baton.logout());
baton.onState(show);
step = await baton.pendingStep();
show(await baton.state());
