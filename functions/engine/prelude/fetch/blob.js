// Blob and File: bytes that never change, with a type.
import { copyOf, decodeWithoutMark, encode, isBufferSource, join, streamOf } from "./bytes.js";
import { named } from "../named.js";

const normalType = (type) => (/^[\x20-\x7e]*$/.test(type) ? type.toLowerCase() : "");

const position = (value, length, otherwise) => {
  if (value === undefined) return otherwise;
  const wanted = Math.trunc(Number(value)) || 0;
  return wanted < 0 ? Math.max(length + wanted, 0) : Math.min(wanted, length);
};

export class Blob {
  #bytes;
  #type;

  constructor(parts = [], options = {}) {
    if (typeof parts !== "object" || typeof parts?.[Symbol.iterator] !== "function") {
      throw new TypeError("Blob: the parts must be iterable");
    }
    if ((typeof options !== "object" && typeof options !== "function") || options === undefined) {
      throw new TypeError("Blob: the options must be an object");
    }
    const { endings = "transparent", type = "" } = options ?? {};
    if (!["transparent", "native"].includes(String(endings))) {
      throw new TypeError(`Blob: ${endings} is no kind of line endings`);
    }
    const piece = (part) => {
      if (isBufferSource(part)) return copyOf(part);
      if (part instanceof Blob) return part.#bytes;
      const text = String(part);
      return encode(endings === "native" ? text.replace(/\r\n?/g, "\n") : text);
    };
    this.#bytes = join([...parts].map(piece));
    this.#type = normalType(String(type));
  }

  get size() {
    return this.#bytes.length;
  }
  get type() {
    return this.#type;
  }
  slice(start, end, type = "") {
    const size = this.#bytes.length;
    const from = position(start, size, 0);
    const slice = new Blob([], { type });
    slice.#bytes = this.#bytes.subarray(from, Math.max(position(end, size, size), from));
    return slice;
  }
  async arrayBuffer() {
    return this.#bytes.slice().buffer;
  }
  async bytes() {
    return this.#bytes.slice();
  }
  async text() {
    return decodeWithoutMark(this.#bytes);
  }
  stream() {
    return streamOf(this.#bytes);
  }
  static bytesOf(blob) {
    return blob.#bytes;
  }
}

// The bytes themselves, for those who only read them.
export const { bytesOf } = Blob;
delete Blob.bytesOf;
named("Blob", Blob);

export class File extends Blob {
  #name;
  #lastModified;

  constructor(parts, name, options = {}) {
    if (arguments.length < 2) throw new TypeError(`File: 2 arguments required, but only ${arguments.length} present`);
    super(parts, options);
    this.#name = String(name).toWellFormed();
    const moment = options?.lastModified;
    this.#lastModified = moment === undefined ? Date.now() : Math.trunc(Number(moment)) || 0;
  }

  get name() {
    return this.#name;
  }
  get lastModified() {
    return this.#lastModified;
  }
  get webkitRelativePath() {
    return "";
  }
}
named("File", File);
