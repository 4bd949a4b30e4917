// Intl.NumberFormat (ECMA-402 15).
import { ask, partsOf, rangePartsOf, remembered, request } from "./host.js";
import { decimalOf } from "./decimals.js";
import { fractionDefaults, readDigits } from "./digits.js";
import { keyOption, localesOf, matcher, option, optionsOf, resolve } from "./options.js";
import { service, shown } from "./service.js";
import { isUnit } from "./units.js";

const currencyDigits = remembered("currencyDigits");

const readUnit = (options, settings) => {
  settings.style = option(options, "style", ["decimal", "percent", "currency", "unit"], "decimal");
  const currency = option(options, "currency");
  if (currency !== undefined && !/^[a-z]{3}$/i.test(currency)) throw new RangeError(`Invalid currency code : ${currency}`);
  if (currency === undefined && settings.style === "currency") throw new TypeError("Required currency option is missing.");
  const currencyDisplay = option(options, "currencyDisplay", ["code", "symbol", "narrowSymbol", "name"], "symbol");
  const currencySign = option(options, "currencySign", ["standard", "accounting"], "standard");
  const unit = option(options, "unit");
  if (unit !== undefined && !isUnit(unit)) throw new RangeError(`Invalid unit argument for Intl.NumberFormat() '${unit}'`);
  if (unit === undefined && settings.style === "unit") throw new TypeError("Required unit option is missing.");
  const unitDisplay = option(options, "unitDisplay", ["short", "narrow", "long"], "short");
  if (settings.style === "currency") {
    Object.assign(settings, { currency: currency.toUpperCase(), currencyDisplay, currencySign });
  }
  if (settings.style === "unit") Object.assign(settings, { unit, unitDisplay });
};

const GROUPINGS = ["min2", "auto", "always", "true", "false"];

const readGrouping = (options, compact) => {
  const fallback = compact ? "min2" : "auto";
  const value = options.useGrouping;
  if (value === undefined) return fallback;
  if (value === true) return "always";
  if (!value) return "false"; // false, 0, "", null
  const text = String(value);
  if (!GROUPINGS.includes(text)) throw new RangeError(`Value ${text} out of range for Intl options property useGrouping`);
  return text === "true" || text === "false" ? fallback : text;
};

const open = (locales, given) => {
  const tags = localesOf(locales);
  const options = optionsOf(given);
  matcher(options);
  const { locale, data, nu } = resolve(tags, { nu: keyOption(options, "numberingSystem") });
  const settings = { data, nu };
  readUnit(options, settings);
  settings.notation = option(options, "notation", ["standard", "scientific", "engineering", "compact"], "standard");
  const compact = settings.notation === "compact";
  const digits = settings.style === "currency" ? currencyDigits(settings.currency) : undefined;
  readDigits(options, settings, fractionDefaults(settings.style, digits), compact);
  const compactDisplay = option(options, "compactDisplay", ["short", "long"], "short");
  if (compact) settings.compactDisplay = compactDisplay;
  settings.useGrouping = readGrouping(options, compact);
  settings.signDisplay = option(options, "signDisplay", ["auto", "never", "always", "exceptZero", "negative"], "auto");
  return { locale, settings, text: request("numberText", settings) };
};

export const formatNumber = (state, value) => ask(state.text, decimalOf(value));

const fieldsOf = (state, value) => ask((state.fields ??= request("numberFields", state.settings)), decimalOf(value));

const rangeOf = (state, start, end) => {
  if (start === undefined || end === undefined) throw new TypeError("start or end is undefined");
  const ends = [decimalOf(start), decimalOf(end)];
  if (ends.includes("NaN")) throw new RangeError("Invalid number value: NaN");
  return ask((state.range ??= request("numberRange", state.settings)), ends);
};

const resolvedOptions = ({ locale, settings: s }) =>
  shown({
    locale, numberingSystem: s.nu ?? ask(request("numberingSystem"), s.data), style: s.style, currency: s.currency,
    currencyDisplay: s.currencyDisplay, currencySign: s.currencySign, unit: s.unit, unitDisplay: s.unitDisplay,
    minimumIntegerDigits: s.minimumIntegerDigits, minimumFractionDigits: s.minimumFractionDigits,
    maximumFractionDigits: s.maximumFractionDigits, minimumSignificantDigits: s.minimumSignificantDigits,
    maximumSignificantDigits: s.maximumSignificantDigits, useGrouping: s.useGrouping === "false" ? false : s.useGrouping,
    notation: s.notation, compactDisplay: s.compactDisplay, signDisplay: s.signDisplay,
    roundingIncrement: s.roundingIncrement, roundingMode: s.roundingMode, roundingPriority: s.roundingPriority,
    trailingZeroDisplay: s.trailingZeroDisplay,
  });

export const openNumberFormat = open;

export const NumberFormat = service("NumberFormat", {
  callable: true,
  open,
  bound: { format: (state, value) => formatNumber(state, value) },
  methods: {
    resolvedOptions,
    formatToParts: (state, value) => partsOf(fieldsOf(state, value)),
    formatRange: (state, start, end) => rangeOf(state, start, end)[0],
    formatRangeToParts: (state, start, end) => rangePartsOf(rangeOf(state, start, end)),
  },
});
