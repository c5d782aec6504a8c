// Keys: who may read, write and administer. For administrators.

import { html, useState } from "/page/vendor/htm-preact.js";
import { json, post } from "/page/api.js";
import { ago, date } from "/page/format.js";
import { Busy, Failure, Grid, useJson } from "/page/parts.js";

export function Access() {
  const [keys, error, again] = useJson("/keys");
  const [made, setMade] = useState(null);
  const [problem, setProblem] = useState(null);
  const add = async (event) => {
    event.preventDefault();
    setProblem(null);
    const fields = event.target.elements;
    const collections = fields.collections.value.split(",").map((name) => name.trim()).filter(Boolean);
    try {
      setMade(await post("/keys", { name: fields.name.value.trim(), scope: fields.scope.value, ...(collections.length && { collections }) }));
      event.target.reset();
      again();
    } catch (failure) { setProblem(failure); }
  };
  const revoke = (key) => json(`/keys/${key.id}`, { method: "DELETE" }).then(again, setProblem);
  return html`<h1>Keys</h1>
    ${error && html`<${Failure} error=${error} retry=${again} />`}${problem && html`<${Failure} error=${problem} />`}
    ${made && html`<section class="card" role="status"><h2>The key of ${made.name}</h2><p>It is shown this once: copy it now.</p><p><code class="secret">${made.key}</code></p>
      <button onClick=${() => navigator.clipboard?.writeText(made.key)}>Copy</button> <button class="quiet" onClick=${() => setMade(null)}>Done</button></section>`}
    ${!keys && !error && html`<${Busy}>Looking…</${Busy}>`}
    ${keys && html`<${Grid} heads=${["Name", "Scope", "Collections", "Last used", "Expires", "Revoked"]} rows=${keys.items} row=${(key) => [key.name, key.scope,
      key.collections ? key.collections.join(", ") : "all", ago(key.last_used_at), key.expires_at ? date(key.expires_at) : "never",
      key.revoked_at ? html`<span class="fine">revoked</span>` : html`<button class="quiet" onClick=${() => revoke(key)} aria-label=${`Revoke ${key.name}`}>Revoke</button>`]} />`}
    <form class="card" onSubmit=${add}><h2>Make a key</h2><div class="grid">
      <label>Name<input name="name" required maxlength="200" /></label>
      <label>Scope<select name="scope"><option value="read">read: search and ask</option><option value="write">write: push documents too</option><option value="admin">admin: everything</option></select></label>
      <label>Collections, if not all<input name="collections" placeholder="reports, manual" /></label></div>
      <button class="primary">Make it</button></form>`;
}
