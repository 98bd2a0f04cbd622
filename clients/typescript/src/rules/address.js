// Base URLs, paths, queries and keys of calls. The signed URL must be the sent URL, so this client parses URLs itself:
// platforms resolve dot segments and rewrite hosts, each in another way.

const URL_SHAPE = /^(https?):\/\/(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?(\/[^?#]*)?$/i;
const PATH_SHAPE = /^\/(?:[\w.~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*$/i;
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];
const LABELS = /^(?!-)[a-z0-9_-]+(?<!-)(?:\.(?!-)[a-z0-9_-]+(?<!-))*$/;
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?=\d)|$)){4}$/;

/**
 * @typedef {object} Base
 * @property {string} origin `https://host[:port]`, as it is sent
 * @property {string} authority the host and the port, if it is not the default of the scheme
 * @property {string} prefix the path of the base URL, without trailing slashes
 */

/**
 * Read a base URL, or throw `TypeError`: it is an error of the program.
 * @param {string} url @param {boolean} plainHttp accept `http` to any host, for an emulator
 * @returns {Base}
 */
export function readBaseUrl(url, plainHttp = false) {
  const [, given = "", name = "", digits, path = ""] = URL_SHAPE.exec(url) ?? [];
  const scheme = given.toLowerCase();
  const host = name.toLowerCase();
  const port = digits === undefined ? null : Number(digits);
  if (!scheme || !isHost(host) || (port !== null && (port < 1 || port > 65535)))
    throw new TypeError("baseUrl must be https://host[:port][/path], the host in ASCII and canonical.");
  if (scheme === "http" && !plainHttp && !LOCAL.includes(host))
    throw new TypeError("baseUrl must be https. Plain http is for localhost, or for an emulator with `plainHttp`.");
  const prefix = path.replace(/\/+$/, "");
  if (prefix) checkPath(prefix);
  const authority = port === null || port === (scheme === "https" ? 443 : 80) ? host : `${host}:${port}`;
  return { origin: `${scheme}://${authority}`, authority, prefix };
}

/** @param {string} host */
function isHost(host) {
  if (host.startsWith("[")) return host.slice(1, -1) === canonicalIpv6(host.slice(1, -1));
  if (/(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/.test(host)) return IPV4.test(host); // Platforms read this as IPv4.
  return host.length <= 253 && LABELS.test(host);
}

/** Return the canonical form of an IPv6 address (RFC 5952), or null. @param {string} address */
function canonicalIpv6(address) {
  const halves = address.split("::");
  const groups = halves.map((half) => (half ? half.split(":") : []));
  const count = groups.flat().length;
  if (halves.length > 2 || (halves.length === 2 ? count > 7 : count !== 8)) return null;
  if (!groups.flat().every((group) => /^[0-9a-f]{1,4}$/.test(group))) return null;
  const [head = [], tail = []] = groups;
  const all = [...head, ...Array(8 - count).fill("0"), ...tail].map((group) => parseInt(group, 16).toString(16));
  const zeros = [...all.join(":").matchAll(/\b0(?::0)+\b/g)].map((found) => found[0]);
  const longest = zeros.reduce((best, run) => (run.length > best.length ? run : best), "");
  return longest ? all.join(":").replace(new RegExp(`(^|:)${longest}(:|$)`), "::").replace(/:::+/, "::") : all.join(":");
}

/** Check the path of a call: RFC 3986, without dot segments, which platforms resolve. @param {string} path */
export function checkPath(path) {
  const dots = path.split("/").some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment));
  if (!PATH_SHAPE.test(path) || dots)
    throw new TypeError("A path begins with /, is percent-encoded, and has no dot segments. Use `query` for the query.");
}

/** Encode a name or value of the query as RFC 9421 section 2.2.8 signs it. @param {string} text */
export const percentEncoded = (text) =>
  encodeURIComponent(text).replace(/[!'()~]/g, (character) => "%" + character.charCodeAt(0).toString(16).toUpperCase());

/** @param {Readonly<Record<string, string>> | undefined} query */
export const encodeQuery = (query) =>
  Object.entries(query ?? {}).map(([name, value]) => `${percentEncoded(name)}=${percentEncoded(value)}`).join("&");

/** Write an Idempotency-Key as a String (RFC 8941), or throw `TypeError`. @param {string} key */
export function quotedKey(key) {
  if (!/^[!#-[\]-~]{16,128}$/.test(key))
    throw new TypeError("An idempotency key has 16 to 128 visible ASCII characters, without quotes and backslashes.");
  return `"${key}"`;
}
