// Requests to functions/webcrypto.py: parameters as JSON, bytes in them as base64, one operand as it is.
import { fail } from "./key.js";

const NO_BYTES = new Uint8Array(0);

export const compute = (request, data = NO_BYTES) => {
  try {
    return new Uint8Array(host.operation(JSON.stringify(request), data.buffer, data.byteOffset, data.byteLength));
  } catch (error) {
    const name = error?.data?.name;
    return name === undefined ? fail("OperationError", error.message) : fail(name, error.message);
  }
};

export const computeJson = (request, data) => JSON.parse(host.utf8Decode(...whole(compute(request, data)), true));

const whole = (bytes) => [bytes.buffer, bytes.byteOffset, bytes.byteLength];

// Randomness is not part of a replay (spec 03 3.2).
export const requireEntropy = () => host.requireAction("cryptographic randomness");

// A view, no copy: what is computed is computed at once.
export const bytesOf = (value, what) => {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  throw new TypeError(`${what} must be an ArrayBuffer or a view of one`);
};

export const base64Of = (value, what) => bytesOf(value, what).toBase64();
