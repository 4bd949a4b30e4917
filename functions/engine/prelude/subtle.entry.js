// crypto.subtle and CryptoKey (spec 03 3.2, 3.4); computed by the host (functions/webcrypto.py).
export { CryptoKey } from "./subtle/key.js";
export { exportKey, generateKey, importKey } from "./subtle/keys.js";
export { decrypt, deriveBits, deriveKey, digest, encrypt, sign, verify } from "./subtle/operations.js";
