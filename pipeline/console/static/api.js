// The console's API: the same that a platform's own tool may use.

const csrf = document.querySelector("meta[name=csrf-token]");

/** What the server refused, in its words. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Sign in (again), and come back to this page. */
export const signIn = () => location.assign(`/sign-in?to=${encodeURIComponent(location.pathname + location.search)}`);

async function ask(method, path, body, again = false) {
  const response = await fetch(`/api/v1${path}`, {
    method,
    credentials: "same-origin",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRF-Token": csrf.content },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 401) signIn();
  if (response.status === 204) return null;
  const said = await response.json().catch(() => ({ detail: `The server answered ${response.status}.` }));
  if (response.status === 403 && !again && said.detail.includes("CSRF")) {
    // Signed in anew in another window.
    csrf.content = (await get("/me")).csrf_token;
    return ask(method, path, body, true);
  }
  if (!response.ok) throw new Refused(response.status, said.detail);
  return said;
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const remove = (path) => ask("DELETE", path);
export const put = (path, body) => ask("PUT", path, body);
