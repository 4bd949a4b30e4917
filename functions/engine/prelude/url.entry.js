// Bundled to build/url.js: URL and URLSearchParams, evaluated at first use.
import "core-js/web/url.js";
import "core-js/web/url-search-params.js";
