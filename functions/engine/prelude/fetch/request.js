// Request.
import { Body, defineBodyMembers } from "./body.js";
import { Headers } from "./headers.js";
import { named } from "../named.js";

const FORBIDDEN = /^(CONNECT|TRACE|TRACK)$/i;
const NORMALIZED = /^(DELETE|GET|HEAD|OPTIONS|POST|PUT)$/i;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const REDIRECT_MODES = ["follow", "error", "manual"];

const methodOf = (value) => {
  const method = String(value);
  if (!TOKEN.test(method) || FORBIDDEN.test(method)) throw new TypeError(`'${method}' is not a valid HTTP method.`);
  return NORMALIZED.test(method) ? method.toUpperCase() : method;
};

const urlOf = (input) => {
  const url = new (host.part("url").URL)(String(input));
  if (url.username !== "" || url.password !== "") {
    throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${input}`);
  }
  return url.href;
};

export class Request {
  #body;
  #headers;
  #method;
  #redirect;
  #signal;
  #url;

  constructor(input, init = {}) {
    if (arguments.length === 0) throw new TypeError("Request: 1 argument required, but only 0 present");
    if (init !== null && typeof init !== "object") throw new TypeError("Request: the options must be an object");
    const options = init ?? {};
    const base = input instanceof Request ? input : undefined;
    this.#url = base?.#url ?? urlOf(input);
    this.#method = options.method === undefined ? (base?.#method ?? "GET") : methodOf(options.method);
    this.#redirect = String(options.redirect ?? base?.#redirect ?? "follow");
    if (!REDIRECT_MODES.includes(this.#redirect)) throw new TypeError(`Request: ${this.#redirect} is no redirect mode`);
    this.#signal = Request.#signalAfter(options.signal === undefined ? base?.#signal : options.signal);
    this.#headers = new Headers(options.headers ?? base?.#headers);
    this.#body = this.#bodyAfter(options.body, base);
  }

  static #signalAfter(signal) {
    if (signal === undefined || signal === null) return new AbortController().signal;
    if (!(signal instanceof AbortSignal)) throw new TypeError("Request: the signal must be an AbortSignal");
    return AbortSignal.any([signal]);
  }

  #bodyAfter(given, base) {
    const inherited = given === undefined || given === null;
    const carriesNone = this.#method === "GET" || this.#method === "HEAD";
    if (carriesNone && (!inherited || base?.#body.isEmpty === false)) {
      throw new TypeError("Request with GET/HEAD method cannot have body.");
    }
    if (inherited) return base === undefined ? Body.of(null) : base.#body.take();
    const body = Body.of(given);
    if (body.type !== null && !this.#headers.has("content-type")) this.#headers.append("content-type", body.type);
    return body;
  }

  get headers() {
    return this.#headers;
  }
  get method() {
    return this.#method;
  }
  get signal() {
    return this.#signal;
  }
  get url() {
    return this.#url;
  }

  clone() {
    const body = this.#body.fork();
    const copy = new Request(this.#url, { method: this.#method, headers: this.#headers, signal: this.#signal });
    copy.#redirect = this.#redirect;
    copy.#body = body;
    return copy;
  }

  static partsOf(request) {
    return { body: request.#body, redirect: request.#redirect };
  }

  // What came over the network: its body is there whole, or a source gives it piece by piece.
  static received(url, init, body) {
    const request = new Request(url, init);
    if (body !== null) request.#body = body instanceof Uint8Array ? Body.of(body) : Body.received(body);
    return request;
  }
}

// What user code cannot see of a request, for those who send it, and the way one comes to be that was sent to us.
export const { partsOf, received } = Request;
delete Request.partsOf;
delete Request.received;
defineBodyMembers(Request, (request) => partsOf(request).body);
named("Request", Request);

// Not there (spec 03 3.2).
const UNIMPLEMENTED = [
  "cache", "credentials", "destination", "duplex", "integrity", "isHistoryNavigation", "isReloadNavigation",
  "keepalive", "mode", "redirect", "referrer", "referrerPolicy",
];
for (const name of UNIMPLEMENTED) {
  Object.defineProperty(Request.prototype, name, {
    get: () => host.unimplemented(name, "Request"),
    configurable: true,
    enumerable: true,
  });
}
