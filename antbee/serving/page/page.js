/** The page: takes pictures in, however they come, and says which model answers. */

import { ask } from "./api.js";
import { Card } from "./card.js";
import { toCsv } from "./csv.js";
import { element } from "./element.js";
import { mayAskAgain } from "./key.js";
import { list, percent } from "./words.js";

const LONGEST_QUESTION = 24;
const NEWS_KEPT = 20;
const TELLS = ". It notices most pictures of other things, but calls what looks alike one of them.";

const find = (id) => document.getElementById(id);
const cards = new Set();
let labelCount = 2;

/** Tell people who cannot see the page. */
function tell(text) {
  find("news").append(element("p", {}, text));
  if (find("news").children.length > NEWS_KEPT) find("news").firstElementChild.remove();
}

function add(files) {
  const added = [...files].map((file) => new Card(file, labelCount, tell));
  if (added.length === 0) return;
  mayAskAgain();
  for (const card of added) cards.add(card);
  find("cards").prepend(...added.map((card) => card.node));
  showWhetherAny();
  added[0].node.scrollIntoView({ block: "nearest" });
  for (const card of added) card.classify();
}

function remove(card) {
  cards.delete(card);
  card.remove();
  showWhetherAny();
}

function removeAll() {
  for (const card of [...cards]) remove(card);
  find("choose").focus();
  tell("All pictures removed");
}

/** Save what has been answered so far as a file. */
function save() {
  const answers = [...cards].map((card) => card.answer).filter((answer) => answer !== null);
  // Spreadsheets know UTF-8 by the mark at its beginning.
  const file = new Blob(["\ufeff", toCsv(answers)], { type: "text/csv" });
  const address = URL.createObjectURL(file);
  element("a", { href: address, download: "answers.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // once the browser has read it
  tell(`${answers.length} of ${cards.size} pictures saved as answers.csv`);
}

function showWhetherAny() {
  find("answers").hidden = cards.size === 0;
  document.body.classList.toggle("busy", cards.size > 0);
}

/** A button that opens a file field; the field is emptied, so that the same file may come again. */
function connect(button, field) {
  button.addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    add(field.files);
    field.value = "";
  });
}

function acceptDrops() {
  let depth = 0; // entering a child comes before leaving its parent
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    find("drop").classList.toggle("over", depth > 0);
  };
  const takesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const on = (name, react) =>
    addEventListener(name, (event) => {
      if (!takesFiles(event)) return;
      event.preventDefault(); // or the browser leaves the page and shows the file
      react(event);
    });
  on("dragenter", () => mark(1));
  on("dragleave", () => mark(-1));
  on("dragover", (event) => (event.dataTransfer.dropEffect = "copy"));
  on("drop", (event) => {
    mark(-depth);
    add(event.dataTransfer.files);
  });
}

function acceptPastes() {
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    add(event.clipboardData.files);
  });
}

async function loadModel() {
  find("model-problem").hidden = true;
  try {
    showModel(await (await ask("model")).json());
  } catch (error) {
    find("model-problem").hidden = false;
    find("model-problem").firstElementChild.textContent = error.message;
  }
}

function showModel({ model, arch, runtime, labels, metrics, gate, provenance, typicality, feedback }) {
  labelCount = labels.length;
  document.body.classList.toggle("corrected", feedback === true);
  const [name, version] = model.split(":");
  find("model-name").replaceChildren(`${name}:`, element("wbr"), version);
  find("model-network").textContent = `${arch}, runtime ${runtime}`;
  find("model-data").textContent = provenance.data?.source ?? "not recorded";
  find("model-accuracy").textContent = accuracy(runtime, metrics, gate);
  if (metrics.test) showTest(runtime, metrics.test);
  find("model-labels").textContent = list(labels, "conjunction");
  // Older models say nothing of it.
  if (typicality?.reason === null) find("model-others").textContent = TELLS;
  find("model-facts").classList.remove("pending");
  const question = `${list(labels, "disjunction")}?`;
  if (question.length <= LONGEST_QUESTION) find("question").textContent = capitalised(question);
}

/** By the network that answers here, if packing asked it; else by the trained one. */
function showTest(runtime, { pictures, correct, by_runtime: by }) {
  const dd = find("model-test");
  dd.textContent = right(by?.[runtime] ?? correct, pictures);
  dd.hidden = dd.previousElementSibling.hidden = false;
}

/** Of the network that answers here, if packing could measure it; else of the trained one. */
function accuracy(runtime, metrics, gate) {
  const row = gate.rows?.find((one) => one.runtime === runtime);
  if (gate.inputs?.startsWith("validation pictures") && row) {
    return right(row.correct, row.pictures);
  }
  return metrics.val_top1 === undefined ? "not measured" : `${percent(metrics.val_top1)} right`;
}

const right = (count, pictures) =>
  `${percent(count / pictures)} right (${count} of ${pictures} pictures)`;

const capitalised = (text) => text[0].toLocaleUpperCase() + text.slice(1);

connect(find("choose"), find("files"));
connect(find("photograph"), find("camera"));
acceptDrops();
acceptPastes();
find("save").addEventListener("click", save);
find("clear").addEventListener("click", removeAll);
find("cards").addEventListener("leave", (event) => remove(event.detail));
find("model-problem").querySelector("button").addEventListener("click", () => {
  mayAskAgain();
  loadModel();
});
loadModel();
