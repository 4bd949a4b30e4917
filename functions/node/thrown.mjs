// What user code threw, as the host is told it (functions/node_action.py). Reading it never throws.
import { types } from "node:util";

const attempt = (read, otherwise) => {
  try {
    return read();
  } catch {
    return otherwise;
  }
};

// What V8 prints behind "Uncaught" for a value that is not an Error (spec 03 3.6).
const textOfOther = (value) => {
  if (typeof value !== "object" || value === null) return String(value);
  return `#<${Object.getPrototypeOf(value)?.constructor?.name || "Object"}>`;
};

// The frames alone: lines of the message may look like frames.
const framesOf = (error, folderUrl) => {
  const stack = String(error.stack);
  const message = String(error.message);
  const start = message === "" ? 0 : Math.max(0, stack.indexOf(message) + message.length);
  return stack.slice(start).replaceAll(folderUrl, "convex:/user/");
};

// `folderUrl` is where the modules are: frames name them as the specification does.
export const describe = (reason, folderUrl) => {
  const isObject = (typeof reason === "object" && reason !== null) || typeof reason === "function";
  const isConvexError = isObject && attempt(() => reason[reason.ConvexErrorSymbol] === true, false);
  const isError = isConvexError || (isObject && attempt(() => types.isNativeError(reason) || reason instanceof Error, false));
  if (!isError) return { isError, name: "", message: attempt(() => textOfOther(reason), "#<Object>"), stack: "" };
  const data = isConvexError ? attempt(() => reason.data, undefined) : undefined;
  return {
    isError,
    name: attempt(() => String(reason.name), "Error"),
    message: attempt(() => String(reason.message), ""),
    stack: attempt(() => framesOf(reason, folderUrl), ""),
    data: typeof data === "string" ? data : null,
  };
};
