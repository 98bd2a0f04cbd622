// Accounts: a list, and one account with its logins as pictures.
import { events } from "../live.js";
import { go, link, route } from "../route.js";
import { dev, part } from "../parts/server.js";
import { addFault, mode, tried } from "../parts/machine.js";
import { Empty, Facts, Loaded, Tag, html, say, useEffect, useLoaded, useState, useStore } from "../parts/ui.js";
import { clockTime, dateTime, reason, short } from "../rules/words.js";
import { Legend, Picture } from "./picture.js";

export function Accounts() {
  const { one, more } = useStore(route);
  return one ? html`<${Account} key=${one} account=${one} chosen=${more} />` : (mode.get().mode === "stage" ? html`<${Find} />` : html`<${List} />`);
}

/** The number of the newest event that may have changed an account. A page loads its data again when the number rises. */
export function useNewest(fits) {
  const all = useStore(events);
  return all.findLast((event) => event.kind === "reset" || fits(event))?.n ?? 0;
}

export const AccountRows = ({ accounts }) => html`
  <ul class="cards">${accounts.map(({ account, email, status, logins }) => html`
    <li key=${account}><a class="card-link" href=${link("accounts", account)}>
      <b>${email ?? "(no address)"}</b><span><${Tag} tone=${status === "active" ? "ok" : "bad"}>${status}</${Tag}> ${logins} ${logins === 1 ? "login" : "logins"}</span>
      <code>${account}</code></a></li>`)}</ul>`;

/** The page of a stage: an operator must search for an account. There is no list of all accounts. */
const Find = () => html`
  <h1>Accounts</h1>
  <${Empty} title="Search for an account."><p>Type the e-mail address, the account, the device or a request id into the search above. Press / to go there.</p></${Empty}>`;

function List() {
  const newest = useNewest((event) => event.kind === "request" && event.account);
  const loaded = useLoaded(() => dev("accounts"), `accounts ${newest}`);
  const [kept, setKept] = useState(null);
  useEffect(() => {
    if (loaded.value) setKept(loaded.value);
  }, [loaded.value]);
  return html`
    <h1>Accounts</h1>
    <${Loaded} loaded=${{ ...loaded, value: loaded.value ?? kept }}>${({ accounts }) => accounts.length
      ? html`<${AccountRows} accounts=${accounts} />`
      : html`<${Empty} title="No accounts yet."><p>Register one: with your app, or with <a href=${link("phones")}>a phone of this page</a>.</p></${Empty}>`}</${Loaded}>`;
}

function Account({ account, chosen }) {
  const newest = useNewest((event) => event.account === account);
  const [round, setRound] = useState(0);
  const loaded = useLoaded(
    async () => ({ ...(await dev(`accounts/${part(account)}`)), pictures: (await dev(`accounts/${part(account)}/lineages`)).lineages }),
    `${account} ${newest} ${round}`,
  );
  const [kept, setKept] = useState(null);
  useEffect(() => {
    if (loaded.value) setKept(loaded.value);
  }, [loaded.value]);
  const again = () => setRound((count) => count + 1);
  return html`
    <p><a href=${link("accounts")}>← all accounts</a></p>
    <${Loaded} loaded=${{ ...loaded, value: loaded.value ?? kept }}>${(found) => html`<${Found} found=${found} chosen=${chosen} again=${again} />`}</${Loaded}>`;
}

function Found({ found, chosen, again }) {
  const { account, email, status, factors } = found;
  const told = [factors.totp && "TOTP", factors.passkeys && `${factors.passkeys} passkeys`, factors.recovery_codes && `${factors.recovery_codes} codes left`];
  const order = [...found.pictures].sort((a, b) => Number(b.lineage === chosen) - Number(a.lineage === chosen) || (a.ended ? 1 : 0) - (b.ended ? 1 : 0));
  return html`
    <h1>${email} <${Tag} tone=${status === "active" ? "ok" : "bad"}>${status}</${Tag}></h1>
    <${Facts} rows=${[
      ["account", html`<code>${account}</code>`], ["address", found.verified ? "verified" : "not verified"],
      ["factors", told.filter(Boolean).join(", ") || "none"], ["roles", found.roles.join(", ") || "none"],
      ["credentials", `version ${found.credentials_version}`], ["logins", `${found.logins} of ${found.logins_max}`],
    ]} />
    <${Actions} found=${found} again=${again} />
    <h2>Logins</h2>
    ${order.length ? html`<${Legend} />` : html`<${Empty} title="No logins."><p>Log in with an app or <a href=${link("phones")}>a phone of this page</a>.</p></${Empty}>`}
    ${order.map((lineage) => html`<${Login} key=${lineage.lineage} lineage=${lineage} found=${found} again=${again} />`)}
    <h2>Activity</h2>
    ${found.activity.length ? html`<div class="table" tabindex="0" role="group" aria-label="Activity"><table><thead><tr><th scope="col">time</th><th scope="col">event</th><th scope="col">login</th></tr></thead>
      <tbody>${found.activity.map((one, index) => html`<tr key=${index}><td>${dateTime(one.at)}</td><td>${String(one.event).replaceAll("_", " ")}</td><td>${one.device_name || ""} <code>${short(one.device_id ?? "")}</code></td></tr>`)}</tbody></table></div>`
      : html`<p class="note">No activity is recorded.</p>`}`;
}

function Login({ lineage, found, again }) {
  const stored = found.lineages.find((one) => one.lineage === lineage.lineage);
  const { ended, bound } = lineage;
  const end = () =>
    tried(async () => {
      await dev(`accounts/${part(found.account)}/end`, { method: "POST", json: { confirm: named(found), lineage: lineage.lineage } });
      again();
    }, "The login is ended.");
  return html`
    <section class="login" aria-label=${`Login ${short(lineage.lineage)} of ${lineage.device || "a device"}`}>
      <header><h3>${lineage.device || "a device without a name"}</h3>
        <p class="note">${lineage.client} · ${{ key: "bound to a device key", secret: "bound to a secret", none: "not bound" }[bound] ?? bound} · <code>${short(lineage.lineage)}</code></p>
        ${ended ? html`<${Tag} tone="bad">ended ${clockTime(ended.at)}: ${reason(ended.reason)}</${Tag}>`
          : html`<span><${Tag} tone="ok">live</${Tag}>${stored?.expires_at ? html` <small>at most until ${dateTime(stored.expires_at)}</small>` : ""}</span> <button type="button" class="small" onClick=${end}>end</button>`}
      </header>
      <${Picture} lineage=${lineage} />
    </section>`;
}

/** The fault `cloned_device`: the real app's next exchange is refused as a reuse. */
const copied = ({ email }, again) =>
  tried(async () => {
    if (await addFault({ name: "cloned_device", match: { account: email } })) say("A copy has exchanged the newest login. The next exchange of the real app ends it.");
    again();
  });

/** The address of an account. An account of an identity provider may have none: then its id. */
const named = (found) => found.email || found.account;

/** The changes of an account. The operator must type the address of the account, and the server compares it. */
function Actions({ found, again }) {
  const [action, setAction] = useState(null);
  const [typed, setTyped] = useState("");
  const names = found.status === "disabled" ? ["enable", "delete"] : ["disable", "end", "delete"];
  const words = { end: "end all logins" };
  const submit = (event) => {
    event.preventDefault();
    void tried(async () => {
      await dev(`accounts/${part(found.account)}/${action}`, { method: "POST", json: { confirm: typed } });
      setAction(null);
      setTyped("");
      if (action === "delete") go("accounts");
      else again();
    }, `Done: ${words[action] ?? action}.`);
  };
  return html`
    <div class="actions">${mode.get().mode === "local" && html`<button type="button" onClick=${() => copied(found, again)}>exchange as a copy</button>`}
      ${names.map((name) => html`
      <button key=${name} type="button" class=${name === "delete" ? "danger" : ""} aria-pressed=${String(action === name)} onClick=${() => setAction(action === name ? null : name)}>${words[name] ?? name}</button>`)}</div>
    ${action && html`
      <form class="confirm" onSubmit=${submit}>
        <label>To ${words[action] ?? action}, type ${found.email ? "the address" : "the id"} <b>${named(found)}</b>
          <input type="text" autocomplete="off" spellcheck="false" value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>
        <button type="submit" class="danger" disabled=${typed !== named(found)}>${words[action] ?? action}</button>
      </form>`}`;
}
