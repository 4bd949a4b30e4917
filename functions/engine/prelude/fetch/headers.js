// Headers: names without case, values in the order they came.
import { requireArguments } from "./bytes.js";
import { named } from "../named.js";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

const headerName = (name) => {
  if (!TOKEN.test(name)) throw new TypeError(`Invalid header name: ${String(name)}`);
  return String(name).toLowerCase();
};

const headerValue = (value) => {
  const text = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  if (/[\0\r\n]/.test(text) || /[^\0-\xff]/.test(text)) throw new TypeError(`Invalid header value: ${text}`);
  return text;
};

const pairsOf = (init) => {
  if (typeof init !== "object" || init === null) throw new TypeError("Headers: expected an object or pairs");
  if (init[Symbol.iterator] === undefined) return Reflect.ownKeys(init).map((name) => [name, init[name]]);
  return [...init].map((pair) => {
    if (typeof pair !== "object" || pair === null) throw new TypeError("Headers: expected pairs of name and value");
    return [...pair];
  });
};

export class Headers {
  #values = new Map(); // lower-case name -> values in the order they were appended
  #immutable = false;

  constructor(init) {
    if (init === undefined) return;
    for (const pair of pairsOf(init)) {
      if (pair.length !== 2) throw new TypeError("Headers: expected pairs of name and value");
      this.append(pair[0], pair[1]);
    }
  }

  append(name, value) {
    const key = headerName(name);
    const text = headerValue(value);
    this.#change();
    this.#values.set(key, [...(this.#values.get(key) ?? []), text]);
  }
  delete(name) {
    const key = headerName(name);
    this.#change();
    this.#values.delete(key);
  }
  get(name) {
    return this.#values.get(headerName(name))?.join(", ") ?? null;
  }
  getSetCookie() {
    return [...(this.#values.get("set-cookie") ?? [])];
  }
  has(name) {
    return this.#values.has(headerName(name));
  }
  set(name, value) {
    const key = headerName(name);
    const text = headerValue(value);
    this.#change();
    this.#values.set(key, [text]);
  }
  forEach(callback, self) {
    if (typeof callback !== "function") throw new TypeError("Headers: the callback must be a function");
    for (const [name, value] of this) callback.call(self, value, name, this);
  }
  *entries() {
    for (const name of [...this.#values.keys()].sort()) {
      if (name === "set-cookie") for (const value of this.#values.get(name)) yield [name, value];
      else yield [name, this.get(name)];
    }
  }
  *keys() {
    for (const [name] of this.entries()) yield name;
  }
  *values() {
    for (const [, value] of this.entries()) yield value;
  }

  #change() {
    if (this.#immutable) throw new TypeError("Headers are immutable");
  }
  static freeze(headers) {
    headers.#immutable = true;
    return headers;
  }
}
Object.defineProperty(Headers.prototype, Symbol.iterator, {
  value: Headers.prototype.entries,
  writable: true,
  configurable: true,
});

export const { freeze } = Headers;
delete Headers.freeze;
named("Headers", Headers);
requireArguments(Headers, { append: 2, delete: 1, get: 1, has: 1, set: 2, forEach: 1 });
