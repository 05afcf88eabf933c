/** One picture: what it shows, how sure the network is, and where it looked. */

import { ask, inTurn, isCalledOff } from "./api.js";
import { curl } from "./curl.js";
import { element, makeCopy } from "./element.js";
import { mayAskAgain } from "./key.js";
import { duration, fileSize, noneOf, percent } from "./words.js";

const FEW = 5;
const TEMPLATE = document.getElementById("card");

/** How many bars a card shows at first: one more is no reason for a button. */
const barsShown = (labels) => (labels <= FEW + 1 ? labels : FEW);

export class Card {
  #file;
  #node;
  #news;
  #maps = new Map();
  #gone = new AbortController();
  #picture;
  #answer = null;
  #telling = false;

  /**
   * @param {File} file a picture, sent as it is: resized here, another picture would be judged
   * @param {number} labels how many there are, so that the answer finds its place kept
   * @param {(text: string) => void} news told to people who cannot see the card
   */
  constructor(file, labels, news) {
    this.#file = file;
    this.#news = news;
    this.#node = TEMPLATE.content.firstElementChild.cloneNode(true);
    this.#picture = URL.createObjectURL(file);
    this.#describe();
    this.#listen();
    this.#reserve(labels);
  }

  get node() {
    return this.#node;
  }

  /** The picture's name with what the API answered or the code of its refusal; null before that. */
  get answer() {
    return this.#answer && { name: this.#file.name, ...this.#answer };
  }

  /** Classify the picture when its turn comes. */
  async classify() {
    this.#answer = null;
    this.#setState("waiting", "Waiting…");
    try {
      await inTurn(() => this.#ask());
    } catch (error) {
      if (!isCalledOff(error)) this.#fail(error);
    }
  }

  /** Take the card away and call off what it still waits for. */
  remove() {
    this.#gone.abort();
    URL.revokeObjectURL(this.#picture);
    for (const map of this.#maps.values()) map.then(URL.revokeObjectURL, () => {});
    this.#node.remove();
  }

  #find = (selector) => this.#node.querySelector(selector);

  #describe() {
    const name = this.#file.name;
    this.#find(".name").textContent = name;
    this.#find(".size").textContent = fileSize(this.#file.size);
    this.#find(".picture").src = this.#picture;
    this.#find(".picture").alt = name;
    this.#find(".remove").append("Remove", element("span", { className: "unseen" }, ` ${name}`));
  }

  #listen() {
    this.#find(".picture").addEventListener("error", () => this.#node.classList.add("blank"));
    this.#find(".remove").addEventListener("click", () => this.#leave());
    this.#find(".retry").addEventListener("click", () => this.#retry());
    this.#find(".all").addEventListener("click", () => this.#toggleAll());
    this.#find(".heat").addEventListener("click", () => this.#toggleMap());
    this.#find("select").addEventListener("change", () => this.#showMap());
    makeCopy(this.#find(".copy"), () => this.#find("code").textContent);
  }

  /** Put up empty bars, so that nothing moves when the answer comes. */
  #reserve(labels) {
    const empty = Array.from({ length: labels }, () => bar(["", 0]));
    for (const one of empty) one.setAttribute("aria-hidden", "true");
    this.#setBars(empty);
    this.#find(".all").disabled = true;
  }

  async #ask() {
    this.#gone.signal.throwIfAborted();
    this.#setState("asking", "Looking…");
    const sent = performance.now();
    const wait = (seconds) => this.#setState("asking", `Busy; again in ${seconds} s…`);
    const options = { method: "POST", body: this.#file, signal: this.#gone.signal };
    const answer = await ask("predict", options, wait);
    this.#show(await answer.json(), performance.now() - sent);
    this.#offerLabels(answer.headers.get("X-Request-ID"));
  }

  #show({ label, probability, probabilities, known, typicality }, milliseconds) {
    this.#answer = { label, probability, probabilities, known, typicality };
    const ranked = Object.entries(probabilities).sort((one, other) => other[1] - one[1]);
    const unknown = known === false;
    const verdict = unknown ? noneOf(Object.keys(probabilities)) : label;
    const share = unknown ? `closest: ${label}` : percent(probability);
    this.#setState("done", verdict, share);
    this.#node.classList.toggle("unknown", unknown);
    this.#find(".took").textContent = `answered in ${duration(milliseconds)}`;
    this.#setBars(ranked.map(bar));
    this.#find("select").replaceChildren(...ranked.map(([name]) => element("option", {}, name)));
    for (const control of [".heat", "select", ".all"]) this.#find(control).disabled = false;
    this.#news(`${this.#file.name}: ${verdict}, ${share}`);
  }

  /** Put up what else the picture may show; the page shows it where the server takes feedback. */
  #offerLabels(id) {
    const { label, probabilities, known } = this.#answer;
    const others = Object.keys(probabilities).filter((one) => known === false || one !== label);
    const choices = others.map((one) => choice(one, () => this.#correct(id, one)));
    if (known !== false) choices.push(choice("None of these", () => this.#correct(id, null)));
    this.#find(".choices").replaceChildren(...choices);
  }

  async #correct(id, label) {
    mayAskAgain();
    if (this.#telling) return;
    this.#telling = true;
    this.#find(".reason").textContent = "";
    const headers = { "Content-Type": "application/json" };
    const options = { method: "POST", headers, body: JSON.stringify({ id, label }) };
    try {
      await ask("feedback", { ...options, signal: this.#gone.signal });
      this.#thank();
    } catch (error) {
      if (!isCalledOff(error)) this.#find(".reason").textContent = error.message;
    } finally {
      this.#telling = false;
    }
  }

  #thank() {
    this.#find(".wrong").remove(); // each answer counts once
    this.#find(".thanks").hidden = false;
    this.#find(".thanks").focus(); // the button that had it is gone; and it is read out
  }

  #setState(state, text, share = "") {
    this.#node.dataset.state = state;
    this.#node.setAttribute("aria-busy", state === "waiting" || state === "asking");
    this.#find(".label").textContent = text;
    this.#find(".percent").textContent = share;
    this.#find(".problem").hidden = state !== "failed";
    this.#find(".chart").hidden = state === "failed";
    this.#find(".retry").hidden = state !== "failed";
    // Anew each time: by now the server may have asked for a key.
    this.#find("code").textContent = curl("predict", "--data-binary", `@${this.#file.name}`);
  }

  #fail({ message, code }) {
    this.#answer = { code };
    this.#setState("failed", "No answer");
    this.#find(".problem").textContent = message;
    this.#news(`${this.#file.name}: ${message}`);
  }

  #retry() {
    mayAskAgain();
    this.#find(".remove").focus(); // the button that has the focus is about to go
    this.classify();
  }

  #leave() {
    const next = this.#node.nextElementSibling ?? this.#node.previousElementSibling;
    const { name } = this.#file;
    this.#node.dispatchEvent(new CustomEvent("leave", { bubbles: true, detail: this }));
    (next?.querySelector(".remove") ?? document.getElementById("choose")).focus();
    this.#news(`${name} removed`);
  }

  #toggleAll() {
    const button = this.#find(".all");
    const total = this.#find(".bars").children.length;
    this.#showBars(button.getAttribute("aria-expanded") === "true" ? barsShown(total) : total);
  }

  #setBars(bars) {
    this.#find(".bars").replaceChildren(...bars);
    this.#find(".all").hidden = barsShown(bars.length) === bars.length;
    this.#showBars(barsShown(bars.length));
  }

  #showBars(count) {
    const bars = [...this.#find(".bars").children];
    bars.forEach((one, index) => (one.hidden = index >= count));
    const all = this.#find(".all");
    all.setAttribute("aria-expanded", count === bars.length);
    all.textContent = count === bars.length ? "Show the likeliest" : `Show all ${bars.length}`;
  }

  #toggleMap() {
    const pressed = this.#find(".heat").getAttribute("aria-pressed") === "true";
    if (pressed) this.#hideMap();
    else this.#showMap();
  }

  #hideMap(caption = "") {
    this.#find(".heat").setAttribute("aria-pressed", "false");
    this.#find(".map").hidden = true;
    this.#find("figcaption").textContent = caption;
  }

  async #showMap() {
    mayAskAgain();
    const label = this.#find("select").value;
    this.#find(".heat").setAttribute("aria-pressed", "true");
    this.#find("figcaption").textContent = `Drawing what speaks for ${label}…`;
    try {
      const address = await this.#mapOf(label);
      if (this.#awaits(label)) this.#layMap(address, label);
    } catch (error) {
      if (this.#awaits(label) && !isCalledOff(error)) this.#missMap(error);
    }
  }

  /** Whether the map of this label is still the one to show: answers may overtake each other. */
  #awaits(label) {
    const shown = this.#find(".heat").getAttribute("aria-pressed") === "true";
    return shown && this.#find("select").value === label;
  }

  /** The address of a label's map, asked for once; a failure is forgotten. */
  #mapOf(label) {
    if (!this.#maps.has(label)) {
      const map = inTurn(() => this.#askMap(label), true);
      map.catch(() => this.#maps.delete(label));
      this.#maps.set(label, map);
    }
    return this.#maps.get(label);
  }

  async #askMap(label) {
    const options = { method: "POST", body: this.#file, signal: this.#gone.signal };
    const answer = await ask(`explain?${new URLSearchParams({ label })}`, options);
    return URL.createObjectURL(await answer.blob());
  }

  #layMap(address, label) {
    const map = this.#find(".map");
    map.src = address;
    map.alt = `${this.#file.name} with what speaks for ${label} marked`;
    map.hidden = false;
    this.#find("figcaption").textContent = `What speaks for ${label}`;
    this.#news(`Heat map of ${this.#file.name} for ${label} shown`);
  }

  #missMap({ message }) {
    this.#hideMap(message);
    this.#news(message);
  }
}

function choice(text, choose) {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", choose);
  return button;
}

function bar([label, share], index) {
  const track = element("span", { className: "track", "aria-hidden": "true" }, element("span"));
  // Through the object model: the page's policy forbids style attributes.
  track.firstElementChild.style.setProperty("--share", share);
  const name = element("span", { className: "label", title: label }, label);
  const number = element("span", { className: "share" }, label && percent(share));
  const className = index === 0 ? "bar best" : "bar";
  return element("li", { className }, name, " ", track, " ", number);
}
