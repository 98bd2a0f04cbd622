// The metrics of a stage. They are read from CloudWatch with the operator's own rights.
import { dev } from "../parts/server.js";
import { Loaded, html, useLoaded, useState } from "../parts/ui.js";
import { HEIGHT, WIDTH, highest, number, path, sentence, total } from "../rules/metrics.js";
import { dateTime } from "../rules/words.js";

const SPANS = [[3, "3 hours"], [24, "24 hours"], [168, "7 days"]];

export function Metrics() {
  const [hours, setHours] = useState(3);
  const loaded = useLoaded(() => dev(`metrics?hours=${hours}`), `metrics ${hours}`);
  return html`
    <h1>Metrics</h1>
    <div class="bar" role="group" aria-label="Time">${SPANS.map(([value, label]) => html`
      <button key=${value} type="button" aria-pressed=${value === hours} onClick=${() => setHours(value)}>${label}</button>`)}
      <button type="button" onClick=${loaded.again}>read again</button></div>
    <${Loaded} loaded=${loaded}>${(found) => html`
      <p class="note">Each point is ${found.period / 60} minutes. CloudWatch has new values after about a minute.</p>
      <div class="cards">${found.metrics.map((metric) => html`<${Line} key=${metric.name} metric=${metric} found=${found} />`)}</div>`}</${Loaded}>`;
}

function Line({ metric, found }) {
  const { title, name, unit, points } = metric;
  const shown = unit === "count" ? number(total(points)) : points.some(([, value]) => value !== null) ? `${number(highest(points))} ms` : "no value";
  return html`
    <section class="metric" aria-label=${title}>
      <h2>${title}</h2>
      <p><b>${shown}</b> <code>${name}</code></p>
      <svg viewBox=${`-2 0 ${WIDTH + 4} ${HEIGHT + 2}`} role="img" aria-label=${sentence(metric, found.hours)}><path d=${`M0 ${HEIGHT}H${WIDTH}`} class="axis" /><path d=${path(points)} class="line" /></svg>
      <p class="note"><time>${dateTime(points[0][0])}</time> to <time>${dateTime(points.at(-1)[0])}</time></p>
    </section>`;
}
