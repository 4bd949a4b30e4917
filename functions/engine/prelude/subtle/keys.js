// Making, reading and writing keys.
import { ALGORITHMS, aesBits, blockBits, curveOf, hashOf, integer, normalize } from "./algorithms.js";
import { bytesOf, compute, computeJson, requireEntropy } from "./host.js";
import { fail, isKey, materialOf, newKey, orderedUsages } from "./key.js";

const URL_SAFE = { alphabet: "base64url", omitPadding: true };
const FORMATS = ["raw", "pkcs8", "spki", "jwk"];

const checkUsages = (usages, allowed) => {
  if (usages.some((usage) => !allowed.includes(usage))) fail("SyntaxError", "Unsupported key usage for this key");
};

// --- generateKey ---------------------------------------------------------------------------------------------

const generateSecret = (algorithm, extractable, usages) => {
  const { name, given, kind } = algorithm;
  checkUsages(usages, algorithm.usages.secret);
  if (kind === "AES") {
    const length = aesBits(given, "OperationError");
    return newKey("secret", extractable, { name, length }, usages, random(length));
  }
  const hash = hashOf(given);
  const length = given.length === undefined ? blockBits(hash) : integer(given, "length");
  if (length === 0) fail("OperationError", "Zero-length key is not supported");
  return newKey("secret", extractable, { name, hash: { name: hash }, length }, usages, random(length));
};

const random = (bits) => compute({ do: "random", bytes: Math.ceil(bits / 8) }).toBase64();

const generatePair = (algorithm, extractable, usages) => {
  const { name, given, kind } = algorithm;
  const allowed = algorithm.usages;
  checkUsages(usages, [...allowed.private, ...allowed.public]);
  const facts = { name };
  const request = { do: "generateKey", kind };
  if (kind === "RSA") {
    facts.modulusLength = request.modulusLength = integer(given, "modulusLength");
    facts.publicExponent = bytesOf(given.publicExponent, "publicExponent").slice();
    request.publicExponent = facts.publicExponent.reduce((number, byte) => number * 256 + byte, 0);
    facts.hash = { name: hashOf(given) };
  } else if (kind === "EC") {
    facts.namedCurve = request.curve = curveOf(given);
  }
  const only = (half) => usages.filter((usage) => allowed[half].includes(usage));
  if (only("private").length === 0) fail("SyntaxError", "Usages cannot be empty when creating a key.");
  const made = computeJson(request);
  return {
    publicKey: newKey("public", true, facts, only("public"), made.public),
    privateKey: newKey("private", extractable, facts, only("private"), made.private),
  };
};

export const generateKey = (algorithm, extractable, keyUsages) => {
  const normal = normalize(algorithm, "generateKey");
  const usages = orderedUsages(keyUsages);
  requireEntropy();
  return (normal.usages.secret ? generateSecret : generatePair)(normal, Boolean(extractable), usages);
};

// --- importKey -----------------------------------------------------------------------------------------------

const dataError = (message = "Invalid keyData") => fail("DataError", message);

// What a JWK says about its own use must fit (RFC 7517 4.2-4.4).
const checkJwk = (jwk, use, usages, extractable) => {
  if (usages.length > 0 && jwk.use !== undefined && jwk.use !== use) dataError("Invalid JWK 'use' Parameter");
  if (Array.isArray(jwk.key_ops) && usages.some((usage) => !jwk.key_ops.includes(usage))) {
    dataError("Key operations and usage mismatch");
  }
  if (jwk.ext === false && extractable) dataError("JWK is not extractable");
};

const isForEncryption = (name) => name === "RSA-OAEP" || name.startsWith("AES-");

const jwkAlgorithm = (name, facts) => {
  const { jwk, kind } = ALGORITHMS[name];
  if (kind === "AES") return `A${facts.length}${jwk}`;
  const bits = facts.hash?.name.slice(4);
  if (name === "RSA-OAEP") return bits === "1" ? jwk : `${jwk}-${bits}`;
  return jwk === undefined ? undefined : `${jwk}${bits}`;
};

const checkJwkAlgorithm = (jwk, name, facts) => {
  const expected = jwkAlgorithm(name, facts);
  if (jwk.alg !== undefined && expected !== undefined && jwk.alg !== expected) {
    dataError("JWK 'alg' does not match the requested algorithm");
  }
};

const secretBytes = (format, keyData) => {
  if (format === "raw") return bytesOf(keyData, "keyData");
  if (format !== "jwk") return fail("NotSupportedError", `Unable to import a secret key from ${format}`);
  if (keyData.kty !== "oct" || typeof keyData.k !== "string") return dataError();
  try {
    return Uint8Array.fromBase64(keyData.k, { alphabet: "base64url" });
  } catch {
    return dataError();
  }
};

const secretFacts = ({ name, given, kind }, bytes) => {
  const bits = bytes.length * 8;
  if (kind === "password") return { name };
  if (kind === "AES") return [128, 192, 256].includes(bits) ? { name, length: bits } : dataError("Invalid key length");
  const hash = { name: hashOf(given) };
  if (bits === 0) dataError("Zero-length key is not supported");
  const length = given.length === undefined ? bits : integer(given, "length");
  if (length > bits || length <= bits - 8) dataError("Invalid key length");
  return { name, hash, length };
};

const importSecret = (algorithm, format, keyData, extractable, usages) => {
  const { name, kind } = algorithm;
  checkUsages(usages, algorithm.usages.secret);
  if (kind === "password" && extractable) fail("SyntaxError", `${name} keys are not extractable`);
  if (kind === "password" && format !== "raw") fail("NotSupportedError", `Unable to import ${name} from ${format}`);
  const bytes = secretBytes(format, keyData);
  const facts = secretFacts(algorithm, bytes);
  if (format === "jwk") {
    checkJwk(keyData, isForEncryption(name) ? "enc" : "sig", usages, extractable);
    checkJwkAlgorithm(keyData, name, facts);
  }
  return newKey("secret", extractable, facts, usages, bytes.toBase64());
};

const importPairHalf = (algorithm, format, keyData, extractable, usages) => {
  const { name, given, kind } = algorithm;
  const facts = { name };
  if (kind === "RSA") facts.hash = { name: hashOf(given) };
  if (kind === "EC") facts.namedCurve = curveOf(given);
  const half = format === "pkcs8" || (format === "jwk" && keyData.d !== undefined) ? "private" : "public";
  checkUsages(usages, algorithm.usages[half]);
  if (format === "jwk") {
    checkJwk(keyData, isForEncryption(name) ? "enc" : "sig", usages, extractable);
    checkJwkAlgorithm(keyData, name, facts);
  } else if (format === "raw" && kind === "RSA") {
    fail("NotSupportedError", `Unable to import ${name} from raw`);
  }
  const request = { do: "importKey", kind, format, curve: facts.namedCurve };
  const read =
    format === "jwk" ? computeJson({ ...request, jwk: keyData }) : computeJson(request, bytesOf(keyData, "keyData"));
  if (kind === "RSA") {
    facts.modulusLength = read.modulusLength;
    facts.publicExponent = Uint8Array.fromBase64(read.publicExponent);
  }
  return newKey(read.type, extractable, facts, usages, read.key);
};

export const importKey = (format, keyData, algorithm, extractable, keyUsages) => {
  if (!FORMATS.includes(format)) throw new TypeError(`'${format}' is no key format`);
  const normal = normalize(algorithm, "importKey");
  const usages = orderedUsages(keyUsages);
  if ((format === "jwk") === (ArrayBuffer.isView(keyData) || keyData instanceof ArrayBuffer)) {
    throw new TypeError(`the format ${format} needs other key data`);
  }
  if (typeof keyData !== "object" || keyData === null) throw new TypeError("the key data must be an object");
  return (normal.usages.secret ? importSecret : importPairHalf)(normal, format, keyData, Boolean(extractable), usages);
};

// --- exportKey -----------------------------------------------------------------------------------------------

const exportJwk = (key) => {
  const { name } = key.algorithm;
  const material = materialOf(key);
  const members =
    key.type === "secret"
      ? { kty: "oct", k: Uint8Array.fromBase64(material).toBase64(URL_SAFE) }
      : computeJson({ do: "exportKey", format: "jwk", type: key.type }, Uint8Array.fromBase64(material));
  const alg = jwkAlgorithm(name, key.algorithm);
  return { key_ops: [...key.usages], ext: key.extractable, ...members, ...(alg === undefined ? {} : { alg }) };
};

// Which half of a pair a format is for; secret keys know "raw" only.
const HALVES = { raw: "public", pkcs8: "private", spki: "public" };

const requireFormat = (format, { type, algorithm }) => {
  const known = type === "secret" ? format === "raw" : format !== "raw" || ALGORITHMS[algorithm.name].kind !== "RSA";
  if (!known) fail("NotSupportedError", `Unable to export a ${algorithm.name} key as ${format}`);
  if (type !== "secret" && HALVES[format] !== type) fail("InvalidAccessError", `Unable to export a ${type} key as ${format}`);
};

export const exportKey = (format, key) => {
  if (!FORMATS.includes(format)) throw new TypeError(`'${format}' is no key format`);
  if (!isKey(key)) throw new TypeError("the key must be a CryptoKey");
  const { operations } = ALGORITHMS[key.algorithm.name];
  if (!operations.includes("exportKey")) fail("NotSupportedError", `${key.algorithm.name} keys cannot be exported`);
  if (!key.extractable) fail("InvalidAccessError", "key is not extractable");
  if (format === "jwk") return exportJwk(key);
  requireFormat(format, key);
  const material = Uint8Array.fromBase64(materialOf(key));
  if (key.type === "secret") return material.buffer;
  return compute({ do: "exportKey", format, type: key.type }, material).buffer;
};
