// Loaded into the CLI before it runs: what it would ask of other machines is noted, a line each, and refused.
const { appendFileSync } = require("node:fs");

const fetchAnywhere = globalThis.fetch;
globalThis.fetch = (resource, options) => {
  const { hostname, origin, pathname } = new URL(resource.url ?? resource);
  if (hostname === "127.0.0.1") return fetchAnywhere(resource, options);
  appendFileSync(process.env.ASKED_ELSEWHERE, `${origin}${pathname}\n`);
  return Promise.reject(new TypeError("fetch failed"));
};
