// Intl.PluralRules (ECMA-402 16).
import { ask, request } from "./host.js";
import { readDigits } from "./digits.js";
import { localesOf, matcher, option, optionsOf, resolve } from "./options.js";
import { service, shown } from "./service.js";

const CATEGORIES = ["few", "many", "one", "two", "zero", "other"];

const open = (locales, given) => {
  const tags = localesOf(locales);
  const options = optionsOf(given);
  matcher(options);
  const settings = { type: option(options, "type", ["cardinal", "ordinal"], "cardinal") };
  readDigits(options, settings, [0, 3], false);
  const { locale, data } = resolve(tags);
  settings.data = data;
  return { locale, settings, category: request("pluralCategory", settings) };
};

const decimal = (value) => {
  const number = Number(value);
  return Object.is(number, -0) ? "-0" : String(number);
};

const resolvedOptions = ({ locale, settings: s }) =>
  shown({
    locale, type: s.type, minimumIntegerDigits: s.minimumIntegerDigits, minimumFractionDigits: s.minimumFractionDigits,
    maximumFractionDigits: s.maximumFractionDigits, minimumSignificantDigits: s.minimumSignificantDigits,
    maximumSignificantDigits: s.maximumSignificantDigits, pluralCategories: categoriesOf(s),
    roundingIncrement: s.roundingIncrement, roundingMode: s.roundingMode, roundingPriority: s.roundingPriority,
    trailingZeroDisplay: s.trailingZeroDisplay,
  });

const categoriesOf = (settings) => {
  const found = ask(request("pluralCategories", settings));
  return CATEGORIES.filter((category) => found.includes(category));
};

export const PluralRules = service("PluralRules", {
  open,
  methods: { resolvedOptions, select: (state, value) => select(state, decimal(value)) },
});

const select = (state, number) => (/NaN|Infinity/.test(number) ? "other" : ask(state.category, number));
