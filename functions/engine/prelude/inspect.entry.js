// Bundled to build/inspect.js: the console renders values with this package (spec 03 3.5).
import inspect from "object-inspect";
globalThis.__host.inspect = inspect;
