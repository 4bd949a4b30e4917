// CryptoKey: what may be done with a key is visible, the key itself is not.
import { named } from "../named.js";

const KEY = Symbol("construct");

export class CryptoKey {
  #type;
  #extractable;
  #algorithm;
  #usages;
  #material;

  constructor(key, type, extractable, algorithm, usages, material) {
    if (key !== KEY) throw new TypeError("Illegal constructor: CryptoKey");
    this.#type = type;
    this.#extractable = extractable;
    this.#algorithm = algorithm;
    this.#usages = usages;
    this.#material = material;
  }
  get type() {
    return this.#type;
  }
  get extractable() {
    return this.#extractable;
  }
  get algorithm() {
    return this.#algorithm;
  }
  get usages() {
    return this.#usages;
  }
  static materialOf(key) {
    return key.#material;
  }
  static isKey(value) {
    return typeof value === "object" && value !== null && #material in value;
  }
}

// Raw bytes of a secret key, DER of the others: base64, as the host takes it.
export const { isKey, materialOf } = CryptoKey;
delete CryptoKey.materialOf;
delete CryptoKey.isKey;
named("CryptoKey", CryptoKey);

const USAGES = ["encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey"];

// In the order of the standard's list, each once.
export const orderedUsages = (usages) => {
  const given = [...usages].map(String);
  const unknown = given.find((usage) => !USAGES.includes(usage));
  if (unknown !== undefined) throw new TypeError(`'${unknown}' is no key usage`);
  return USAGES.filter((usage) => given.includes(usage));
};

export const newKey = (type, extractable, algorithm, usages, material) => {
  if (usages.length === 0 && type !== "public") fail("SyntaxError", "Usages cannot be empty when creating a key.");
  return new CryptoKey(KEY, type, extractable, algorithm, usages, material);
};

export const fail = (name, message) => {
  throw new DOMException(message, name);
};
