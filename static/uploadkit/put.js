// Bytes on their way to the store.

import { UploadError, throwIfStopped } from "./errors.js";
import { ANSWER_SECONDS, SILENCE_SECONDS, SLOWEST_BYTES_PER_SECOND, START_SECONDS } from "./limits.js";
import { reachedOrigins, secondsOf, timedOut, unreachable } from "./network.js";

/** @type {Set<{bytes: number, wait: () => void}>} */
const puts = new Set(); // the PUTs of the page

/** PUT bytes to the store, by XMLHttpRequest because `fetch` tells no progress. Resolves with the ETag, null where it is hidden.
 *
 * It is cut off when nothing moves: before the first byte only while nothing else of the page does, either (the browser may have it wait
 * for a connection); after the last byte as late as a slow proxy on the way may need for all that is under way.
 * @param {string} url @param {Blob} body @param {Record<string, string>} headers @param {AbortSignal} signal
 * @param {(bytes: number) => void} onSent */
export async function put(url, body, headers, signal, onSent) {
  const { origin } = new URL(url);
  const xhr = new XMLHttpRequest();
  let timer = 0;
  let waited = 0; // seconds, once it was too long
  const stop = () => xhr.abort();
  const within = (seconds) => {
    clearTimeout(timer);
    timer = setTimeout(() => { waited = seconds; stop(); }, seconds * 1000);
  };
  const self = { bytes: body.size, wait: () => within(START_SECONDS) };
  const onMove = ({ loaded }) => {
    reachedOrigins.add(origin); // browsers ask for permission first
    self.wait = () => {};
    const allBytes = [...puts].reduce((sum, { bytes }) => sum + bytes, 0);
    within(loaded < body.size ? SILENCE_SECONDS * puts.size : ANSWER_SECONDS + allBytes / SLOWEST_BYTES_PER_SECOND);
    for (const other of puts) other.wait();
    onSent(loaded);
  };
  puts.add(self);
  await new Promise((resolve) => {
    xhr.onloadend = resolve; // after success, failure and abort alike
    xhr.upload.onprogress = (event) => { if (event.loaded > 0) onMove(event); };
    xhr.open("PUT", url);
    if (headers["Content-Type"]) xhr.setRequestHeader("Content-Type", headers["Content-Type"]);
    signal.addEventListener("abort", stop);
    self.wait();
    xhr.send(body.type && !headers["Content-Type"] ? body.slice() : body); // a slice has no type, so no header is sent
  });
  clearTimeout(timer);
  puts.delete(self);
  signal.removeEventListener("abort", stop);
  throwIfStopped(signal);
  if (xhr.status > 0) reachedOrigins.add(origin);
  if (xhr.status >= 200 && xhr.status < 300) return xhr.getResponseHeader("ETag");
  if (waited > 0) throw timedOut(url, waited);
  if (xhr.status === 0) {
    await body.slice(0, 1).arrayBuffer().catch((error) => {
      throw new UploadError("FILE_UNREADABLE", "The file can't be read any more. Was it changed, moved or deleted? Choose it again", {
        suggestion: `The browser refused to read it: ${error}`,
      });
    });
    throw await unreachable(url, "The bucket's CORS rule must let this page's origin PUT with the header content-type");
  }
  const [, code = `HTTP ${xhr.status}`] = /<Code>(\w{1,64})<\/Code>/.exec(xhr.responseText) ?? [];
  throw new UploadError("STORE_REFUSED", "The file could not be stored", {
    status: xhr.status,
    retryAfter: secondsOf(xhr.getResponseHeader("Retry-After")),
    suggestion: `The store refused the bytes: ${code}. /readyz of the appliance says how the store is`,
  });
}
