/** The command line that sends the same request. */

import { addressOf } from "./api.js";
import { savedKey } from "./key.js";

/**
 * Write a curl command for a POSIX shell.
 * @param {string} path of the route, without a leading slash
 * @param {string[]} options each one word, unquoted
 */
export function curl(path, ...options) {
  const words = ["curl", ...options.map(quote)];
  // Never the key itself: command lines are copied into chats and kept in histories.
  if (savedKey() !== null) words.push("-H", '"Authorization: Bearer $ANTBEE_API_KEY"');
  return [...words, quote(addressOf(path))].join(" ");
}

function quote(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
