// Questions: an answer as it comes, its citations, the passages found, filters, the conversation before.

import { html, useEffect, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";
import { events, json, post } from "/page/api.js";
import { count, kind, many, seconds } from "/page/format.js";
import { at, Busy, Drop, Failure, Place, useJson } from "/page/parts.js";
import { Marked, markable, Rich } from "/page/text.js";

const LIMIT = 8;
const MAX_TURNS = 10;
const NOTHING = { collection: "", type: "", from: "", to: "", key: "", value: "" };

export function Ask() {
  const [mode, setMode] = useState(() => new URLSearchParams(location.search).get("mode") === "search" ? "search" : "ask");
  const [text, setText] = useState(() => new URLSearchParams(location.search).get("q") || "");
  const [filters, setFilters] = useState(NOTHING);
  const [turns, setTurns] = useState([]);
  const [facets] = useJson("/facets");
  const [kept, keptError] = useJson("/collections");
  const running = useRef(null);
  const input = useRef(null);

  const change = (id, part) => setTurns((all) => all.map((turn) => (turn.id === id ? { ...turn, ...(typeof part === "function" ? part(turn) : part) } : turn)));

  const run = async (question, how = mode) => {
    if (!question.trim()) { input.current?.focus(); return; }
    running.current?.abort();
    const stop = (running.current = new AbortController());
    const turn = { id: Date.now(), question, mode: how, text: "", citations: [], results: null, busy: true };
    const earlier = how === "ask" ? turns.filter((t) => t.answer).slice(-MAX_TURNS) : [];
    setTurns((all) => [...(how === "ask" ? all : []), turn]);
    setMode(how);
    setText("");
    history.replaceState(null, "", `/?${new URLSearchParams({ q: question, ...(how === "search" && { mode: "search" }) })}`);
    const narrowed = retrieval(filters);
    let searching = null;
    const search = () => (searching ??= post("/search", { query: question, limit: LIMIT, ...narrowed }, stop.signal).then(
      (found) => change(turn.id, { results: found.results, complete: found.complete, searchNotes: found.notes, trace: found.trace_id, took: found.took_ms }),
      (error) => change(turn.id, { searchError: error })));
    try {
      if (how === "ask") await answer(turn.id, question, earlier, narrowed, change, stop.signal, search);
      await search();
    } catch (error) {
      search(); // passages are worth having without an answer
      if (error.name !== "AbortError") change(turn.id, { error });
      else change(turn.id, (t) => ({ stopped: !t.answer && t.mode === "ask" }));
    } finally { change(turn.id, { busy: false }); }
  };

  useEffect(() => {
    if (text) run(text);
    input.current?.focus();
    const keys = (event) => {
      if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) { event.preventDefault(); input.current?.focus(); }
      if (event.key === "Escape") running.current?.abort();
    };
    addEventListener("keydown", keys);
    return () => { removeEventListener("keydown", keys); running.current?.abort(); };
  }, []);

  const empty = kept && kept.items.every((each) => !each.documents);
  const last = turns[turns.length - 1];
  return html`<section class=${turns.length ? "talk" : "talk first"}>
    <h1 class=${turns.length ? "visually-hidden" : null}>${turns.length ? "Questions and answers" : mode === "ask" ? "What would you like to know?" : "What are you looking for?"}</h1>
    ${turns.map((turn) => html`<${Turn} key=${turn.id} turn=${turn} ask=${(how) => run(turn.question, how)} latest=${turn === last} />`)}
    <form class="question" role="search" onSubmit=${(e) => { e.preventDefault(); run(text); }}>
      <label class="visually-hidden" for="q">${mode === "ask" ? "Your question" : "Search the documents"}</label>
      <textarea id="q" ref=${input} rows="1" value=${text} maxlength="4000"
        placeholder=${mode === "ask" ? (turns.length ? "Ask further…" : "Ask the documents…") : "Search the documents…"}
        onInput=${(e) => setText(e.target.value)}
        onKeyDown=${(e) => {
          if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
          e.preventDefault();
          run(text, e.ctrlKey || e.metaKey ? other(mode) : mode);
        }}></textarea>
      <div class="row">
        <div class="modes" role="group" aria-label="What to do">
          ${["ask", "search"].map((each) => html`<button type="button" aria-pressed=${mode === each ? "true" : "false"} onClick=${() => { setMode(each); input.current?.focus(); }}>${each === "ask" ? "Ask" : "Search"}</button>`)}
        </div>
        <span class="fine keys"><kbd>Enter</kbd> ${mode === "ask" ? "asks" : "searches"}, <kbd>Ctrl</kbd>+<kbd>Enter</kbd> ${mode === "ask" ? "searches" : "asks"}</span>
        ${last?.busy ? html`<button type="button" onClick=${() => running.current?.abort()}>Stop</button>`
          : html`<button class="primary">${mode === "ask" ? "Ask" : "Search"}</button>`}
      </div>
      <${Filters} facets=${facets} filters=${filters} setFilters=${setFilters} />
    </form>
    ${turns.length > 0 && html`<p class="fine"><button class="quiet" onClick=${() => { running.current?.abort(); setTurns([]); history.replaceState(null, "", "/"); input.current?.focus(); }}>Begin anew</button></p>`}
    ${keptError && !turns.length && html`<${Failure} error=${keptError} />`}
    ${!turns.length && kept && (empty ? html`<${Nothing} />` : html`<p class="fine">${summary(kept)}</p>`)}
  </section>`;
}

const other = (mode) => (mode === "ask" ? "search" : "ask");

function summary(kept) {
  const documents = kept.items.reduce((sum, each) => sum + each.documents, 0);
  return `${many(documents, "document")} in ${many(kept.items.length, "collection")}.`;
}

function Nothing() {
  return html`<section class="card"><h2>There is nothing here yet</h2>
    <p>Sync a folder with <code>pgfolio sync FOLDER</code> where the server runs, or add files:</p><${Drop} /></section>`;
}

/** The answer of a question that is streamed into its turn; `begun` when its first words are there. */
async function answer(id, question, earlier, narrowed, change, signal, begun) {
  const messages = earlier.flatMap((t) => [{ role: "user", content: t.question }, { role: "assistant", content: t.answer.answer.slice(0, 20000) }]);
  const body = { messages: [...messages, { role: "user", content: question }], stream: true, ...narrowed };
  for await (const [name, data] of events("/ask", body, signal)) {
    if (name === "token") {
      change(id, (t) => ({ text: t.text + data.text }));
      begun();
    } else if (name === "citation") change(id, (t) => ({ citations: [...t.citations, data] }));
    else if (name === "done") change(id, { answer: data, text: data.answer, citations: data.citations, trace: data.trace_id });
    else if (name === "error") throw Object.assign(new Error(data.detail || data.title), { traceId: data.trace_id });
  }
}

/** The fields of a request that the filters stand for. */
function retrieval({ collection, type, from, to, key, value }) {
  const all = [];
  if (type) all.push({ mime: type });
  if (from) all.push({ updated_at: { $gte: from } });
  if (to) all.push({ updated_at: { $lte: `${to}T23:59:59Z` } });
  if (key && value) all.push({ [key]: JSON.parse(value) }); // a number is none but a number
  return { ...(collection && { collections: [collection] }), ...(all.length && { filter: all.length === 1 ? all[0] : { $and: all } }) };
}

function Filters({ facets, filters, setFilters }) {
  if (!facets) return "";
  const set = (name) => (event) => setFilters({ ...filters, [name]: event.target.value, ...(name === "key" && { value: "" }) });
  const chosen = Object.values(filters).filter(Boolean).length;
  const values = facets.metadata?.find((each) => each.key === filters.key)?.values || [];
  const pick = (name, label, options) => html`<label>${label}<select aria-label=${label} value=${filters[name]} onChange=${set(name)}>
    <option value="">any</option>${options.map(([value, shown]) => html`<option value=${value}>${shown}</option>`)}</select></label>`;
  return html`<details class="filters" open=${chosen > 0}><summary>Filters${chosen ? ` (${chosen})` : ""}</summary><div class="grid">
    ${facets.collections?.length > 1 && pick("collection", "Collection", facets.collections.map((c) => [c.name, `${c.name} (${count(c.documents)})`]))}
    ${facets.types?.length > 1 && pick("type", "Type", facets.types.map((t) => [t.mime, `${kind(t.mime)} (${count(t.documents)})`]))}
    <label>Changed from<input type="date" value=${filters.from} onInput=${set("from")} /></label>
    <label>to<input type="date" value=${filters.to} onInput=${set("to")} /></label>
    ${facets.metadata?.length > 0 && pick("key", "Field", facets.metadata.map((m) => [m.key, m.key]))}
    ${filters.key && pick("value", "is", values.map((v) => [JSON.stringify(v.value), `${v.value} (${count(v.documents)})`]))}
    ${chosen > 0 && html`<button type="button" class="quiet" onClick=${() => setFilters(NOTHING)}>Without filters</button>`}
  </div></details>`;
}

function Turn({ turn, ask, latest }) {
  const pattern = useMemo(() => markable(turn.answer?.question || turn.question), [turn.question, turn.answer]);
  return html`<article class="turn" aria-label=${turn.question}>
    <h2 class="asked">${turn.question}</h2>
    ${turn.answer && turn.answer.question && turn.answer.question !== turn.question && html`<p class="fine">Understood as: ${turn.answer.question}</p>`}
    ${turn.mode === "ask" && html`<${Answer} turn=${turn} />`}
    ${turn.error && html`<${Failure} error=${turn.error} retry=${() => ask(turn.mode)} />`}
    ${turn.stopped && html`<p class="fine">Stopped.</p>`}
    ${turn.searchError && !turn.error && html`<${Failure} error=${turn.searchError} retry=${() => ask(turn.mode)} />`}
    ${turn.results && (latest || turn.mode === "search"
      ? html`<${Results} turn=${turn} pattern=${pattern} />`
      : html`<details><summary>${many(turn.results.length, "passage")}</summary><${Results} turn=${turn} pattern=${pattern} /></details>`)}
    ${turn.mode === "search" && !turn.busy && html`<p><button onClick=${() => ask("ask")}>Ask this instead</button></p>`}
  </article>`;
}

function Answer({ turn }) {
  const { answer, citations, text } = turn;
  const byMarker = useMemo(() => grouped(citations), [citations]);
  const cite = (marker) => {
    const of = byMarker.get(marker)?.[0];
    return of ? html`<a class="cite" href=${placed(of)} title=${`${of.title}: ${of.quote.slice(0, 300)}`} aria-label=${`Citation ${marker}: ${of.title}`}>${marker}</a>`
      : html`<span class="cite">${marker}</span>`;
  };
  return html`<div class=${`answer ${answer && !answer.answered ? "unanswered" : ""}`} aria-live="polite" aria-busy=${turn.busy && !answer ? "true" : "false"}>
    ${text ? html`<${Rich} text=${text} cite=${cite} />` : turn.busy && html`<${Busy}>Reading…</${Busy}>`}
    ${answer && !answer.answered && html`<p class="fine">What comes nearest is below.</p>`}
    ${answer?.notes?.map((note) => html`<p class="note">${note}</p>`)}
    ${citations.length > 0 && html`<ol class="citations">${[...byMarker].map(([marker, of]) => html`<${Cited} marker=${marker} of=${of} />`)}</ol>`}
    ${answer && html`<p class="fine">${answer.mode === "generated" ? `Written by ${answer.model} from the documents` : "Quoted from the documents"}, ${seconds(answer.took_ms / 1000)} ·
      <a href=${`/trace/${answer.trace_id}`}> how this was found</a></p>`}
  </div>`;
}

function grouped(citations) {
  const map = new Map();
  for (const each of citations) map.set(each.marker, [...(map.get(each.marker) || []), each]);
  return map;
}

/** A quote that does not stand in the text is not marked somewhere else. */
const placed = (citation) => (citation.verified ? at(citation.document_id, citation.start, citation.end) : `/d/${citation.document_id}?unplaced=1`);

function Cited({ marker, of }) {
  return html`<li value=${marker}><a href=${placed(of[0])}><strong>${of[0].title}</strong></a> <${Place} item=${of[0]} />
    ${of.map((one) => html`<blockquote><a href=${placed(one)}>${one.quote.length > 400 ? `${one.quote.slice(0, 400)}…` : one.quote}</a>
      ${!one.verified && html`<span class="bad"> This quote does not stand in the document so.</span>`}</blockquote>`)}</li>`;
}

function Results({ turn, pattern }) {
  const { results } = turn;
  return html`<section aria-label="Passages">
    <h3 class="section">${results.length ? "Passages" : "No passage was found"}</h3>
    ${turn.searchNotes?.map((note) => html`<p class="note">${note}</p>`)}
    ${!results.length && html`<p>Try other words, or fewer filters. <a href="/sources">What is kept</a> says which documents there are.</p>`}
    <ol class="results">${results.map((result) => html`<${Passage} key=${result.chunk_id} result=${result} pattern=${pattern} />`)}</ol>
    ${results.length > 0 && html`<p class="fine">${many(results.length, "passage")} in ${seconds((turn.took || 0) / 1000)} · <a href=${`/trace/${turn.trace}`}>why these</a></p>`}
  </section>`;
}

const CLIPPED = 360;

function Passage({ result, pattern }) {
  const [whole, setWhole] = useState(false);
  const long = result.content.length > CLIPPED + 100;
  const shown = long && !whole ? clipped(result.content, pattern) : result.content.slice(0, 50000);
  return html`<li class=${whole ? "passage whole" : "passage"}>
    <h4><a href=${at(result.document_id, result.start, result.end)}>${result.title}</a></h4>
    ${result.heading && html`<p class="heading">${result.heading}</p>`}
    <p class="content"><${Marked} text=${shown} pattern=${pattern} /></p>
    <div class="row"><${Place} item=${result} />
      <span class="fine" title="How near its meaning is to the question, from -1 to 1">${Math.round(result.similarity * 100)}% near</span>
      ${long && html`<button class="quiet" onClick=${() => setWhole(!whole)} aria-expanded=${whole ? "true" : "false"}>${whole ? "Less" : "More"}</button>`}</div>
  </li>`;
}

/** The part of a passage where its marked words are, on few lines. */
function clipped(full, pattern) {
  const content = full.replace(/\s+/g, " ");
  const first = pattern ? content.search(pattern) : 0;
  const begin = first > CLIPPED / 2 ? content.lastIndexOf(" ", first - 150) + 1 : 0;
  return `${begin ? "…" : ""}${content.slice(begin, begin + CLIPPED)}…`;
}

