// Phones: real clients of Baton in this page, and what may happen to them.
import { addFault, faults, tried } from "../parts/machine.js";
import { callAsThief, exchangeAsThief } from "../phones/thief.js";
import { link } from "../route.js";
import { Action, Empty, Facts, Tag, html, say, useEffect, useState, useStore } from "../parts/ui.js";
import { PASSWORD, addPhone, change, clonePhone, inWords, phones, refresh, removeAll, removePhone } from "../phones/phones.js";
import { attemptDigits } from "../phones/phone.js";
import { clockTime, reason, span } from "../rules/words.js";

export function Phones() {
  const all = useStore(phones);
  return html`
    <h1>Phones</h1>
    <p class="lead">Each phone runs the TypeScript client as an app does. Its key is a software key, so it can be cloned, backed up and stolen.</p>
    <div class="bar"><button type="button" class="primary" onClick=${() => addPhone()}>+ add phone</button>
      ${all.length > 0 && html`<button type="button" onClick=${removeAll}>remove all</button>`}</div>
    ${all.length ? html`<div class="phones">${all.map((entry) => html`<${Card} key=${entry.phone.data.id} entry=${entry} />`)}</div>`
      : html`<${Empty} title="No phones yet."><p>Add one. It can register an account of its own, or log in as demo@example.com.</p></${Empty}>`}
    <${FaultPanel} />`;
}

function Card({ entry: { phone, view, told } }) {
  const [busy, setBusy] = useState(false);
  const act = (name, work) => async () => {
    setBusy(true);
    try {
      const text = (await work()) ?? name;
      await refresh(phone, { tone: "ok", text });
      say(`${phone.name}: ${text}.`);
    } catch (error) {
      const words = inWords(error);
      await refresh(phone, words);
      say(`${phone.name}: ${words.text}`);
    }
    setBusy(false);
  };
  const button = (name, work, off = false) => html`<${Action} key=${name} off=${busy || off} onClick=${act(name, work)}>${name}</${Action}>`;
  const { data } = phone;
  const out = !view.signedIn;
  return html`
    <section class="phone-card" aria-label=${phone.name}>
      <header><h2>${phone.name}${data.of ? html` <small>clone of ${data.of}</small>` : ""}</h2>
        ${out ? html`<${Tag} tone=${view.ended?.reason ? "bad" : "plain"}>${view.ended?.reason ? `ended: ${reason(view.ended.reason)}` : "logged out"}</${Tag}>` : html`<${Tag} tone="ok">generation ${view.generation}</${Tag}>`}
        ${data.offline && html` <${Tag} tone="warn">offline</${Tag}>`}${data.clock !== 0 && html` <${Tag} tone="warn">clock ${span(data.clock)}</${Tag}>`}</header>
      ${out ? html`<${Entry} phone=${phone} act=${act} busy=${busy} />` : html`<${Facts} rows=${[
        ["account", html`<a href=${link("accounts", view.account, view.lineage)}>${data.email || view.account}</a>`],
        ["token until", clockTime(view.expires)], ["next attempt", html`<${Digits} attempt=${view.attempt} />`]]} />
        <div class="buttons" role="group" aria-label="What the app does">
          ${button("call", async () => `GET /me: ${(await phone.call("GET", "/me")).status}`)}
          ${button("exchange", async () => { const { before, after } = await phone.exchange(); return `exchanged: generation ${before} → ${after}`; })}
          ${button("log out", async () => { await phone.logout(); return "logged out"; })}
        </div>`}
      <div class="buttons" role="group" aria-label="What may happen">
        ${button("lose next answer", async () => { await lose(phone, "answer_lost"); return "the next answer will be lost"; }, out)}
        ${button("lose next request", async () => { await lose(phone, "request_lost"); return "the next request will be lost"; }, out)}
        ${button("kill app", async () => { phone.start(); return "the app was killed and started again"; }, out)}
        ${button("second process", async () => { await phone.twoProcesses(); return "two processes exchanged: one child"; }, out)}
        ${button("clone", async () => { const copy = await clonePhone(phone); return `copied to ${copy.name}`; }, out)}
        ${button("steal token", () => steal(view.token), out)}
        ${button("backup", async () => { phone.backup(); await change(phone, {}); return "backup made"; }, out)}
        ${button("restore", async () => { phone.restore(); return "backup restored"; }, !data.backup)}
        ${button(data.clock ? "right clock" : "clock +1 h", async () => { await change(phone, { clock: data.clock ? 0 : 3600 }); return "clock changed"; })}
        ${button(data.offline ? "online" : "offline", async () => { await change(phone, { offline: !data.offline }); return data.offline ? "offline" : "online"; })}
        ${button("remove", async () => { removePhone(phone); return "removed"; })}
      </div>
      ${told && html`<p class=${`told ${told.tone}`}>${told.text}</p>`}
    </section>`;
}

/** An attempt as the server shows it. */
export function Digits({ attempt }) {
  const [digits, setDigits] = useState("");
  useEffect(() => void attemptDigits(attempt).then(setDigits), [attempt]);
  return html`<code>${digits}</code>`;
}

const lose = (phone, name) => addFault({ name, match: { phone: phone.name }, times: 1 });

/** Use a token without its key. Both requests are refused, and the login stays active. */
async function steal(token) {
  const [call, exchange] = [await callAsThief(token), await exchangeAsThief(token)];
  const told = ({ status, code }) => `${status}${code ? ` ${code}` : ""}`;
  return `a thief without the key: call ${told(call)}, exchange ${told(exchange)}. The login stays active`;
}

function Entry({ phone, act, busy }) {
  const [email, setEmail] = useState(phone.data.email || `${phone.name.replace(" ", "-")}@example.com`);
  const [password, setPassword] = useState(PASSWORD);
  const run = (name, work) => (event) => {
    event.preventDefault();
    void act(name, async () => {
      const { done } = await work();
      await change(phone, { email });
      return done ? name : "a second factor is needed: use your app for it";
    })();
  };
  return html`
    <form class="entry" onSubmit=${run("logged in", () => phone.login(email, password))}>
      <label>e-mail <input type="text" inputmode="email" autocomplete="off" value=${email} onInput=${(event) => setEmail(event.target.value)} /></label>
      <label>password <input type="text" autocomplete="off" value=${password} onInput=${(event) => setPassword(event.target.value)} /></label>
      <div class="buttons"><${Action} off=${busy} onClick=${run("registered", () => phone.register(email, password))}>register</${Action}>
        <button type="submit" aria-disabled=${busy ? "true" : undefined}>log in</button></div>
    </form>`;
}

/** A button for each fault of the server. The fault applies to any request, also to one of your own app. */
function FaultPanel() {
  const { known } = useStore(faults);
  if (!known.length) return null;
  const set = (fault) => tried(async () => addFault({ name: fault.name, times: 1, ...DEFAULTS[fault.takes] }), `The fault ${fault.name} applies to the next request.`);
  return html`
    <section class="fault-panel" aria-label="Faults for any request">
      <h2>Faults</h2><p class="note">Each button arms a fault for the next request to the API, from a phone here or from your own app.</p>
      <ul>${known.filter(({ takes }) => takes !== "account").map((fault) => html`<li key=${fault.name}><button type="button" onClick=${() => set(fault)}>${fault.name}</button> <span>${fault.does}</span></li>`)}</ul>
    </section>`;
}

const DEFAULTS = { ms: { ms: 2000 }, seconds: { seconds: 3600 } };
