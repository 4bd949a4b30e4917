// What crypto.subtle refuses. One case a paragraph: the body of an async function.

// helpers
const { subtle } = crypto;
const hex = (b) => [...new Uint8Array(b)].map((x) => x.toString(16).padStart(2, "0")).join("");
const unhex = (t) => Uint8Array.from(t.match(/../g) ?? [], (x) => parseInt(x, 16));
const text = (t) => new TextEncoder().encode(t);
const sorted = (o) => Object.entries(o).sort().map(([k, v]) => [k, Array.isArray(v) ? [...v].sort() : v]);
const shown = (k) => [
  k.type, k.extractable, [...k.usages].sort(), k.algorithm.name, k.algorithm.length ?? null,
  k.algorithm.hash?.name ?? null, k.algorithm.namedCurve ?? null, k.algorithm.modulusLength ?? null,
  k.algorithm.publicExponent ? [...k.algorithm.publicExponent] : null,
];
const load = (format, data, algorithm, ...usages) =>
  subtle.importKey(format, typeof data === "string" ? unhex(data) : data, algorithm, true, usages);
const exported = async (key) => [
  shown(key), hex(await subtle.exportKey(key.type === "private" ? "pkcs8" : "spki", key)),
  sorted(await subtle.exportKey("jwk", key)),
];
const signedBySecret = async (hash, secret, data) => {
  const key = await load("raw", secret, { name: "HMAC", hash }, "verify", "sign");
  const code = await subtle.sign("HMAC", key, unhex(data));
  const check = (signature, of) => subtle.verify("HMAC", key, signature, unhex(of));
  return [hex(code), await check(code, data), await check(code, data + "00"), await check(unhex("00"), data), shown(key)];
};
const enciphered = async (parameters, secret, data) => {
  const key = await load("raw", secret, parameters.name, "encrypt", "decrypt");
  const cipher = new Uint8Array(await subtle.encrypt(parameters, key, unhex(data)));
  const back = hex(await subtle.decrypt(parameters, key, cipher));
  if (cipher.length > 0) cipher[cipher.length - 1] ^= 1;
  const wrong = await subtle.decrypt(parameters, key, cipher).then(hex, (e) => e.name);
  return [hex(cipher), back, wrong, shown(key)];
};
const derived = async (parameters, password, length) => {
  const key = await subtle.importKey("raw", unhex(password), parameters.name, false, ["deriveBits", "deriveKey"]);
  const make = (algorithm, usage) => subtle.deriveKey(parameters, key, algorithm, true, [usage]);
  const cipher = await make({ name: "AES-GCM", length: 256 }, "encrypt");
  const code = await make({ name: "HMAC", hash: "SHA-384" }, "sign");
  const raw = async (each) => [shown(each), hex(await subtle.exportKey("raw", each))];
  return [hex(await subtle.deriveBits(parameters, key, length)), await raw(cipher), await raw(code)];
};
const agreed = async (algorithm, mine, theirs) => {
  const key = await load("jwk", mine, algorithm, "deriveBits", "deriveKey");
  const parameters = { name: algorithm.name, public: await load("jwk", theirs, algorithm) };
  const made = await subtle.deriveKey(parameters, key, { name: "AES-GCM", length: 256 }, true, ["encrypt"]);
  return [hex(await subtle.deriveBits(parameters, key, 128)), hex(await subtle.exportKey("raw", made))];
};

return await subtle.digest("MD5", text(""));

return await subtle.digest("SHA-256", "text");

return await subtle.digest({}, text(""));

return await subtle.importKey("odd", text(""), "HKDF", false, ["deriveBits"]);

return await subtle.importKey("raw", text("x"), "HKDF", true, ["deriveBits"]);

return await subtle.importKey("raw", text("x"), "HKDF", false, ["sign"]);

return await subtle.importKey("raw", text("x"), "HKDF", false, ["odd"]);

return await subtle.importKey("raw", text("x"), "AES-GCM", false, ["encrypt"]);

return await subtle.importKey("raw", new Uint8Array(16), "AES-GCM", false, []);

return await subtle.importKey("raw", new Uint8Array(16), "AES-GCM", false, ["sign"]);

return await subtle.importKey("raw", new Uint8Array(16), "RC4", false, ["encrypt"]);

return await subtle.importKey("raw", new Uint8Array(16), "HMAC", false, ["sign"]);

  return await subtle.importKey("jwk", { kty: "oct", k: "AAECAwQFBgcICQoLDA0ODw", alg: "A256GCM" }, "\
AES-GCM", false, ["encrypt"]);

  return await subtle.importKey("jwk", { kty: "oct", k: "AAECAwQFBgcICQoLDA0ODw", ext: false }, "AES\
-GCM", true, ["encrypt"]);

  return await subtle.importKey("jwk", { kty: "oct", k: "AAECAwQFBgcICQoLDA0ODw", use: "sig" }, "AES\
-GCM", true, ["encrypt"]);

return await subtle.importKey("jwk", { kty: "oct", k: "AAECAwQFBgcICQoLDA0ODw", key_ops: ["decrypt"] },
"AES-GCM", true, ["encrypt"]);

return await subtle.importKey("spki", text("nonsense"), { name: "RSA-PSS", hash: "SHA-256" }, true,
["verify"]);

return await subtle.importKey("raw", new Uint8Array(65), { name: "ECDSA", namedCurve: "P-256" }, true,
["verify"]);

return await subtle.importKey("raw", new Uint8Array(31), "Ed25519", true, ["verify"]);

const k = await subtle.importKey("raw", new Uint8Array(16), "AES-GCM", true, ["decrypt"]);
return await subtle.encrypt({ name: "AES-GCM", iv: new Uint8Array(12) }, k, text(""));

const k = await subtle.importKey("raw", new Uint8Array(16), "AES-GCM", true, ["encrypt"]);
return await subtle.encrypt({ name: "AES-CBC", iv: new Uint8Array(16) }, k, text(""));

const k = await subtle.importKey("raw", new Uint8Array(16), "AES-GCM", true, ["encrypt"]);
return await subtle.encrypt({ name: "AES-GCM" }, k, text(""));

const k = await subtle.importKey("raw", new Uint8Array(16), "AES-GCM", true, ["encrypt"]);
return await subtle.encrypt({ name: "AES-GCM", iv: new Uint8Array(12), tagLength: 33 }, k, text(""));

const k = await subtle.importKey("raw", new Uint8Array(16), "AES-CBC", true, ["encrypt"]);
return await subtle.encrypt({ name: "AES-CBC", iv: new Uint8Array(15) }, k, text(""));

const k = await subtle.importKey("raw", new Uint8Array(16), "AES-CTR", true, ["encrypt"]);
return await subtle.encrypt({ name: "AES-CTR", counter: new Uint8Array(16), length: 0 }, k, text(""));

const k = await subtle.importKey("raw", text("p"), "PBKDF2", false, ["deriveBits"]);
return await subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: text(""), iterations: 0 },
k, 8);

const k = await subtle.importKey("raw", text("p"), "PBKDF2", false, ["deriveBits"]);
return await subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: text(""), iterations: 1 },
k, 9);

const k = await subtle.importKey("raw", text("p"), "HKDF", false, ["deriveBits"]);
return await subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt: text(""), info: text("") }, k,
255 * 256 + 8);

const k = await subtle.importKey("raw", text("p"), "HKDF", false, ["deriveBits"]);
return await subtle.deriveKey({ name: "HKDF", hash: "SHA-256", salt: text(""), info: text("") }, k,
"HKDF", false, ["deriveBits"]);

return await subtle.sign("HMAC", {}, text(""));

return new CryptoKey();

return await subtle.generateKey({ name: "AES-GCM", length: 100 }, true, ["encrypt"]);

return await subtle.generateKey({ name: "AES-GCM", length: 128 }, true, []);

return await subtle.generateKey({ name: "ECDSA", namedCurve: "P-1" }, true, ["sign"]);

return await subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["encrypt"]);

return await subtle.generateKey("HKDF", true, ["deriveBits"]);

return await subtle.importKey("jwk", [], { name: "RSA-PSS", hash: "SHA-256" }, true, ["verify"]);

return await subtle.importKey("jwk", { kty: "RSA", n: 5 }, { name: "RSA-PSS", hash: "SHA-256" }, true, ["verify"]);

const data = new Uint8Array([1]);
const digest = subtle.digest("SHA-1", data);
data[0] = 2;
return hex(await digest);
