/** The documentation: every route that `docs.json` describes, each with a form that sends it. */

import { ask } from "./api.js";
import { element } from "./element.js";
import { exampleOf, resolve } from "./example.js";
import { mayAskAgain } from "./key.js";
import { TryOut } from "./tryout.js";

const METHODS = ["get", "put", "post", "delete", "patch"];
const find = (id) => document.getElementById(id);

async function load() {
  find("problem").hidden = true;
  try {
    show(await (await ask("docs.json")).json());
    openAddressed();
  } catch (error) {
    find("problem").hidden = false;
    find("problem").firstElementChild.textContent = error.message;
  }
}

function show(api) {
  find("about").textContent = `${api.info.description} The model is ${api.info.version}.`;
  const operations = Object.entries(api.paths).flatMap(([path, item]) => {
    const methods = METHODS.filter((method) => item[method]);
    return methods.map((method) => operation(api, path, method, item[method]));
  });
  find("operations").replaceChildren(...operations);
}

function operation(api, path, method, about) {
  const verb = element("span", { className: "method" }, method.toUpperCase());
  const summary = element("summary", {}, element("h2", {}, verb, ` ${path}`), faint(about.summary));
  const id = method + path.replaceAll("/", "-");
  const made = element("details", { className: "operation", id }, summary);
  // Filled when it is opened: most are never looked at.
  const fill = () => made.append(inside(api, path, method, about));
  made.addEventListener("toggle", fill, { once: true });
  return made;
}

function inside(api, path, method, about) {
  const made = element("div", { className: "inside" });
  if (about.description) made.append(element("p", {}, about.description));
  if ((about.security ?? api.security ?? []).length > 0) {
    made.append(faint("Needs the server's key, as a bearer token."));
  }
  const form = new TryOut(api, path, method, about).build();
  made.append(element("div", {}, element("h3", {}, "Try it"), form));
  made.append(element("div", {}, element("h3", {}, "Answers"), answers(api, about.responses)));
  return made;
}

function answers(api, responses) {
  const seen = new Set();
  const rows = Object.entries(responses).map(([status, node]) => {
    const { description, content = {} } = resolve(api, node);
    const shapes = Object.entries(content).map(([type, body]) => shape(api, type, body, seen));
    const cell = element("td", {}, description, ...shapes);
    return element("tr", {}, element("th", { scope: "row" }, status), cell);
  });
  return element("table", { className: "answers-table" }, element("tbody", {}, ...rows));
}

/** What an answer looks like, the first time; where that says nothing, its type. */
function shape(api, type, { schema, example }, seen) {
  const value = type.endsWith("json") ? (example ?? exampleOf(api, schema)) : {};
  const text = JSON.stringify(value, null, 2);
  if (text === "{}") return faint(` (${type})`);
  if (seen.has(text)) return "";
  seen.add(text);
  return element("pre", { tabIndex: 0 }, text);
}

const faint = (text = "") => element("span", { className: "faint" }, text);

/** Open the route that the address names, else the first. */
function openAddressed() {
  const addressed = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const made = addressed ?? document.querySelector(".operation");
  if (made) made.open = true;
  addressed?.scrollIntoView();
}

addEventListener("hashchange", openAddressed);
find("problem").querySelector("button").addEventListener("click", () => {
  mayAskAgain();
  load();
});
load();
