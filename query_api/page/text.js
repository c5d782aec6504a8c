// Text of documents and models as text nodes: never as markup. Code, emphasis, lists and citation markers are given form.

import { html } from "/page/vendor/htm-preact.js";

const INLINE = /(`+)([^`\n]+?)\1|\*\*([^*\n]+)\*\*|\[(\d{1,3})\](?!\()/gu;
const FENCE = /^ {0,3}(```|~~~)/;
const ITEM = /^\s*(?:[-*+•]|\d{1,3}[.)])\s+/;

/** Paragraphs, lists and code of an answer; `cite(n)` makes the link of a marker. */
export function Rich({ text, cite }) {
  return blocks(text).map(({ kind, lines }) => {
    if (kind === "code") return html`<pre tabindex="0"><code>${lines.join("\n")}</code></pre>`;
    if (kind === "list") return html`<ul>${lines.map((line) => html`<li>${inline(line.replace(ITEM, ""), cite)}</li>`)}</ul>`;
    if (kind === "heading") return html`<p class="answer-heading">${inline(lines[0].replace(/^#+\s*/, ""), cite)}</p>`;
    return html`<p>${inline(lines.join(" "), cite)}</p>`;
  });
}

function blocks(text) {
  const found = [];
  let current = null;
  let fenced = false;
  for (const line of text.split("\n")) {
    if (FENCE.test(line)) {
      fenced = !fenced;
      current = fenced ? add(found, "code") : null;
    } else if (fenced) current.lines.push(line);
    else if (!line.trim()) current = null;
    else {
      const kind = ITEM.test(line) ? "list" : /^#{1,6}\s/.test(line) ? "heading" : "paragraph";
      if (current?.kind !== kind || kind === "heading") current = add(found, kind);
      current.lines.push(line);
    }
  }
  return found;
}

function add(found, kind) {
  const block = { kind, lines: [] };
  found.push(block);
  return block;
}

function inline(text, cite) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) parts.push(text.slice(at, match.index));
    if (match[2] !== undefined) parts.push(html`<code>${match[2]}</code>`);
    else if (match[3] !== undefined) parts.push(html`<strong>${match[3]}</strong>`);
    else parts.push(cite ? cite(Number(match[4])) : match[0]);
    at = match.index + match[0].length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

const COMMON = new Set("the and for are was were with what when where which who how why does did can could should would this that from have has had not you your about into than then them they will der die das und ist les des est que qui".split(" "));

/** What of a question is worth marking: its longer words, by their beginnings. */
export function markable(question) {
  const words = question.toLowerCase().match(/[\p{L}\p{N}_.-]{2,}/gu) || [];
  const stems = words.filter((w) => w.length > 2 && !COMMON.has(w)).map((w) => (w.length > 5 ? w.slice(0, Math.max(4, w.length - 3)) : w.replace(/(?<=...)s$/, "")));
  const escaped = [...new Set(stems)].slice(0, 30).map((w) => w.replace(/[.*+?^${}()|[\]\\-]/g, "\\$&"));
  return escaped.length ? new RegExp(`(?<![\\p{L}\\p{N}])(?:${escaped.join("|")})[\\p{L}\\p{N}]*`, "giu") : null;
}

/** A text with its words marked. */
export function Marked({ text, pattern }) {
  if (!pattern) return text;
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (!match[0]) break;
    parts.push(text.slice(at, match.index), html`<mark>${match[0]}</mark>`);
    at = match.index + match[0].length;
  }
  parts.push(text.slice(at));
  return parts;
}

/** The API counts characters; JavaScript counts UTF-16 units, two for one outside the basic plane. */
export function units(text, characters) {
  if (!/[\ud800-\udbff]/.test(text)) return Math.min(characters, text.length);
  let offset = 0;
  for (let left = characters; left > 0 && offset < text.length; left--) offset += text.codePointAt(offset) > 0xffff ? 2 : 1;
  return offset;
}
