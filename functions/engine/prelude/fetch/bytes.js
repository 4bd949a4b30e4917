// Bytes and text of bodies.

export const encode = (text) => new Uint8Array(host.utf8Encode(String(text).toWellFormed()));

export const decode = (bytes) => host.utf8Decode(bytes.buffer, bytes.byteOffset, bytes.length, false);

const BOM = "\ufeff";

// As the standards decode a body: a byte order mark is no part of the text.
export const decodeWithoutMark = (bytes) => {
  const text = decode(bytes);
  return text.startsWith(BOM) ? text.slice(1) : text;
};

export const isBufferSource = (value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value);

// A copy: what is given may change later, a body may not.
export const copyOf = (source) =>
  source instanceof ArrayBuffer
    ? new Uint8Array(source.slice(0))
    : new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice();

export const join = (pieces) => {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const whole = new Uint8Array(length);
  let position = 0;
  for (const piece of pieces) {
    whole.set(piece, position);
    position += piece.length;
  }
  return whole;
};

// How many arguments methods must at least be given; JavaScript itself does not mind.
export const requireArguments = (constructor, counts) => {
  for (const [name, count] of Object.entries(counts)) {
    const method = constructor.prototype[name];
    const checked = {
      [name](...args) {
        if (args.length >= count) return Reflect.apply(method, this, args);
        const needed = `${count} argument${count === 1 ? "" : "s"} required, but only ${args.length} present`;
        throw new TypeError(`${constructor.name}.${name}: ${needed}`);
      },
    }[name];
    Object.defineProperty(checked, "length", { value: count, configurable: true });
    Object.defineProperty(constructor.prototype, name, { value: checked, writable: true, configurable: true });
  }
};

// A stream over what a source gives, asked for no sooner than somebody reads.
export const streamFrom = (source) => {
  const { ReadableStream } = host.part("streams");
  const pull = async (controller) => {
    const piece = await source.read();
    if (piece !== null) return controller.enqueue(piece);
    controller.close();
    return controller.byobRequest?.respond(0);
  };
  return new ReadableStream({ type: "bytes", pull, cancel: (reason) => source.end(reason) });
};

// A stream over bytes that are there, in pieces small enough for a slow consumer.
const PIECE_BYTES = 65536;

export const streamOf = (bytes) => {
  const { ReadableStream } = host.part("streams");
  let position = 0;
  const pull = (controller) => {
    if (position < bytes.length) {
      const piece = bytes.slice(position, position + PIECE_BYTES); // enqueueing detaches its buffer
      position += piece.length;
      controller.enqueue(piece);
    }
    if (position >= bytes.length) {
      controller.close();
      controller.byobRequest?.respond(0);
    }
  };
  return new ReadableStream({ type: "bytes", pull });
};
