// Requests to the API: JSON, problems as errors with a sentence, server-sent events.

export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || `The server answered ${status}.`);
    this.status = status;
    this.type = body?.type || "";
    this.errors = body?.errors || [];
    this.traceId = body?.trace_id;
  }
}

const OFFLINE = "The server cannot be reached. It may be stopped, or the network is gone. Nothing was lost: try again when it is back.";

async function send(path, { method = "GET", body, signal, headers = {} } = {}) {
  const form = body instanceof FormData;
  const options = { method, signal, headers: { ...headers }, credentials: "same-origin" };
  if (body !== undefined) {
    options.body = form ? body : JSON.stringify(body);
    if (!form) options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: OFFLINE });
  }
  if (!response.ok) {
    let problem = null;
    try { problem = await response.json(); } catch { /* a proxy's own page */ }
    const error = new Problem(response.status, problem);
    if (response.status === 401) dispatchEvent(new CustomEvent("signed-out"));
    throw error;
  }
  return response;
}

export async function json(path, options) {
  const response = await send(path, options);
  return response.status === 204 ? null : response.json();
}

export const post = (path, body, signal) => json(path, { method: "POST", body, signal });

/** Events of `POST /ask` as they come: [name, data]. */
export async function* events(path, body, signal) {
  const response = await send(path, { method: "POST", body, signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      buffer += value.replaceAll("\r\n", "\n");
      let end;
      while ((end = buffer.indexOf("\n\n")) >= 0) {
        const event = parse(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
        if (event) yield event;
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: OFFLINE });
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}
