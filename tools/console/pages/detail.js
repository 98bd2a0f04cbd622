// One request: summary, headers, signature base, bodies, engine calls, curl.
import { link } from "../route.js";
import { dev, part } from "../parts/server.js";
import { tried } from "../parts/machine.js";
import { Choices, Code, Empty, Facts, Loaded, Tag, html, say, useLoaded, useState } from "../parts/ui.js";
import { beside, curl, pretty, resent, told } from "../rules/request.js";
import { isLost, route, units } from "../rules/events.js";
import { clockTime, short } from "../rules/words.js";
import { canRepeat, repeat, signedBase } from "../phones/bases.js";

const TABS = ["Summary", "Headers", "Signature base", "Body", "DynamoDB", "curl"];

export function Detail({ id }) {
  const loaded = useLoaded(() => dev(`requests/${part(id)}`), id);
  const [tab, setTab] = useState(TABS[0]);
  return html`<${Loaded} loaded=${loaded}>${(found) => html`
    <header class="detail-head">
      <a class="back" href=${link("wire")}>← all requests</a>
      <h2><span class="method">${found.method}</span> <span class="path">${route(found.path)}</span>
        ${" "}<${Tag} tone=${tone(found)}>${isLost(found) ? "lost" : found.status}</${Tag}></h2>
      <p class="note"><code>${found.request_id}</code> · ${clockTime(found.at, true)} · ${found.ms.toFixed(1)} ms${found.phone ? ` · ${found.phone}` : ""}</p>
    </header>
    <${Choices} label="Parts of the request" names=${TABS} chosen=${tab} choose=${setTab} />
    <div class="pane">${PANES[tab](found)}</div>`}</${Loaded}>`;
}

const tone = (event) => (isLost(event) ? "warn" : event.status < 300 ? "ok" : event.status < 500 ? "warn" : "bad");

const PANES = {
  Summary: (found) => html`<${Summary} found=${found} />`,
  Headers: ({ request, response }) => html`
    <h3>Request</h3><${Headers} pairs=${request.headers} />
    <h3>Response</h3>${response ? html`<${Headers} pairs=${response.headers} />` : html`<p>There was no answer.</p>`}`,
  "Signature base": (found) => html`<${Signature} found=${found} />`,
  Body: ({ request, response }) => html`
    <h3>Request</h3><${Body} body=${request} label="request body" />
    <h3>Response</h3>${response ? html`<${Body} body=${response} label="response body" />` : html`<p>There was no answer.</p>`}`,
  DynamoDB: ({ engine }) => html`<${Engine} calls=${engine} />`,
  curl: (found) => html`<${Curl} found=${found} />`,
};

function Summary({ found }) {
  return html`
    ${told(found).map((sentence) => html`<p key=${sentence}>${sentence}</p>`)}
    ${found.retry_of && html`<p>It repeats <a href=${link("wire", found.retry_of)}>${short(found.retry_of)}</a>: the same token and the same attempt.</p>`}
    ${found.reuse && html`<${Reuse} reuse=${found.reuse} />`}
    <${Doctor} findings=${found.doctor} verdict=${found.signature?.verdict} />
    <${Facts} rows=${[
      ["account", found.account && html`<a href=${link("accounts", found.account)}>${found.account}</a>`],
      ["login", found.lineage && found.account && html`<a href=${link("accounts", found.account, found.lineage)}>${found.lineage}</a>`],
      ["phone", found.phone], ["from", found.source], ["fault", found.fault],
      ["database", found.engine.length ? `${found.engine.length} calls, ${units(found.units) || "no units"}` : "no call"],
    ]} />`;
}

/** Both presentations of one token, side by side. */
function Reuse({ reuse: { first, second } }) {
  const side = (title, one) => html`
    <div><h4>${title}</h4>${one
      ? html`<${Facts} rows=${[["at", clockTime(one.at, true)], ["by", one.phone ?? "a device without a name"], ["attempt", html`<code>${one.attempt}</code>`],
          ["request", html`<a href=${link("wire", one.request_id)}>${short(one.request_id)}</a>`]]} />`
      : html`<p>The server did not see it.</p>`}</div>`;
  return html`
    <div class="reuse"><h3>One token, two attempts</h3>
      <p>A device stores its attempt before it sends the exchange, and repeats the same one. A second attempt means a second party. Baton cannot tell which one is the thief, so the login ends for both.</p>
      <div class="sides">${side("First", first)}${side("Second", second)}</div></div>`;
}

function Doctor({ findings, verdict }) {
  if (!findings.length) return verdict === "verified" ? html`<p><${Tag} tone="ok">doctor: signature verified</${Tag}></p>` : null;
  return html`
    <h3>Doctor</h3>
    <ul class="findings">${findings.map((one) => html`
      <li key=${one.part + one.found}><b>${one.part}</b>: ${one.found}${one.remedy && html`<br /><span class="remedy">remedy: ${one.remedy}</span>`}</li>`)}</ul>`;
}

const Headers = ({ pairs }) => html`
  <dl class="headers">${pairs.map(([name, value], index) => html`<div key=${index}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

function Body({ body, label }) {
  if (body.body === null) return html`<p>The body is not text: ${body.bytes} bytes.</p>`;
  if (!body.body) return html`<p>The body is empty.</p>`;
  return html`<${Code} text=${pretty(body.body)} label=${label} />${body.cut && html`<p class="note">Cut: the whole body has ${body.bytes} bytes.</p>`}`;
}

function Signature({ found }) {
  const { signature } = found;
  if (!signature) return html`<${Empty} title="This request has no signature."><p>Routes before a login, such as the metadata, need none.</p></${Empty}>`;
  const own = signedBase(inputOf(found));
  const compared = beside(signature.base, own);
  const differing = compared.filter((line) => line.differs).length;
  return html`
    <p><${Tag} tone=${signature.verdict === "verified" ? "ok" : "bad"}>${signature.verdict}</${Tag}>
      ${" "}${own === null ? "Another app signed this request, so only the base of the server is shown."
        : differing ? `${differing} lines differ. They are marked.` : "The phone and the server built the same base."}</p>
    <div class="table" tabindex="0" role="group" aria-label="Signature base, line by line"><table class="bases">
      <thead><tr><th scope="col">component</th><th scope="col">server</th>${own !== null && html`<th scope="col">phone</th>`}</tr></thead>
      <tbody>${compared.map((line) => html`
        <tr key=${line.name} class=${line.differs ? "differs" : ""}>
          <th scope="row">${line.name}${line.differs && html` <${Tag} tone="bad">differs</${Tag}>`}</th>
          <td>${line.server ?? "missing"}</td>${own !== null && html`<td>${line.masked && line.phone !== null ? "(secret, not compared)" : line.phone ?? "missing"}</td>`}
        </tr>`)}</tbody>
    </table></div>
    <${Doctor} findings=${found.doctor} verdict=${signature.verdict} />
    ${signature.base && html`<${Code} text=${signature.base} label="signature base" />`}`;
}

function Engine({ calls }) {
  if (!calls.length) return html`<${Empty} title="No call to the database."><p>The server answered without it.</p></${Empty}>`;
  return html`
    <div class="table" tabindex="0" role="group" aria-label="Calls"><table>
      <thead><tr>${["call", "table", "condition", "verdict", "units", "size", "time"].map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${calls.map((call, index) => html`
        <tr key=${index}><td>${call.operation}</td><td>${call.table ?? call.service}</td><td>${call.condition ? html`<code>${call.condition}</code>` : ""}</td>
          <td><${Tag} tone=${{ held: "ok", done: "plain", failed: "warn" }[call.verdict] ?? "bad"}>${call.verdict}</${Tag}></td>
          <td>${units(call.units)}${call.units && !call.units.counted ? html` <small>computed</small>` : ""}</td><td>${call.bytes ? `${call.bytes} B` : ""}</td><td>${call.ms.toFixed(1)} ms</td></tr>`)}</tbody>
    </table></div>
    <p class="note">The database checks a condition in the same step as the write. No second device can act between the two.</p>`;
}

function Curl({ found }) {
  const input = inputOf(found);
  const ours = canRepeat(input);
  const again = () => tried(async () => say(`Sent again: ${ours ? await repeat(input) : await sendAgain(found)}.`));
  return html`
    <${Code} text=${curl(found, location.origin)} label="curl command" />
    <p class="actions"><button type="button" onClick=${again}>again</button></p>
    <p class="note">${ours ? "“again” sends the same body and token with a new signature, because a phone of this page sent the request. The curl command has masked secrets."
      : "“again” sends what is shown here. The server refuses masked secrets and used signatures: a signature is valid once."}</p>`;
}

const inputOf = ({ request }) => request.headers.find(([name]) => name.toLowerCase() === "signature-input")?.[1] ?? "";

async function sendAgain({ method, path, request }) {
  const body = ["GET", "HEAD"].includes(method) ? undefined : request.body;
  return (await fetch(path, { method, headers: resent(request.headers), body, credentials: "omit", cache: "no-store" })).status;
}
