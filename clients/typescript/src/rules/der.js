// A signature of ECDSA P-256: from DER, which phones return, to the 64 bytes of RFC 9421.

/** Convert, or throw: tags, short lengths and minimal positive integers only. @param {Uint8Array} der */
export function rawSignature(der) {
  if (der.length < 8 || der[0] !== 0x30 || der[1] !== der.length - 2) throw new TypeError("not a DER signature");
  const raw = new Uint8Array(64);
  let at = 2;
  for (const end of [32, 64]) {
    const length = der[at + 1] ?? 0;
    const value = der.subarray(at + 2, at + 2 + length);
    const [first = 0x80, second = 0] = value;
    const padded = first === 0;
    const right = der[at] === 2 && length > 0 && value.length === length && first < 0x80 && (!padded || second >= 0x80);
    const digits = padded ? value.subarray(1) : value;
    if (!right || digits.length > 32) throw new TypeError("not a DER signature of P-256");
    raw.set(digits, end - digits.length);
    at += 2 + length;
  }
  if (at !== der.length) throw new TypeError("bytes after a DER signature");
  return raw;
}
