// Setup: the doctor, clients, keys and settings. Secrets are never shown.
import { dev } from "../parts/server.js";
import { readClock, readFaults, serverNow, tried } from "../parts/machine.js";
import { removeAll } from "../phones/phones.js";
import { leading } from "../live.js";
import { Code, Facts, Loaded, Tag, html, useLoaded, useState, useStore } from "../parts/ui.js";
import { dateTime, left } from "../rules/words.js";

export function Setup() {
  const doctor = useLoaded(() => dev("doctor"), "doctor");
  const settings = useLoaded(() => dev("settings"), "settings");
  const leads = useStore(leading);
  return html`
    <h1>Setup</h1>
    <div class="columns">
      <section aria-label="Doctor"><h2>Doctor</h2><${Loaded} loaded=${doctor}>${({ rows }) => html`<${Doctor} rows=${rows} />`}</${Loaded}></section>
      <section aria-label="Token"><h2>Inspect a token</h2><${Inspect} /></section>
      <${Loaded} loaded=${settings}>${(found) => html`<${Found} found=${found} />`}</${Loaded}>
      <section aria-label="Start again"><h2>Start again</h2><${Reset} />
        <p class="note">${leads ? "This tab reads the events, and shares them with the other tabs." : "Another tab reads the events, and shares them with this one."}</p></section>
    </div>`;
}

function Doctor({ rows }) {
  const problems = rows.filter(({ remedy }) => remedy);
  return html`
    <p>${problems.length ? html`<${Tag} tone="warn">${problems.length} ${problems.length === 1 ? "problem" : "problems"}</${Tag}>` : html`<${Tag} tone="ok">ok: no problems</${Tag}>`}</p>
    <${Rows} rows=${problems} />
    <details><summary>${rows.length - problems.length} checks are ok</summary><${Rows} rows=${rows.filter(({ remedy }) => !remedy)} /></details>`;
}

const Rows = ({ rows }) => html`
  <ul class="findings">${rows.map((row) => html`
    <li key=${row.part + row.name}><${Tag} tone=${row.remedy ? "warn" : "ok"}>${row.remedy ? "warning" : "ok"}</${Tag}> <b>${row.name}</b> ${row.found}${row.remedy && html`<br /><span class="remedy">remedy: ${row.remedy}</span>`}</li>`)}</ul>`;

const Table = ({ label, head, rows }) => html`
  <div class="table" tabindex="0" role="group" aria-label=${label}><table><thead><tr>${head.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
    <tbody>${rows.map((row, index) => html`<tr key=${index}>${row.map((cell, at) => html`<td key=${at}>${cell}</td>`)}</tr>`)}</tbody></table></div>`;

const Found = ({ found }) => html`
  <section aria-label="Clients"><h2>Clients</h2>
    <${Table} label="Clients" head=${["client", "mechanism", "token", "binding", "scope"]} rows=${found.clients.map((one) => [one.id, one.mechanism, one.form, one.binding, one.scope])} /></section>
  <section aria-label="Keys"><h2>Keys</h2>
    <${Table} label="Keys" head=${["key", "made", "age", "signs from"]} rows=${found.keys.map((one) => [html`<code>${one.kid}</code>`, dateTime(one.made_at), left(serverNow() - one.made_at), one.signs_from ? dateTime(one.signs_from) : "its creation"])} />
    <${Facts} rows=${[["not-before", found.not_before ? dateTime(found.not_before) : "not set"], ["engine", found.engine]]} /></section>
  <section aria-label="Settings"><h2>Settings</h2><${Facts} rows=${Object.entries(found.settings).map(([name, text]) => [name, text === null ? "not set" : String(text)])} /></section>`;

function Inspect() {
  const [text, setText] = useState("");
  const [found, setFound] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    setFound((await tried(() => dev("tokens/inspect", { method: "POST", json: { token: text.trim() } }))) ?? null);
  };
  return html`
    <form class="try" onSubmit=${submit}>
      <label>token <textarea rows="3" spellcheck="false" value=${text} onInput=${(event) => setText(event.target.value)}></textarea></label>
      <div class="buttons"><button type="submit" disabled=${!text.trim()}>inspect</button></div>
    </form>
    ${found && html`<p><${Tag} tone=${found.genuine ? "ok" : "bad"}>${found.genuine ? "genuine" : `not genuine: ${found.reason}`}</${Tag}> ${found.form}</p>
      <${Facts} rows=${[["account", found.account], ["login", found.lineage], ["generation", found.generation]]} />
      ${found.claims && html`<${Code} text=${JSON.stringify({ header: found.header, claims: found.claims }, null, 2)} label="claims" />`}`}`;
}

function Reset() {
  const [sure, setSure] = useState(false);
  const reset = () => {
    setSure(false);
    void tried(async () => {
      await dev("reset", { method: "POST", json: {} });
      removeAll();
      await Promise.all([readClock(), readFaults()]);
    }, "All data is deleted. The demo account is registered again.");
  };
  return html`
    <p>Deletes all accounts, logins, mails, faults and phones, and moves the clock to the true time.</p>
    <div class="actions">${sure
      ? html`<button type="button" class="danger" onClick=${reset}>delete all data</button> <button type="button" onClick=${() => setSure(false)}>keep</button>`
      : html`<button type="button" onClick=${() => setSure(true)}>reset</button>`}</div>`;
}
