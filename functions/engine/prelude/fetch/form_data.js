// FormData: names and values in the order they came; a Blob becomes a File.
import { requireArguments } from "./bytes.js";
import { Blob, File } from "./blob.js";
import { named } from "../named.js";

const entryOf = (method, args) => {
  const [name, value, filename] = args;
  const key = String(name).toWellFormed();
  if (!(value instanceof Blob)) {
    if (args.length > 2) throw new TypeError(`FormData.${method}: only a Blob has a file name`);
    return [key, String(value).toWellFormed()];
  }
  if (value instanceof File && filename === undefined) return [key, value];
  const { type, lastModified } = value;
  return [key, new File([value], filename ?? "blob", lastModified === undefined ? { type } : { type, lastModified })];
};

export class FormData {
  #entries = [];

  constructor(form) {
    if (form !== undefined) throw new TypeError("FormData: there are no forms here");
  }
  append(...args) {
    this.#entries.push(entryOf("append", args));
  }
  set(...args) {
    const entry = entryOf("set", args);
    const first = this.#entries.findIndex(([name]) => name === entry[0]);
    if (first < 0) this.#entries.push(entry);
    else this.#entries = this.#entries.flatMap((each, at) => (at === first ? [entry] : each[0] === entry[0] ? [] : [each]));
  }
  delete(name) {
    this.#entries = this.#entries.filter((entry) => entry[0] !== String(name));
  }
  get(name) {
    return this.#entries.find((entry) => entry[0] === String(name))?.[1] ?? null;
  }
  getAll(name) {
    return this.#entries.filter((entry) => entry[0] === String(name)).map((entry) => entry[1]);
  }
  has(name) {
    return this.#entries.some((entry) => entry[0] === String(name));
  }
  forEach(callback, self) {
    if (typeof callback !== "function") throw new TypeError("FormData: the callback must be a function");
    for (const [name, value] of this) callback.call(self, value, name, this);
  }
  // By position: entries that are added meanwhile are met too.
  *entries() {
    for (let at = 0; at < this.#entries.length; at++) yield [...this.#entries[at]];
  }
  *keys() {
    for (const [name] of this.entries()) yield name;
  }
  *values() {
    for (const [, value] of this.entries()) yield value;
  }
}
Object.defineProperty(FormData.prototype, Symbol.iterator, {
  value: FormData.prototype.entries,
  writable: true,
  configurable: true,
});
named("FormData", FormData);
requireArguments(FormData, { append: 2, delete: 1, get: 1, getAll: 1, has: 1, set: 2, forEach: 1 });
