// Globals of the parts that not every call needs: a part is evaluated when one of its names is first touched,
// by a call or, if a module does it while it is evaluated, once into the image (design D11).
(() => {
  const host = globalThis.__host;
  const { lazyScript } = host;
  const { getOwnPropertyDescriptor, defineProperty } = Object;

  const PARTS = {
    url: ["URL", "URLSearchParams"],
    streams: [
      "ByteLengthQueuingStrategy", "CountQueuingStrategy", "ReadableStream", "ReadableStreamBYOBReader",
      "ReadableStreamDefaultReader", "TextDecoderStream", "TextEncoderStream", "TransformStream", "WritableStream",
      "WritableStreamDefaultWriter",
    ],
    fetch: ["Blob", "File", "FormData", "Headers", "Request", "Response"],
    subtle: ["CryptoKey"],
    intl: ["Intl"],
    timers: [], // platform.js brings these two in, when an action calls their functions
    network: [],
  };

  const define = (name, value) =>
    defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

  const getters = Object.create(null);
  const loaded = Object.create(null);

  // What user code has put in the place of a global stays there.
  const load = (part) => {
    const exports = lazyScript(`tidelog:${part}.js`, host);
    for (const name of PARTS[part]) {
      if (getOwnPropertyDescriptor(globalThis, name)?.get === getters[name]) define(name, exports[name]);
    }
    return exports;
  };

  // What a part exports: its globals, and what other parts need of it.
  host.part = (part) => (loaded[part] ??= load(part));

  for (const part of Object.keys(PARTS)) {
    for (const name of PARTS[part]) {
      getters[name] = () => host.part(part)[name];
      const set = (value) => define(name, value);
      defineProperty(globalThis, name, { get: getters[name], set, configurable: true, enumerable: false });
    }
  }
})();
