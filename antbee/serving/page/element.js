/** Builds elements. Text is always text: nothing that a server or a file says becomes markup. */

/**
 * Make an element.
 * @param {string} tag its name
 * @param {object} properties of the element; a name with a hyphen, `for` and `role` are attributes
 * @param {...(Node|string)} children strings become text
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "for" || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** A button that copies what `text()` returns, and says that it did. */
export function makeCopy(button, text) {
  button.addEventListener("click", async () => {
    const copied = await copy(text());
    button.textContent = copied ? "Copied" : "Failed";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

async function copy(text) {
  // Over plain HTTP, but for localhost, browsers offer no clipboard.
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const before = document.activeElement;
  const field = element("textarea", { value: text, className: "unseen" });
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  before.focus();
  return copied;
}
