// A document, opened at a passage: its text with the passage marked, or the page of a PDF as a picture.

import { html, useEffect, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";
import { count, date, kind, many, time } from "/page/format.js";
import { Busy, Failure, useJson } from "/page/parts.js";
import { units } from "/page/text.js";

const WINDOW = 30000; // characters of text that are shown at once
const MAX_LINE = 4000;

export function Document({ parameter }) {
  const [document_, error, again] = useJson(`/documents/${parameter}`);
  const asked = new URLSearchParams(location.search);
  if (error) return html`<section class="card narrow"><h1>${error.status === 404 ? "This document is not here" : "It could not be opened"}</h1>
    <${Failure} error=${error} retry=${error.status === 404 ? null : again} /><p><a href="/">Ask a question</a></p></section>`;
  if (!document_) return html`<${Busy}>Opening…</${Busy}>`;
  return html`<${Opened} document_=${document_} asked=${asked} />`;
}

function Opened({ document_, asked }) {
  const { text } = document_;
  const passage = useMemo(() => passageOf(text, asked), [text]);
  const page = asked.get("page") || pageOf(document_, asked);
  const paged = document_.mime === "application/pdf";
  const [view, setView] = useState(paged && page ? "page" : "text");
  useEffect(() => { document.title = `${document_.title} · pgfolio`; }, [document_]);
  return html`<article class="document">
    <p class="fine"><button class="quiet" onClick=${() => history.back()}>Back</button></p>
    <h1>${document_.title}</h1>
    <p class="place"><span class="path">${document_.source}/${document_.path}</span> <span class="tag">${document_.collection}</span>
      <span class="tag">${kind(document_.mime)}</span> <span class="tag">${date(document_.created_at || document_.updated_at)}</span></p>
    ${document_.state === "failed" && html`<p class="note">Its newest version could not be read: ${document_.reason}. This is the one before.</p>`}
    ${document_.state === "pending" && html`<p class="note">It was sent and is not searchable yet.</p>`}
    ${document_.incomplete && html`<p class="note">Not everything of the file is here: ${document_.incomplete}.</p>`}
    ${asked.has("unplaced") && html`<p class="note" role="status">The quote does not stand in this text so: nothing is marked.</p>`}
    ${asked.has("start") && !passage && html`<p class="note" role="status">The passage is not in this text: it may have changed since. Nothing is marked.</p>`}
    <div class="row">
      ${paged && html`<div class="modes" role="group" aria-label="How it is shown">
        <button aria-pressed=${view === "page" ? "true" : "false"} onClick=${() => setView("page")}>Page</button>
        <button aria-pressed=${view === "text" ? "true" : "false"} onClick=${() => setView("text")}>Text</button></div>`}
      <a class="button" download href=${`/documents/${document_.id}/original`}>Download the original</a></div>
    ${view === "page" ? html`<${PdfPage} document_=${document_} asked=${asked} first=${Number(page || 1)} />` : html`<${Text} text=${text} passage=${passage} />`}
    <details><summary>About this document</summary><dl>
      <dt>Changed</dt><dd>${time(document_.updated_at)}</dd><dt>Synced</dt><dd>${time(document_.synced_at)}</dd>
      ${document_.owner && html`<dt>Owner</dt><dd>${document_.owner}</dd>`}<dt>Size</dt><dd>${many(text.length, "character")}, ${many(document_.chunk_count, "chunk")}</dd>
      ${Object.entries(document_.metadata).map(([key, value]) => html`<dt>${key}</dt><dd>${typeof value === "string" ? value : JSON.stringify(value)}</dd>`)}
    </dl></details></article>`;
}

function passageOf(text, asked) {
  if (!asked.has("start")) return null;
  const [start, end] = [Number(asked.get("start")), Number(asked.get("end"))];
  if (!(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && end > start)) return null;
  const from = units(text, start);
  return from < text.length ? [from, units(text, end)] : null;
}

function pageOf(document_, asked) {
  if (!asked.has("start")) return null;
  const start = Number(asked.get("start"));
  const chunks = document_.chunks.filter((chunk) => chunk.page && chunk.start <= start);
  return chunks.length ? chunks[chunks.length - 1].page : document_.chunks[0]?.page || null;
}

/** So much of the text around its passage, more when asked for: a text may be one line of megabytes. */
function Text({ text, passage }) {
  const around = passage ? passage[0] : 0;
  const [from, setFrom] = useState(() => lineStart(text, Math.max(0, around - WINDOW / 3)));
  const [to, setTo] = useState(() => Math.min(text.length, Math.max(around + WINDOW, passage ? passage[1] + 200 : 0)));
  const mark = useRef(null);
  useEffect(() => { mark.current?.scrollIntoView({ block: "center" }); mark.current?.focus({ preventScroll: true }); }, []);
  const lines = useMemo(() => linesOf(text, from, to), [text, from, to]);
  let first = true;
  const inside = (begin, end) => {
    if (!passage || passage[1] <= begin || passage[0] >= end) return text.slice(begin, end);
    const [a, b] = [Math.max(passage[0], begin), Math.min(passage[1], end)];
    const reference = first ? mark : null;
    first = false;
    return [text.slice(begin, a), html`<mark ref=${reference} tabindex=${reference ? "-1" : null}>${text.slice(a, b)}</mark>`, text.slice(b, end)];
  };
  return html`<div class="text" lang="">
    ${from > 0 && html`<button class="quiet" onClick=${() => setFrom(lineStart(text, Math.max(0, from - WINDOW)))}>${count(from)} characters before</button>`}
    ${lines.map(([begin, end, form]) => html`<div class=${form}>${inside(begin, end)}</div>`)}
    ${to < text.length && html`<button class="quiet" onClick=${() => setTo(Math.min(text.length, to + WINDOW))}>${count(text.length - to)} characters more</button>`}
  </div>`;
}

const lineStart = (text, offset) => {
  const line = text.lastIndexOf("\n", offset - 1) + 1;
  return offset - line > MAX_LINE ? offset : line;
};

/** Lines with their form, as [begin, end, class]. */
function linesOf(text, from, to) {
  const lines = [];
  let fenced = false;
  for (let begin = from; begin < to; ) {
    const newline = text.indexOf("\n", begin);
    const end = Math.min(newline < 0 ? text.length : newline, begin + MAX_LINE, to);
    const head = text.slice(begin, Math.min(end, begin + 12));
    const fence = /^\s{0,3}(```|~~~)/.test(head);
    const heading = /^(#{1,6})\s/.exec(head);
    lines.push([begin, end, fenced || fence ? "code" : heading ? `h h${heading[1].length}` : /^\s*\|/.test(head) ? "code" : "line"]);
    if (fence) fenced = !fenced;
    begin = end + (text[end] === "\n" ? 1 : 0);
  }
  return lines;
}

function PdfPage({ document_, asked, first }) {
  const [page, setPage] = useState(first);
  const [state, setState] = useState("loading");
  const last = Math.max(1, ...document_.chunks.map((chunk) => chunk.page || 1));
  const [start, end] = [asked.get("start"), asked.get("end")];
  const marked = start !== null && page === first ? `?start=${start}&end=${end}` : "";
  useEffect(() => setState("loading"), [page]);
  return html`<div class="pdf">
    <div class="row"><button disabled=${page <= 1} onClick=${() => setPage(page - 1)}>Page before</button>
      <span>Page ${count(page)}</span><button disabled=${page >= last} onClick=${() => setPage(page + 1)}>Next page</button></div>
    ${state === "failed" ? html`<p class="note">The page cannot be shown as a picture: the original is not where this server can read it. Its text is here.</p>`
      : html`<img src=${`/documents/${document_.id}/pages/${page}.png${marked}`} alt=${`Page ${page} of ${document_.title}`} onLoad=${() => setState("shown")} onError=${() => setState("failed")} />`}
    ${state === "loading" && html`<${Busy}>Drawing the page…</${Busy}>`}</div>`;
}
