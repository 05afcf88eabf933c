/** Writes answers as CSV: the table that the server writes for many pictures. */

const COLUMNS = ["name", "label", "probability"];
const FORMULA = /^(?=\s*[=+@\uff1d\uff0b\uff0d\uff20-]|[\t\r\n])|(?<=[;\t\r\n])(?=[^\S\t\r\n]*[=+@-])/g;

/**
 * Write a line for each answer.
 * @param {{name: string, label?: string, probability?: number, probabilities?: object,
 *   known?: boolean, typicality?: number, code?: string}[]} answers
 */
export function toCsv(answers) {
  const labels = [...new Set(answers.flatMap(({ probabilities }) => Object.keys(probabilities ?? {})))];
  const judged = answers.some(({ known }) => known !== undefined) ? ["known", "typicality"] : [];
  const head = [...COLUMNS, ...labels.map((label) => `probability_${label}`), ...judged, "error"];
  const rows = answers.map((answer) => {
    const { name, label, probability, probabilities, code } = answer;
    const shares = labels.map((one) => probabilities?.[one]);
    return [name, label, probability, ...shares, ...judged.map((one) => answer[one]), code];
  });
  return [head, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function cell(value = "") {
  if (typeof value === "number") return String(value);
  const text = String(value).replace(FORMULA, "'"); // a spreadsheet runs what begins like a formula
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
