// Intl and what asks it (ECMA-402); computed by the host (functions/intl/).
import { Collator } from "./intl/collator.js";
import { DateTimeFormat } from "./intl/date_time_format.js";
import { ask, request } from "./intl/host.js";
import { ListFormat, RelativeTimeFormat } from "./intl/lists_and_times.js";
import { DisplayNames, Locale, Segmenter } from "./intl/names.js";
import { NumberFormat } from "./intl/number_format.js";
import { localesOf } from "./intl/options.js";
import { PluralRules } from "./intl/plural_rules.js";
import { UNITS } from "./intl/units.js";

const getCanonicalLocales = (locales) => localesOf(locales);

const supportedValuesOf = (key) => {
  const name = String(key);
  return name === "unit" ? [...UNITS] : ask(request("supportedValues"), name);
};

const members = {
  Collator, DateTimeFormat, DisplayNames, ListFormat, Locale, NumberFormat, PluralRules, RelativeTimeFormat, Segmenter,
  getCanonicalLocales, supportedValuesOf,
};

export const Intl = {};
for (const [name, value] of Object.entries(members)) {
  Object.defineProperty(Intl, name, { value, writable: true, configurable: true, enumerable: false });
}
Object.defineProperty(Intl, Symbol.toStringTag, { value: "Intl", configurable: true });

export * from "./intl/methods.js";
