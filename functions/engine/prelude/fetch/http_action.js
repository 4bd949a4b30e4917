// HTTP actions: the request that came, and the response that leaves piece by piece (spec 03 5.4).
//
// A small request comes whole. Of any other body the host has the bytes: they are asked for when user code reads, and
// handed over when it writes, one piece at a time, each way with back pressure.
import { received } from "./request.js";
import { bodyOf, Response } from "./response.js";

const PIECE_BYTES_MAX = 65536;

const ask = async (name, args = {}) => JSON.parse(await host.asyncSyscall(name, JSON.stringify(args)));

const incoming = {
  async read() {
    const piece = await ask("host/requestRead");
    return piece === null ? null : Uint8Array.fromBase64(piece);
  },
  end() {
    host.syscall("host/requestCancel", "{}");
  },
};

const bodyFrom = (streamId, whole) => {
  if (streamId === null) return null;
  return whole === undefined ? incoming : Uint8Array.fromBase64(whole);
};

// Nobody waits for the client to go unless user code looks at the signal.
const defineSignal = (request) => {
  let controller;
  const get = () => {
    if (controller === undefined) {
      controller = new AbortController();
      ask("host/requestGone").then(() => controller.abort());
    }
    return controller.signal;
  };
  Object.defineProperty(request, "signal", { get, configurable: true, enumerable: true });
};

export const requestFromConvexJson = ({ convexJson: { headerPairs, method, url, streamId, body } }) => {
  const request = received(url, { method, headers: headerPairs }, bodyFrom(streamId, body));
  defineSignal(request);
  return request;
};

let answered;

export const convexJsonFromResponse = ({ response }) => {
  if (!(response instanceof Response)) throw new TypeError("HTTP actions must return a Response");
  const body = bodyOf(response);
  const { length } = body;
  const headers = [...response.headers];
  const isSized = headers.some(([name]) => name === "content-length");
  if (!body.isEmpty && length !== undefined && !isSized) headers.push(["content-length", String(length)]);
  answered = response;
  return { headerPairs: headers, status: response.status, streamId: body.isEmpty ? null : "response" };
};

// False when nobody takes it any more.
const writePiece = async (bytes) => {
  for (let start = 0; start < bytes.length; start += PIECE_BYTES_MAX) {
    const piece = bytes.subarray(start, start + PIECE_BYTES_MAX).toBase64();
    if (!(await ask("host/responseWrite", { piece }))) return false;
  }
  return true;
};

const stream = async (body) => {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    if (!(value instanceof Uint8Array)) throw new TypeError("Received non-Uint8Array chunk");
    if (!(await writePiece(value))) return reader.cancel();
  }
};

const respond = async (head) => {
  const body = bodyOf(answered);
  const isWhole = body.isEmpty || (body.length !== undefined && body.length <= PIECE_BYTES_MAX);
  const piece = isWhole ? (await body.bytes()).toBase64() : null;
  await ask("host/responseHead", { headerPairs: head.headerPairs, status: head.status, piece });
  if (!isWhole) await stream(answered.body);
};

// The value of the run: whether there was a route.
export const runHttpAction = async (router, json) => {
  const { method, path } = JSON.parse(json);
  if (router.lookup(path, method) === null) return "false";
  await respond(JSON.parse(await router.runRequest(json, path)));
  return "true";
};
