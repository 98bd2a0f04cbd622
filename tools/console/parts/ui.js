// The small parts of all pages: templates, states that say what to do, copy buttons.
import { h, render } from "../vendor/preact.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(h);
export { render, useEffect, useRef, useState };

/** A value that several parts show. `set` takes a value, or a function of the previous value. */
export function store(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      const after = typeof next === "function" ? next(value) : next;
      if (after === value) return;
      value = after;
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Show a store. The part is drawn again when the store changes. */
export function useStore(source) {
  const [, redraw] = useState(0);
  const shown = source.get();
  useEffect(() => {
    const again = () => redraw((count) => count + 1);
    if (source.get() !== shown) again(); // The store changed between the drawing and this effect.
    return source.subscribe(again);
  }, [source]);
  return shown;
}

/** Load a value, and load it again when `key` changes. Return `{value, error, again}`. */
export function useLoaded(load, key) {
  const [state, setState] = useState({ value: null, error: null, key: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let wanted = true;
    load().then(
      (value) => wanted && setState({ value, error: null, key }),
      (error) => wanted && setState((before) => ({ value: before.key === key ? before.value : null, error, key })),
    );
    return () => {
      wanted = false;
    };
  }, [key, round]);
  const current = state.key === key ? state : { value: null, error: null };
  return { ...current, again: () => setRound((count) => count + 1) };
}

const SAID_MS = 6000;
/** The one polite status line. It says what an action did. New rows of the log are not announced. */
export const status = store("");
let clearing = 0;
export function say(text) {
  status.set(text);
  clearTimeout(clearing);
  clearing = setTimeout(() => status.set(""), SAID_MS);
}

export const Empty = ({ title, children }) => html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

/** An error, and what to do. */
export const Failing = ({ error, again }) => html`
  <div class="failing" role="alert">
    <p><strong>${error.title ?? "This did not work."}</strong> ${error.message}</p>
    ${error.remedy && html`<p>${error.remedy}</p>`}
    ${again && html`<button type="button" onClick=${again}>Try again</button>`}
  </div>`;

export const Loading = () => html`<p class="loading">Loading …</p>`;

/** Show a loaded value, or its loading or failing state. */
export const Loaded = ({ loaded, children }) =>
  loaded.error && !loaded.value ? html`<${Failing} error=${loaded.error} again=${loaded.again} />`
    : loaded.value === null ? html`<${Loading} />` : children(loaded.value);

/** A word in a shape. The word carries the meaning, the colour repeats it. */
export const Tag = ({ tone = "plain", children }) => html`<span class=${`tag ${tone}`}>${children}</span>`;

/** A button that keeps the focus when it cannot be used: a button with `disabled` loses it. */
export const Action = ({ off, onClick, children, ...more }) => html`
  <button type="button" ...${more} aria-disabled=${off ? "true" : undefined} onClick=${(event) => { if (!off) onClick(event); }}>${children}</button>`;

/** Text to copy. */
export function Copy({ text, label }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
    say(`Copied: ${label}.`);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button type="button" class="small" onClick=${copy}>${done ? "copied" : `copy ${label}`}</button>`;
}

export const Code = ({ text, label }) => html`
  <div class="code"><pre tabindex="0" aria-label=${label}>${text}</pre><${Copy} text=${text} label=${label} /></div>`;

/** A list of names and values. Empty values are left out. */
export const Facts = ({ rows }) => html`
  <dl class="facts">${rows.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** A row of buttons, one of them pressed. The Tab key reaches each button. */
export const Choices = ({ label, names, chosen, choose }) => html`
  <div class="choices" role="group" aria-label=${label}>${names.map((name) => html`
    <button key=${name} type="button" aria-pressed=${String(name === chosen)} onClick=${() => choose(name)}>${name}</button>`)}</div>`;
