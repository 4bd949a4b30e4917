// Frames between this process and its host: four bytes of length, then JSON in UTF-8 (actors/node_process.py).
//
// They come in on one descriptor and go out on another, so that nothing user code prints is ever taken for
// one. Writing waits until the host has taken the bytes: what was sent before the process ends has arrived.
import { writeSync } from "node:fs";
import { Socket } from "node:net";

const [INCOMING, OUTGOING] = process.argv.slice(4).map(Number);
const HEADER_BYTES = 4;

export const send = (message) => {
  const body = Buffer.from(JSON.stringify(message));
  const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  frame.writeUInt32BE(body.length);
  body.copy(frame, HEADER_BYTES);
  for (let done = 0; done < frame.length; ) done += writeSync(OUTGOING, frame, done);
};

// Calls `received` with each message, and `gone` once when the host has closed its end.
export const listen = (received, gone) => {
  const socket = new Socket({ fd: INCOMING, readable: true, writable: false });
  let chunks = [];
  let held = 0;
  let wanted = HEADER_BYTES;
  let inHeader = true;

  const take = () => {
    const all = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    chunks = [all.subarray(wanted)];
    held -= wanted;
    return all.subarray(0, wanted);
  };

  socket.on("data", (chunk) => {
    chunks.push(chunk);
    held += chunk.length;
    while (held >= wanted) {
      const part = take();
      if (!inHeader) received(JSON.parse(part.toString()));
      wanted = inHeader ? part.readUInt32BE() : HEADER_BYTES;
      inHeader = !inHeader;
    }
  });
  socket.on("error", gone);
  socket.on("close", gone);
};
