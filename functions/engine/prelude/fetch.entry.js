// The classes around fetch(), and what is in their bodies (spec 03 3.1).
export { Blob, File } from "./fetch/blob.js";
export { FormData } from "./fetch/form_data.js";
export { Headers } from "./fetch/headers.js";
export { Request } from "./fetch/request.js";
export { Response } from "./fetch/response.js";
