// What a push learns about code by evaluating it (spec 02 9): functions, schema, router, crons, configs.
import { ShapeError, analyzeModule as functionsOf } from "./exports.mjs";

const host = globalThis.__host;
const { abort, modules, describe } = host;

const errorText = (error) => {
  if (error instanceof ShapeError) return error.message;
  const { name, message } = JSON.parse(describe(error));
  return ["Uncaught", [name, message].filter(Boolean).join(": ")].filter(Boolean).join(" ");
};

const analyzeModule = (path) => {
  const namespace = modules.get(path);
  if (namespace === undefined) return { error: `Module ${path} was not evaluated.` };
  try {
    return { functions: functionsOf(path, namespace) };
  } catch (error) {
    return { error: errorText(error) };
  }
};

host.analyze = (paths) => JSON.stringify(Object.fromEntries(paths.map((path) => [path, analyzeModule(path)])));

// --- evaluations of special files ---------------------------------------------------------------------

const DOCUMENTATION = "To learn more, see the schema documentation at https://docs.convex.dev/database/schemas.";

const callable = (value, method) => value !== null && typeof value === "object" && typeof value[method] === "function";

const schema = (value) => {
  if (value === undefined) abort(`Schema file missing default export. ${DOCUMENTATION}`);
  if (!callable(value, "export")) abort(`Default export from schema file isn't a Convex schema. ${DOCUMENTATION}`);
  return value.export();
};

const auth = (value) => {
  if (value === undefined) abort("auth config file is missing default export. Export an object with `providers`.");
  return JSON.stringify(value);
};

const app = (value) => {
  if (!callable(value, "export")) {
    abort("The default export of `convex.config.ts` in your app has an invalid value (it has no `export` method).");
  }
  const exported = value.export();
  return typeof exported === "string" ? exported : JSON.stringify(exported);
};

const crons = (value) => {
  if (value === undefined) abort("`convex/crons.js` must have a default export of a Crons object.");
  if (value?.isCrons !== true || !callable(value, "export")) {
    abort("The default export of `convex/crons.js` is not a Crons object.");
  }
  return value.export();
};

const http = (value) => {
  if (value === undefined) abort("`convex/http.js` must have a default export of a Router.");
  if (value?.isRouter !== true || !callable(value, "getRoutes")) {
    abort("The default export of `convex/http.js` is not a Router.");
  }
  const routes = value.getRoutes();
  const shaped = Array.isArray(routes) && routes.every((r) => Array.isArray(r) && r.length === 3);
  if (!shaped) abort("The `getRoutes()` method of Router did not return the expected type.");
  return JSON.stringify(routes.map(([path, method]) => ({ path, method })));
};

const evaluations = { schema, auth, app, crons, http };

host.evaluate = (path, kind) => {
  const namespace = modules.get(path);
  return evaluations[kind](namespace === undefined ? undefined : namespace.default);
};
