// multipart/form-data: FormData as bytes and back (RFC 7578, as browsers write it).
import { bytesOf, File } from "./blob.js";
import { decode, encode, join } from "./bytes.js";
import { FormData } from "./form_data.js";

const CR = 13;
const LF = 10;
const DASH = 45;

// --- writing -------------------------------------------------------------------------------------------------

const escape = (text) => text.replace(/\n/g, "%0A").replace(/\r/g, "%0D").replace(/"/g, "%22");
const withLineBreaks = (text) => text.replace(/\r\n|\r|\n/g, "\r\n");

// A border nobody can guess does not occur in what others wrote into the form.
const newBoundary = () => {
  const digits = Array.from({ length: 4 }, () => Math.floor(host.random() * 2 ** 32).toString(16).padStart(8, "0"));
  return `----formdata-${digits.join("")}`;
};

export const writeForm = (form) => {
  const boundary = newBoundary();
  const pieces = [];
  for (const [name, value] of form) {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${escape(withLineBreaks(name))}"`;
    if (typeof value === "string") {
      pieces.push(encode(`${head}\r\n\r\n${withLineBreaks(value)}\r\n`));
    } else {
      const type = value.type || "application/octet-stream";
      pieces.push(encode(`${head}; filename="${escape(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`));
      pieces.push(bytesOf(value), encode("\r\n"));
    }
  }
  pieces.push(encode(`--${boundary}--\r\n`));
  return { bytes: join(pieces), type: `multipart/form-data; boundary=${boundary}` };
};

// --- reading -------------------------------------------------------------------------------------------------

const refuse = () => {
  throw new TypeError("Could not parse content as FormData.");
};

const startsWith = (bytes, wanted, at) => {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
};

// The engine's own search finds the first byte; the rest is compared only there.
const find = (bytes, wanted, from) => {
  for (let at = bytes.indexOf(wanted[0], from); at >= 0; at = bytes.indexOf(wanted[0], at + 1)) {
    if (startsWith(bytes, wanted, at)) return at;
  }
  return refuse();
};

const unescape = (text) => text.replace(/%0A/gi, "\n").replace(/%0D/gi, "\r").replace(/%22/g, '"');

const parameter = (header, name) => {
  const found = new RegExp(`;\\s*${name}=(?:"([^"]*)"|([^;\\s]*))`, "i").exec(header);
  return found === null ? undefined : unescape(found[1] ?? found[2]);
};

const headersOf = (text) => {
  const headers = new Map();
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon < 0) refuse();
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
};

const addPart = (form, head, content) => {
  const headers = headersOf(decode(head));
  const disposition = headers.get("content-disposition") ?? "";
  const name = parameter(disposition, "name");
  if (!/^form-data\s*(;|$)/i.test(disposition) || name === undefined) refuse();
  const filename = parameter(disposition, "filename");
  if (filename === undefined) return form.append(name, decode(content));
  return form.append(name, new File([content], filename, { type: headers.get("content-type") ?? "text/plain" }));
};

export const readForm = (bytes, contentType) => {
  const boundary = parameter(contentType, "boundary");
  if (!boundary) refuse();
  const border = encode(`\r\n--${boundary}`);
  const form = new FormData();
  // The first border has no line break in front of it when the body starts with it.
  let at = startsWith(bytes, border.subarray(2), 0) ? border.length - 2 : find(bytes, border, 0) + border.length;
  while (!(bytes[at] === DASH && bytes[at + 1] === DASH)) {
    if (bytes[at] !== CR || bytes[at + 1] !== LF) refuse();
    const headEnd = find(bytes, encode("\r\n\r\n"), at + 2);
    const end = find(bytes, border, headEnd + 2);
    addPart(form, bytes.subarray(at + 2, headEnd), bytes.subarray(headEnd + 4, end));
    at = end + border.length;
  }
  return form;
};
