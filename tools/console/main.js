// The start of the console: read the mode and the state of the server, draw the frame, follow the events.
import { Frame, applyTheme } from "./frame.js";
import { events, start } from "./live.js";
import { TITLES, go, pages, route } from "./route.js";
import { follow, mode, readClock, readFaults, readMode } from "./parts/machine.js";
import { Failing, html, render, useStore } from "./parts/ui.js";
import { takeKey } from "./parts/server.js";
import { readPhones } from "./phones/phones.js";
import { Accounts } from "./pages/accounts.js";
import { Api } from "./pages/api.js";
import { Mail } from "./pages/mail.js";
import { Metrics } from "./pages/metrics.js";
import { Phones } from "./pages/phones.js";
import { Search } from "./pages/search.js";
import { Setup } from "./pages/setup.js";
import { Stories } from "./pages/stories.js";
import { Wire } from "./pages/wire.js";

const PAGES = { wire: Wire, accounts: Accounts, phones: Phones, stories: Stories, mail: Mail, api: Api, setup: Setup, metrics: Metrics, search: Search };

function Console() {
  const { page, one } = useStore(route);
  return html`<${Frame}><${PAGES[page]} key=${page === "search" ? one : page} /></${Frame}>`;
}

/** After a change of the page, move the focus into the new page, not to the top of the document. */
function focusPage() {
  requestAnimationFrame(() => {
    if (document.activeElement === document.body) document.getElementById("page")?.focus({ preventScroll: true });
    if (!route.get().one || route.get().page !== "wire") scrollTo(0, 0);
  });
}

function title() {
  const { page, one } = route.get();
  document.title = `${TITLES[page]}${one ? ` · ${one.slice(0, 40)}` : ""} · Baton console`;
}

/** Act on each new event of the server once. */
function followAll() {
  let last = events.get().at(-1)?.n ?? 0;
  events.subscribe(() => {
    const all = events.get();
    const fresh = all.filter((event) => event.n > last);
    last = all.at(-1)?.n ?? 0;
    fresh.forEach(follow);
  });
}

takeKey();
applyTheme();
title();
route.subscribe(title);
route.subscribe(focusPage);
const app = document.getElementById("app");
try {
  await readMode();
  if (mode.get().mode === "local") {
    await Promise.all([readPhones(), readClock(), readFaults()]);
    followAll();
    start();
  } else if (![...pages("stage"), "search"].includes(route.get().page)) go("accounts");
  render(html`<${Console} />`, app);
} catch (error) {
  const message = error.remedy ? `${error.message} ${error.remedy}` : `${error.message} The data of this page in the browser may be broken: clear its site data, and reload.`;
  render(html`<${Failing} error=${{ message }} again=${() => location.reload()} />`, app);
}
document.documentElement.dataset.ready = "";
