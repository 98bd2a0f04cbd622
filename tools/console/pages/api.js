// The API reference, drawn from openapi.json. "Try it" signs the request with a phone of this page.
import { link, route } from "../route.js";
import { ServerError } from "../parts/server.js";
import { Code, Empty, Loaded, Tag, html, say, useEffect, useLoaded, useRef, useState, useStore } from "../parts/ui.js";
import { PASSWORD, inWords, phones, refresh } from "../phones/phones.js";
import { API } from "../phones/phone.js";
import { answers, bodyOf, example, filled, mayStepUp, operations, parameters, tags, takesKey, target, written } from "../rules/openapi.js";
import { pretty } from "../rules/request.js";

async function read() {
  const answer = await fetch(`${API}/openapi.json`, { credentials: "omit" }).catch(() => null);
  if (!answer?.ok) throw new ServerError("The description of the API cannot be read.", `GET /api/openapi.json: ${answer?.status ?? "no answer"}.`, "Is a fault set? Remove it, and try again.");
  return answer.json();
}

export function Api() {
  const loaded = useLoaded(read, "openapi");
  const { one } = useStore(route);
  return html`
    <h1>API</h1>
    <${Loaded} loaded=${loaded}>${(api) => html`<${Reference} api=${api} chosen=${one} />`}</${Loaded}>`;
}

function Reference({ api, chosen }) {
  const [wanted, setWanted] = useState("");
  const all = operations(api);
  const fits = all.filter(({ id, summary }) => `${id} ${summary}`.toLowerCase().includes(wanted.toLowerCase()));
  const operation = all.find(({ id }) => id === chosen);
  return html`
    <div class=${`split ${operation ? "with-one" : ""}`}>
      <section class="list" aria-label="Routes">
        <div class="bar"><input type="search" aria-label="Filter routes" placeholder="filter routes" value=${wanted} onInput=${(event) => setWanted(event.target.value)} /></div>
        ${fits.length === 0 && html`<${Empty} title="No route has this text."><p>Change the filter.</p></${Empty}>`}
        ${tags(api, fits).map(({ name, description }) => html`
          <h2 key=${name}>${name} <small>${description}</small></h2>
          <ul class="routes">${fits.filter(({ tag }) => tag === name).map(({ id, method, path, summary }) => html`
            <li key=${id}><a href=${link("api", id)} aria-current=${id === chosen ? "true" : undefined}><span class=${`method ${method}`}>${method}</span> <span class="path">${path}</span><small>${summary}</small></a></li>`)}</ul>`)}
      </section>
      <section class="detail" aria-label="Route">
        ${operation ? html`<${Operation} key=${operation.id} api=${api} operation=${operation} />` : html`<${Empty} title="No route is chosen."><p>Choose one to read its answers and to try it.</p></${Empty}>`}
      </section>
    </div>`;
}

function Operation({ api, operation }) {
  const { method, path, summary, one } = operation;
  return html`
    <a class="back" href=${link("api")}>← all routes</a>
    <h2><span class="method">${method}</span> <span class="path">${path}</span></h2>
    <p>${summary}</p>
    ${one.description && one.description !== summary && html`<p class="note">${one.description}</p>`}
    <${Try} api=${api} operation=${operation} />
    <h3>Answers</h3>
    <dl class="answers">${answers(api, operation).map(({ status, description, codes }) => html`
      <div key=${status}><dt><${Tag} tone=${status < "300" ? "ok" : "plain"}>${status}</${Tag}></dt>
        <dd>${codes.length ? html`<ul>${codes.map(({ code, action }) => html`<li key=${code}><code>${code}</code> <small>${action}</small></li>`)}</ul>` : description}</dd></div>`)}</dl>`;
}

function Try({ api, operation }) {
  const all = useStore(phones);
  const given = parameters(api, operation);
  const body = bodyOf(api, operation);
  const signed = all.filter(({ view }) => view.signedIn);
  const [id, setId] = useState(signed[0]?.phone.data.id ?? "");
  const entry = all.find(({ phone }) => phone.data.id === id) ?? signed[0];
  const values = useRef({});
  const start = body ? written(body.type, filled(example(api, body.schema), { email: entry?.phone.data.email || "demo@example.com", password: PASSWORD })) : "";
  const [text, setText] = useState(start);
  const [state, setState] = useState({ busy: false, answer: null });
  const [proves, setProves] = useState(false);
  useEffect(() => setText(start), [id]);
  if (!signed.length) return html`<${Empty} title="No phone is logged in."><p>Add one on the <a href=${link("phones")}>Phones</a> page. It signs the request.</p></${Empty}>`;
  const send = async (event) => {
    event.preventDefault();
    setState({ busy: true, answer: null });
    const { path, query } = target(operation, given, values.current);
    const { phone } = entry;
    const before = phone.seen;
    const options = { query, ...(takesKey(api, operation) ? { idempotencyKey: crypto.randomUUID().replaceAll("-", "") } : {}), ...(proves ? { confirm: async () => ({ password: PASSWORD }) } : {}) };
    if (body) Object.assign(options, { body: new TextEncoder().encode(text), contentType: body.type });
    try {
      const answer = await phone.call(operation.method, path, options);
      setState({ busy: false, answer: { tone: "ok", title: String(answer.status), text: pretty(new TextDecoder().decode(answer.bytes)), request: phone.seen !== before ? phone.seen : null } });
      say(`Answered: ${answer.status}.`);
    } catch (error) {
      setState({ busy: false, answer: { ...inWords(error), title: error.status ? `${error.status} ${error.code}` : "no answer", text: error.problem ? JSON.stringify(error.problem, null, 2) : error.message, request: phone.seen !== before ? phone.seen : null } });
      say(`Answered: ${error.code ?? error.kind ?? error.message}.`);
    }
    await refresh(phone);
  };
  return html`
    <form class="try" onSubmit=${send} aria-label="Try it">
      <h3>Try it</h3>
      <label>phone <select value=${entry?.phone.data.id} onChange=${(event) => setId(event.target.value)}>${signed.map(({ phone }) => html`<option key=${phone.data.id} value=${phone.data.id}>${phone.name}, ${phone.data.email}</option>`)}</select></label>
      ${given.map(({ name, in: place, required }) => html`
        <label key=${name}>${name} <small>${place}${required ? "" : ", optional"}</small>
          <input type="text" autocomplete="off" required=${place === "path"} onInput=${(event) => { values.current[name] = event.target.value; }} /></label>`)}
      ${body && html`<label>body <small>${body.type}</small><textarea rows=${Math.min(14, text.split("\n").length + 1)} spellcheck="false" value=${text} onInput=${(event) => setText(event.target.value)}></textarea></label>`}
      ${mayStepUp(api, operation) && html`<label class="check"><input type="checkbox" checked=${proves} onChange=${(event) => setProves(event.target.checked)} /> prove the password again, if the route asks for it</label>`}
      <div class="buttons"><button type="submit" class="primary" aria-disabled=${state.busy ? "true" : undefined}>${state.busy ? "sending …" : "sign and send"}</button></div>
    </form>
    ${state.answer && html`<div class="answer" aria-label="Answer"><p><${Tag} tone=${state.answer.tone}>${state.answer.title}</${Tag}> ${state.answer.request && html`<a href=${link("wire", state.answer.request)}>see it on the wire</a>`}</p>
      ${state.answer.text ? html`<${Code} text=${state.answer.text} label="answer" />` : html`<p>The answer has no body.</p>`}</div>`}`;
}
