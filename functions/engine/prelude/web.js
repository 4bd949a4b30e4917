// Web classes that need no host: structuredClone, events, abort signals (spec 03 3.1).
(() => {
  const host = globalThis.__host;
  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

  // --- structuredClone -----------------------------------------------------------------------------------------

  const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

  const refuseClone = (value) => {
    const shown = typeof value === "symbol" ? value.toString() : String(value);
    throw new DOMException(`${shown} could not be cloned.`, "DataCloneError");
  };

  const cloneError = (error, copy) => {
    const constructor = ERRORS[error.name] ?? Error;
    const clone = Reflect.construct(Error, [], constructor);
    for (const key of ["message", "stack", "cause"]) {
      if (!Object.hasOwn(error, key)) continue;
      Object.defineProperty(clone, key, { value: copy(error[key]), writable: true, configurable: true });
    }
    return clone;
  };

  const cloneView = (view, copy) => {
    const buffer = copy(view.buffer);
    const length = view instanceof DataView ? view.byteLength : view.length;
    return new view.constructor(buffer, view.byteOffset, length);
  };

  // The empty twin of an object, and what is still to be filled into it once it is remembered.
  const twinOf = (value, copy) => {
    if (Array.isArray(value)) return [new Array(value.length), true];
    if (value instanceof Date) return [new Date(value.getTime())];
    if (value instanceof RegExp) return [new RegExp(value.source, value.flags)];
    if (value instanceof Map || value instanceof Set) return [value instanceof Map ? new Map() : new Set()];
    if (value instanceof ArrayBuffer) return [value.slice(0)];
    if (ArrayBuffer.isView(value)) return [cloneView(value, copy)];
    if (Error.isError(value)) return [cloneError(value, copy)];
    for (const box of [Boolean, Number, String, BigInt]) {
      if (value instanceof box) return [Object(value.valueOf())];
    }
    const tag = Object.prototype.toString.call(value);
    if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) refuseClone(tag);
    return [{}, true];
  };

  const cloneWith = (seen) => {
    const copy = (value) => {
      if (typeof value === "function" || typeof value === "symbol") refuseClone(value);
      if (typeof value !== "object" || value === null) return value;
      if (seen.has(value)) return seen.get(value);
      const [twin, hasProperties] = twinOf(value, copy);
      seen.set(value, twin);
      if (value instanceof Map) for (const [k, v] of [...value]) twin.set(copy(k), copy(v));
      else if (value instanceof Set) for (const v of [...value]) twin.add(copy(v));
      else if (hasProperties) for (const key of Object.keys(value)) twin[key] = copy(value[key]);
      return twin;
    };
    return copy;
  };

  const structuredClone = (value, options) => {
    if (options !== undefined) throw new Error("structuredClone with transfer not supported");
    return cloneWith(new Map())(value);
  };

  // --- events ------------------------------------------------------------------------------------------------------

  class Event {
    #stopped = false;
    #prevented = false;
    constructor(type, { bubbles = false, cancelable = false, composed = false } = {}) {
      Object.assign(this, { type: String(type), bubbles, cancelable, composed, target: null, currentTarget: null });
      Object.assign(this, { eventPhase: 0, isTrusted: false, timeStamp: 0 });
    }
    get defaultPrevented() {
      return this.#prevented;
    }
    preventDefault() {
      this.#prevented ||= this.cancelable;
    }
    stopPropagation() {}
    stopImmediatePropagation() {
      this.#stopped = true;
    }
    static isStopped(event) {
      return event.#stopped;
    }
  }
  const { isStopped } = Event;
  delete Event.isStopped;

  class EventTarget {
    #listeners = [];
    addEventListener(type, listener, options) {
      const { once = false, capture = false, signal } = typeof options === "object" && options !== null ? options : { capture: Boolean(options) };
      if (listener === null || listener === undefined || signal?.aborted) return;
      const same = (each) => each.type === type && each.listener === listener && each.capture === capture;
      if (this.#listeners.some(same)) return;
      this.#listeners.push({ type, listener, once, capture });
      signal?.addEventListener("abort", () => this.removeEventListener(type, listener, { capture }));
    }
    removeEventListener(type, listener, options) {
      const capture = typeof options === "object" && options !== null ? Boolean(options.capture) : Boolean(options);
      this.#listeners = this.#listeners.filter(
        (each) => each.type !== type || each.listener !== listener || each.capture !== capture,
      );
    }
    dispatchEvent(event) {
      Object.assign(event, { target: this, currentTarget: this });
      for (const each of [...this.#listeners]) {
        if (each.type !== event.type || !this.#listeners.includes(each)) continue;
        if (each.once) this.removeEventListener(each.type, each.listener, each.capture);
        if (typeof each.listener === "function") each.listener.call(this, event);
        else each.listener.handleEvent(event);
        if (isStopped(event)) break;
      }
      event.currentTarget = null;
      return !event.defaultPrevented;
    }
  }

  const KEY = Symbol("construct");

  class AbortSignal extends EventTarget {
    #aborted = false;
    #reason = undefined;
    onabort = null;
    constructor(key) {
      super();
      if (key !== KEY) throw new TypeError("Illegal constructor: AbortSignal");
    }
    get aborted() {
      return this.#aborted;
    }
    get reason() {
      return this.#reason;
    }
    throwIfAborted() {
      if (this.#aborted) throw this.#reason;
    }
    static raise(signal, reason = new DOMException("The signal has been aborted", "AbortError")) {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason;
      const event = new Event("abort");
      signal.onabort?.call(signal, event);
      signal.dispatchEvent(event);
    }
    static abort(reason) {
      const signal = new AbortSignal(KEY);
      raise(signal, reason);
      return signal;
    }
    static timeout(milliseconds) {
      const signal = new AbortSignal(KEY);
      const reason = () => new DOMException("The operation was aborted due to timeout", "TimeoutError");
      host.setTimeout(() => raise(signal, reason()), milliseconds);
      return signal;
    }
    static any(signals) {
      const combined = new AbortSignal(KEY);
      for (const signal of signals) {
        if (signal.aborted) raise(combined, signal.reason);
        else signal.addEventListener("abort", () => raise(combined, signal.reason), { once: true });
      }
      return combined;
    }
  }
  const { raise } = AbortSignal;
  delete AbortSignal.raise;

  class AbortController {
    #signal = new AbortSignal(KEY);
    get signal() {
      return this.#signal;
    }
    abort(reason) {
      raise(this.#signal, reason);
    }
  }

  const globals = { structuredClone, Event, EventTarget, AbortController, AbortSignal };
  for (const [name, value] of Object.entries(globals)) define(name, value);
})();
