// storage.store and storage.get: bytes go to the host and come from it in pieces (spec 03 2.8).
import { ask } from "./calls.mjs";

const PIECE_BYTES_MAX = 1 << 20;
let uploads = 0;
let opened = 0;

const perform = async (name, args) => JSON.parse(await ask(name, JSON.stringify(args)));

export const storeBlob = async ({ blob, options }) => {
  if (!(blob instanceof Blob)) {
    throw new Error(
      "store() expects a Blob. If you are trying to store a Request, `await request.blob()` will give you the correct input.",
    );
  }
  const id = ++uploads;
  for (let start = 0; start < blob.size; start += PIECE_BYTES_MAX) {
    const piece = Buffer.from(await blob.slice(start, start + PIECE_BYTES_MAX).arrayBuffer());
    await perform("host/fileWrite", { id, piece: piece.toString("base64") });
  }
  return perform("host/fileFinish", { id, contentType: blob.type || null, sha256: options?.sha256 ?? null });
};

export const getBlob = async ({ storageId }) => {
  const id = ++opened;
  const file = await perform("host/fileOpen", { id, storageId });
  if (file === null) return null;
  const pieces = [];
  for (let read = 0; read < file.size; ) {
    const piece = Buffer.from(await perform("host/fileRead", { id }), "base64");
    pieces.push(piece);
    read += piece.length;
  }
  return new Blob(pieces, { type: file.contentType ?? "" });
};
