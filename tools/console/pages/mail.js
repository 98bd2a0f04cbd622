// The mails that the development server would have sent: the last 100, with links and codes to use.
import { dev } from "../parts/server.js";
import { Copy, Empty, Loaded, html, useEffect, useLoaded, useState } from "../parts/ui.js";
import { parts } from "../rules/mail.js";
import { useNewest } from "./accounts.js";

export function Mail() {
  const newest = useNewest((event) => event.kind === "mail");
  const loaded = useLoaded(() => dev("mails"), `mails ${newest}`);
  const [kept, setKept] = useState(null);
  useEffect(() => {
    if (loaded.value) setKept(loaded.value);
  }, [loaded.value]);
  return html`
    <h1>Mail</h1>
    <p class="lead">Nothing leaves this machine. Each mail that Baton would send is here, the newest first.</p>
    <${Loaded} loaded=${{ ...loaded, value: loaded.value ?? kept }}>${({ mails }) => mails.length
      ? html`<ul class="mails">${mails.slice(0, 100).map((mail, index) => html`<${One} key=${mails.length - index} mail=${mail} />`)}</ul>`
      : html`<${Empty} title="No mails yet."><p>A mail is sent when a person proves an address, resets a password, or logs in on a new device.</p></${Empty}>`}</${Loaded}>`;
}

const One = ({ mail }) => html`
  <li class="mail"><h2>${mail.subject}</h2><p class="note">to ${mail.to}</p>
    <p class="mail-text">${parts(mail.text).map((part, index) =>
      part.kind === "link" ? html`<a key=${index} href=${part.text} rel="noreferrer">${part.text}</a>`
        : part.kind === "code" ? html`<span key=${index} class="mail-code"><code>${part.text}</code> <${Copy} text=${part.text.replace(" ", "")} label="code" /></span>`
          : part.text)}</p></li>`;
