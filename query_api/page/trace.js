// How an answer was found: both arms' ranks as a picture and a table, and why a document is not among the results.

import { html, useState } from "/page/vendor/htm-preact.js";
import { post } from "/page/api.js";
import { count, decimal, time } from "/page/format.js";
import { at, Busy, Failure, Grid, useJson } from "/page/parts.js";

const DRAWN = 20;
const ROW = 22;
const COLUMNS = [["vector", "by meaning"], ["words", "by words"], ["fused", "together"], ["place", "result"]];

export function Trace({ parameter }) {
  const [trace, error, again] = useJson(`/traces/${parameter}`);
  if (error) return html`<section class="card narrow"><h1>There is no such trace</h1><${Failure} error=${error} retry=${again} /></section>`;
  if (!trace) return html`<${Busy}>Looking…</${Busy}>`;
  const { explain } = trace;
  return html`<h1>How this was found</h1>
    ${explain.query && html`<p class="asked">${explain.query}</p>`}
    <p class="fine">${time(explain.asked_at)} · ${explain.mode} search in ${explain.space || "nothing"} · vectors ${explain.searched || "not searched"} ·
      ${Object.entries(explain.milliseconds).map(([name, ms]) => `${name} ${decimal(ms)} ms`).join(", ")}</p>
    ${explain.notes.map((note) => html`<p class="note">${note}</p>`)}
    ${explain.answer && html`<p>The answer was ${explain.answer.mode}${explain.answer.answered ? "" : ", and is that nothing answers"}${explain.answer.model ? `, by ${explain.answer.model}` : ""}.</p>`}
    <${Ranks} candidates=${explain.candidates} />
    <${WhyNot} explain=${explain} />
    <${Candidates} candidates=${explain.candidates} all=${explain.candidates_in_all} />`;
}

const rankOf = (candidate, column) => (column === "place" ? candidate.place : candidate[column]?.rank) ?? null;

/** Ranks of the best candidates in each arm, joined by lines. */
function Ranks({ candidates }) {
  const best = candidates.filter((c) => c.place || (c.fused && c.fused.rank <= DRAWN)).slice(0, DRAWN);
  if (!best.length) return "";
  const [width, step] = [720, 200];
  const y = (rank) => 34 + Math.min(rank, DRAWN + 1) * ROW;
  const x = (column) => 60 + column * step;
  return html`<figure><svg viewBox=${`0 0 ${width} ${y(DRAWN + 1) + 16}`} role="img" aria-label="Ranks of the best candidates by meaning, by words, together and in the result; the table below has the same">
    ${COLUMNS.map(([, name], i) => html`<text x=${x(i)} y="18" text-anchor="middle" class="head">${name}</text>`)}
    ${best.map((candidate) => {
      const points = COLUMNS.map(([column], i) => [i, rankOf(candidate, column)]).filter(([, rank]) => rank !== null);
      return html`<g class=${candidate.place ? "taken" : "left"}><title>${candidate.path} ${candidate.heading ? `> ${candidate.heading}` : ""}</title>
        <polyline points=${points.map(([i, rank]) => `${x(i)},${y(rank)}`).join(" ")} />
        ${points.map(([i, rank]) => html`<circle cx=${x(i)} cy=${y(rank)} r="9" /><text x=${x(i)} y=${y(rank) + 4} text-anchor="middle">${rank > DRAWN ? `${rank}` : rank}</text>`)}</g>`;
    })}</svg><figcaption class="fine">Each line is a passage, from its rank in each arm to its place. Ranks beyond ${DRAWN} stand at the bottom.</figcaption></figure>`;
}

function Candidates({ candidates, all }) {
  return html`<h2>Candidates</h2><${Grid} heads=${["Place", "Passage", "#Meaning", "#Words", "#Exact", "#Together", "#Reranked", "Left out because"]}
    rows=${candidates.map((c) => ({ ...c, taken: c.place }))} row=${(c) => [c.place || "",
      html`<a href=${at(c.document_id)} class="path">${c.path}</a>${c.heading && html`<br /><span class="fine">${c.heading}</span>`}`,
      ranked(c.vector), ranked(c.words), c.exact ? decimal(c.exact) : "", ranked(c.fused), ranked(c.reranked), c.dropped || ""]} />
    <p class="fine">${count(candidates.length)} of ${count(all)} candidates.</p>`;
}

const ranked = (value) => value && html`${value.rank}. <span class="fine">${decimal(value.score)}</span>`;

function WhyNot({ explain }) {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  if (!explain.query) return "";
  const ask = async (event) => {
    event.preventDefault();
    setError(null);
    const why = event.target.elements.why.value.trim();
    try {
      const found = await post("/search", { query: explain.query, limit: explain.limit, mode: explain.mode, ...(explain.collections && { collections: explain.collections }), explain: true, why });
      setAnswer(found.why);
    } catch (problem) { setError(problem); setAnswer(null); }
  };
  return html`<form class="card" onSubmit=${ask}><h2>Why is a document not here?</h2>
    <div class="row"><label for="why" class="visually-hidden">Path or id of the document</label><input id="why" name="why" required placeholder="path/of/the/document.md" /><button>Tell me</button></div>
    ${error && html`<${Failure} error=${error} />`}
    ${answer && html`<p role="status"><strong>${answer.document}</strong>: ${answer.reason}.
      ${answer.similarity !== null && ` By meaning ${decimal(answer.similarity)}${answer.least_similarity === null ? "" : `; the last candidate has ${decimal(answer.least_similarity)}`}.`}
      ${answer.words !== null && ` By words ${decimal(answer.words)}${answer.least_words === null ? "" : `; the last candidate has ${decimal(answer.least_words)}`}.`}</p>`}
  </form>`;
}
