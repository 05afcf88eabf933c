/** The server's key: asked for once, kept for this tab until it is closed. */

import { element } from "./element.js";

const PLACE = "antbee-key";
let asking = null;
let declined = false;

/** The key to send, or null. */
export const savedKey = () => sessionStorage.getItem(PLACE);

/** Somebody acts: whoever said no before may be asked again. */
export const mayAskAgain = () => (declined = false);

/**
 * Ask for a key, unless another request just did.
 * @param {string|null} refused the key that the server did not take
 * @returns {Promise<boolean>} whether there is another one to try
 */
export async function anotherKey(refused) {
  if (savedKey() !== refused) return true;
  if (declined) return false;
  asking ??= askInDialog(refused !== null).finally(() => (asking = null));
  const key = await asking;
  if (key === null) declined = true;
  else sessionStorage.setItem(PLACE, key);
  return key !== null;
}

function askInDialog(again) {
  const { dialog, form, input } = buildDialog(again);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close(input.value.trim());
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
  });
}

function buildDialog(again) {
  const input = element("input", {
    id: "key", type: "password", required: true, autocomplete: "off",
    // What an HTTP header can carry.
    pattern: "\\s*[\\x21-\\x7e]+\\s*", title: "letters, digits and signs, without spaces",
    "aria-describedby": "key-note",
  });
  const note = again
    ? "The server did not accept that key. Try another one."
    : "Whoever runs it can give you one. This tab keeps it until you close it.";
  const use = element("button", { className: "primary" }, "Use this key");
  const cancel = element("button", { type: "button" }, "Not now");
  const form = element("form", {},
    element("h2", { id: "key-title" }, "This server asks for a key"),
    element("p", { id: "key-note", className: again ? "problem" : "" }, note),
    element("label", { for: "key" }, "Key"), input,
    element("div", { className: "row" }, use, cancel));
  const dialog = element("dialog", { "aria-labelledby": "key-title" }, form);
  cancel.addEventListener("click", () => dialog.close());
  return { dialog, form, input };
}
