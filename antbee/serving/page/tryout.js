/** One route's form: fill in, send, see the answer and the curl line. */

import { send } from "./api.js";
import { curl } from "./curl.js";
import { element, makeCopy } from "./element.js";
import { drawPicture, exampleOf, resolve } from "./example.js";
import { mayAskAgain } from "./key.js";
import { duration, fileSize } from "./words.js";

const LONGEST_TEXT = 20_000;
const LONGEST_DATA = 2_000;
let fields = 0;

export class TryOut {
  #api;
  #path;
  #method;
  #parameters;
  #bodies;
  #editor = null;
  #place = element("div", { className: "fields" });
  #result = element("div", { className: "result", role: "status" });

  constructor(api, path, method, about) {
    this.#api = api;
    this.#path = path.slice(1);
    this.#method = method.toUpperCase();
    this.#parameters = (about.parameters ?? []).map((one) => parameterField(resolve(api, one)));
    this.#bodies = resolve(api, about.requestBody).content ?? {};
  }

  /** Build the form. */
  build() {
    const button = element("button", { className: "primary" }, "Send");
    const parts = [...this.#parameters.map((one) => one.node), ...this.#bodyParts()];
    const form = element("form", { className: "try" }, ...parts, element("div", {}, button));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send().catch(({ message }) => this.#result.replaceChildren(problem(message)));
    });
    return element("div", {}, form, this.#result);
  }

  #bodyParts() {
    const types = Object.keys(this.#bodies);
    if (types.length === 0) return [];
    const select = element("select", {}, ...types.map((type) => element("option", {}, type)));
    select.addEventListener("change", () => this.#edit(select.value));
    this.#edit(types[0]);
    return [labelled("Content-Type", select), this.#place];
  }

  #edit(type) {
    const schema = resolve(this.#api, this.#bodies[type].schema);
    if (type === "multipart/form-data") this.#editor = formEditor(this.#api, schema);
    else if (/(json|urlencoded)$/.test(type)) {
      this.#editor = textEditor(this.#api, type, this.#bodies[type]);
    }
    else this.#editor = fileEditor(type);
    this.#place.replaceChildren(this.#editor.node);
  }

  async #send() {
    mayAskAgain();
    const { body, headers = {}, options = [] } = this.#editor?.read() ?? {};
    const query = new URLSearchParams();
    for (const { where, name, input } of this.#parameters) {
      if (input.value !== "" && where === "query") query.set(name, input.value);
      else if (input.value !== "" && where === "header") headers[name] = input.value;
    }
    const path = query.size > 0 ? `${this.#path}?${query}` : this.#path;
    const sent = performance.now();
    const answer = await send(path, { method: this.#method, body, headers });
    await this.#show(answer, performance.now() - sent, [path, ...options]);
  }

  async #show(answer, milliseconds, [path, ...options]) {
    const content = await answer.blob();
    const type = content.type.split(";")[0];
    const output = type.startsWith("image/") ? ["--output", "answer.png"] : [];
    const line = curl(path, ...options, ...output);
    const status = `${answer.status} ${answer.statusText}`.trim();
    const facts = [status, type, fileSize(content.size), duration(milliseconds)].join(" · ");
    this.#result.replaceChildren(element("p", {}, facts), await shown(content, type), curlLine(line));
  }
}

function parameterField(parameter) {
  const { enum: choices } = parameter.schema ?? {};
  const input = choices
    ? element("select", {}, ...["", ...choices].map((choice) => element("option", {}, choice)))
    : element("input", { type: "text" });
  input.required = parameter.required ?? false;
  const text = `${parameter.name} (${parameter.in}${parameter.required ? "" : ", optional"})`;
  const node = labelled(text, input, parameter.description);
  return { where: parameter.in, name: parameter.name, input, node };
}

function fileEditor(type) {
  const { node, files } = fileField("A picture", false, type);
  const read = () => {
    const [file] = files();
    const options = ["--data-binary", `@${file.name}`, "-H", `Content-Type: ${type}`];
    return { body: file, headers: { "Content-Type": type }, options };
  };
  return { node, read };
}

function formEditor(api, schema) {
  const [name, property] = Object.entries(schema.properties ?? {})[0] ?? ["image", {}];
  const several = resolve(api, property).type === "array";
  const { node, files } = fileField(several ? "Pictures" : "A picture", several);
  const read = () => {
    const body = new FormData();
    const chosen = files();
    for (const file of chosen) body.append(name, file);
    return { body, options: chosen.flatMap((file) => ["-F", `${name}=@${file.name}`]) };
  };
  return { node, read };
}

function textEditor(api, type, { schema, example, examples }) {
  const said =
    example ?? resolve(api, Object.values(examples ?? {})[0]).value ?? exampleOf(api, schema);
  const json = type.endsWith("json");
  const value = json ? JSON.stringify(said, null, 2) : String(new URLSearchParams(said));
  const input = element("textarea", { value, spellcheck: false });
  const read = () => {
    // A shell's command line has an end; a picture in base64 is soon longer.
    const file = json ? "@body.json" : "@body.txt";
    const given = input.value.length > LONGEST_DATA ? file : input.value;
    const options = ["-H", `Content-Type: ${type}`, "-d", given];
    return { body: input.value, headers: { "Content-Type": type }, options };
  };
  return { node: labelled("Body", input), read };
}

/** A field for files, which draws a picture where none is chosen. */
function fileField(text, several, type) {
  const input = element("input", { type: "file", multiple: several });
  const files = () => (input.files.length > 0 ? [...input.files] : [drawPicture(type)]);
  return { node: labelled(text, input, "None chosen: a small drawn one is sent."), files };
}

function labelled(text, input, note = "") {
  input.id = `field-${++fields}`;
  const parts = [element("label", { for: input.id }, text), input];
  if (note) {
    input.setAttribute("aria-describedby", `${input.id}-note`);
    parts.push(element("p", { className: "faint", id: `${input.id}-note` }, note));
  }
  return element("div", { className: "fields" }, ...parts);
}

async function shown(content, type) {
  if (type.startsWith("image/")) {
    const src = URL.createObjectURL(content);
    const picture = element("img", { src, alt: "The picture that was answered" });
    picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
    return picture;
  }
  const text = await content.text();
  const pretty = type.endsWith("json") ? JSON.stringify(JSON.parse(text), null, 2) : text;
  const cut = pretty.length > LONGEST_TEXT ? `${pretty.slice(0, LONGEST_TEXT)}\n…` : pretty;
  return element("pre", { tabIndex: 0 }, cut);
}

function curlLine(line) {
  const button = element("button", { type: "button" }, "Copy");
  makeCopy(button, () => line);
  const text = element("pre", { tabIndex: 0 }, element("code", {}, line));
  return element("div", { className: "curl" }, text, button);
}

const problem = (message) => element("p", { className: "problem" }, message);
