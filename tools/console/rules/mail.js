// Links and codes in the text of a mail. Pure functions.

/** Parts of a text: `{kind: "text" | "link" | "code", text}`. Only http and https are links. */
export function parts(text) {
  const found = [];
  let rest = 0;
  for (const match of text.matchAll(/https?:\/\/[^\s<>"']+|(?<![\w-])(?:\d{4} \d{4}|\d{6,8})(?![\w-])/g)) {
    if (match.index > rest) found.push({ kind: "text", text: text.slice(rest, match.index) });
    found.push({ kind: match[0].startsWith("http") ? "link" : "code", text: match[0] });
    rest = match.index + match[0].length;
  }
  if (rest < text.length) found.push({ kind: "text", text: text.slice(rest) });
  return found;
}
