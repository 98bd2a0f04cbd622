// Stories: what Baton does, step by step, with real requests. The page stops when a step does not do what it says.
import { dev, part } from "../parts/server.js";
import { link, route } from "../route.js";
import { Action, Empty, Failing, Tag, html, useEffect, useLoaded, useRef, useState, useStore } from "../parts/ui.js";
import { begin, next, play, playAll, stop } from "../stories/player.js";
import { inWords, text } from "../stories/expect.js";
import { STORIES, story as find } from "../stories/stories.js";
import { short } from "../rules/words.js";
import { PASSWORD, phones } from "../phones/phones.js";
import { Digits } from "./phones.js";
import { Legend, Picture } from "./picture.js";

export function Stories() {
  const { one } = useStore(route);
  const chosen = find(one);
  return chosen ? html`<${Told} key=${one} story=${chosen} />` : html`<${Index} />`;
}

const Index = () => html`
  <div class="intro">
    <h1>What Baton does when things go wrong</h1>
    <p class="lead">A phone stays logged in by a chain of tokens. Each token is used once and replaced by its child, like the baton in a relay race. A story shows with real requests what happens when an answer is lost, or a token is stolen.</p>
  </div>
  <dl class="terms">
    <div><dt>token, generation</dt><dd>A token is good for one exchange. Its generation is its number in the chain: 0, 1, 2 …</dd></div>
    <div><dt>exchange</dt><dd>The phone sends its token and gets the next one. The old token is spent.</dd></div>
    <div><dt>attempt</dt><dd>A random number that the phone stores <em>before</em> it sends an exchange. If the answer is lost, the phone sends the same token with the same attempt, and gets the same child. Same token with <em>another</em> attempt: two parties have the token.</dd></div>
  </dl>
  <ul class="cards stories">${STORIES.map(({ name, title, question, steps }, index) => html`
    <li key=${name}><a class="card-link" href=${link("stories", name)}><b>${title}</b><span>${question}</span><small>${steps.length} steps${index === 0 ? ": begin here" : ""}</small></a></li>`)}</ul>
  <p class="note">Try it yourself on the <a href=${link("phones")}>Phones</a> page, and see each request on the <a href=${link("wire")}>Wire</a>. Demo account: demo@example.com, password: ${PASSWORD}.</p>`;

function Told({ story }) {
  const state = useStore(play);
  useEffect(() => {
    if (play.get().story !== story.name) begin(story.name);
  }, [story.name]);
  const steps = useRef(null);
  useEffect(() => {
    if (state.done.length) steps.current?.querySelector(".now, .wrong, .step:last-child")?.scrollIntoView({ block: "nearest" });
  }, [state.done.length]);
  if (state.story !== story.name) return null;
  const over = state.done.length >= story.steps.length && !state.failed;
  const ready = !state.busy && !state.failed && !over;
  return html`
    <p><a href=${link("stories")}>← all stories</a></p>
    <h1>${story.title}</h1>
    <p class="lead">${story.question}</p>
    <div class="bar story-bar">
      <${Action} class="primary" off=${!ready || state.playing} onClick=${next}>${state.done.length ? "next" : "begin"}</${Action}>
      ${state.playing ? html`<button type="button" onClick=${stop}>pause</button>` : html`<${Action} off=${!ready} onClick=${playAll}>play all</${Action}>`}
      <button type="button" onClick=${() => begin(story.name)}>start again</button>
      <span class="note">step ${state.done.length} of ${story.steps.length}</span>
    </div>
    <div class="story">
      <ol class="steps" ref=${steps}>${story.steps.map((step, index) => html`<${Step} key=${index} step=${step} index=${index} state=${state} />`)}</ol>
      <div class="scene"><${Scene} state=${state} /></div>
    </div>
    ${over && html`<div class="moral"><p><${Tag} tone="ok">as expected</${Tag}></p><p>${story.moral}</p></div>`}`;
}

function Step({ step, index, state }) {
  const rows = state.done[index];
  const now = index === state.done.length && !state.failed;
  const wrong = rows?.some((row) => !row.ok);
  return html`
    <li class=${`step ${rows ? (wrong ? "wrong" : "done") : now ? "now" : "later"}`} aria-current=${now ? "step" : undefined}>
      <p>${step.say}</p>
      ${rows && html`<p class="checks">${rows.map((row) => html`<${Tag} key=${row.name} tone=${row.ok ? "ok" : "bad"}>${row.ok ? "✓" : "✗"} ${inWords(row)}</${Tag}>`)}</p>`}
      ${wrong && html`<div class="failing" role="alert"><p><strong>The story stops here.</strong> ${rows.filter((row) => !row.ok).map((row) => `Expected: ${inWords(row)}. Found: ${text(row.found)}.`).join(" ")}</p>
        <p>Baton, or a planned fault, did not do what the story says. See the Wire page, remove the faults, and start again.</p></div>`}
      ${index === state.done.length && state.failed && state.failed !== "expectation" && html`<${Failing} error=${{ title: "The story stops here.", message: state.failed }} />`}
      ${now && state.busy && html`<p class="note">working …</p>`}
    </li>`;
}

/** The picture of the login, and the phones of the story. */
function Scene({ state }) {
  const { stage, done } = state;
  const all = useStore(phones);
  const cast = stage ? [...stage.cast] : [];
  const loaded = useLoaded(
    async () => (stage?.account ? (await dev(`accounts/${part(stage.account)}/lineages`)).lineages : []),
    `${stage?.email} ${done.length}`,
  );
  const [kept, setKept] = useState([]);
  useEffect(() => {
    if (loaded.value) setKept(loaded.value.toSorted((a, b) => Number(!a.ended) - Number(!b.ended))); // Ended logins first: the story began with them.
  }, [loaded.value]);
  if (!done.length) return html`<${Empty} title="The picture appears here."><p>Begin the story: it makes an account and phones of its own.</p></${Empty}>`;
  return html`
    <div class="cast">${cast.map(([role, phone]) => {
      const view = all.find((entry) => entry.phone === phone)?.view;
      return html`<div key=${role} class="player"><b>${phone.name}</b><br />
        ${view?.signedIn ? html`<${Tag} tone="ok">generation ${view.generation}</${Tag}><br /><small>next attempt <${Digits} attempt=${view.attempt} /></small>` : html`<${Tag} tone="bad">logged out${view?.ended?.reason ? `: ${view.ended.reason}` : ""}</${Tag}>`}</div>`;
    })}</div>
    ${kept.map((lineage) => html`<section key=${lineage.lineage} class="login" aria-label=${`Login ${short(lineage.lineage)} of ${lineage.device}`}><${Picture} lineage=${lineage} /></section>`)}
    <${Legend} />
    ${stage.account && html`<p class="note"><a href=${link("accounts", stage.account)}>the account of this story</a> · <a href=${link("wire")}>its requests on the Wire</a></p>`}`;
}
