// Intl.DateTimeFormat (ECMA-402 11).
import { ask, rangePartsOf, request } from "./host.js";
import { flag, keyOption, localesOf, matcher, option, optionsOf, resolve, wholeNumber } from "./options.js";
import { service, shown } from "./service.js";

const OPEN = request("dateOpen");
const CYCLES = ["h11", "h12", "h23", "h24"];
const STYLES = ["full", "long", "medium", "short"];
const NUMBERS = ["2-digit", "numeric"];
const TEXTS = ["narrow", "short", "long"];
const DATE = ["weekday", "year", "month", "day"];
const TIME = ["dayPeriod", "hour", "minute", "second", "fractionalSecondDigits"];
const COMPONENTS = {
  weekday: TEXTS,
  era: TEXTS,
  year: NUMBERS,
  month: [...NUMBERS, ...TEXTS],
  day: NUMBERS,
  dayPeriod: TEXTS,
  hour: NUMBERS,
  minute: NUMBERS,
  second: NUMBERS,
  fractionalSecondDigits: undefined,
  timeZoneName: ["short", "long", "shortOffset", "longOffset", "shortGeneric", "longGeneric"],
};
const TIME_MS_MAX = 8.64e15;

const readComponents = (options) => {
  const found = {};
  for (const [name, values] of Object.entries(COMPONENTS)) {
    const value =
      values === undefined ? wholeNumber(options[name], name, 1, 3) : option(options, name, values);
    if (value !== undefined) found[name] = value;
  }
  return found;
};

// `required`: what must be asked for, or `defaults` are added: "date", "time", "any"/"all" for both.
const withDefaults = (components, required, defaults) => {
  const wanted = { date: DATE, time: TIME, any: [...DATE, ...TIME] }[required];
  if (wanted.some((name) => components[name] !== undefined)) return components;
  const added = { ...components };
  if (defaults !== "time") Object.assign(added, { year: "numeric", month: "numeric", day: "numeric" });
  if (defaults !== "date") Object.assign(added, { hour: "numeric", minute: "numeric", second: "numeric" });
  return added;
};

const refuseMixture = (components, styles, required) => {
  const [style] = Object.keys(styles);
  const [component] = Object.keys(components);
  if (component !== undefined) throw new TypeError(`Can't set option ${component} when ${style} is used`);
  const other = { date: "timeStyle", time: "dateStyle" }[required];
  if (styles[other] !== undefined) throw new TypeError(`Invalid option : ${other}`);
};

export const openDateTimeFormat = (locales, given, required = "any", defaults = "date") => {
  const tags = localesOf(locales);
  const options = optionsOf(given);
  matcher(options);
  const ca = keyOption(options, "calendar");
  const nu = keyOption(options, "numberingSystem");
  const hour12 = flag(options, "hour12");
  const hc = option(options, "hourCycle", CYCLES, null);
  const keys = resolve(tags, { ca, nu, hc: hour12 === undefined ? hc : null });
  const timeZone = options.timeZone === undefined ? "UTC" : String(options.timeZone);
  const components = readComponents(options);
  option(options, "formatMatcher", ["basic", "best fit"]);
  const styles = shown({ dateStyle: option(options, "dateStyle", STYLES), timeStyle: option(options, "timeStyle", STYLES) });
  const styled = Object.keys(styles).length > 0;
  if (styled) refuseMixture(components, styles, required);
  const wanted = styled ? styles : withDefaults(components, required, defaults);
  const opened = ask(OPEN, { data: keys.data, ca: keys.ca, nu: keys.nu, hc: keys.hc, hour12, timeZone, ...wanted });
  const { calendar, numberingSystem, pattern, ...described } = opened;
  const settings = { data: keys.data, calendar, numberingSystem, timeZone: opened.timeZone, pattern };
  return { locale: localeTold(keys, hour12), settings, styles, described, text: request("dateText", settings) };
};

// hour12 overrules the hour cycle that the locale's tag asks for.
const localeTold = ({ locale }, hour12) => (hour12 === undefined ? locale : locale.replace(/-u-hc-h\d\d$|-hc-h\d\d/, ""));

const momentOf = (date) => {
  const ms = date === undefined ? Date.now() : Number(date);
  if (!(Math.abs(ms) <= TIME_MS_MAX)) throw new RangeError("Invalid time value");
  return Math.trunc(ms) + 0;
};

export const formatMoment = (state, date) => ask(state.text, momentOf(date));

const partsOfMoment = (state, date) => {
  const parts = ask((state.parts ??= request("dateParts", state.settings)), momentOf(date));
  return parts.map(([type, value]) => ({ type, value }));
};

const rangeOf = (state, start, end) => {
  if (start === undefined || end === undefined) throw new TypeError("startDate or endDate cannot be undefined");
  return ask((state.range ??= request("dateRange", state.settings)), [momentOf(start), momentOf(end)]);
};

const resolvedOptions = ({ locale, settings, styles, described: d }) =>
  shown({
    locale, calendar: settings.calendar, numberingSystem: settings.numberingSystem, timeZone: settings.timeZone,
    hourCycle: d.hourCycle, hour12: d.hourCycle === undefined ? undefined : d.hourCycle === "h11" || d.hourCycle === "h12",
    weekday: d.weekday, era: d.era, year: d.year, month: d.month, day: d.day, dayPeriod: d.dayPeriod, hour: d.hour,
    minute: d.minute, second: d.second, fractionalSecondDigits: d.fractionalSecondDigits, timeZoneName: d.timeZoneName,
    ...styles,
  });

export const DateTimeFormat = service("DateTimeFormat", {
  callable: true,
  open: (locales, options) => openDateTimeFormat(locales, options),
  bound: { format: (state, date) => formatMoment(state, date) },
  methods: {
    resolvedOptions,
    formatToParts: (state, date) => partsOfMoment(state, date),
    formatRange: (state, start, end) => rangeOf(state, start, end)?.[0] ?? formatMoment(state, start),
    formatRangeToParts: (state, start, end) => {
      const range = rangeOf(state, start, end);
      if (range !== null) return rangePartsOf(range);
      return partsOfMoment(state, start).map((part) => ({ ...part, source: "shared" }));
    },
  },
});
