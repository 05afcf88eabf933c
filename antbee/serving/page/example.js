/** Examples to send and to read: a drawn picture, and JSON made from a schema. */

/**
 * Draw a small picture, for whoever has none at hand.
 * @param {string} type of the file; the browser falls back on PNG
 */
export function drawPicture(type) {
  // At once, where `toBlob` waits until the browser is idle.
  const [head, data] = paint().toDataURL(type).split(",");
  const drawn = head.match(/:(.+);/)[1];
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return new File([bytes], `picture.${drawn.split("/")[1]}`, { type: drawn });
}

function paint() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  const pen = canvas.getContext("2d");
  const blob = (colour, ...oval) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.ellipse(...oval, 0, 0, 2 * Math.PI);
    pen.fill();
  };
  pen.fillStyle = "#8fae5f";
  pen.fillRect(0, 0, 64, 48);
  blob("#e2a72e", 27, 25, 15, 10);
  blob("#3a2c1c", 44, 25, 6, 6);
  return canvas;
}

/** Follow a reference inside an OpenAPI document. */
export function resolve(api, node) {
  if (!node?.$ref) return node ?? {};
  const steps = node.$ref.replace(/^#\//, "").split("/");
  return resolve(api, steps.reduce((place, step) => place[step], api));
}

/** Make a value that a schema of an OpenAPI document allows. */
export function exampleOf(api, node) {
  const schema = resolve(api, node);
  const follow = (inner) => exampleOf(api, inner);
  const said = schema.example ?? schema.default ?? schema.enum?.[0];
  if (said !== undefined) return said;
  if (schema.oneOf) return follow(schema.oneOf[0]);
  if (schema.type === "array") return [follow(schema.items)];
  if (schema.type === "object") {
    const fields = Object.entries(schema.properties ?? {});
    return Object.fromEntries(fields.map(([name, inner]) => [name, follow(inner)]));
  }
  return { string: "…", integer: 1, number: 0.5, boolean: true }[schema.type] ?? {};
}
