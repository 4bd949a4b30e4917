// toLocaleString and its kin: the methods that load Intl when they are called (ECMA-402 19).
(() => {
  "use strict"; // `this` of a method is what it was called on, also nothing
  const host = globalThis.__host;
  const intl = () => host.part("intl");
  const { valueOf: numberOf } = Number.prototype;
  const { valueOf: bigintOf } = BigInt.prototype;
  const { getTime } = Date.prototype;
  const { apply } = Reflect;

  const textOf = (value, method) => {
    if (value === undefined || value === null) throw new TypeError(`String.prototype.${method} called on null or undefined`);
    return String(value);
  };

  // Locales and options may be left out: they do not count in a function's length.
  const methods = (target, members) => {
    for (const [name, value] of Object.entries(members)) {
      Object.defineProperty(value, "length", { value: name === "localeCompare" ? 1 : 0, configurable: true });
      Object.defineProperty(target.prototype, name, { value, writable: true, configurable: true, enumerable: false });
    }
  };

  methods(Number, {
    toLocaleString(locales, options) {
      return intl().numberText(apply(numberOf, this, []), locales, options);
    },
  });
  methods(BigInt, {
    toLocaleString(locales, options) {
      return intl().numberText(apply(bigintOf, this, []), locales, options);
    },
  });
  methods(Date, {
    toLocaleString(locales, options) {
      return intl().dateText(apply(getTime, this, []), locales, options, "any", "all");
    },
    toLocaleDateString(locales, options) {
      return intl().dateText(apply(getTime, this, []), locales, options, "date", "date");
    },
    toLocaleTimeString(locales, options) {
      return intl().dateText(apply(getTime, this, []), locales, options, "time", "time");
    },
  });
  methods(String, {
    localeCompare(that, locales, options) {
      return intl().compare(textOf(this, "localeCompare"), String(that), locales, options);
    },
    toLocaleUpperCase(locales) {
      const text = textOf(this, "toLocaleUpperCase");
      return locales === undefined ? text.toUpperCase() : intl().changeCase(text, locales, true);
    },
    toLocaleLowerCase(locales) {
      const text = textOf(this, "toLocaleLowerCase");
      return locales === undefined ? text.toLowerCase() : intl().changeCase(text, locales, false);
    },
  });

  // Elements are asked with the arguments, which the engine's own does not hand on.
  const join = (list, locales, options) => {
    const texts = [];
    for (let at = 0; at < list.length; at++) {
      const item = list[at];
      texts.push(item === undefined || item === null ? "" : String(item.toLocaleString(locales, options)));
    }
    return texts.join(",");
  };
  const open = [];
  const toLocaleString = {
    toLocaleString(locales, options) {
      const list = Object(this);
      if (open.includes(list)) return ""; // an array in itself
      open.push(list);
      try {
        return join(list, locales, options);
      } finally {
        open.pop();
      }
    },
  };
  methods(Array, toLocaleString);
  methods(Object.getPrototypeOf(Uint8Array), toLocaleString);
})();
