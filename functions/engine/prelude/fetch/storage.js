// storage.store and storage.get of actions: bytes go to the host and come from it in pieces (spec 03 2.8).
import { Blob, bytesOf } from "./blob.js";

const PIECE_BYTES_MAX = 1 << 20;
let uploads = 0;
let opened = 0;

const ask = async (name, args) => JSON.parse(await host.asyncSyscall(name, JSON.stringify(args)));

export const storeBlob = async ({ blob, options }) => {
  host.requireAction("storage.store()");
  if (!(blob instanceof Blob)) {
    throw new Error(
      "store() expects a Blob. If you are trying to store a Request, `await request.blob()` will give you the correct input.",
    );
  }
  const id = ++uploads;
  const bytes = bytesOf(blob);
  for (let start = 0; start < bytes.length; start += PIECE_BYTES_MAX) {
    await ask("host/fileWrite", { id, piece: bytes.subarray(start, start + PIECE_BYTES_MAX).toBase64() });
  }
  return ask("host/fileFinish", { id, contentType: blob.type || null, sha256: options?.sha256 ?? null });
};

export const getBlob = async ({ storageId }) => {
  host.requireAction("storage.get()");
  if (typeof storageId !== "string") throw new Error(`storage.get requires a string storageId but received ${storageId}`);
  const id = ++opened;
  const file = await ask("host/fileOpen", { id, storageId });
  if (file === null) return null;
  const bytes = new Uint8Array(file.size);
  for (let start = 0; start < bytes.length; ) {
    const piece = Uint8Array.fromBase64(await ask("host/fileRead", { id }));
    bytes.set(piece, start);
    start += piece.length;
  }
  return new Blob([bytes], { type: file.contentType ?? "" });
};
