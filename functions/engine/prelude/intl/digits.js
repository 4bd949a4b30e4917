// How many digits: SetNumberFormatDigitOptions (ECMA-402 15.1.3), also for plural rules.
import { option, wholeNumber } from "./options.js";

const INCREMENTS = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 2500, 5000];
const MODES = ["ceil", "floor", "expand", "trunc", "halfCeil", "halfFloor", "halfExpand", "halfTrunc", "halfEven"];
const FRACTION_DIGITS_MAX = 100;
const DIGITS_MAX = 21;

// [least, most] digits after the point when nothing is asked for; amounts have those of their currency.
export const fractionDefaults = (style, currencyDigits) => {
  if (currencyDigits !== undefined) return [currencyDigits, currencyDigits];
  return [0, style === "percent" ? 0 : 3];
};

const readIncrement = (options) => {
  const value = options.roundingIncrement;
  if (value === undefined) return 1;
  const number = Math.floor(Number(value));
  if (!INCREMENTS.includes(number)) throw new RangeError("roundingIncrement value is out of range.");
  return number;
};

const readFraction = (least, most, defaults) => {
  least = wholeNumber(least, "minimumFractionDigits", 0, FRACTION_DIGITS_MAX);
  most = wholeNumber(most, "maximumFractionDigits", 0, FRACTION_DIGITS_MAX);
  if (least === undefined) least = Math.min(defaults[0], most ?? defaults[0]);
  else if (most === undefined) most = Math.max(defaults[1], least);
  most ??= defaults[1];
  if (least > most) throw new RangeError("maximumFractionDigits value is out of range.");
  return { minimumFractionDigits: least, maximumFractionDigits: most };
};

const readSignificant = (least, most) => {
  const minimumSignificantDigits = wholeNumber(least, "minimumSignificantDigits", 1, DIGITS_MAX, 1);
  const maximumSignificantDigits = wholeNumber(
    most, "maximumSignificantDigits", minimumSignificantDigits, DIGITS_MAX, DIGITS_MAX,
  );
  return { minimumSignificantDigits, maximumSignificantDigits };
};

const COMPACT = {
  minimumFractionDigits: 0, maximumFractionDigits: 0, minimumSignificantDigits: 1, maximumSignificantDigits: 2,
};

export const readDigits = (options, settings, defaults, compact) => {
  settings.minimumIntegerDigits = wholeNumber(options.minimumIntegerDigits, "minimumIntegerDigits", 1, DIGITS_MAX, 1);
  const { minimumFractionDigits, maximumFractionDigits, minimumSignificantDigits, maximumSignificantDigits } = options;
  const increment = readIncrement(options);
  settings.roundingMode = option(options, "roundingMode", MODES, "halfExpand");
  const priority = option(options, "roundingPriority", ["auto", "morePrecision", "lessPrecision"], "auto");
  settings.trailingZeroDisplay = option(options, "trailingZeroDisplay", ["auto", "stripIfInteger"], "auto");
  if (increment !== 1) defaults = [defaults[0], defaults[0]];

  const significant = minimumSignificantDigits !== undefined || maximumSignificantDigits !== undefined;
  const fraction = minimumFractionDigits !== undefined || maximumFractionDigits !== undefined;
  const needsSignificant = priority !== "auto" || significant;
  const needsFraction = priority !== "auto" || !(needsSignificant || (!fraction && compact));
  if (needsSignificant) Object.assign(settings, readSignificant(minimumSignificantDigits, maximumSignificantDigits));
  if (needsFraction) Object.assign(settings, readFraction(minimumFractionDigits, maximumFractionDigits, defaults));
  if (!needsSignificant && !needsFraction) Object.assign(settings, COMPACT);

  settings.roundingIncrement = increment;
  settings.roundingPriority = needsSignificant || needsFraction ? priority : "morePrecision";
  if (increment === 1) return;
  if (priority !== "auto" || needsSignificant) throw new TypeError("roundingIncrement value is invalid.");
  if (settings.minimumFractionDigits !== settings.maximumFractionDigits) {
    throw new RangeError("roundingIncrement value is out of range.");
  }
};
