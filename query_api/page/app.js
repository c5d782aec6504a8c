// The page: its frame, its routes, who is signed in.

import { html, render, useEffect, useState } from "/page/vendor/htm-preact.js";
import { json, post } from "/page/api.js";
import { Ask } from "/page/ask.js";
import { Document } from "/page/document.js";
import { Sources } from "/page/sources.js";
import { Trace } from "/page/trace.js";
import { Access } from "/page/access.js";
import { Failure } from "/page/parts.js";

const ROUTES = [
  [/^\/$/, Ask, "Ask"],
  [/^\/d\/(\d+)$/, Document, "Document"],
  [/^\/sources$/, Sources, "Sources"],
  [/^\/trace\/([\w-]+)$/, Trace, "Trace"],
  [/^\/access$/, Access, "Keys"],
];
const LINKS = [["/", "Ask"], ["/sources", "Sources"]];

/** Go to another view without loading the page anew. */
export function go(address) {
  history.pushState(null, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
}

function followed(event) {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const address = new URL(link.href);
  const ours = address.origin === location.origin && ROUTES.some(([path]) => path.test(address.pathname));
  if (!ours || link.hasAttribute("download") || link.target) return;
  event.preventDefault();
  go(address.pathname + address.search);
}

function App() {
  const [place, setPlace] = useState(location.pathname);
  const [session, setSession] = useState(null);
  const [failure, setFailure] = useState(null);
  const refresh = () => json("/session").then((s) => { setSession(s); setFailure(null); }, setFailure);
  useEffect(() => {
    const moved = () => { setPlace(location.pathname); scrollTo(0, 0); document.getElementById("main").focus({ preventScroll: true }); };
    addEventListener("popstate", moved);
    addEventListener("signed-out", refresh);
    addEventListener("click", followed);
    refresh();
    return () => { removeEventListener("popstate", moved); removeEventListener("signed-out", refresh); removeEventListener("click", followed); };
  }, []);
  const [match, View, title] = route(place);
  useEffect(() => { document.title = `${title} · pgfolio`; }, [title]);
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <${Header} place=${place} session=${session} refresh=${refresh} />
    <main id="main" tabindex="-1">
      ${failure && html`<${Failure} error=${failure} retry=${refresh} />`}
      ${!failure && session && (session.required && !session.signed_in
        ? html`<${SignIn} done=${refresh} />`
        : View ? html`<${View} key=${place} parameter=${match[1]} session=${session} />` : html`<${Missing} />`)}
    </main>
    <footer>Answers come from the documents that are kept here, and from nothing else. <a href="/schema">API</a></footer>`;
}

function route(place) {
  for (const [path, View, title] of ROUTES) {
    const match = path.exec(place);
    if (match) return [match, View, title];
  }
  return [[], null, "Not found"];
}

function Header({ place, session, refresh }) {
  const links = session?.required && session.scope === "admin" ? [...LINKS, ["/access", "Keys"]] : LINKS;
  const signOut = () => json("/session", { method: "DELETE" }).then(refresh, refresh);
  return html`<header>
    <a class="brand" href="/"><img src="/page/icon.svg" alt="" width="26" height="26" /> pgfolio</a>
    <nav aria-label="Main">${links.map(([to, name]) => html`<a href=${to} aria-current=${place === to ? "page" : null}>${name}</a>`)}</nav>
    ${session?.signed_in && html`<div class="who"><span title="The name of your key">${session.name}</span>
      <button class="quiet" onClick=${signOut}>Sign out</button></div>`}
  </header>`;
}

function SignIn({ done }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    const field = event.target.elements.key;
    try {
      await post("/session", { key: field.value.trim() });
      field.value = "";
      done();
    } catch (problem) {
      setError(problem.status === 401 ? "This key opens nothing here: it is wrong, revoked or expired." : problem.message);
      field.select();
    } finally { setBusy(false); }
  };
  return html`<section class="card narrow"><h1>Sign in</h1>
    <p>These documents are kept for people with a key. Ask who runs this server for yours: <code>pgfolio keys add</code> makes one.</p>
    <form onSubmit=${submit}>
      <label for="key">API key</label>
      <input id="key" name="key" type="password" autocomplete="current-password" required autofocus
        aria-describedby=${error ? "key-error" : null} aria-invalid=${error ? "true" : null} />
      ${error && html`<p id="key-error" class="error" role="alert">${error}</p>`}
      <button class="primary" disabled=${busy}>${busy ? "Signing in…" : "Sign in"}</button>
    </form></section>`;
}

function Missing() {
  return html`<section class="card narrow"><h1>There is no such page</h1><p><a href="/">Ask a question</a>, or see <a href="/sources">what is kept</a>.</p></section>`;
}

const root = document.getElementById("app");
root.replaceChildren(); // what stands there without scripts
render(html`<${App} />`, root);
