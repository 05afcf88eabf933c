/** Numbers and lists as a person reads them. */

const percentFormat = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const numberFormat = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A probability; one that is not quite 0 or 1 never reads as if it were. */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1%";
  if (share < 1 && share > 0.999) return "> 99.9%";
  return percentFormat.format(share);
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.max(1, Math.round(milliseconds))} ms`;
  return `${numberFormat.format(milliseconds / 1000)} s`;
}

export function fileSize(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${numberFormat.format(bytes / 1000)} kB`;
  return `${numberFormat.format(bytes / 1_000_000)} MB`;
}

/** That a picture shows none of the labels, of which there may be any number. */
export function noneOf(labels) {
  if (labels.length === 2) return `Neither ${labels[0]} nor ${labels[1]}, it seems`;
  return `None of ${list(labels, "conjunction", 5)}, it seems`;
}

/** "ant and bee" (conjunction), "ant or bee" (disjunction); of many the first and a count. */
export function list(labels, type, most = 12) {
  const named = labels.length > most ? labels.slice(0, most - 2) : labels;
  const rest = labels.length - named.length;
  return new Intl.ListFormat("en", { type }).format(rest > 0 ? [...named, `${rest} more`] : named);
}
