// The classes around fetch(), and what is in their bodies (spec 03 3.1). The last two names are for network.entry.js.
export { Blob, File } from "./fetch/blob.js";
export { FormData } from "./fetch/form_data.js";
export { Headers } from "./fetch/headers.js";
export { Request, partsOf as requestParts } from "./fetch/request.js";
export { Response, received as receivedResponse } from "./fetch/response.js";
export { convexJsonFromResponse, requestFromConvexJson, runHttpAction } from "./fetch/http_action.js";
export { getBlob, storeBlob } from "./fetch/storage.js";
