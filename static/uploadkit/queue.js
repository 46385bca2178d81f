// Who may send now, and when to try again. There is one queue for each origin, for the whole page.

/** @import { UploaderOptions } from "../uploadkit.js" */
import { UploadError, throwIfStopped } from "./errors.js";
import { FILES_AT_ONCE, FIRST_CONTACT_SECONDS, LIMITED_ALTOGETHER_MS, LIMITED_SECONDS, OFFLINE_PATIENCE } from "./limits.js";
import { reachedOrigins } from "./network.js";

/** @type {Map<string, Queue>} */
const queues = new Map(); // by what is asked of which origin

/** What waits for the same: so many at a time, in the order in which they came. After a 429 all wait as long as it says; then one goes, and
 * with each that gets through one more at a time. */
class Queue {
  /** @type {{most: number, go: () => void}[]} */
  waiting = [];
  inside = 0;
  atOnce = Infinity;
  closedUntil = 0;
  timer = 0;

  /** Wait for a place, to be given back by `leave`. @param {number} most  How many there are. @param {AbortSignal} [signal] */
  async enter(most, signal) {
    throwIfStopped(signal);
    const isIn = await new Promise((/** @type {(isIn: boolean) => void} */ resolve) => {
      const place = { most, go: () => { signal?.removeEventListener("abort", giveUp); resolve(true); } };
      const giveUp = () => { this.waiting.splice(this.waiting.indexOf(place), 1); this.next(); resolve(false); };
      signal?.addEventListener("abort", giveUp, { once: true });
      this.waiting.push(place);
      this.next();
    });
    if (!isIn) throwIfStopped(signal);
  }

  /** @param {number} [secondsToWait]  As it was answered by 429. */
  leave(secondsToWait = 0) {
    this.inside--;
    this.atOnce = secondsToWait > 0 ? 1 : this.atOnce + 1;
    this.closedUntil = Math.max(this.closedUntil, Date.now() + secondsToWait * 1000);
    this.next();
  }

  next() {
    const closed = this.closedUntil - Date.now();
    if (closed > 0) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.next(), closed);
      return;
    }
    while (this.waiting.length > 0 && this.inside < Math.min(this.atOnce, this.waiting[0].most)) {
      this.inside++;
      this.waiting.shift()?.go();
    }
  }
}

/** The queue of those who ask for the same of one origin. @param {string} what @param {string} url */
export function queueOf(what, url) {
  const name = `${what} ${new URL(url, globalThis.location?.href ?? "http://localhost").origin}`;
  const queue = queues.get(name) ?? new Queue();
  queues.set(name, queue);
  return queue;
}

/** Try again after failures that may pass, with growing, random pauses, and never for ever.
 * @template T @param {string} url @param {UploaderOptions} options @param {AbortSignal | undefined} signal
 * @param {() => Promise<T>} attempt @param {Queue} [queue]  Where to wait for one's turn. @returns {Promise<T>} */
export async function retry(url, { retrySeconds = 0, parallelParts = FILES_AT_ONCE }, signal, attempt, queue = queueOf("calls", url)) {
  const { origin } = new URL(url, globalThis.location?.href);
  const began = Date.now();
  for (let tries = 0, waited = 0; ; ) {
    /** @type {any} */
    let failure;
    await queue.enter(parallelParts, signal);
    try {
      return await attempt();
    } catch (error) {
      failure = error;
    } finally {
      queue.leave(announcedWait(failure));
    }
    throwIfStopped(signal);
    if (!(failure instanceof UploadError && failure.transient)) throw failure;
    if (announcedWait(failure) > 0 && Date.now() - began < LIMITED_ALTOGETHER_MS) continue; // the queue waits
    const isOffline = failure.code === "NETWORK_ERROR" && globalThis.navigator?.onLine === false;
    const seconds = Math.max(failure.retryAfter, Math.min(15, 0.5 * 2 ** tries++) * (0.5 + Math.random() / 2));
    waited += seconds;
    const reached = failure.code !== "NETWORK_ERROR" || reachedOrigins.has(origin);
    const patience = (reached ? retrySeconds : Math.min(retrySeconds, FIRST_CONTACT_SECONDS)) * (isOffline ? OFFLINE_PATIENCE : 1);
    if (waited > patience) throw failure;
    await pause(seconds, signal, isOffline ? "online" : "");
    if (isOffline && globalThis.navigator?.onLine) tries = waited = 0;
  }
}

/** How many seconds to wait without counting them: as a 429 says. @param {unknown} failure */
function announcedWait(failure) {
  if (!(failure instanceof UploadError && failure.status === 429)) return 0;
  return failure.retryAfter <= LIMITED_SECONDS ? failure.retryAfter : 0;
}

/** Wait, but no longer than until the signal or the window's `event`.
 * @param {number} seconds @param {AbortSignal} [signal] @param {string} [event] */
export function pause(seconds, signal, event = "") {
  return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      globalThis.removeEventListener?.(event, end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1000);
    signal?.addEventListener("abort", end);
    if (event) globalThis.addEventListener?.(event, end);
  });
}

/** Resolves when the signal stops; never without one. @param {AbortSignal} [signal] */
export function stopOf(signal) {
  return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", resolve, { once: true });
  });
}
