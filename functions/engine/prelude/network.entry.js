// fetch() of actions; its classes are in fetch.entry.js.
export { fetch } from "./network/fetch.js";
