// Platform globals (spec 03 3.1): what a Convex module finds beside ECMAScript, and what it must not find.
(() => {
  const host = globalThis.__host;
  const { random, randomBytes, utf8Encode, utf8Decode, refusal, notYet, abort, state } = host;

  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

  // --- clock and randomness: the engine's own functions are frozen or seeded by the glue -----------------

  Object.defineProperty(Math, "random", { value: random, writable: true, configurable: true });

  class Performance {
    get timeOrigin() {
      return state.timeOrigin;
    }
    now() {
      return state.executing ? Math.floor((Date.now() - state.timeOrigin) * 10) / 10 : 0;
    }
    toJSON() {
      return { timeOrigin: this.timeOrigin };
    }
  }
  for (const name of ["eventCounts", "timing", "navigation"]) {
    Object.defineProperty(Performance.prototype, name, { get: () => unimplemented(name, "Performance") });
  }

  const unimplemented = (host.unimplemented = (method, owner) =>
    abort(
      `Not implemented: ${method} for ${owner}. Consider calling an action defined in Node.js instead ` +
        "(https://docs.convex.dev/functions/actions).",
    ));

  // In configurations a clock would make two equal pushes differ (spec 02 9).
  host.forbidClock = () => {
    const forbidden = (what) => () => {
      throw new Error(`${what} is unsupported when evaluating a configuration file`);
    };
    const date = { apply: forbidden("Date"), construct: forbidden("new Date()") };
    const NativeDate = Date;
    NativeDate.now = forbidden("Date.now()");
    date.construct = (target, args, newTarget) =>
      args.length === 0 ? forbidden("new Date()")() : Reflect.construct(target, args, newTarget);
    define("Date", new Proxy(NativeDate, date));
    Math.random = forbidden("Math.random()");
    Performance.prototype.now = forbidden("performance.now()");
  };

  // --- crypto (spec 03 3.4) -------------------------------------------------------------------------------

  const ENTROPY_BYTES_MAX = 65536;
  const NO_BYTES = new ArrayBuffer(0);

  const requireEntropy = () => {
    if (!state.executing) throw new Error("Cannot use cryptographic randomness at import time");
  };

  // Nobody replays an action: there the system's generator, which is one for secrets, answers. What a query or
  // a mutation draws follows from the seed of its call, in the order in which it draws.
  const fillRandom = (buffer, offset, length) => {
    if (state.kind !== "action") return randomBytes(buffer, offset, length);
    const drawn = host.operation(`{"do":"random","bytes":${length}}`, NO_BYTES, 0, 0);
    new Uint8Array(buffer, offset, length).set(new Uint8Array(drawn));
  };

  const getRandomValues = (array) => {
    if (!ArrayBuffer.isView(array) || array instanceof DataView || /^Float/.test(array[Symbol.toStringTag])) {
      throw new DOMException("The data type of the array is not an integer type", "TypeMismatchError");
    }
    if (array.byteLength > ENTROPY_BYTES_MAX) {
      throw new TypeError(
        `Byte length (${array.byteLength}) exceeds the number of bytes of entropy available via this API ` +
          `(${ENTROPY_BYTES_MAX})`,
      );
    }
    requireEntropy();
    fillRandom(array.buffer, array.byteOffset, array.byteLength);
    return array;
  };

  const randomUUID = () => {
    requireEntropy();
    const bytes = new Uint8Array(16);
    fillRandom(bytes.buffer, 0, 16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = bytes.toHex();
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  };

  const illegal = (name) =>
    class {
      constructor() {
        throw new TypeError(`Illegal constructor: ${name}`);
      }
    };
  const Crypto = illegal("Crypto");
  const SubtleCrypto = illegal("SubtleCrypto");
  const SUBTLE = ["decrypt", "deriveBits", "deriveKey", "digest", "encrypt", "exportKey", "generateKey", "importKey", "sign", "verify"];
  for (const name of SUBTLE) {
    SubtleCrypto.prototype[name] = async (...args) => host.part("subtle")[name](...args);
  }
  for (const name of ["wrapKey", "unwrapKey"]) SubtleCrypto.prototype[name] = () => unimplemented(name, "SubtleCrypto");
  Object.assign(Crypto.prototype, { getRandomValues, randomUUID, subtle: Object.create(SubtleCrypto.prototype) });

  // --- process.env (spec 03 5.8) --------------------------------------------------------------------------

  const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,255}$/;

  const readEnvironment = (name) => {
    if (state.purpose === "schema") throw new Error("Environment variables unsupported when evaluating schema");
    if (!NAME.test(name)) {
      throw new Error(
        `The environment variable name ${name} is invalid. Environment variable names must begin with a letter ` +
          "and may only include characters a-z, A-Z, 0-9, and underscores.",
      );
    }
    const value = state.environment[name];
    if (value !== undefined) return value;
    if (name === "inspect") return () => "[process.env]";
    if (state.purpose !== "auth") return undefined;
    throw new Error(`Environment variable ${name} is used in auth config file but its value was not set`);
  };

  const env = new Proxy(
    {},
    { get: (target, name) => (typeof name === "symbol" ? target[name] : readEnvironment(name)) },
  );

  // --- text -------------------------------------------------------------------------------------------------

  class TextEncoder {
    get encoding() {
      return "utf-8";
    }
    encode(text = "") {
      return new Uint8Array(utf8Encode(String(text).toWellFormed()));
    }
    encodeInto(text, target) {
      let read = 0;
      let written = 0;
      for (const character of String(text).toWellFormed()) {
        const bytes = this.encode(character);
        if (written + bytes.length > target.length) break;
        target.set(bytes, written);
        written += bytes.length;
        read += character.length;
      }
      return { read, written };
    }
  }

  const UTF8_LABELS = new Set(["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"]);

  const bytesOf = (input) => {
    if (input === undefined) return new Uint8Array(0);
    if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    return new Uint8Array(input);
  };

  // How many bytes at the end begin a sequence that a later chunk may complete.
  const unfinishedTail = (bytes) => {
    for (let back = 1; back <= Math.min(3, bytes.length); back++) {
      const byte = bytes[bytes.length - back];
      if (byte >= 0xc2 && byte < 0xf5) return back < (byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4) ? back : 0;
      if (byte < 0x80 || byte >= 0xc0) return 0;
    }
    return 0;
  };

  class TextDecoder {
    #rest = new Uint8Array(0);
    #started = false;
    constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
      const encoding = String(label).trim().toLowerCase();
      if (!UTF8_LABELS.has(encoding)) throw new RangeError(`TextDecoder: encoding ${encoding} is not supported`);
      Object.assign(this, { encoding: "utf-8", fatal: Boolean(fatal), ignoreBOM: Boolean(ignoreBOM) });
    }
    decode(input, { stream = false } = {}) {
      const fresh = bytesOf(input);
      let bytes = fresh;
      if (this.#rest.length > 0) {
        bytes = new Uint8Array(this.#rest.length + fresh.length);
        bytes.set(this.#rest);
        bytes.set(fresh, this.#rest.length);
      }
      const tail = stream ? unfinishedTail(bytes) : 0;
      this.#rest = bytes.slice(bytes.length - tail);
      const text = utf8Decode(bytes.buffer, bytes.byteOffset, bytes.length - tail, this.fatal);
      if (text === undefined) throw new TypeError("The encoded data was not valid for encoding utf-8");
      const bare = !this.#started && !this.ignoreBOM && text.startsWith("\ufeff") ? text.slice(1) : text;
      this.#started = stream && (this.#started || text !== "");
      return bare;
    }
  }

  // --- references: garbage collection must not be observable --------------------------------------------------

  const collectable = (value) =>
    (typeof value === "object" && value !== null) ||
    typeof value === "function" ||
    (typeof value === "symbol" && Symbol.keyFor(value) === undefined);

  class WeakRef {
    #target;
    constructor(target) {
      if (!collectable(target)) throw new TypeError("WeakRef: invalid target");
      this.#target = target;
    }
    deref() {
      return this.#target;
    }
  }

  class FinalizationRegistry {
    constructor(cleanup) {
      if (typeof cleanup !== "function") throw new TypeError("FinalizationRegistry: cleanup must be callable");
    }
    register(target) {
      if (!collectable(target)) throw new TypeError("FinalizationRegistry.prototype.register: invalid target");
    }
    unregister(token) {
      if (!collectable(token)) throw new TypeError("FinalizationRegistry.prototype.unregister: invalid token");
      return false;
    }
  }

  // Propagates through synchronous code only: the engine has no hook for promise continuations yet.
  class AsyncLocalStorage {
    #store;
    run(store, callback, ...args) {
      const outer = this.#store;
      this.#store = store;
      try {
        return callback(...args);
      } finally {
        this.#store = outer;
      }
    }
    exit(callback, ...args) {
      return this.run(undefined, callback, ...args);
    }
    enterWith(store) {
      this.#store = store;
    }
    getStore() {
      return this.#store;
    }
    disable() {
      this.#store = undefined;
    }
  }

  // --- what needs the host -------------------------------------------------------------------------------------

  const fetch = async (input, init) => {
    host.requireAction("fetch()");
    return host.part("network").fetch(input, init);
  };

  const isInAction = () => state.executing && state.kind === "action";

  // Elsewhere, as specified, the call itself returns; the refusal is an unhandled rejection that ends the function.
  let refusedTimers = 0;
  const timer = (name) => (callback, delay, ...args) => {
    if (typeof callback === "string") unimplemented(`code string argument for ${name}`, "Timers");
    if (isInAction()) return host.part("timers")[name](callback, delay, ...args);
    Promise.reject(refusal(name));
    return ++refusedTimers;
  };
  const clearTimer = (id) => {
    if (isInAction()) host.part("timers").clear(id);
  };

  const unavailable = (name) =>
    ({
      [name]: class {
        constructor() {
          throw notYet(name);
        }
      },
    })[name];

  define("AsyncResource", unavailable("AsyncResource"));

  const namespaceOf = (name, members) => {
    const namespace = { [Symbol.toStringTag]: name };
    for (const member of members) namespace[member] = unavailable(`${name}.${member}`);
    return namespace;
  };
  define("WebAssembly", namespaceOf("WebAssembly", ["Module", "Instance", "Memory", "Table", "compile", "instantiate"]));

  const ABSENT = ["queueMicrotask", "navigator", "SharedArrayBuffer", "print", "gc", "setImmediate"];
  for (const name of ABSENT) delete globalThis[name];

  host.setTimeout = timer("setTimeout");
  const crypto = Object.create(Crypto.prototype);
  const performance = new Performance();
  const globals = {
    AsyncLocalStorage, Crypto, FinalizationRegistry, Performance, SubtleCrypto, TextDecoder, TextEncoder, WeakRef,
    clearInterval: clearTimer, clearTimeout: clearTimer, crypto, fetch, performance, process: { env }, self: globalThis,
    setInterval: timer("setInterval"), setTimeout: host.setTimeout,
  };
  for (const [name, value] of Object.entries(globals)) define(name, value);
})();
