// The functions a module exports, as a push learns of them (spec 02 9.1): in our runtime, and in Node.js.
const IDENTIFIER = /^(?!_*$)[A-Za-z_][A-Za-z0-9_]{0,63}$/;
const KINDS = { isQuery: "query", isMutation: "mutation", isAction: "action" };

export class ShapeError extends Error {}

const kindOf = (value) => {
  const usable = (typeof value === "object" && value !== null) || typeof value === "function";
  const kinds = usable ? Object.keys(KINDS).filter((property) => property in value) : [];
  return kinds.length === 1 ? KINDS[kinds[0]] : undefined;
};

// The JSON text of a validator, or null when there is none.
const validator = (path, name, value, method) => {
  const where = `${path}:${name}.${method}`;
  if (value[method] === undefined) return null;
  if (typeof value[method] !== "function") throw new ShapeError(`${where} is not a function or \`undefined\`.`);
  const text = value[method]();
  if (typeof text !== "string") {
    throw new ShapeError(`Invalid ${method} return value: ${where}() didn't return a string.`);
  }
  try {
    return JSON.parse(text) === null ? null : text;
  } catch {
    throw new ShapeError(`Invalid JSON returned from ${where}().`);
  }
};

const analyzeExport = (path, name, value) => {
  const kind = kindOf(value);
  if (kind === undefined || ("isPublic" in value && "isInternal" in value)) return [];
  if (!IDENTIFIER.test(name)) {
    throw new ShapeError(`Function name ${JSON.stringify(name)} in ${path} is not a valid identifier.`);
  }
  const visibility = "isPublic" in value ? "public" : "isInternal" in value ? "internal" : null;
  const args = validator(path, name, value, "exportArgs");
  return [{ name, kind, visibility, args, returns: validator(path, name, value, "exportReturns") }];
};

// The functions a module exports.
export const analyzeModule = (path, namespace) =>
  Object.keys(namespace).flatMap((name) => analyzeExport(path, name, namespace[name]));
