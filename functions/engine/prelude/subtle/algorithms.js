// The algorithms by name: which operations each has, which usages its keys may have (spec 03 3.4).
import { fail } from "./key.js";

const BLOCK_BITS = { "SHA-1": 512, "SHA-256": 512, "SHA-384": 1024, "SHA-512": 1024 };
export const HASHES = Object.keys(BLOCK_BITS);

const KEYS = ["importKey", "exportKey", "generateKey"];
const CIPHER = { usages: { secret: ["encrypt", "decrypt", "wrapKey", "unwrapKey"] }, kind: "AES" };
const SIGNATURE = { private: ["sign"], public: ["verify"] };
const AGREEMENT = { private: ["deriveKey", "deriveBits"], public: [] };
const DERIVATION = { secret: ["deriveKey", "deriveBits"] };

export const ALGORITHMS = {
  "SHA-1": { operations: ["digest"] },
  "SHA-256": { operations: ["digest"] },
  "SHA-384": { operations: ["digest"] },
  "SHA-512": { operations: ["digest"] },
  HMAC: { operations: ["sign", "verify", ...KEYS], usages: { secret: ["sign", "verify"] }, kind: "HMAC", jwk: "HS" },
  "AES-CBC": { operations: ["encrypt", "decrypt", ...KEYS], ...CIPHER, jwk: "CBC" },
  "AES-CTR": { operations: ["encrypt", "decrypt", ...KEYS], ...CIPHER, jwk: "CTR" },
  "AES-GCM": { operations: ["encrypt", "decrypt", ...KEYS], ...CIPHER, jwk: "GCM" },
  "AES-KW": { operations: KEYS, kind: "AES", usages: { secret: ["wrapKey", "unwrapKey"] }, jwk: "KW" },
  PBKDF2: { operations: ["deriveBits", "importKey"], usages: DERIVATION, kind: "password" },
  HKDF: { operations: ["deriveBits", "importKey"], usages: DERIVATION, kind: "password" },
  "RSASSA-PKCS1-v1_5": { operations: ["sign", "verify", ...KEYS], usages: SIGNATURE, kind: "RSA", jwk: "RS" },
  "RSA-PSS": { operations: ["sign", "verify", ...KEYS], usages: SIGNATURE, kind: "RSA", jwk: "PS" },
  "RSA-OAEP": {
    operations: ["encrypt", "decrypt", ...KEYS],
    usages: { private: ["decrypt", "unwrapKey"], public: ["encrypt", "wrapKey"] },
    kind: "RSA",
    jwk: "RSA-OAEP",
  },
  ECDSA: { operations: ["sign", "verify", ...KEYS], usages: SIGNATURE, kind: "EC" },
  ECDH: { operations: ["deriveBits", ...KEYS], usages: AGREEMENT, kind: "EC" },
  Ed25519: { operations: ["sign", "verify", ...KEYS], usages: SIGNATURE, kind: "Ed25519" },
  X25519: { operations: ["deriveBits", ...KEYS], usages: AGREEMENT, kind: "X25519" },
};

const BY_LOWER_CASE = new Map(Object.keys(ALGORITHMS).map((name) => [name.toLowerCase(), name]));

// What the caller named, with the name as the standard writes it.
export const normalize = (algorithm, operation) => {
  const given = typeof algorithm === "string" ? { name: algorithm } : algorithm;
  if (typeof given !== "object" || given === null || given.name === undefined) {
    throw new TypeError("the algorithm must be a name or an object with one");
  }
  const name = BY_LOWER_CASE.get(String(given.name).toLowerCase());
  if (name === undefined || !ALGORITHMS[name].operations.includes(operation)) {
    fail("NotSupportedError", `Unrecognized algorithm name for ${operation}: ${given.name}`);
  }
  return { given, name, ...ALGORITHMS[name] };
};

export const hashOf = (given) => {
  if (given.hash === undefined) throw new TypeError("the algorithm needs a hash");
  return normalize(given.hash, "digest").name;
};

export const integer = (given, member, maximum = 0xffffffff) => {
  const value = Number(given[member]);
  if (!(value >= 0 && value <= maximum)) throw new TypeError(`${member} must be a whole number up to ${maximum}`);
  return Math.trunc(value);
};

export const blockBits = (hash) => BLOCK_BITS[hash];

export const aesBits = (given, error) => {
  const length = integer(given, "length", 0xffff);
  if (![128, 192, 256].includes(length)) fail(error, "Invalid key length");
  return length;
};

export const CURVES = ["P-256", "P-384", "P-521"];

export const curveOf = (given) => {
  if (given.namedCurve === undefined) throw new TypeError("the algorithm needs a namedCurve");
  if (!CURVES.includes(given.namedCurve)) fail("NotSupportedError", "Unrecognized namedCurve");
  return given.namedCurve;
};

// The length of a key that `deriveKey` makes; null: all that there is.
export const derivedBits = (given, name) => {
  if (name.startsWith("AES-")) return aesBits(given, "OperationError");
  if (name !== "HMAC") return null;
  if (given.length === undefined) return blockBits(hashOf(given));
  return integer(given, "length") || fail("OperationError", "Zero-length key is not supported");
};
