// Response.
import { Body, defineBodyMembers } from "./body.js";
import { freeze, Headers } from "./headers.js";
import { named } from "../named.js";

const WITHOUT_BODY = [101, 103, 204, 205, 304];
const REDIRECTS = [301, 302, 303, 307, 308];
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/;

export class Response {
  #body;
  #headers;
  #status;
  #statusText;
  #type = "default";
  #redirected = false;
  #url = "";

  constructor(body = null, init = {}) {
    if (init !== null && typeof init !== "object") throw new TypeError("Response: the options must be an object");
    const { status = 200, statusText = "", headers } = init ?? {};
    this.#status = Math.trunc(Number(status)) & 0xffff;
    if (this.#status < 200 || this.#status > 599) {
      throw new RangeError("init[\"status\"] must be in the range of 200 to 599, inclusive.");
    }
    this.#statusText = String(statusText);
    if (!REASON.test(this.#statusText)) throw new TypeError("Invalid statusText");
    this.#headers = new Headers(headers);
    this.#body = Body.of(body);
    if (this.#body.isEmpty) return;
    if (WITHOUT_BODY.includes(this.#status)) throw new TypeError(`Invalid response status code ${this.#status}`);
    const { type } = this.#body;
    if (type !== null && !this.#headers.has("content-type")) this.#headers.append("content-type", type);
  }

  get headers() {
    return this.#headers;
  }
  get ok() {
    return this.#status >= 200 && this.#status <= 299;
  }
  get redirected() {
    return this.#redirected;
  }
  get status() {
    return this.#status;
  }
  get statusText() {
    return this.#statusText;
  }
  get type() {
    return this.#type;
  }
  get url() {
    return this.#url;
  }

  clone() {
    const body = this.#body.fork();
    const copy = new Response(null, { headers: this.#headers });
    copy.#body = body;
    copy.#status = this.#status;
    copy.#statusText = this.#statusText;
    copy.#type = this.#type;
    copy.#redirected = this.#redirected;
    copy.#url = this.#url;
    return copy;
  }

  static error() {
    const response = new Response();
    response.#status = 0;
    response.#type = "error";
    freeze(response.#headers);
    return response;
  }

  static json(data, init) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Value is not JSON serializable");
    const headers = new Headers(init?.headers);
    if (!headers.has("content-type")) headers.append("content-type", "application/json");
    return new Response(text, { status: init?.status, statusText: init?.statusText, headers });
  }

  static redirect(url, status = 302) {
    const { href } = new (host.part("url").URL)(url);
    if (!REDIRECTS.includes(status)) throw new RangeError(`Invalid status code ${status}`);
    const response = new Response(null, { status, headers: { location: href } });
    freeze(response.#headers);
    return response;
  }

  static bodyOf(response) {
    return response.#body;
  }

  // What came over the network; whatever its status, nobody checks it again.
  static received({ status, statusText, headers, url, redirected }, source) {
    const response = new Response();
    response.#status = status;
    response.#statusText = statusText;
    response.#headers = new Headers(headers);
    freeze(response.#headers);
    response.#type = "basic";
    response.#redirected = redirected;
    response.#url = url.replace(/#.*$/, "");
    if (source !== null) response.#body = Body.received(source);
    return response;
  }
}

// What a response carries, for those who send it, and the way one comes to be that was sent to us.
export const { bodyOf, received } = Response;
delete Response.bodyOf;
delete Response.received;
defineBodyMembers(Response, bodyOf);
named("Response", Response);
