/** Talks to the server that the page came from. Knows HTTP; knows nothing of the page. */

import { anotherKey, savedKey } from "./key.js";

const AT_ONCE = 2;
const TRIES = 6;
const LONGEST_WAIT = 20;

/** What was not answered: in words for a person and a code for programs, the API's own if it has any. */
export class Refusal extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** The address of a route. Relative to the page, so that a proxy may put both under a prefix. */
export const addressOf = (path) => new URL(`./${path}`, document.baseURI).href;

/**
 * Send a request, with the key if the server asks for one; whatever the status, return the answer.
 * @param {string} path without a leading slash
 * @param {RequestInit} options as `fetch` takes them
 */
export async function send(path, options = {}) {
  for (;;) {
    const key = savedKey();
    const headers = new Headers(options.headers);
    if (key !== null) headers.set("Authorization", `Bearer ${key}`);
    const answer = await fetch(addressOf(path), { ...options, headers }).catch(explain);
    if (answer.status !== 401 || !(await anotherKey(key))) return answer;
  }
}

/**
 * Send a request and return its good answer; a busy server is asked again when it says so.
 * @param {(seconds: number) => void} onWait called before each wait
 * @throws {Refusal}
 */
export async function ask(path, options = {}, onWait = () => {}) {
  for (let tries = 1; ; tries++) {
    const answer = await send(path, options);
    if (answer.ok) return answer;
    if (answer.status !== 429 || tries === TRIES) throw await refusalOf(answer);
    const seconds = Math.min(Number(answer.headers.get("Retry-After")) || 1, LONGEST_WAIT);
    onWait(seconds);
    await pause(seconds, options.signal);
  }
}

/** Whether the request was called off by the page itself. */
export const isCalledOff = (error) => error.name === "AbortError";

let free = AT_ONCE;
const line = [];

/**
 * Run a task when its turn comes: a couple at once, so that many pictures do not crowd out others.
 * @param {() => Promise} task
 * @param {boolean} first whether it goes before those that wait, because somebody just asked for it
 */
export function inTurn(task, first = false) {
  return new Promise((resolve, reject) => {
    const start = () => task().then(resolve, reject).finally(leave);
    if (first) line.unshift(start);
    else line.push(start);
    startNext();
  });
}

function leave() {
  free++;
  startNext();
}

function startNext() {
  if (free === 0 || line.length === 0) return;
  free--;
  line.shift()();
}

function explain(error) {
  if (isCalledOff(error)) throw error;
  // A browser does not tell these apart.
  const reason = "the server is away, or the file is too large or gone from its place";
  throw new Refusal(`No answer: ${reason}.`, "no_answer");
}

async function refusalOf(answer) {
  const content = await answer.json().catch(() => null);
  const fallback = `The server answered ${answer.status} ${answer.statusText}`.trim();
  return new Refusal(content?.error?.message ?? fallback, content?.error?.code ?? answer.status);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    // A little spread, or those who were refused together come back together.
    setTimeout(resolve, 1000 * seconds * (1 + Math.random() / 4));
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}
