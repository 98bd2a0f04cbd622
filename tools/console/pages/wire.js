// The wire log: a live list on the left, one request on the right.
import { events } from "../live.js";
import { link, route as place } from "../route.js";
import { isLost, isRefusal, route, rows, units, values } from "../rules/events.js";
import { clockTime, outcome, span } from "../rules/words.js";
import { Empty, Tag, html, useState, useStore } from "../parts/ui.js";
import { Detail } from "./detail.js";

const SHOWN = 300;

export function Wire() {
  const live = useStore(events);
  const { one } = useStore(place);
  const [held, setHeld] = useState(null);
  const [filter, setFilter] = useState({ refusals: false, onlyRoute: "", phone: "" });
  const all = held ?? live;
  const shown = rows(all, filter);
  const change = (member) => (event) => setFilter((before) => ({ ...before, [member]: event.target.value }));
  return html`
    <h1 class="hidden">Wire</h1>
    <div class=${`split ${one ? "with-one" : ""}`}>
      <section class="list" aria-label="Requests">
        <div class="bar">
          <button type="button" aria-pressed=${String(held !== null)} onClick=${() => setHeld(held ? null : live)}>
            ${held ? `paused, ${live.length - held.length} waiting` : "pause"}</button>
          <button type="button" aria-pressed=${String(filter.refusals)}
            onClick=${() => setFilter((before) => ({ ...before, refusals: !before.refusals }))}>only refusals</button>
          <${Select} label="Route" value=${filter.onlyRoute} names=${values(all, (event) => route(event.path))} change=${change("onlyRoute")} all="all routes" />
          <${Select} label="Phone" value=${filter.phone} names=${values(all, (event) => event.phone)} change=${change("phone")} all="all phones" />
        </div>
        ${shown.length
          ? html`<ol class="rows">${shown.slice(0, SHOWN).map((event) => html`<${Row} key=${event.n} event=${event} chosen=${event.request_id === one} />`)}</ol>
            ${shown.length > SHOWN && html`<p class="note">${shown.length - SHOWN} older rows are not shown. Filter, or search.</p>`}`
          : html`<${Nothing} any=${all.length > 0} />`}
      </section>
      <section class="detail" aria-label="Request">
        ${one ? html`<${Detail} key=${one} id=${one} />`
          : html`<${Empty} title="No request is chosen."><p>Choose a row. Here you see what was sent, what was signed, and every call to the database.</p></${Empty}>`}
      </section>
    </div>`;
}

const Select = ({ label, value, names, change, all }) => html`
  <select aria-label=${label} value=${value} onChange=${change}>
    <option value="">${all}</option>${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
  </select>`;

function Nothing({ any }) {
  if (any) return html`<${Empty} title="No request passes the filter."><p>Change the filter above.</p></${Empty}>`;
  return html`
    <${Empty} title="No requests yet.">
      <p>Send one from your app, or see <a href=${link("stories", "lost-answer")}>a story</a>: it plays a lost answer and shows each request here.</p>
    </${Empty}>`;
}

/** The mark of a row, as word and tone: a lost answer, an error or an exchange. Null for any other request. */
export function mark(event) {
  if (isLost(event)) return ["lost", "warn"];
  const happened = event.exchange?.outcome;
  if (happened && happened !== "exchanged" && happened !== "inactive") return [outcome(happened).word, outcome(happened).tone];
  if (event.code) return [event.code, event.status >= 500 ? "bad" : "warn"];
  if (happened === "exchanged") return [`gen ${event.exchange.generation} → ${event.exchange.generation + 1}`, "ok"];
  return null;
}

export function Row({ event, chosen }) {
  if (event.kind !== "request") return html`<${Machine} event=${event} />`;
  const told = mark(event);
  return html`
    <li><a href=${link("wire", event.request_id)} aria-current=${chosen ? "true" : undefined} class=${`row ${isRefusal(event) ? "refused" : ""}`}>
      <time>${clockTime(event.at, true)}</time>
      <span class="what"><span class="method">${event.method}</span> <span class="path">${route(event.path)}</span>${told && html` <${Tag} tone=${told[1]}>${told[0]}</${Tag}>`}</span>
      <span class=${`code-${isLost(event) ? "lost" : Math.floor(event.status / 100)}`}>${isLost(event) ? "---" : event.status}</span>
      <span class="ms">${Math.round(event.ms)} ms</span>
      <span class="units">${units(event.units)}</span>
      <span class="phone">${event.phone ?? ""}</span>
    </a></li>`;
}

/** A row for an event between two requests: a fault, the clock, a mail or a reset. */
function Machine({ event }) {
  const said = {
    fault: () => `fault ${event.fault?.name} ${event.change}`,
    clock: () => `clock moved, now ${span(event.skipped)}`,
    mail: () => `mail to ${event.to}: ${event.subject}`,
    reset: () => "all data was reset",
  }[event.kind];
  return said ? html`<li class="machine"><time>${clockTime(event.at, true)}</time> <span>${said()}</span></li>` : null;
}
