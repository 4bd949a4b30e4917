// How every class of Intl is made: a constructor that opens a state nobody can reach, methods that look it up.
import { supportedLocalesOf } from "./options.js";

const hide = (target, name, value) =>
  Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });

// name, length: of the constructor. open(...args): the state of a new object. callable: also without `new`.
// methods: functions of (state, ...args). getters: of the state. bound: getters that give
// a function of the object, always the same one.
export const service = (name, { length = 0, callable = false, open, methods, bound = {}, getters = {}, statics = true }) => {
  const states = new WeakMap();
  const stateOf = (value, method) => {
    const state = states.get(value);
    if (state !== undefined) return state;
    throw new TypeError(`Method Intl.${name}.prototype.${method} called on incompatible receiver ${typeof value}`);
  };

  const Service = function (...args) {
    if (new.target === undefined) {
      if (callable) return new Service(...args);
      throw new TypeError(`Constructor Intl.${name} requires 'new'`);
    }
    states.set(this, open(...args));
  };
  Object.defineProperty(Service, "name", { value: name, configurable: true });
  Object.defineProperty(Service, "length", { value: length, configurable: true });
  Object.defineProperty(Service, "prototype", { writable: false });
  const { prototype } = Service;
  hide(prototype, "constructor", Service);
  Object.defineProperty(prototype, Symbol.toStringTag, { value: `Intl.${name}`, configurable: true });

  for (const [method, run] of Object.entries(methods)) {
    const call = { [method](...args) { return run(stateOf(this, method), ...args); } }[method];
    Object.defineProperty(call, "length", { value: Math.max(run.length - 1, 0), configurable: true });
    hide(prototype, method, call);
  }
  for (const [property, read] of Object.entries({ ...getters, ...boundGetters(bound) })) {
    const get = function () {
      return read(stateOf(this, property));
    };
    Object.defineProperty(get, "name", { value: `get ${property}`, configurable: true });
    Object.defineProperty(prototype, property, { get, configurable: true, enumerable: false });
  }
  if (statics) {
    const supported = { supportedLocalesOf(locales, options) { return supportedLocalesOf(locales, options); } };
    Object.defineProperty(supported.supportedLocalesOf, "length", { value: 1, configurable: true });
    hide(Service, "supportedLocalesOf", supported.supportedLocalesOf);
  }
  return Service;
};

// `format` and `compare` are functions of their object, which `map` and `sort` may be handed.
const boundGetters = (bound) =>
  Object.fromEntries(
    Object.entries(bound).map(([property, run]) => {
      const functions = new WeakMap();
      return [property, (state) => functions.get(state) ?? bind(functions, state, run)];
    }),
  );

const bind = (functions, state, run) => {
  const call = (...args) => run(state, ...args);
  Object.defineProperty(call, "name", { value: "", configurable: true });
  Object.defineProperty(call, "length", { value: run.length - 1, configurable: true });
  functions.set(state, call);
  return call;
};

// What resolvedOptions shows: an object of what is there, in the order given.
export const shown = (entries) =>
  Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined && value !== null));
