// The entry points the C side calls, and the `Convex` global the npm package calls. First part of the prelude.
//
// Promises:
//   - user code cannot reach `__host` (the last part deletes it) nor change what is captured here;
//   - whatever user code threw, `describe` gives the JSON that functions/quickjs.py turns into Thrown.
(() => {
  const host = globalThis.__host;
  const { abort, bind } = host;
  const { stringify, parse } = JSON;
  const { apply, ownKeys } = Reflect;
  const NativePromise = Promise;
  const NativeError = Error;
  const mapGet = Function.prototype.call.bind(Map.prototype.get);
  const mapSet = Function.prototype.call.bind(Map.prototype.set);
  const then = Function.prototype.call.bind(NativePromise.prototype.then);
  const ignore = () => {};

  const modules = new Map();
  const state = {
    kind: "import", // import | query | mutation | action
    executing: false,
    purpose: "functions",
    environment: Object.create(null),
    timeOrigin: 0,
  };

  // --- errors -------------------------------------------------------------------------------------------

  const isError = (value) =>
    NativeError.isError(value) || (typeof DOMException === "function" && value instanceof DOMException);

  const textOf = (value) => {
    try {
      return (value === undefined ? "" : String(value)).toWellFormed();
    } catch {
      return "";
    }
  };

  // What V8 prints behind "Uncaught" for a value that is not an Error (spec 03 3.6).
  const nonErrorText = (value) => {
    if (typeof value === "function") return textOf(value);
    if (typeof value !== "object" || value === null) return value === undefined ? "undefined" : textOf(value);
    const constructor = Object.getPrototypeOf(value)?.constructor;
    return `#<${textOf(constructor?.name) || "Object"}>`;
  };

  const attempt = (read, otherwise) => {
    try {
      return read();
    } catch {
      return otherwise;
    }
  };

  const describe = (reason) => {
    const object = (typeof reason === "object" && reason !== null) || typeof reason === "function";
    const convexError = object && attempt(() => reason[reason.ConvexErrorSymbol] === true, false);
    if (!convexError && !(object && attempt(() => isError(reason), false))) {
      return stringify({ isError: false, message: attempt(() => nonErrorText(reason), "#<Object>") });
    }
    const data = convexError ? attempt(() => reason.data, undefined) : undefined;
    return stringify({
      isError: true,
      name: attempt(() => textOf(reason.name), "Error"),
      message: attempt(() => textOf(reason.message), ""),
      stack: attempt(() => textOf(reason.stack), ""),
      data: typeof data === "string" ? data : undefined,
      convexError,
    });
  };

  const makeError = (json) => {
    const { message, data } = parse(json);
    const error = new NativeError(message);
    if (data !== undefined) error.data = data;
    return error;
  };

  // --- the import phase (spec 03 1.4) -------------------------------------------------------------------

  const DATABASE = /^(count|get|insert|update|replace|shallowMerge|remove|queryStream|queryStreamNext|queryPage)$/;
  const CALLS = /^(runUdf|actions\/(query|mutation|action))$/;

  const refuseImportPhase = (name) => {
    const short = String(name).replace(/^1\.0\//, "");
    if (DATABASE.test(short)) throw new NativeError("Can't use database at import time");
    if (CALLS.test(short)) throw new NativeError("Cannot call another function at import time");
    if (short === "componentArgument") throw new NativeError("Can't use `componentArg` at import time");
    throw new NativeError(`Syscall ${name} unsupported at import time`);
  };

  const normalize = (base, name, allowed) => {
    if (!allowed) throw new TypeError("dynamic module import unsupported");
    const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(name)?.[1];
    if (scheme !== undefined && scheme !== "convex") throw new NativeError(`Unsupported scheme (${scheme}) in ${name}`);
    if (scheme === "convex") {
      if (!name.startsWith("convex://")) return name;
      const authority = name.slice(9).split("/", 1)[0];
      throw new NativeError(`Module URL ${name} must not have an authority. Has ${authority}`);
    }
    if (!/^\.{0,2}\//.test(name)) throw new TypeError(`relative URL without a base: ${name} is no relative import`);
    const parts = name.startsWith("/") ? [] : base.replace(/^convex:\//, "").split("/").slice(0, -1);
    for (const part of name.split("/")) {
      if (part === "..") parts.pop();
      else if (part !== "." && part !== "") parts.push(part);
    }
    return `convex:/${parts.join("/")}`;
  };

  // moduleReady(promise): its rejection will be looked at. moduleReady(specifier, namespace): it can be entered.
  const moduleReady = (promiseOrName, namespace) => {
    if (typeof promiseOrName === "string") mapSet(modules, promiseOrName.slice("convex:/".length), namespace);
    else then(promiseOrName, ignore, ignore);
  };

  // --- entering a function (spec 03 1.2) ----------------------------------------------------------------

  const FLAGS = { isQuery: "query", isMutation: "mutation", isAction: "action" };

  const registeredKind = (value) => {
    const found = Object.keys(FLAGS).filter((flag) => flag in value);
    return found.length === 1 ? FLAGS[found[0]] : undefined;
  };

  const lookUp = (path, name) => {
    const namespace = mapGet(modules, path);
    const value = namespace !== undefined && ownKeys(namespace).includes(name) ? namespace[name] : undefined;
    const missing = value === undefined || value === null;
    return missing ? abort(`Couldn't find ${stringify(name)} in module ${stringify(path)}.`) : value;
  };

  const checkKind = (value, path, name, kind) => {
    if ({ query: value.isQuery, mutation: value.isMutation, action: value.isAction }[kind] === true) return;
    const found = attempt(() => registeredKind(value), undefined);
    if (found !== undefined) {
      abort(`Function ${path}:${name} is registered as a ${found} but is being run as a ${kind}.`);
    }
    if (kind === "action") abort(`Function ${path}:${name} is not an action. Did you forget to wrap it with \`action\`?`);
    abort(
      `Function ${path}:${name} is neither a query or mutation. ` +
        "Did you forget to wrap it with `query` or `mutation`?",
    );
  };

  const call = (target, args) => {
    const [path, name, kind] = target.split("\n");
    const value = lookUp(path, name);
    checkKind(value, path, name, kind);
    state.kind = kind;
    state.executing = true;
    if (kind === "query") return apply(value.invokeQuery, globalThis, [args]);
    if (kind === "mutation") return apply(value.invokeMutation, globalThis, [args]);
    return apply(value.invokeAction, globalThis, ["dummy_request_id", args]);
  };

  // An HTTP action is entered through the router of its module (spec 03 5.4).
  const http = (target, request) => {
    const [path] = target.split("\n");
    const router = mapGet(modules, path)?.default;
    if (router?.isRouter !== true) abort(`The default export of \`convex/${path}\` is not a Router.`);
    state.kind = "action";
    state.executing = true;
    return host.part("fetch").runHttpAction(router, request);
  };

  const configure = (json) => {
    const { environment, purpose, clockAllowed, now } = parse(json);
    Object.assign(state.environment, environment);
    state.purpose = purpose;
    state.timeOrigin = now;
    if (!clockAllowed) host.forbidClock();
    return "";
  };

  const operations = {
    call,
    http,
    configure: (_target, json) => configure(json),
    analyze: (target) => host.analyze(target.split("\n")),
    evaluate: (target) => apply(host.evaluate, undefined, target.split("\n")),
  };

  const enter = (operation, target, args) => {
    const promise = NativePromise.resolve(operations[operation](target, args));
    then(promise, ignore, ignore); // its rejection is looked at by the event loop, it is not unhandled
    return promise;
  };

  // --- the Convex global (spec 03 2.1) ------------------------------------------------------------------

  const JS_SYSCALLS = {
    __proto__: null,
    convexJsonFromResponse: "convexJsonFromResponse",
    requestFromConvexJson: "requestFromConvexJson",
    "storage/getBlob": "getBlob",
    "storage/storeBlob": "storeBlob",
  };

  const jsSyscall = (name, args) => {
    const found = JS_SYSCALLS[name];
    return found === undefined ? abort(`Unknown JS syscall: ${name}`) : host.part("fetch")[found](args);
  };

  // The error of a platform API that needs the host (spec 03 3.2).
  host.refusal = (description) => {
    if (!state.executing) return new NativeError(`${description} unsupported at import time`);
    if (state.kind === "action") return host.notYet(description);
    return new NativeError(
      `Can't use ${description} in queries and mutations. Please consider using an action. ` +
        "See https://docs.convex.dev/functions/actions for more details.",
    );
  };
  host.requireAction = (description) => {
    if (!state.executing || state.kind !== "action") throw host.refusal(description);
  };
  host.notYet = (what) => new NativeError(`${what} is not supported by this Tidelog version yet.`);
  host.state = state;
  host.modules = modules;
  host.describe = describe;

  const { syscall, asyncSyscall } = host;
  globalThis.Convex = { syscall, asyncSyscall, jsSyscall };
  bind({ enter, describe, makeError, refuseImportPhase, normalize, moduleReady });
})();
