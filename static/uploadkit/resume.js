// What is remembered of an upload, so that it goes on after a failure or a page reload.

import { REMEMBERED_MS } from "./limits.js";

/**
 * @typedef {{address: string, fileId: string, uploadId?: string, key?: string, startedAt: number, lastModified: number}} StartedUpload
 *   An upload, as it is remembered. One with a `key` has no parts: it is remembered when its bytes have arrived.
 */

const PREFIX = "uploadkit:";

const locked = new Set();

export const inMemory = new Map(); // stands in where the browser has no localStorage for us

/** The name that an upload is remembered by: that of the same file to the same place for the same user.
 * @param {string} address @param {string} user @param {File} file @param {Record<string, unknown>} metadata */
export function nameOf(address, user, { name, size, type }, metadata) {
  const withoutToken = address.replace(/\/t\/ukt_[^/]+/, "");
  return PREFIX + JSON.stringify([withoutToken, user, name, size, type, metadata]);
}

/** Lock a name, in all tabs where the browser has locks; null where another upload has it. @param {string} name
 * @returns {Promise<(() => void) | null>} */
export async function lock(name) {
  if (locked.has(name)) return null;
  locked.add(name);
  const free = () => { locked.delete(name); };
  const locks = globalThis.navigator?.locks; // not on http:// pages of other hosts than this
  if (!locks) return free;
  return new Promise((resolve) => {
    // A page that was reloaded may hold it for a moment longer.
    /** @returns {Promise<unknown>} */
    const held = () => new Promise((release) => resolve(() => { free(); release(null); }));
    locks.request(name, { signal: AbortSignal.timeout(1000) }, held).catch(() => { free(); resolve(null); });
  });
}

/** @param {string} name @returns {StartedUpload | null} */
export function recall(name) {
  try {
    const found = JSON.parse(inMemory.get(name) ?? localStorage.getItem(name) ?? "null");
    return found && found.startedAt > Date.now() - REMEMBERED_MS ? found : null;
  } catch {
    return null;
  }
}

/** Whether the next call can go on with an upload. @param {string} name @param {{fileId: string}} begun */
export function isRemembered(name, begun) {
  return recall(name)?.fileId === begun.fileId;
}

/** @param {string} name @param {StartedUpload} begun */
export function remember(name, begun) {
  if (!name) return;
  try {
    for (const other of Object.keys(localStorage)) if (other.startsWith(PREFIX) && !recall(other)) localStorage.removeItem(other);
    localStorage.setItem(name, JSON.stringify(begun));
  } catch {
    inMemory.set(name, JSON.stringify(begun));
  }
}

/** @param {string} name */
export function forget(name) {
  inMemory.delete(name);
  try {
    localStorage.removeItem(name);
  } catch {
    // There was nothing to remember it in.
  }
}
