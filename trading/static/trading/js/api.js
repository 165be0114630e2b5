// The public REST API, as any other client uses it, with the session's cookie for a key.

const TIMEOUT_MS = 15_000; // longer than the server takes to give up
/** The code of what was refused because the page shows another account than the session's. */
export const ANOTHER_ACCOUNT = 40910002;

let shownAccount = null;
let refusal = null; // after which nothing more is sent

/**
 * Say with each request which account the page shows. The session may act for another one by then,
 * chosen in another window: the server refuses what was meant for this one. From then on nothing is
 * sent, and each request fails with that refusal at once.
 */
export function showsAccount(id) {
  shownAccount = id;
  refusal = null;
}

/** A refusal: HTTP status (0: not the server's), the contract's code, and its sentence. */
export class ApiError extends Error {
  constructor(status, { code = null, message = "", ...numbers } = {}) {
    super(message || `The server answered ${status}`);
    this.status = status;
    this.code = code;
    this.numbers = numbers;
  }
}

/** No answer came, or none that can be read: what was asked for may have been done all the same. */
export class NoAnswer extends ApiError {
  constructor(message) {
    super(0, { message });
    this.unanswered = true;
  }
}

/** GET a JSON answer; `query` values of null are left out. */
export function get(path, query = {}) {
  const entries = Object.entries(query).filter(([, value]) => value !== null);
  const search = new URLSearchParams(entries).toString();
  return request("GET", search ? `${path}?${search}` : path);
}

export const post = (path, body) => request("POST", path, body);
export const patch = (path, body) => request("PATCH", path, body);
export const remove = (path) => request("DELETE", path);

async function request(method, path, body) {
  if (refusal) throw refusal;
  const { response, text } = await answer(path, {
    method,
    credentials: "same-origin",
    headers: headers(method, body),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const content = decoded(text);
  if (response.ok && text && content === null) throw new NoAnswer("The answer cannot be read");
  if (response.ok) return content;
  if (response.status === 401) document.dispatchEvent(new CustomEvent("openbell:logged-out"));
  const error = new ApiError(response.status, content ?? {});
  if (error.code === ANOTHER_ACCOUNT && !refusal) {
    refusal = error;
    document.dispatchEvent(new CustomEvent("openbell:another-account"));
  }
  throw error;
}

// The whole of it: an answer may break off after its head.
async function answer(path, options) {
  try {
    const response = await fetch(path, options);
    return { response, text: await response.text() };
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new NoAnswer(late ? "No answer in time" : "Openbell cannot be reached");
  }
}

function headers(method, body) {
  const sent = { Accept: "application/json" };
  if (shownAccount !== null) sent["Openbell-Account"] = shownAccount;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (method !== "GET") sent["X-CSRFToken"] = csrfToken();
  return sent;
}

/**
 * What the server wants to see with each change. The cookie's is the newest: whoever logged out and
 * in again in another window has a new one, and the page still has that of its beginning.
 */
export function csrfToken() {
  const [, token] = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie) ?? [];
  return token ?? document.querySelector("input[name=csrfmiddlewaretoken]").value;
}

function decoded(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
