// The stream classes: those of a package, and the two that convert text on their way.
import * as streams from "web-streams-polyfill";
import { named } from "./named.js";

export const {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  ReadableStream,
  ReadableStreamBYOBReader,
  ReadableStreamDefaultReader,
  TransformStream,
  WritableStream,
  WritableStreamDefaultWriter,
} = streams;

const HIGH = /[\ud800-\udbff]$/;

// A character of two halves may be cut by the border of two chunks.
export class TextEncoderStream {
  #transform;
  constructor() {
    const encoder = new TextEncoder();
    let half = "";
    const transform = (chunk, controller) => {
      const text = half + String(chunk);
      half = HIGH.exec(text)?.[0] ?? "";
      const whole = half === "" ? text : text.slice(0, -1);
      if (whole !== "") controller.enqueue(encoder.encode(whole));
    };
    const flush = (controller) => {
      if (half !== "") controller.enqueue(encoder.encode(half));
    };
    this.#transform = new TransformStream({ transform, flush });
  }
  get encoding() {
    return "utf-8";
  }
  get readable() {
    return this.#transform.readable;
  }
  get writable() {
    return this.#transform.writable;
  }
}

export class TextDecoderStream {
  #decoder;
  #transform;
  constructor(label = "utf-8", options = {}) {
    const decoder = new TextDecoder(label, options);
    const put = (text, controller) => {
      if (text !== "") controller.enqueue(text);
    };
    const transform = (chunk, controller) => put(decoder.decode(chunk, { stream: true }), controller);
    const flush = (controller) => put(decoder.decode(), controller);
    this.#decoder = decoder;
    this.#transform = new TransformStream({ transform, flush });
  }
  get encoding() {
    return this.#decoder.encoding;
  }
  get fatal() {
    return this.#decoder.fatal;
  }
  get ignoreBOM() {
    return this.#decoder.ignoreBOM;
  }
  get readable() {
    return this.#transform.readable;
  }
  get writable() {
    return this.#transform.writable;
  }
}

for (const [name, constructor] of Object.entries({ ...streams, TextDecoderStream, TextEncoderStream })) {
  named(name, constructor);
}
