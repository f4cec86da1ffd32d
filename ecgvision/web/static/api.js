// Talks to the server this page came from, and to nobody else.

// The token stands behind the # of the address, which browsers do not send.
const token = new URLSearchParams(location.hash.slice(1)).get("token");

export class Refused extends Error {
  constructor(status, refusal, retryAfterS) {
    super(refusal.message);
    this.status = status;
    this.code = refusal.code;
    this.hint = refusal.hint;
    this.retryAfterS = retryAfterS;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(`api/${path}`, { ...options, headers, credentials: "omit" });
  } catch {
    throw new Refused(0, { code: "server-unreachable", message: "", hint: "" });
  }
  if (response.ok) return response;
  const retryAfterS = Number(response.headers.get("Retry-After") ?? 0);
  const refusal = await response.json().catch(() => ({ code: "internal", message: "", hint: "" }));
  throw new Refused(response.status, refusal, retryAfterS);
}

async function post(path, value, options = {}) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(value), ...options });
}

const json = async (response) => (await response).json();
const blob = async (response) => (await response).blob();

export const about = () => json(ask("about"));
export const state = (id) => json(ask(`reports/${id}`));
export const picture = (id, page, name) => blob(ask(`reports/${id}/pages/${page}/files/${name}`));
export const files = (id, page, kind) => blob(ask(`reports/${id}/pages/${page}/${kind}.zip`));
export const summary = (id, page, asked) => blob(post(`reports/${id}/pages/${page}/summary`, asked));
export const layout = (id, page, boxes) => blob(post(`reports/${id}/pages/${page}/layout`, boxes));
export const correct = (id, correction) => json(post(`reports/${id}/corrections`, correction));
export const zip = (reports, language) => blob(post("zip", { reports, language }));
export const declared = (format, number) =>
  json(ask(`formats/${encodeURIComponent(format)}/layouts/${number}`));

export function send(file, format, clinical) {
  const query = new URLSearchParams({ format, clinical });
  const headers = { "Content-Type": "application/octet-stream" };
  return json(ask(`reports?${query}`, { method: "POST", headers, body: file }));
}

export async function remove(id) {
  // Also when the page is closed: what is over by itself in ten minutes goes at once.
  await ask(`reports/${id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}
