// Pieces that several views share.

import { html, useEffect, useState } from "/page/vendor/htm-preact.js";
import { json, post } from "/page/api.js";
import { date, kind } from "/page/format.js";

export function Failure({ error, retry }) {
  return html`<div class="error" role="alert"><p>${error.message}</p>
    ${error.errors?.length ? html`<ul>${error.errors.map((each) => html`<li>${each}</li>`)}</ul>` : ""}
    ${retry && html`<button onClick=${retry}>Try again</button>`}
    ${error.traceId && html`<p class="fine">For who runs the server: trace ${error.traceId}</p>`}</div>`;
}

export const Busy = ({ children }) => html`<p class="busy" role="status"><span class="dots" aria-hidden="true"></span> ${children}</p>`;

/** What an address answers: [value, error, again]; asked again after `pause(value)` milliseconds. */
export function useJson(path, pause) {
  const [state, setState] = useState([null, null]);
  const load = () => json(path).then((value) => { setState([value, null]); return value; }, (error) => setState(([before]) => [before, error]));
  useEffect(() => {
    let timer = 0;
    const turn = () => load().then((value) => { if (pause && timer !== null) timer = setTimeout(turn, pause(value)); });
    turn();
    return () => { clearTimeout(timer); timer = null; };
  }, [path]);
  return [...state, load];
}

/** A table that scrolls by itself; a head that begins with "#" is over numbers. */
export function Grid({ heads, rows, row }) {
  const form = heads.map((head) => (head.startsWith("#") ? "n" : null));
  return html`<div class="scroll" tabindex="0"><table><thead><tr>${heads.map((head, i) => html`<th class=${form[i]}>${head.replace("#", "")}</th>`)}</tr></thead>
    <tbody>${rows.map((each) => html`<tr class=${each.taken ? "taken" : null}>${row(each).map((cell, i) => html`<td class=${form[i]}>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** The address of a document at a passage. */
export function at(document, start, end) {
  return `/d/${document}${start === undefined || start === null ? "" : `?start=${start}&end=${end}`}`;
}

/** Where a passage stands: "reports: 2023/annual.pdf, page 4". */
export function Place({ item }) {
  const dated = item.created_at || item.updated_at;
  const parts = [item.collection, item.page ? `page ${item.page}` : "", dated ? date(dated) : "", item.mime ? kind(item.mime) : ""].filter(Boolean);
  return html`<span class="place"><span class="path">${item.path}</span>${parts.map((part) => html` <span class="tag">${part}</span>`)}</span>`;
}

const WAIT = 60;

/** Files dropped or chosen are pushed; each with its outcome. */
export function Drop({ done, children }) {
  const [over, setOver] = useState(false);
  const [files, setFiles] = useState([]);
  const push = async (list) => {
    for (const file of list) {
      const entry = { name: file.name, state: "sending…" };
      setFiles((all) => [entry, ...all]);
      const body = new FormData();
      body.append("file", file);
      try {
        const made = await post(`/documents?wait=${WAIT}`, body);
        Object.assign(entry, made.state === "pending" ? { state: "kept; searchable soon" } : { state: "searchable", id: made.id });
      } catch (error) { Object.assign(entry, { state: error.message, failed: true }); }
      setFiles((all) => [...all]);
      done?.();
    }
  };
  const drop = (event) => { event.preventDefault(); setOver(false); push(event.dataTransfer.files); };
  return html`<div class=${`drop ${over ? "over" : ""}`} onDragOver=${(e) => { e.preventDefault(); setOver(true); }}
      onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <label class="button">${children || "Add files"}<input class="hidden" type="file" multiple onChange=${(e) => { push([...e.target.files]); e.target.value = ""; }} /></label>
    <span class="fine">or drop them here</span>
    ${files.length > 0 && html`<ul class="pushed" aria-live="polite">${files.map((f) => html`<li>
      ${f.id ? html`<a href=${at(f.id)}>${f.name}</a>` : f.name}: <span class=${f.failed ? "bad" : "fine"}>${f.state}</span></li>`)}</ul>`}
  </div>`;
}
