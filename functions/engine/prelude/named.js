// The bundler shortens the names of classes; what user code sees of them is said here.
export const named = (name, constructor) => {
  Object.defineProperty(constructor, "name", { value: name, configurable: true });
  Object.defineProperty(constructor.prototype, Symbol.toStringTag, { value: name, configurable: true });
};
