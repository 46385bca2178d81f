// Hosts that do not answer, and what to say about them.

import { UploadError } from "./errors.js";

export const reachedOrigins = new Set();

/** @param {string} url */
export function hostOf(url) {
  return new URL(url, globalThis.location?.href).host;
}

/** @param {string} url @param {number} seconds */
export function timedOut(url, seconds) {
  const how = "The line may be slow or cut; /readyz of the appliance says how it and its store are";
  const suggestion = `Nothing moved for ${Math.round(seconds)} seconds. ${how}`;
  return new UploadError("NETWORK_ERROR", `${hostOf(url)} does not answer`, { suggestion });
}

/** @param {string} url @param {string} suggestion */
export async function unreachable(url, suggestion) {
  if (globalThis.navigator?.onLine === false) suggestion = `The browser says that it is offline. If it is not: ${suggestion}`;
  for (const name of /** @type {any[]} */ (["local-network-access", "local-network", "loopback-network"])) {
    const { state } = await Promise.resolve(globalThis.navigator?.permissions?.query({ name })).catch(() => null) ?? {};
    if (state !== "denied") continue;
    suggestion += ". Or the browser keeps this page from the local network (Local Network Access): see docs/clients.md of the appliance";
    break;
  }
  return new UploadError("NETWORK_ERROR", `${hostOf(url)} can't be reached`, { suggestion });
}

/** Whole seconds, so that a tiny fraction is no word to ask at once, again and again. @param {string | null} header  Seconds, or a date. */
export function secondsOf(header) {
  const seconds = Number(header ?? 0);
  return Math.ceil(Math.max(0, Number.isNaN(seconds) ? (Date.parse(header ?? "") - Date.now()) / 1000 || 0 : seconds));
}
