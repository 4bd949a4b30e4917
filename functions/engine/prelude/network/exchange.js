// One request and its response, as the host sends and receives them (actors/fetch.py).
//
// Promises:
//   - once `end` was called, everything that waits for this exchange rejects with its reason;
//   - bodies move on demand: the next piece is asked for when the last was taken, in both directions.
const { asyncSyscall, syscall } = host;
const { parse, stringify } = JSON;

const PIECE_BYTES = 65536;
const ignore = () => {};
let lastId = 0;

export class Exchange {
  #id = ++lastId;
  #signal;
  #onAbort = () => this.end(this.#signal.reason);
  #ended; // {reason} once this side has ended it
  #upload; // the reader of a streamed request body, while there is one

  constructor(signal) {
    this.#signal = signal;
    signal.addEventListener("abort", this.#onAbort);
  }

  // The head of the response: {status, statusText, headers}.
  async send({ url, method, headers, body }) {
    const isStreamed = body !== null && !(body instanceof Uint8Array);
    const head = this.#ask("fetch", {
      url,
      method,
      headers,
      body: body === null || isStreamed ? null : body.toBase64(),
      hasStreamedBody: isStreamed,
    });
    if (isStreamed) this.#pump(body.getReader());
    return head;
  }

  // The next piece of the response's body, null at its end.
  async read() {
    const piece = await this.#ask("fetchRead");
    if (piece !== null) return Uint8Array.fromBase64(piece);
    this.#forget();
    return null;
  }

  // Nothing more of it is wanted.
  end(reason) {
    if (this.#ended !== undefined) return;
    this.#ended = { reason };
    this.#forget();
    this.#stopUpload(reason);
    syscall("host/fetchAbort", stringify({ id: this.#id }));
  }

  async #ask(operation, args = {}) {
    try {
      return parse(await asyncSyscall(`host/${operation}`, stringify({ id: this.#id, ...args })));
    } catch (error) {
      this.#forget();
      throw this.#ended === undefined ? error : this.#ended.reason;
    }
  }

  // What user code gave may fail, which ends the exchange. The host may refuse a piece, since the response is there
  // before the request was wanted whole: then the rest stays where it is, and the response is what counts.
  async #pump(reader) {
    this.#upload = reader;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (!done && !(value instanceof Uint8Array)) throw new TypeError("Received non-Uint8Array chunk");
        if (!(await this.#takes(done ? null : value))) return this.#stopUpload();
        if (done) return undefined;
      }
    } catch (error) {
      return this.end(error);
    }
  }

  async #takes(bytes) {
    const write = (chunk) => asyncSyscall("host/fetchWrite", stringify({ id: this.#id, chunk }));
    try {
      if (bytes === null) await write(null);
      for (let at = 0; at < bytes?.length; at += PIECE_BYTES) {
        await write(bytes.subarray(at, at + PIECE_BYTES).toBase64());
      }
      return true;
    } catch {
      return false;
    }
  }

  #stopUpload(reason) {
    this.#upload?.cancel(reason).catch(ignore);
    this.#upload = undefined;
  }

  #forget() {
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}
