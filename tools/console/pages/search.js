// The search: one box for e-mail addresses, accounts, devices and request ids.
import { dev, part } from "../parts/server.js";
import { go, route } from "../route.js";
import { Empty, Loaded, html, useEffect, useLoaded, useStore } from "../parts/ui.js";
import { AccountRows } from "./accounts.js";
import { Row } from "./wire.js";

export function Search() {
  const { one: text } = useStore(route);
  const loaded = useLoaded(async () => {
    const [{ accounts }, { requests }] = await Promise.all([dev(`accounts?q=${part(text)}`), dev(`requests?q=${part(text)}&limit=50`)]);
    return { accounts, requests };
  }, `search ${text}`);
  useEffect(() => {
    if (!loaded.value) return;
    const { accounts, requests } = loaded.value;
    if (requests.length === 1 && requests[0].request_id === text) location.replace(`#/wire/${part(text)}`);
    else if (accounts.length === 1 && [accounts[0].account, accounts[0].email].includes(text)) go("accounts", accounts[0].account);
  }, [loaded.value]);
  return html`
    <h1>Search: ${text}</h1>
    <${Loaded} loaded=${loaded}>${({ accounts, requests }) => accounts.length + requests.length === 0
      ? html`<${Empty} title="Nothing was found."><p>Search for a whole e-mail address, an account, a device id (a login), or a request id from the header Baton-Request-Id. The server keeps the last 2,000 requests.</p></${Empty}>`
      : html`
        ${accounts.length > 0 && html`<h2>Accounts</h2><${AccountRows} accounts=${accounts} />`}
        ${requests.length > 0 && html`<h2>Requests</h2><ol class="rows boxed">${requests.map((event) => html`<${Row} key=${event.n} event=${event} />`)}</ol>`}`}</${Loaded}>`;
}
