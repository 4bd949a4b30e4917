// fetch(): what the standard says of one call, redirects included (spec 03 3.9).
import { Exchange } from "./exchange.js";

const { Headers, Request, requestParts, receivedResponse } = host.part("fetch");
const { URL } = host.part("url");

const REDIRECTS = [301, 302, 303, 307, 308];
const REDIRECTS_MAX = 20;
const WITHOUT_BODY = [101, 103, 204, 205, 304];
const DEFAULT_HEADERS = { accept: "*/*", "user-agent": "Convex/1.0" };
const OF_A_BODY = ["content-encoding", "content-language", "content-length", "content-location", "content-type"];
const OF_AN_ORIGIN = ["authorization", "cookie", "host", "proxy-authorization"];

const contentOf = async (body) => {
  if (body.isEmpty) return null;
  return body.length === undefined ? body.stream : body.bytes();
};

// What goes over the wire for a request of user code.
const messageOf = async (request, body) => {
  const headers = new Headers(request.headers);
  for (const [name, value] of Object.entries(DEFAULT_HEADERS)) if (!headers.has(name)) headers.set(name, value);
  // Ranges count bytes of what is stored, so nobody may compress them.
  if (headers.has("range") && !headers.has("accept-encoding")) headers.set("accept-encoding", "identity");
  return { url: request.url, method: request.method, headers, body: await contentOf(body) };
};

const requireHttp = (url) => {
  if (!/^https?:/.test(url)) throw new TypeError(`fetch: only http and https are supported, not ${url}`);
};

// The message that a redirect asks for.
const redirected = ({ url, method, headers, body }, status, location) => {
  const isStreamed = body !== null && !(body instanceof Uint8Array);
  if (isStreamed && status !== 303) throw new TypeError("fetch cannot redirect with streamed body");
  const target = new URL(location, url);
  if (target.username !== "" || target.password !== "") {
    throw new TypeError("fetch cannot redirect to a URL that includes credentials");
  }
  const becomesGet =
    status === 303 ? method !== "GET" && method !== "HEAD" : method === "POST" && (status === 301 || status === 302);
  const dropped = becomesGet ? [...OF_A_BODY] : [];
  if (target.origin !== new URL(url).origin) dropped.push(...OF_AN_ORIGIN);
  for (const name of dropped) headers.delete(name);
  return becomesGet
    ? { url: target.href, method: "GET", headers, body: null }
    : { url: target.href, method, headers, body };
};

// Where the response says to go on, if it does and user code lets us.
const locationOf = (head, mode, count) => {
  if (!REDIRECTS.includes(head.status) || mode === "manual") return undefined;
  const location = head.headers.find(([name]) => name.toLowerCase() === "location")?.[1];
  if (location === undefined) return undefined;
  if (mode === "error") throw new TypeError("fetch attempted redirect");
  if (count === REDIRECTS_MAX) throw new TypeError("fetch too many redirects");
  return location;
};

const exchanged = async (signal, message, mode, count) => {
  requireHttp(message.url);
  const exchange = new Exchange(signal);
  const head = await exchange.send({ ...message, headers: [...message.headers] });
  try {
    const location = locationOf(head, mode, count);
    if (location !== undefined) {
      const next = redirected(message, head.status, location);
      exchange.end();
      return { next };
    }
    const hasBody = message.method !== "HEAD" && !WITHOUT_BODY.includes(head.status);
    const response = receivedResponse({ ...head, url: message.url, redirected: count > 0 }, hasBody ? exchange : null);
    if (!hasBody) exchange.end();
    return { response };
  } catch (error) {
    exchange.end(error);
    throw error;
  }
};

export const fetch = async (input, init) => {
  const request = new Request(input, init);
  const { signal } = request;
  const { body, redirect } = requestParts(request);
  signal.throwIfAborted();
  let message = await messageOf(request, body);
  for (let count = 0; ; count++) {
    signal.throwIfAborted();
    const { next, response } = await exchanged(signal, message, redirect, count);
    if (response !== undefined) return response;
    message = next;
  }
};
