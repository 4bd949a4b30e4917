// Intl.ListFormat and Intl.RelativeTimeFormat (ECMA-402 13, 17).
import { ask, partsOf, request } from "./host.js";
import { keyOption, localesOf, matcher, option, optionsOf, resolve, strictOptionsOf } from "./options.js";
import { service } from "./service.js";

const STYLES = ["long", "short", "narrow"];

// --- lists --------------------------------------------------------------------------------------------------

const openList = (locales, given) => {
  const tags = localesOf(locales);
  const options = strictOptionsOf(given);
  matcher(options);
  const type = option(options, "type", ["conjunction", "disjunction", "unit"], "conjunction");
  const style = option(options, "style", STYLES, "long");
  const { locale, data } = resolve(tags);
  return { locale, type, style, join: request("joinList", { data, type, style }) };
};

const itemsOf = (iterable) => {
  const items = [];
  for (const item of iterable ?? []) {
    if (typeof item !== "string") throw new TypeError("Iterable yielded a value which is not a string");
    items.push(item.toWellFormed());
  }
  return items;
};

const joined = (state, iterable) => ask(state.join, itemsOf(iterable));

export const ListFormat = service("ListFormat", {
  open: openList,
  methods: {
    resolvedOptions: ({ locale, type, style }) => ({ locale, type, style }),
    format: (state, list) => joined(state, list)[0],
    formatToParts: (state, list) => partsOf(joined(state, list)),
  },
});

// --- relative times -----------------------------------------------------------------------------------------

const UNITS = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];

const openRelativeTime = (locales, given) => {
  const tags = localesOf(locales);
  const options = optionsOf(given);
  matcher(options);
  const { locale, data, nu } = resolve(tags, { nu: keyOption(options, "numberingSystem") });
  const style = option(options, "style", STYLES, "long");
  const numeric = option(options, "numeric", ["always", "auto"], "always");
  return { locale, data, nu, style, numeric, write: request("relativeTime", { data, nu, style, numeric }) };
};

const written = (state, value, unit) => {
  const amount = Number(value);
  const singular = String(unit).replace(/s$/, "");
  if (!Number.isFinite(amount)) throw new RangeError("Invalid number value: " + amount);
  if (!UNITS.includes(singular)) throw new RangeError(`Invalid unit argument for format() '${unit}'`);
  return [ask(state.write, [Object.is(amount, -0) ? "-0" : amount, singular]), singular];
};

export const RelativeTimeFormat = service("RelativeTimeFormat", {
  open: openRelativeTime,
  methods: {
    resolvedOptions: ({ locale, data, nu, style, numeric }) => ({
      locale, style, numeric, numberingSystem: nu ?? ask(request("numberingSystem"), data),
    }),
    format: (state, value, unit) => written(state, value, unit)[0][0],
    formatToParts: (state, value, unit) => {
      const [answer, singular] = written(state, value, unit);
      return partsOf(answer).map((part) => (part.type === "literal" ? part : { ...part, unit: singular }));
    },
  },
});
