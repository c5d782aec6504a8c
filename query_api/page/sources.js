// What is kept, how fresh it is, what runs, what could not be done and why, what is held for an approval.

import { html, useState } from "/page/vendor/htm-preact.js";
import { json, post } from "/page/api.js";
import { ago, count, decimal, many, seconds, time, usd } from "/page/format.js";
import { Busy, Drop, Failure, Grid, useJson } from "/page/parts.js";

/** Milliseconds until the next look: soon while something changes. */
const pause = (status) => (status && !status.upgrade && status.sources.every((each) => !each.syncing && !each.pending) ? 5000 : 2000);
const LISTED = 200;

export function Sources({ session }) {
  const [status, error, again] = useJson("/status", pause);
  if (error && !status) return html`<h1>Sources</h1><${Failure} error=${error} retry=${again} />`;
  if (!status) return html`<h1>Sources</h1><${Busy}>Looking…</${Busy}>`;
  const may = (scope) => session.scope === "admin" || session.scope === scope;
  return html`<h1>Sources</h1>
    ${error && html`<${Failure} error=${error} />`}
    ${!status.sources.length && html`<section class="card"><h2>Nothing is kept yet</h2><p>Where the server runs: <code>pgfolio sync FOLDER</code>, or <code>pgfolio up FOLDER</code>.</p></section>`}
    ${status.sources.map((source) => html`<${Source} key=${source.name} source=${source} admin=${may("admin")} problems=${status.problems.filter((p) => p.source === source.name)} again=${again} />`)}
    ${may("write") && html`<section class="card"><h2>Add files</h2><${Drop} done=${again}>Choose files</${Drop}></section>`}
    <${Upgrade} upgrade=${status.upgrade} />
    <${Generations} generations=${status.generations} />
    <${Runs} runs=${status.runs} />
    <${Listed} title="Not all of it could be read" items=${status.incomplete} />
    <${Listed} title="Skipped" items=${status.skipped} />`;
}

function Source({ source, admin, problems, again }) {
  const [request, setRequest] = useState(null);
  const [error, setError] = useState(null);
  const ask = async (what, body) => {
    setError(null);
    try { setRequest(await followed(await post(`/sources/${encodeURIComponent(source.name)}/${what}`, body || {}), setRequest)); }
    catch (problem) { setError(problem); setRequest(null); }
    again();
  };
  const waiting = request && ["pending", "running"].includes(request.state);
  const progress = source.progress || request?.progress;
  return html`<section class="card" aria-label=${source.name}>
    <div class="row"><h2>${source.name}</h2>
      ${admin && source.kind !== "pushed" && html`<button disabled=${waiting || source.syncing} onClick=${() => ask("sync")}>${source.syncing || waiting ? "Syncing…" : "Sync now"}</button>`}</div>
    <p class="place">${source.root && html`<span class="path">${source.root}</span>`} <span class="tag">${source.collection}</span></p>
    <dl class="figures"><div><dt>Documents</dt><dd>${count(source.documents)}</dd></div><div><dt>Passages</dt><dd>${count(source.chunks)}</dd></div>
      <div><dt>Last synced</dt><dd title=${time(source.synced_at)}>${ago(source.synced_at)}</dd></div>
      ${source.failed > 0 && html`<div><dt>Could not be read</dt><dd class="bad">${count(source.failed)}</dd></div>`}
      ${source.pending > 0 && html`<div><dt>Waiting</dt><dd>${count(source.pending)}</dd></div>`}</dl>
    ${progress && html`<label class="progress">${many(progress.files_done || 0, "file")} of ${count(progress.files_total)} <progress max=${progress.files_total || 1} value=${progress.files_done || 0}></progress></label>`}
    ${request && !waiting && html`<p class="note" role="status">${outcome(request)}</p>`}
    ${error && html`<${Failure} error=${error} />`}
    ${source.held?.count > 0 && html`<${Held} held=${source.held} admin=${admin} busy=${waiting} approve=${(n) => ask("approve", { count: n })} />`}
    ${problems.length > 0 && html`<details><summary>${many(problems.length, "problem")}</summary><${Reasons} items=${problems} /></details>`}
  </section>`;
}

/** A request to the flows, until it has an outcome. */
async function followed(request, show) {
  let current = request;
  while (["pending", "running"].includes(current.state)) {
    show(current);
    await new Promise((done) => setTimeout(done, 1000));
    current = await json(request.url);
  }
  return current;
}

function outcome(request) {
  if (request.state !== "done") return `${request.kind}: ${request.reason || request.state}`;
  const { unchanged, ...changed } = request.outcome?.documents || {};
  return `Done: ${changes(changed) || "nothing has changed"}.`;
}

/** Removals that wait, because they are many: approved as the number that was seen. */
function Held({ held, admin, approve, busy }) {
  return html`<div class="held" role="region" aria-label="Held removals">
    <p><strong>${many(held.count, "document is", "documents are")} gone from the folder and still kept here.</strong>
      ${held.reason || "So many at once may be an accident, such as a folder that is not mounted."}</p>
    <details><summary>Which</summary><ul>${held.paths.map((path) => html`<li class="path">${path}</li>`)}
      ${held.count > held.paths.length && html`<li>and ${count(held.count - held.paths.length)} more</li>`}</ul></details>
    ${admin ? html`<button class="danger" disabled=${busy} onClick=${() => approve(held.count)}>Remove these ${count(held.count)}</button>`
      : html`<p class="fine">Whoever has an administrator's key can approve it.</p>`}</div>`;
}

function Generations({ generations }) {
  if (!generations.length) return "";
  return html`<h2>Models</h2><${Grid} heads=${["Space", "State", "#Vectors", "Index", "#Recall"]} rows=${generations}
    row=${(g) => [g.space, g.state, g.vectors === undefined ? "" : count(g.vectors), g.index, g.recall ? decimal(g.recall.recall) : ""]} />`;
}

function Upgrade({ upgrade }) {
  if (!upgrade) return "";
  const { space, state, chunks, chunks_total: total, reason } = upgrade;
  return html`<section class="card"><h2>A better model is on its way</h2><p>${space}: ${state}${reason ? `: ${reason}` : ""}</p>
    ${total > 0 && html`<label class="progress">${many(chunks || 0, "passage")} of ${count(total)} <progress max=${total} value=${chunks || 0}></progress></label>`}</section>`;
}

function Runs({ runs }) {
  if (!runs.length) return "";
  return html`<h2>Last runs</h2><${Grid} heads=${["Began", "What", "By", "Result", "Documents", "#Tokens", "#Cost", "#Took"]} rows=${runs}
    row=${(run) => [html`<span title=${time(run.started_at)}>${ago(run.started_at)}</span>`, run.flow, run.started_by,
      html`<span class=${run.status === "failed" ? "bad" : null}>${run.status}${run.reason ? `: ${run.reason}` : ""}</span>`, changes(run.documents),
      run.tokens ? count(run.tokens) : "", run.cost_usd ? usd(run.cost_usd) : "", run.seconds === null ? "running" : seconds(run.seconds)]} />`;
}

const changes = (documents) => Object.entries(documents || {}).filter(([, n]) => n).map(([name, n]) => `${count(n)} ${name}`).join(", ");

function Listed({ title, items }) {
  if (!items.length) return "";
  return html`<details><summary>${title}: ${count(items.length)}</summary><${Reasons} items=${items} /></details>`;
}

function Reasons({ items }) {
  return html`<${Grid} heads=${["Document", "Why"]} rows=${items.slice(0, LISTED)} row=${(item) => [html`<span class="path">${item.path || item.source}</span>`, item.reason]} />
    ${items.length > LISTED && html`<p class="fine">and ${count(items.length - LISTED)} more: <code>pgfolio status</code> lists them.</p>`}`;
}
