// The search: one box for e-mail addresses, accounts, devices and request ids.
import { dev, part } from "../parts/server.js";
import { address, go, route } from "../route.js";
import { mode } from "../parts/machine.js";
import { Code, Empty, Loaded, html, useEffect, useLoaded, useStore } from "../parts/ui.js";
import { AccountRows } from "./accounts.js";
import { Row } from "./wire.js";

const ID = /^[A-Za-z0-9_-]{8,64}$/;

/** A stage keeps no requests. Its log has the lines of a request, a login or an account, of the last seven days. */
async function stageSearch(text) {
  const { accounts } = await dev(`accounts?q=${part(text)}`);
  const { lines } = ID.test(text) ? await dev(`requests?q=${part(text)}`) : { lines: [] };
  return { accounts, requests: [], lines };
}

export function Search() {
  const { one: text } = useStore(route);
  const loaded = useLoaded(async () => {
    if (mode.get().mode === "stage") return stageSearch(text);
    const [{ accounts }, { requests }] = await Promise.all([dev(`accounts?q=${part(text)}`), dev(`requests?q=${part(text)}&limit=50`)]);
    return { accounts, requests, lines: [] };
  }, `search ${text}`);
  useEffect(() => {
    const now = address(); // newer than `route`, which changes with the event `hashchange`
    if (!loaded.value || now.page !== "search" || now.one !== text) return;
    const { accounts, requests } = loaded.value;
    if (requests.length === 1 && requests[0].request_id === text) location.replace(`#/wire/${part(text)}`);
    else if (accounts.length === 1 && [accounts[0].account, accounts[0].email].includes(text)) go("accounts", accounts[0].account);
  }, [loaded.value]);
  return html`
    <h1>Search: ${text}</h1>
    <${Loaded} loaded=${loaded}>${({ accounts, requests, lines }) => accounts.length + requests.length + lines.length === 0
      ? html`<${Empty} title="Nothing was found."><p>Search for a whole e-mail address, an account, a device id (a login), or a request id from the header Baton-Request-Id. The server keeps the last 2,000 requests.</p></${Empty}>`
      : html`
        ${accounts.length > 0 && html`<h2>Accounts</h2><${AccountRows} accounts=${accounts} />`}
        ${lines.length > 0 && html`<h2>Log lines</h2>${lines.map((line, index) => html`<${Code} key=${index} text=${JSON.stringify(line, null, 2)} label=${`line ${index + 1}`} />`)}`}
        ${requests.length > 0 && html`<h2>Requests</h2><ol class="rows boxed">${requests.map((event) => html`<${Row} key=${event.n} event=${event} />`)}</ol>`}`}</${Loaded}>`;
}
