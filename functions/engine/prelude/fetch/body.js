// What Request and Response carry: bytes that were given whole, a stream, or a source that gives pieces. Read once.
import { Blob, bytesOf } from "./blob.js";
import { copyOf, decodeWithoutMark, encode, isBufferSource, join, streamFrom, streamOf } from "./bytes.js";
import { FormData } from "./form_data.js";
import { readForm, writeForm } from "./multipart.js";

const URL_ENCODED = "application/x-www-form-urlencoded";
const NO_BYTES = new Uint8Array(0);

const collect = async (stream) => {
  const reader = stream.getReader();
  const pieces = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return join(pieces);
    if (!(value instanceof Uint8Array)) throw new TypeError("Received non-Uint8Array chunk");
    pieces.push(value);
  }
};

// Without a stream in between: most bodies are read whole, by calls that load no streams.
const drain = async (source) => {
  const pieces = [];
  for (let piece = await source.read(); piece !== null; piece = await source.read()) pieces.push(piece);
  return join(pieces);
};

const isSearchParams = (value) => Object.prototype.toString.call(value) === "[object URLSearchParams]";
const isStream = (value) => Object.prototype.toString.call(value) === "[object ReadableStream]";

export class Body {
  #bytes; // until a stream is asked for
  #stream;
  #source; // {read, end} of what is still to come, until a stream is asked for
  #used = false;

  constructor(bytes, stream, type) {
    this.#bytes = bytes;
    this.#stream = stream;
    this.type = type; // the Content-Type it brings, or null
  }

  // What the standards call "extract a body".
  static of(value) {
    if (value === null || value === undefined) return new Body(undefined, undefined, null);
    if (isStream(value)) {
      if (value.locked || value._disturbed) throw new TypeError("The stream is locked or has been read from");
      return new Body(undefined, value, null);
    }
    if (isBufferSource(value)) return new Body(copyOf(value), undefined, null);
    if (value instanceof Blob) return new Body(bytesOf(value), undefined, value.type || null);
    if (value instanceof FormData) {
      const { bytes, type } = writeForm(value);
      return new Body(bytes, undefined, type);
    }
    const type = isSearchParams(value) ? URL_ENCODED : "text/plain";
    return new Body(encode(value), undefined, `${type};charset=UTF-8`);
  }

  static received(source) {
    const body = new Body(undefined, undefined, null);
    body.#source = source;
    return body;
  }

  get isEmpty() {
    return this.#bytes === undefined && this.#stream === undefined && this.#source === undefined;
  }
  get isUsed() {
    return this.#used || this.#stream?._disturbed === true;
  }
  get isUnusable() {
    return this.isUsed || this.#stream?.locked === true;
  }
  // Bytes whose number is known before they are sent.
  get length() {
    return this.#stream ?? this.#source ? undefined : (this.#bytes ?? NO_BYTES).length;
  }
  get stream() {
    if (this.isEmpty) return null;
    if (this.#stream === undefined) {
      const isFresh = this.#source !== undefined && !this.#used;
      this.#stream = isFresh ? streamFrom(this.#source) : streamOf(this.#used ? NO_BYTES : this.#bytes);
      if (this.#used) collect(this.#stream);
    }
    return this.#stream;
  }

  async bytes() {
    if (this.isEmpty) return NO_BYTES;
    if (this.isUnusable) throw new TypeError("Body is unusable: Body has already been read");
    if (this.#stream !== undefined) return collect(this.#stream);
    this.#used = true;
    return this.#source === undefined ? this.#bytes : drain(this.#source);
  }

  // The content moves to another owner; this one counts as read.
  take() {
    if (this.isUnusable) throw new TypeError("Cannot use a body that has been read or is locked");
    if (this.isEmpty) return this;
    const stream = this.#stream?.pipeThrough(new (host.part("streams").TransformStream)());
    this.#used = true;
    const taken = new Body(this.#bytes, stream, this.type);
    if (stream === undefined) taken.#source = this.#source;
    return taken;
  }

  // Two owners of the same content.
  fork() {
    if (this.isUnusable) throw new TypeError("Body has already been consumed.");
    if (this.#stream === undefined && this.#source === undefined) return new Body(this.#bytes, undefined, this.type);
    const [mine, theirs] = this.stream.tee();
    this.#stream = mine;
    return new Body(undefined, theirs, this.type);
  }
}

const formOf = async (body, contentType) => {
  if (/^multipart\/form-data\s*(;|$)/i.test(contentType)) {
    host.requireAction("formData()");
    return readForm(await body.bytes(), contentType);
  }
  if (contentType.split(";", 1)[0].trim().toLowerCase() !== URL_ENCODED) {
    throw new TypeError("Content-Type was not one of multipart/form-data or application/x-www-form-urlencoded.");
  }
  const form = new FormData();
  const { URLSearchParams } = host.part("url");
  for (const [name, value] of new URLSearchParams(decodeWithoutMark(await body.bytes()))) form.append(name, value);
  return form;
};

// The members that Request and Response share; `bodyOf` reads their private field.
export const defineBodyMembers = (constructor, bodyOf) => {
  const typeOf = (message) => message.headers.get("content-type") ?? "";
  const members = {
    get body() {
      return bodyOf(this).stream;
    },
    get bodyUsed() {
      return bodyOf(this).isUsed;
    },
    async arrayBuffer() {
      return (await bodyOf(this).bytes()).slice().buffer;
    },
    async blob() {
      return new Blob([await bodyOf(this).bytes()], { type: typeOf(this) });
    },
    async bytes() {
      return (await bodyOf(this).bytes()).slice();
    },
    async formData() {
      return formOf(bodyOf(this), typeOf(this));
    },
    async json() {
      return JSON.parse(decodeWithoutMark(await bodyOf(this).bytes()));
    },
    async text() {
      return decodeWithoutMark(await bodyOf(this).bytes());
    },
  };
  Object.defineProperties(constructor.prototype, Object.getOwnPropertyDescriptors(members));
};
