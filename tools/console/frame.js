// The frame of all pages: search, clock, theme, tabs, faults, and the status line.
import { connection } from "./live.js";
import { clock, dropFault, faults, mode, skip, skipped } from "./parts/machine.js";
import { TITLES, go, link, pages, route } from "./route.js";
import { GONE } from "./parts/server.js";
import { span } from "./rules/words.js";
import { Action, Tag, html, status, useEffect, useRef, useState, useStore } from "./parts/ui.js";

const THEMES = ["system", "light", "dark"];
const THEME = "baton.console.theme";
const STEPS = [["+1 min", 60], ["+16 min", 960], ["+31 d", 31 * 86400]];

export function applyTheme() {
  document.documentElement.dataset.theme = localStorage.getItem(THEME) ?? "system";
}

function Theme() {
  const [theme, setTheme] = useState(localStorage.getItem(THEME) ?? "system");
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const change = () => {
    localStorage.setItem(THEME, next);
    applyTheme();
    setTheme(next);
  };
  return html`<button type="button" class="quiet" aria-label=${`Theme: ${theme}. Change to ${next}`} onClick=${change}>
    <span aria-hidden="true">${{ system: "◐", light: "☀", dark: "☾" }[theme]}</span> ${theme}</button>`;
}

function Search() {
  const field = useRef(null);
  useEffect(() => {
    const pressed = (event) => {
      const typing = event.target.closest?.("input, textarea, select");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        field.current.focus();
      } else if (event.key === "Escape" && document.activeElement === field.current) {
        field.current.value = "";
        document.getElementById("page").focus();
      } else if (event.key === "Escape" && !typing && route.get().one) {
        go(route.get().page);
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  const submit = (event) => {
    event.preventDefault();
    const text = field.current.value.trim();
    if (text) go("search", text);
  };
  return html`
    <form class="search" role="search" onSubmit=${submit}>
      <input ref=${field} type="search" aria-label="Search" placeholder="e-mail, account, device or request id"
        autocomplete="off" spellcheck="false" /><kbd aria-hidden="true">/</kbd>
    </form>`;
}

function Clock() {
  useStore(clock);
  const ahead = skipped();
  return html`
    <div class="clock" role="group" aria-label="Clock of the server">
      <output class=${ahead ? "ahead" : ""} aria-label="The clock is ahead by">clock ${span(ahead)}</output>
      ${STEPS.map(([label, seconds]) => html`
        <button key=${label} type="button" class="small" aria-label=${`Move the clock ${label}`} onClick=${() => skip(seconds)}>${label}</button>`)}
      <${Action} class="small" off=${!ahead} aria-label="now: back to the true time" onClick=${() => skip(-ahead)}>now</${Action}>
    </div>`;
}

function Tabs() {
  const { page } = useStore(route);
  const state = useStore(connection);
  const { mode: shown, operator } = useStore(mode);
  return html`
    <nav class="tabs" aria-label="Pages">
      ${pages(shown).map((name) => html`
        <a key=${name} href=${link(name)} aria-current=${name === page ? "page" : undefined}>${TITLES[name]}</a>`)}
      ${shown === "stage" ? html`<span class="connection">as ${operator}</span>`
        : html`<span class=${`connection ${state}`}>${{ live: "● live", lost: "○ not connected", connecting: "○ connecting" }[state]}</span>`}
    </nav>`;
}

function Faults() {
  const { faults: set } = useStore(faults);
  if (!set.length) return null;
  return html`
    <section aria-label="Faults"><ul class="faults">
      ${set.map((fault) => html`
        <li key=${fault.id}><span>fault <b>${fault.name}</b> ×${fault.left}${fault.match?.phone ? `, ${fault.match.phone}` : ""}</span>
          <button type="button" class="small" aria-label=${`Remove the fault ${fault.name}`} onClick=${() => dropFault(fault.id)}>×</button></li>`)}
    </ul></section>`;
}

export function Frame({ children }) {
  const { page } = useStore(route);
  const told = useStore(status);
  const lost = useStore(connection) === "lost";
  const { mode: shown, stage } = useStore(mode);
  return html`
    <a class="skip" href="#page" onClick=${(event) => { event.preventDefault(); document.getElementById("page").focus(); }}>Skip to the page</a>
    <header class="top">
      <a class="brand" href=${link(pages(shown).at(shown === "stage" ? 0 : 3))}>
        <svg viewBox="0 0 32 18" width="32" height="18" aria-hidden="true"><path d="M3 15 L13 3" /><path d="M13 15 L23 3" /><circle cx="27" cy="9" r="3.4" /></svg>
        <span>Baton</span>${shown === "stage" ? html`<${Tag} tone="bad">stage ${stage}</${Tag}>` : html`<small>local</small>`}</a>
      <${Search} />${shown === "local" && html`<${Clock} />`}<${Theme} />
    </header>
    <${Tabs} />
    <${Faults} />
    ${lost && html`<p class="banner" role="alert"><strong>${GONE}</strong> Start it with <code>make dev</code>. The page connects again without a reload.</p>`}
    <main id="page" tabindex="-1" class=${`page-${page}`} aria-label=${TITLES[page]}>${children}</main>
    <p class="status" role="status" aria-live="polite">${told}</p>`;
}
