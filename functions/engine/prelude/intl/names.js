// Intl.DisplayNames, Intl.Locale and Intl.Segmenter (ECMA-402 12, 14, 18).
import { ask, request } from "./host.js";
import { keyOption, localesOf, matcher, option, optionsOf, resolve, strictOptionsOf, tagOf } from "./options.js";
import { service } from "./service.js";

// --- names of codes -----------------------------------------------------------------------------------------

const FIELDS = [
  "era", "year", "quarter", "month", "weekOfYear", "weekday", "day", "dayPeriod", "hour", "minute", "second", "timeZoneName",
];
const LANGUAGE = /^([a-z]{2,3}|[a-z]{5,8})(-[a-z]{4})?(-([a-z]{2}|\d{3}))?(-([a-z\d]{5,8}|\d[a-z\d]{3}))*$/i;
const title = (code) => code[0].toUpperCase() + code.slice(1).toLowerCase();
const CODES = {
  language: [LANGUAGE, (code) => code],
  region: [/^([a-z]{2}|\d{3})$/i, (code) => code.toUpperCase()],
  script: [/^[a-z]{4}$/i, title],
  currency: [/^[a-z]{3}$/i, (code) => code.toUpperCase()],
  calendar: [/^[a-z\d]{3,8}(-[a-z\d]{3,8})*$/i, (code) => code.toLowerCase()],
  dateTimeField: [new RegExp(`^(${FIELDS.join("|")})$`), (code) => code],
};

const openNames = (locales, given) => {
  const tags = localesOf(locales);
  if (given === undefined) throw new TypeError("Required option type is missing");
  const options = strictOptionsOf(given);
  matcher(options);
  const style = option(options, "style", ["narrow", "short", "long"], "long");
  const type = option(options, "type", Object.keys(CODES));
  if (type === undefined) throw new TypeError("Required option type is missing");
  const fallback = option(options, "fallback", ["code", "none"], "code");
  const languageDisplay = option(options, "languageDisplay", ["dialect", "standard"], "dialect");
  const { locale, data } = resolve(tags);
  const told = { locale, style, type, fallback };
  if (type === "language") told.languageDisplay = languageDisplay;
  return { told, name: request("displayName", { data, style, type, languageDisplay }) };
};

const nameOf = ({ told, name }, value) => {
  const code = String(value);
  const [shape, normal] = CODES[told.type];
  if (!shape.test(code)) throw new RangeError(`Invalid argument to Intl.DisplayNames.prototype.of`);
  const written = told.type === "language" ? tagOf(code) : normal(code);
  return ask(name, written) ?? (told.fallback === "code" ? written : undefined);
};

export const DisplayNames = service("DisplayNames", {
  length: 2,
  open: openNames,
  methods: { resolvedOptions: ({ told }) => ({ ...told }), of: (state, code) => nameOf(state, code) },
});

// --- segments -----------------------------------------------------------------------------------------------

const openSegmenter = (locales, given) => {
  const tags = localesOf(locales);
  const options = strictOptionsOf(given);
  matcher(options);
  const granularity = option(options, "granularity", ["grapheme", "word", "sentence"], "grapheme");
  const { locale, data } = resolve(tags);
  return { told: { locale, granularity }, cut: request("segments", { data, granularity }) };
};

class Segments {
  #input;
  #pieces;
  constructor({ told, cut }, input) {
    this.#input = input;
    let index = 0;
    this.#pieces = ask(cut, input.toWellFormed()).map(([end, isWordLike]) => {
      const piece = { segment: input.slice(index, end), index, input };
      index = end;
      return told.granularity === "word" ? { ...piece, isWordLike } : piece;
    });
  }
  containing(at) {
    const index = Math.trunc(Number(at)) || 0;
    if (index < 0 || index >= this.#input.length) return undefined;
    return { ...this.#pieces.findLast((piece) => piece.index <= index) };
  }
  *[Symbol.iterator]() {
    for (const piece of this.#pieces) yield { ...piece };
  }
}

export const Segmenter = service("Segmenter", {
  open: openSegmenter,
  methods: {
    resolvedOptions: ({ told }) => ({ ...told }),
    segment: (state, input) => new Segments(state, String(input)),
  },
});

// --- locales ------------------------------------------------------------------------------------------------

const KEYS = { calendar: "ca", caseFirst: "kf", collation: "co", hourCycle: "hc", numberingSystem: "nu" };
const ALLOWED = { caseFirst: ["upper", "lower", "false"], hourCycle: ["h11", "h12", "h23", "h24"] };
const SUBTAGS = { language: /^([a-z]{2,3}|[a-z]{5,8})$/i, script: /^[a-z]{4}$/i, region: /^([a-z]{2}|\d{3})$/i };

const splitTag = (tag) => {
  const [, base, extensions] = /^(.*?)((?:-[a-z\d]-.*)?)$/.exec(tag);
  const [language, ...rest] = base.split("-");
  const script = /^[A-Z][a-z]{3}$/.test(rest[0]) ? rest.shift() : undefined;
  const region = /^([A-Z]{2}|\d{3})$/.test(rest[0]) ? rest.shift() : undefined;
  return { language, script, region, variants: rest, extensions };
};

const keywordsOf = (extensions) => {
  const found = {};
  let key;
  for (const part of /-u-(.*?)(?:-[a-z\d]-|$)/.exec(extensions)?.[1].split("-") ?? []) {
    if (part.length === 2) found[(key = part)] = "";
    else if (key !== undefined) found[key] += (found[key] ? "-" : "") + part;
  }
  return found;
};

const openLocale = (tag, given) => {
  if (typeof tag !== "string" && (typeof tag !== "object" || tag === null)) {
    throw new TypeError("First argument to Intl.Locale constructor can't be empty or missing");
  }
  const options = optionsOf(given);
  const parts = splitTag(tagOf(tag));
  for (const [name, shape] of Object.entries(SUBTAGS)) {
    const value = option(options, name);
    if (value !== undefined && !shape.test(value)) throw new RangeError("Incorrect locale information provided");
    parts[name] = value ?? parts[name];
  }
  const keys = keywordsOf(parts.extensions);
  for (const [name, key] of Object.entries(KEYS)) {
    const value = name in ALLOWED ? option(options, name, ALLOWED[name]) : (keyOption(options, name) ?? undefined);
    if (value !== undefined) keys[key] = value;
  }
  if (options.numeric !== undefined) keys.kn = options.numeric ? "" : "false";
  const others = parts.extensions.replace(/-u-.*?(?=-[a-z\d]-|$)/, "");
  const told = Object.entries(keys).map(([key, value]) => (value ? `-${key}-${value}` : `-${key}`));
  const base = [parts.language, parts.script, parts.region, ...parts.variants].filter(Boolean).join("-");
  const whole = tagOf(base + (told.length ? `-u${told.join("")}` : "") + others);
  return { tag: whole, ...splitTag(whole), keys: keywordsOf(splitTag(whole).extensions) };
};

const LIKELY = { maximize: request("likely", { add: true }), minimize: request("likely", { add: false }) };

export const Locale = service("Locale", {
  length: 1,
  statics: false,
  open: openLocale,
  methods: {
    toString: ({ tag }) => tag,
    maximize: ({ tag }) => new Locale(ask(LIKELY.maximize, tag)),
    minimize: ({ tag }) => new Locale(ask(LIKELY.minimize, tag)),
  },
  getters: {
    baseName: ({ tag, extensions }) => tag.slice(0, tag.length - extensions.length),
    language: ({ language }) => language,
    script: ({ script }) => script,
    region: ({ region }) => region,
    numeric: ({ keys }) => keys.kn !== undefined && keys.kn !== "false",
    ...Object.fromEntries(Object.entries(KEYS).map(([name, key]) => [name, ({ keys }) => keys[key]])),
  },
});
