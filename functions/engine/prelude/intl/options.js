// Reading arguments as ECMA-402 9 says: lists of locales, options, their defaults and their complaints.
import { ask, remembered, request } from "./host.js";

const canonical = remembered("canonical");
const RESOLVE = request("resolve");
const SUPPORTED = request("supported");

export const localesOf = (locales) => {
  if (locales === undefined) return [];
  if (typeof locales === "string" || isLocale(locales)) return [canonical(String(locales))];
  if (locales === null) throw new TypeError("Cannot convert undefined or null to object");
  const list = Object(locales);
  const tags = new Set();
  for (let at = 0; at < Math.min(Math.trunc(Number(list.length)) || 0, Number.MAX_SAFE_INTEGER); at++) {
    if (at in list) tags.add(tagOf(list[at]));
  }
  return [...tags];
};

const isLocale = (value) => value?.[Symbol.toStringTag] === "Intl.Locale";

export const tagOf = (value) => {
  if (typeof value !== "string" && (typeof value !== "object" || value === null)) {
    throw new TypeError("Language ID should be string or object.");
  }
  return canonical(String(value));
};

// Options of the older services are made an object; those of the newer ones must be one.
export const optionsOf = (options) => (options === undefined ? Object.create(null) : Object(nonNull(options)));

const nonNull = (options) => {
  if (options === null) throw new TypeError("Cannot convert undefined or null to object");
  return options;
};

export const strictOptionsOf = (options) => {
  if (options === undefined) return Object.create(null);
  if (typeof options !== "object" && typeof options !== "function") throw new TypeError("Incorrect options");
  return nonNull(options);
};

export const option = (options, name, values, fallback) => {
  const value = options[name];
  if (value === undefined) return fallback;
  const text = String(value);
  if (values !== undefined && !values.includes(text)) {
    throw new RangeError(`Value ${text} out of range for Intl options property ${name}`);
  }
  return text;
};

export const flag = (options, name, fallback) => {
  const value = options[name];
  return value === undefined ? fallback : Boolean(value);
};

export const wholeNumber = (value, name, least, most, fallback) => {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!(number >= least && number <= most)) throw new RangeError(`${name} value is out of range.`);
  return Math.floor(number);
};

export const matcher = (options) => option(options, "localeMatcher", ["lookup", "best fit"], "best fit");

const TYPE = /^[a-z\d]{3,8}(-[a-z\d]{3,8})*$/i;

// The value of a key of the Unicode extension (calendar, numberingSystem, collation).
export const keyOption = (options, name) => {
  const value = option(options, name);
  if (value === undefined) return null;
  if (!TYPE.test(value)) throw new RangeError(`Invalid ${name} : ${value}`);
  return value.toLowerCase();
};

// { locale, data, ...keys }: the locale to tell of, the one that has data, and the values of the keys.
export const resolve = (locales, keys = {}) => ask(RESOLVE, { locales, keys });

export const supportedLocalesOf = (locales, options) => {
  const tags = localesOf(locales);
  if (options !== undefined) matcher(optionsOf(options));
  return ask(SUPPORTED, tags);
};
