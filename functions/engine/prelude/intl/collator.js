// Intl.Collator (ECMA-402 10).
import { ask, request } from "./host.js";
import { flag, keyOption, localesOf, matcher, option, optionsOf, resolve } from "./options.js";
import { service, shown } from "./service.js";

export const openCollator = (locales, given) => {
  const tags = localesOf(locales);
  const options = optionsOf(given);
  const usage = option(options, "usage", ["sort", "search"], "sort");
  matcher(options);
  const co = keyOption(options, "collation");
  const numeric = flag(options, "numeric");
  const caseFirst = option(options, "caseFirst", ["upper", "lower", "false"], null);
  const kn = numeric === undefined ? null : String(numeric);
  const { locale, ...keys } = resolve(tags, { co, kn, kf: caseFirst });
  const sensitivity = option(options, "sensitivity", ["base", "accent", "case", "variant"], null);
  const ignorePunctuation = flag(options, "ignorePunctuation", null);
  const settings = { usage, ...keys, sensitivity, ignorePunctuation };
  return { locale, settings, keys: new Map() };
};

const KEYS_KEPT_MAX = 4_096;
const KEYED_LENGTH_MAX = 256;

// A sort asks about each text again and again: the host is asked once for a key that compares as the text does.
const keyOf = (state, text) => {
  const found = state.keys.get(text);
  if (found !== undefined) return found;
  if (state.keys.size === KEYS_KEPT_MAX) state.keys.clear();
  const key = ask((state.sortKey ??= request("sortKey", state.settings)), text.toWellFormed());
  state.keys.set(text, key);
  return key;
};

export const compareTexts = (state, left, right) => {
  const [a, b] = [String(left), String(right)];
  if (a === b) return 0;
  if (a.length > KEYED_LENGTH_MAX || b.length > KEYED_LENGTH_MAX) {
    return ask((state.compare ??= request("compare", state.settings)), [a.toWellFormed(), b.toWellFormed()]);
  }
  const [first, second] = [keyOf(state, a), keyOf(state, b)];
  return first < second ? -1 : first > second ? 1 : 0;
};

const resolvedOptions = ({ locale, settings }) => {
  const { ignorePunctuation, numeric, caseFirst } = ask(request("collationHabits", settings));
  const { usage, sensitivity, co } = settings;
  return shown({
    locale, usage, sensitivity: sensitivity ?? "variant", ignorePunctuation, collation: co ?? "default", numeric, caseFirst,
  });
};

export const Collator = service("Collator", {
  callable: true,
  open: openCollator,
  bound: { compare: (state, left, right) => compareTexts(state, left, right) },
  methods: { resolvedOptions },
});
