// URL and URLSearchParams: the polyfill, without the traces it leaves, with the texts of the specification.
import { aside, restore } from "./url/aside.js";
import "core-js/web/url.js";
import "core-js/web/url-search-params.js";
import { named } from "./named.js";

const Complete = globalThis.URL;
export const URLSearchParams = globalThis.URLSearchParams;

export class URL extends Complete {
  constructor(url, base) {
    if (arguments.length === 0) throw new TypeError("URL: 1 argument required, but only 0 present");
    try {
      super(url, base);
    } catch (error) {
      throw error instanceof TypeError ? new TypeError(`Invalid URL: '${url}'`) : error;
    }
  }
  static parse(url, base) {
    return URL.canParse(url, base) ? new URL(url, base) : null;
  }
}

// Some setters are not there (spec 03 3.2).
for (const name of ["host", "username", "password"]) {
  const { get } = Object.getOwnPropertyDescriptor(Complete.prototype, name);
  const set = () => host.unimplemented(`set ${name}`, "URL");
  Object.defineProperty(URL.prototype, name, { get, set, configurable: true, enumerable: true });
}
named("URL", URL);

delete globalThis["__core-js_shared__"];
restore(aside);
