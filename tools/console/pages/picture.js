// The lineage picture. Shape, dash and word carry the meaning; colour repeats it.
import { asList } from "../rules/chain.js";
import { layout } from "../rules/layout.js";
import { link } from "../route.js";
import { Tag, html, useEffect, useRef, useState } from "../parts/ui.js";

/** The width of the space for the picture, in pixels. */
function useWidth(element) {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    watch.observe(element.current);
    return () => watch.disconnect();
  }, []);
  return width;
}

export function Picture({ lineage }) {
  const frame = useRef(null);
  const width = useWidth(frame);
  const placed = width ? layout(lineage, width) : null;
  return html`
    <figure class="picture">
      <div ref=${frame}>${placed && html`<${Drawn} placed=${placed} />`}</div>
      <figcaption>
        <p>${placed?.sentence}</p>
        <details><summary>Show the picture as a list</summary><${AsText} lineage=${lineage} /></details>
      </figcaption>
    </figure>`;
}

function AsText({ lineage }) {
  return html`<ol class="as-text">${asList(lineage).map((line) => html`
    <li key=${line.key}>${line.request ? html`<a href=${link("wire", line.request)}>${line.text}</a>` : line.text}</li>`)}</ol>`;
}

function Drawn({ placed }) {
  return html`
    <svg class="lineage" width=${placed.width} height=${placed.height} viewBox=${`0 0 ${placed.width} ${placed.height}`} role="group" aria-label=${placed.sentence}>
      <g role="img" aria-label=${placed.sentence}>${placed.edges.map((edge) => html`
        <g key=${edge.key} class=${`edge ${edge.kind}`}><path d=${edge.d} />${edge.label && html`<text x=${edge.lx} y=${edge.ly}>${edge.label}</text>`}</g>`)}</g>
      ${placed.boxes.map((box) => html`<${Box} key=${`${box.key} ${box.kind}`} box=${box} />`)}
    </svg>`;
}

const Box = ({ box }) => html`
  <g class=${`box ${box.kind}`}>
    <a href=${box.request ? link("wire", box.request) : undefined} tabindex="0" role=${box.request ? "link" : "img"} aria-label=${box.sentence}><title>${box.sentence}</title><${Shape} box=${box} /></a>
    <g class="words" aria-hidden="true"><${Words} box=${box} /></g>
  </g>`;

function Shape({ box: { kind, x, y, w, h } }) {
  if (kind === "again") return html`<circle cx=${x + w / 2} cy=${y + h / 2} r=${w / 2} />`;
  if (kind === "current") return html`<rect x=${x} y=${y} width=${w} height=${h} rx=${h / 2} /><rect class="ring" x=${x + 4} y=${y + 4} width=${w - 8} height=${h - 8} rx=${h / 2 - 4} />`;
  const rect = html`<rect x=${x} y=${y} width=${w} height=${h} rx=${kind === "login" ? h / 2 : 8} />`;
  if (kind !== "theft" && kind !== "end") return rect;
  const [cx, cy] = [x + w - 15, y + 15];
  return html`${rect}<path class="cross" d=${`M ${cx - 5} ${cy - 5} l 10 10 M ${cx + 5} ${cy - 5} l -10 10`} />`;
}

function Words({ box: { kind, x, y, w, h, title, word, detail } }) {
  const middle = x + w / 2;
  if (kind === "again") return html`<text class="title" x=${middle} y=${y + h / 2 + 5} text-anchor="middle">${title}</text>`;
  if (detail) {
    return html`<text class="title" x=${x + 12} y=${y + 20}>${title}</text><text class="word" x=${x + 12} y=${y + 37}>${word}</text><text class="detail" x=${x + 12} y=${y + 53}>${detail}</text>`;
  }
  return html`<text class="title" x=${middle} y=${y + 23} text-anchor="middle">${title}</text><text class="word" x=${middle} y=${y + 41} text-anchor="middle">${word}</text>`;
}

/** What the shapes mean. */
export const Legend = () => html`
  <ul class="legend" aria-label="Legend">
    <li><${Tag}>spent</${Tag}> its child has replaced it</li>
    <li><${Tag} tone="ok">current</${Tag}> double ring: the one token that can be exchanged</li>
    <li><${Tag}>a1b2…</${Tag}> on a line: the attempt of the exchange</li>
    <li><${Tag} tone="ok">↻</${Tag}> same attempt again, same child</li>
    <li><${Tag} tone="bad">reuse ×</${Tag}> dashed: a second attempt, so two parties have the token</li>
  </ul>`;
