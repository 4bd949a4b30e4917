// The methods of other classes that ask Intl: toLocaleString and its kin (ECMA-402 19).
import { compareTexts, openCollator } from "./collator.js";
import { formatMoment, openDateTimeFormat } from "./date_time_format.js";
import { ask, request } from "./host.js";
import { formatNumber, openNumberFormat } from "./number_format.js";
import { localesOf } from "./options.js";

// Sorting asks again and again with the same locale and no options: what was opened for them is kept.
const opened = (open) => {
  const kept = new Map();
  return (locales, options, ...more) => {
    const plain = options === undefined && (locales === undefined || typeof locales === "string");
    if (!plain) return open(locales, options, ...more);
    const name = `${locales} ${more}`;
    if (!kept.has(name)) kept.set(name, open(locales, options, ...more));
    return kept.get(name);
  };
};

const numbers = opened(openNumberFormat);
const dates = opened(openDateTimeFormat);
const collators = opened(openCollator);

export const numberText = (value, locales, options) => formatNumber(numbers(locales, options), value);

export const dateText = (date, locales, options, required, defaults) => {
  const state = dates(locales, options, required, defaults);
  return Number.isNaN(date) ? "Invalid Date" : formatMoment(state, date);
};

export const compare = (left, right, locales, options) => compareTexts(collators(locales, options), left, right);

const SPECIAL = ["az", "el", "hy", "lt", "tr"]; // languages with letters of their own rules

export const changeCase = (text, locales, upper) => {
  const locale = localesOf(locales)[0] ?? "en-US";
  if (!SPECIAL.includes(locale.split("-")[0])) return upper ? text.toUpperCase() : text.toLowerCase();
  return ask(request("case", { locale, upper }), text.toWellFormed());
};
