// The polyfill replaces nothing it takes for a native class: what stands there is laid aside while it loads.
const NAMES = ["URL", "URLSearchParams"];

export const aside = NAMES.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
for (const name of NAMES) delete globalThis[name];

export const restore = (properties) => {
  for (const [name, property] of properties) {
    delete globalThis[name];
    if (property !== undefined) Object.defineProperty(globalThis, name, property);
  }
};
