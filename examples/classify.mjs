// Classify pictures in one request: node classify.mjs http://127.0.0.1:3000 PICTURE...
// Needs Node 18 or newer. For a server that asks for a key, put it in ANTBEE_API_KEY.

import { readFile } from "node:fs/promises";
import { basename } from "node:path";

// Return an answer for each picture, in order: a prediction, or { error: … }. A browser can use
// this as it is, with the files of an <input type="file" multiple>.
async function classify(url, files, key) {
  const form = new FormData();
  for (const file of files) form.append("image", file, file.name);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch(`${url}/v1/predict`, { method: "POST", body: form, headers });
  const content = await response.json();
  if (!response.ok) throw new Error(`${content.error.code}: ${content.error.message}`);
  return content.images;
}

const [url, ...paths] = process.argv.slice(2);
const files = await Promise.all(
  paths.map(async (path) => Object.assign(new Blob([await readFile(path)]), { name: basename(path) })),
);
try {
  const answers = await classify(url, files, process.env.ANTBEE_API_KEY);
  answers.forEach(({ label, probability, error }, index) =>
    console.log(files[index].name, label ?? "-", error ?? probability),
  );
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
