// What is done with keys: sign, verify, encrypt, decrypt, derive.
import { derivedBits, hashOf, integer, normalize } from "./algorithms.js";
import { base64Of, bytesOf, compute, requireEntropy } from "./host.js";
import { fail, isKey, materialOf } from "./key.js";
import { importKey } from "./keys.js";

// The key must be one of this algorithm, and allow the use.
const usableKey = (key, name, usage) => {
  if (!isKey(key)) throw new TypeError("the key must be a CryptoKey");
  if (key.algorithm.name !== name) fail("InvalidAccessError", "Key algorithm mismatch");
  if (!key.usages.includes(usage)) fail("InvalidAccessError", `Unable to use this key to ${usage}`);
  return materialOf(key);
};

export const digest = (algorithm, data) => {
  const { name } = normalize(algorithm, "digest");
  return compute({ do: "digest", hash: name }, bytesOf(data, "data")).buffer;
};

// --- signatures ----------------------------------------------------------------------------------------------

// The host's names for signing and verifying, and the parameters both need.
const SIGNERS = {
  HMAC: (_given, key) => ["hmac", { hash: key.algorithm.hash.name }],
  "RSASSA-PKCS1-v1_5": (_given, key) => ["rsa", { hash: key.algorithm.hash.name }],
  "RSA-PSS": (given, key) => ["rsa", { hash: key.algorithm.hash.name, saltBytes: integer(given, "saltLength") }],
  ECDSA: (given) => ["ec", { hash: hashOf(given) }],
  Ed25519: () => ["ed", {}],
};
const SIGNS_WITH_ENTROPY = ["ECDSA", "RSA-PSS"];

export const sign = (algorithm, key, data) => {
  const { name, given } = normalize(algorithm, "sign");
  const material = usableKey(key, name, "sign");
  const [family, parameters] = SIGNERS[name](given, key);
  if (SIGNS_WITH_ENTROPY.includes(name)) requireEntropy();
  return compute({ do: `${family}Sign`, key: material, ...parameters }, bytesOf(data, "data")).buffer;
};

export const verify = (algorithm, key, signature, data) => {
  const { name, given } = normalize(algorithm, "verify");
  const material = usableKey(key, name, "verify");
  const [family, parameters] = SIGNERS[name](given, key);
  const request = { do: `${family}Verify`, key: material, signature: base64Of(signature, "signature"), ...parameters };
  return compute(request, bytesOf(data, "data")).length > 0;
};

// --- ciphers -------------------------------------------------------------------------------------------------

const GCM_TAG_BITS = [32, 64, 96, 104, 112, 120, 128];

const CIPHERS = {
  "AES-CBC": (given) => {
    const iv = bytesOf(given.iv, "iv");
    if (iv.length !== 16) fail("OperationError", "algorithm.iv must contain exactly 16 bytes");
    return { do: "aesCbc", iv: iv.toBase64() };
  },
  "AES-CTR": (given) => {
    const counter = bytesOf(given.counter, "counter");
    const counterBits = integer(given, "length", 255);
    if (counter.length !== 16) fail("OperationError", "algorithm.counter must contain exactly 16 bytes");
    if (counterBits < 1 || counterBits > 128) fail("OperationError", "algorithm.length must be between 1 and 128");
    return { do: "aesCtr", counter: counter.toBase64(), counterBits };
  },
  "AES-GCM": (given) => {
    const tagBits = given.tagLength === undefined ? 128 : integer(given, "tagLength", 255);
    if (!GCM_TAG_BITS.includes(tagBits)) fail("OperationError", `${tagBits} is not a valid AES-GCM tag length`);
    const additionalData = given.additionalData === undefined ? "" : base64Of(given.additionalData, "additionalData");
    return { do: "aesGcm", iv: base64Of(given.iv, "iv"), additionalData, tagBytes: tagBits / 8 };
  },
  "RSA-OAEP": (given, key) => {
    const label = given.label === undefined ? "" : base64Of(given.label, "label");
    return { do: "rsaOaep", hash: key.algorithm.hash.name, label };
  },
};

const cipher = (usage) => (algorithm, key, data) => {
  const { name, given } = normalize(algorithm, usage);
  const material = usableKey(key, name, usage);
  const request = { ...CIPHERS[name](given, key), key: material, encrypt: usage === "encrypt" };
  if (name === "RSA-OAEP" && usage === "encrypt") requireEntropy();
  return compute(request, bytesOf(data, "data")).buffer;
};

export const encrypt = cipher("encrypt");
export const decrypt = cipher("decrypt");

// --- derivation ----------------------------------------------------------------------------------------------

const fromPassword = (request, key, bits) => {
  if (bits === null || bits === 0 || bits % 8 !== 0) fail("OperationError", "length must be a multiple of 8");
  return compute({ ...request, bytes: bits / 8 }, Uint8Array.fromBase64(materialOf(key)));
};

const fromAgreement = (given, key, bits) => {
  const { public: other } = given;
  if (!isKey(other)) throw new TypeError("algorithm.public must be a CryptoKey");
  if (other.type !== "public") fail("InvalidAccessError", "algorithm.public must be a public key");
  const same = ["name", "namedCurve"].every((fact) => other.algorithm[fact] === key.algorithm[fact]);
  if (!same) fail("InvalidAccessError", "algorithm.public must be a key of the same kind");
  const secret = compute({ do: "agree", key: materialOf(key), public: materialOf(other) });
  if (bits === null) return secret;
  if (bits > secret.length * 8) fail("OperationError", "derived bit length is too small");
  const taken = secret.slice(0, Math.ceil(bits / 8));
  if (bits % 8 !== 0) taken[taken.length - 1] &= 0xff << (8 - (bits % 8));
  return taken;
};

const DERIVATIONS = {
  PBKDF2: (given, key, bits) => {
    const iterations = integer(given, "iterations");
    const request = { do: "pbkdf2", hash: hashOf(given), salt: base64Of(given.salt, "salt"), iterations };
    if (iterations === 0) fail("OperationError", "iterations cannot be zero");
    return fromPassword(request, key, bits);
  },
  HKDF: (given, key, bits) => {
    const [salt, info] = [base64Of(given.salt, "salt"), base64Of(given.info, "info")];
    return fromPassword({ do: "hkdf", hash: hashOf(given), salt, info }, key, bits);
  },
  ECDH: fromAgreement,
  X25519: fromAgreement,
};

export const deriveBits = (algorithm, baseKey, length = null) => {
  const { name, given } = normalize(algorithm, "deriveBits");
  usableKey(baseKey, name, "deriveBits");
  const bits = length === null ? null : integer({ length }, "length");
  return DERIVATIONS[name](given, baseKey, bits).buffer;
};

export const deriveKey = (algorithm, baseKey, derivedKeyType, extractable, usages) => {
  const { name, given } = normalize(algorithm, "deriveBits");
  const derived = normalize(derivedKeyType, "importKey");
  usableKey(baseKey, name, "deriveKey");
  const bits = DERIVATIONS[name](given, baseKey, derivedBits(derived.given, derived.name));
  return importKey("raw", bits, derivedKeyType, extractable, usages);
};
