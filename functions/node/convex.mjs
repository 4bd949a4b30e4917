// globalThis.Convex: what the npm package calls (spec 03 2.1, column N; texts of 5.6).
import { ask, checkOwner, isRunning } from "./calls.mjs";
import { getBlob, storeBlob } from "./storage.mjs";

const DATABASE = new Set(
  ["get", "queryStream", "queryStreamNext", "queryCleanup", "queryPage", "count", "db/normalizeId"].concat(
    ["insert", "shallowMerge", "replace", "remove"],
  ),
);
const SCHEDULER = new Set(["schedule", "cancel_job"]);
const MISPLACED =
  "is being used outside of a Convex query or mutation. Did" +
  "you mean to use `ctx.query` or `ctx.mutation` to access the";

const refuseWhatOnlyTransactionsHave = (name) => {
  const short = String(name).replace(/^1\.0\//, "");
  if (DATABASE.has(short)) throw new Error(`The Convex database object ${MISPLACED} database?`);
  if (SCHEDULER.has(short)) throw new Error(`The Convex scheduler object ${MISPLACED} scheduler?`);
};

const refuseImportPhase = (name) => {
  if (!isRunning()) throw new Error(`${name} unsupported at import time`);
};

const asyncSyscall = async (name, args) => {
  refuseWhatOnlyTransactionsHave(name);
  checkOwner(JSON.parse(args).requestId);
  return ask(String(name), args);
};

const syscall = (name) => {
  refuseWhatOnlyTransactionsHave(name);
  throw new Error(`Unknown operation ${name}`);
};

const jsSyscalls = { "storage/storeBlob": storeBlob, "storage/getBlob": getBlob };

const jsSyscall = (name, args) => {
  if (!Object.hasOwn(jsSyscalls, name)) throw new Error(`Unknown operation ${name}`);
  checkOwner(args.requestId);
  return jsSyscalls[name](args);
};

export const installConvex = ({ isAnalysis }) => {
  const guarded = (perform) => (name, args) => {
    if (isAnalysis) refuseImportPhase(name);
    return perform(name, args);
  };
  globalThis.Convex = Object.freeze({
    asyncSyscall: guarded(asyncSyscall),
    syscall: guarded(syscall),
    jsSyscall: guarded(jsSyscall),
  });
};
