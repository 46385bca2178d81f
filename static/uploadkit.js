/**
 * UploadKit for browsers: uploads files straight to the store, in parts where they are large, and goes on after failures and page reloads.
 * No dependencies. `docs/clients.md` of the appliance shows how to get an endpoint.
 *
 *   import { createUploader } from "https://uploads.example.com/uploadkit.js";
 *   const uploader = createUploader({ endpoint: () => fetch("/upload-endpoint", { method: "POST" }) });
 *   const file = await uploader.upload(input.files[0], { route: "avatars", onProgress: (sent, total) => { bar.value = sent / total; } });
 *
 * An upload in parts is remembered in localStorage until it ends: where it is uploaded (with the upload token that began it) and its ids.
 * So the same call with the same file goes on with it, sending only the parts that are missing.
 *
 * @typedef {{id: string, key: string, name: string, size: number, type: string, url: string, status: string,
 *   metadata: Record<string, unknown>, createdAt: string, updatedAt: string}} UploadedFile
 * @typedef {{maxFileSize: number | null, maxFileCount: number, allowedTypes: string[]}} Rules
 * @typedef {object} UploaderOptions
 * @property {string | (() => string | Response | Promise<string | Response>)} endpoint  Where to upload, without the file route. A
 *   function is asked once per upload: best where your backend makes an upload token, which expires.
 * @property {(url: string, init: RequestInit) => Promise<Response>} [request]  In place of `fetch`, for calls to the endpoint (not to
 *   the store): where it needs cookies or headers.
 * @property {string} [user]  What tells the users of one browser apart: nobody goes on with what another began.
 * @property {number} [parallelParts]  How many parts of a file are sent at once.
 * @property {number} [retrySeconds]  How long a step that fails is tried again altogether. Time offline does not count.
 * @typedef {object} UploadOptions
 * @property {string} [route]  The file route.
 * @property {Record<string, unknown>} [metadata]  Kept as the file's `clientMetadata`.
 * @property {(sentBytes: number, totalBytes: number) => void} [onProgress]  What is sent falls when a part has to be sent again.
 * @property {AbortSignal} [signal]  `abort()` ends the upload, also at the appliance. `abort("pause")` only stops: the same call goes on.
 * @typedef {object} Job  One call of `upload`.
 * @property {File} file
 * @property {string} address  The endpoint with the file route.
 * @property {(sentBytes: number, totalBytes: number) => void} onProgress
 * @property {AbortSignal | undefined} signal
 * @property {Record<string, unknown>} declared  What the appliance is told of the file.
 * @property {string} name  What the upload is remembered by.
 * @property {UploaderOptions & {parallelParts: number, retrySeconds: number}} options
 * @typedef {{address: string, fileId: string, uploadId: string, startedAt: number}} Begun  A multipart upload, as it is remembered.
 * @typedef {{partSize: number, parts: {partNumber: number, uploadUrl: string}[], headers?: Record<string, string>,
 *   uploaded?: {partNumber: number, size: number, etag: string}[]}} Plan  What is there, and URLs for the rest.
 */

const MULTIPART_OVER_BYTES = 10 * 1024 * 1024;
const ANSWER_SECONDS = 300; // the store joins or copies the whole file before `complete` is answered
const SILENCE_SECONDS = 60;
const FIRST_CONTACT_SECONDS = 8; // a host that never answered is more likely a wrong address, or refuses this page's origin
const URL_GOOD_MS = 50 * 60_000; // an hour, by default; a store that refuses one earlier is asked with a fresh one, too
const REMEMBERED_MS = 7 * 24 * 3600 * 1000; // an upload token finishes what it began for so long
const PREFIX = "uploadkit:";
// With these answers an upload can't be gone on with. The next try starts anew.
const GONE = new Set(
  ["UPLOAD_NOT_FOUND", "UPLOAD_EXPIRED", "UPLOAD_NOT_VERIFIED", "INVALID_PARTS", "CONFLICT", "UNAUTHORIZED", "ROUTE_NOT_FOUND"],
);

const reachedOrigins = new Set();
const underWay = new Set();
const notKept = new Map(); // stands in where the browser has no localStorage for us

/**
 * Why an upload failed. `code` is the appliance's (`FILE_TOO_LARGE`, `UNAUTHORIZED` …) or `NETWORK_ERROR`, `STORE_REFUSED`,
 * `FILE_UNREADABLE`, `NO_ENDPOINT`, `UNEXPECTED_ANSWER`, `ABORTED`, `PAUSED`; `status` the HTTP status, 0 where there was none.
 */
export class UploadError extends Error {
  /** @param {string} code @param {string} message @param {{suggestion?: string, status?: number, retryAfter?: number}} [more] */
  constructor(code, message, { suggestion = "", status = 0, retryAfter = 0 } = {}) {
    super(message);
    this.name = "UploadError";
    this.code = code;
    this.suggestion = suggestion;
    this.status = status;
    this.retryAfter = retryAfter; // seconds
  }

  /** Whether the same may succeed later; it has then already been tried for `retrySeconds`. */
  get transient() {
    const { code, status } = this;
    return ["NETWORK_ERROR", "IDEMPOTENCY_CONFLICT"].includes(code) || [408, 429].includes(status) || (status >= 500 && status !== 501);
  }
}

/** Make an uploader. It can send any number of files at once. @param {UploaderOptions} options */
export function createUploader({ endpoint, request = fetch.bind(globalThis), user = "", parallelParts = 4, retrySeconds = 120 }) {
  const options = { endpoint, request, user, parallelParts, retrySeconds };
  const addressOf = async (route, signal) => {
    const here = globalThis.location?.href ?? "http://localhost";
    const base = await retrying(here, options, signal, () => endpointOf(endpoint));
    return `${base.replace(/(?<!\/)\/+$/, "")}/${encodeURIComponent(route)}`;
  };
  return {
    /** What may be uploaded to a file route. @param {string} [route] @returns {Promise<Rules>} */
    async rules(route = "default") {
      const address = await addressOf(route);
      return retrying(address, options, undefined, () => ask(options, address, { method: "GET" }));
    },

    /** Upload a file; resolves once the appliance has verified it.
     * @param {File} file @param {UploadOptions} [how] @returns {Promise<UploadedFile>} */
    async upload(file, { route = "default", metadata = {}, onProgress = () => {}, signal } = {}) {
      throwIfStopped(signal);
      const address = await addressOf(route, signal);
      // With the same key a repeated request is answered with the same upload and fresh URLs.
      const idempotencyKey = Array.from(crypto.getRandomValues(new Uint32Array(4)), (number) => number.toString(36)).join("-");
      const declared = { fileName: file.name || "upload", contentType: file.type, contentLength: file.size, metadata, idempotencyKey };
      const identity = [withoutToken(address), user, file.name, file.size, file.lastModified, file.type, metadata];
      const job = { file, address, onProgress, signal, declared, name: PREFIX + JSON.stringify(identity), options };
      return file.size > MULTIPART_OVER_BYTES ? uploadInParts(job) : uploadWhole(job);
    },
  };
}

/** Find out where to upload: from the backend's answer where there is one. @param {UploaderOptions["endpoint"]} endpoint */
async function endpointOf(endpoint) {
  /** @type {unknown} */
  let found;
  try {
    found = typeof endpoint === "function" ? await endpoint() : endpoint;
    if (found instanceof Response) {
      const { ok, status, headers } = found;
      found = await found.text();
      const retryAfter = secondsOf(headers.get("Retry-After"));
      if (!ok) throw new UploadError("NO_ENDPOINT", String(found).slice(0, 200) || `HTTP ${status}`, { status, retryAfter });
    }
  } catch (error) {
    if (error instanceof UploadError) throw error;
    throw new UploadError("NETWORK_ERROR", `There is no endpoint to upload to: ${error}`);
  }
  if (typeof found === "string" && /^(https?:\/\/|\/)/.test(found.trim())) return found.trim();
  throw new UploadError("NO_ENDPOINT", "endpoint must be a URL, a path, or a function that returns one");
}

/** @param {Job} job */
async function uploadWhole(job) {
  let fileId, key;
  const begin = async () => {
    const slot = await call(job, "request-upload", job.declared);
    ({ fileId, key } = slot);
    const { uploadUrl, headers = { "Content-Type": job.file.type } } = slot;
    return { partSize: job.file.size, parts: [{ partNumber: 1, uploadUrl }], headers };
  };
  await new Parts(job, await begin(), begin).send();
  return (await call(job, "upload-complete", { fileId, key })).file;
}

/** @param {Job} job */
async function uploadInParts(job) {
  // The same file twice at once: the second one is an upload of its own, and not remembered.
  if (underWay.has(job.name)) job = { ...job, name: "" };
  underWay.add(job.name);
  try {
    const known = recall(job.name);
    if (known) {
      try {
        return await goOn(job, known);
      } catch (error) {
        if (!(error instanceof UploadError && GONE.has(error.code))) throw error;
      }
    }
    // The request itself is not cut off by the signal: what it begins has to be known, to be aborted.
    const { address, options, signal } = job;
    const plan = await retrying(address, options, signal, () => ask(options, address, posted("multipart-init", job.declared)));
    const begun = { address, fileId: plan.fileId, uploadId: plan.uploadId, startedAt: Date.now() };
    remember(job.name, begun);
    return await goOn(job, begun, plan);
  } finally {
    underWay.delete(job.name);
  }
}

/** Send what is missing of an upload that was begun, and complete it; `named`: by the ETags that the store's answers had.
 * @param {Job} job @param {Begun} begun @param {Plan} [plan] @param {boolean} [named] */
async function goOn(job, begun, plan, named = true) {
  const ids = { fileId: begun.fileId, uploadId: begun.uploadId };
  const toBegun = { ...job, address: begun.address };
  const renew = () => call(toBegun, "multipart-parts", ids);
  try {
    let parts;
    try {
      parts = await new Parts(toBegun, plan ?? (await renew()), renew).send();
    } catch (error) {
      // All has arrived. Perhaps it was even completed, and the answer was lost: repeating is safe, and says so.
      if (!(error instanceof UploadError && error.code === "CONFLICT")) throw error;
    }
    const done = await call(toBegun, "multipart-complete", { ...ids, parts: named ? parts : undefined });
    forget(job.name);
    return done.file;
  } catch (error) {
    const code = error instanceof UploadError ? error.code : "";
    // A proxy may make ETags of its own, or a part was lost: once more with what the appliance itself finds in storage.
    if (code === "INVALID_PARTS" && named) return await goOn(job, begun, undefined, false);
    if (GONE.has(code) || code === "ABORTED") forget(job.name);
    // Without an answer the sweeper of the appliance does it, later.
    if (code === "ABORTED") await ask(job.options, begun.address, posted("multipart-abort", ids, { keepalive: true })).catch(() => {});
    throw error;
  }
}

/** The parts of a file: those that have arrived, and URLs for the others. A file that goes in one piece has one. */
class Parts {
  urls = new Map();
  etags = new Map();
  sent = new Map();
  issuedAt = 0;
  /** @type {Promise<void> | null} */
  renewing = null;
  failed = new AbortController(); // what stops one part stops all

  /** @param {Job} job @param {Plan} plan @param {() => Promise<Plan>} renew */
  constructor(job, plan, renew) {
    this.job = job;
    this.renew = renew;
    this.partSize = plan.partSize;
    this.headers = plan.headers ?? {};
    this.count = Math.ceil(job.file.size / plan.partSize);
    this.signal = job.signal ? AbortSignal.any([job.signal, this.failed.signal]) : this.failed.signal;
    this.take(plan);
  }

  /** Send what has not arrived, several parts at a time. Returns all ETags for `complete`, or nothing where the bucket's CORS rule hides
   * one: then the appliance asks the store. */
  async send() {
    const { parallelParts } = this.job.options;
    const waiting = Array.from({ length: this.count }, (_, index) => index + 1).filter((number) => !this.etags.has(number));
    const errors = [];
    const work = async () => {
      try {
        for (let number; (number = waiting.shift()); ) await this.sendOne(number);
      } catch (error) {
        errors.push(error);
        this.failed.abort();
      }
    };
    await Promise.all(Array.from({ length: parallelParts }, work));
    throwIfStopped(this.job.signal);
    if (errors.length > 0) throw errors[0];
    const etags = [...this.etags].map(([partNumber, etag]) => ({ partNumber, etag }));
    return etags.every(({ etag }) => etag) ? etags : undefined;
  }

  /** Send one part, with a fresh URL when its own has expired. @param {number} number */
  async sendOne(number) {
    const { file, options } = this.job;
    const start = (number - 1) * this.partSize;
    const body = this.count === 1 ? file : file.slice(start, start + this.partSize);
    const onSent = (bytes) => this.report(number, bytes);
    for (;;) {
      if (this.areOld()) await this.takeFresh();
      const url = this.urls.get(number);
      try {
        this.etags.set(number, await retrying(url, options, this.signal, () => put(url, body, this.headers, this.signal, onSent)));
        return this.report(number, body.size);
      } catch (error) {
        this.report(number, 0);
        if (!(error instanceof UploadError)) throw error;
        if (url !== this.urls.get(number)) continue; // another part was refused before, and has brought fresh URLs
        const refused = error.code === "STORE_REFUSED" && [400, 403, 404].includes(error.status) && Date.now() - this.issuedAt > 5_000;
        // A refusal without CORS headers looks like a network error.
        if (!refused && !(error.code === "NETWORK_ERROR" && this.areOld())) throw error;
        await this.takeFresh();
      }
    }
  }

  areOld() {
    return Date.now() - this.issuedAt > URL_GOOD_MS;
  }

  takeFresh() {
    return (this.renewing ??= this.renew().then((plan) => this.take(plan)).finally(() => { this.renewing = null; }));
  }

  /** @param {Plan} plan */
  take({ parts, uploaded }) {
    this.issuedAt = Date.now();
    for (const { partNumber, uploadUrl } of parts) this.urls.set(partNumber, uploadUrl);
    for (const { partNumber, size, etag } of uploaded ?? []) {
      this.etags.set(partNumber, etag);
      this.report(partNumber, size);
    }
  }

  /** @param {number} number @param {number} bytes */
  report(number, bytes) {
    this.sent.set(number, bytes);
    this.job.onProgress([...this.sent.values()].reduce((sum, each) => sum + each, 0), this.job.file.size);
  }
}

/** PUT bytes to the store, by XMLHttpRequest because `fetch` tells no progress. Resolves with the ETag, null where it is hidden.
 * @param {string} url @param {Blob} body @param {Record<string, string>} headers @param {AbortSignal} signal
 * @param {(bytes: number) => void} onSent */
async function put(url, body, headers, signal, onSent) {
  const xhr = new XMLHttpRequest();
  let timer = 0;
  const stop = () => xhr.abort();
  const heard = () => { clearTimeout(timer); timer = setTimeout(stop, SILENCE_SECONDS * 1000); };
  await new Promise((resolve) => {
    xhr.onloadend = resolve; // after success, failure and abort alike
    xhr.upload.onprogress = (event) => { heard(); onSent(event.loaded); };
    xhr.open("PUT", url);
    if (headers["Content-Type"]) xhr.setRequestHeader("Content-Type", headers["Content-Type"]);
    signal.addEventListener("abort", stop);
    heard();
    xhr.send(body.type && !headers["Content-Type"] ? body.slice() : body); // a slice has no type, so no header is sent
  });
  clearTimeout(timer);
  signal.removeEventListener("abort", stop);
  throwIfStopped(signal);
  if (xhr.status > 0) reachedOrigins.add(new URL(url).origin);
  if (xhr.status >= 200 && xhr.status < 300) return xhr.getResponseHeader("ETag");
  if (xhr.status === 0) {
    await body.slice(0, 1).arrayBuffer().catch(() => {
      const suggestion = "Was it changed, moved or deleted? Choose it again";
      throw new UploadError("FILE_UNREADABLE", "The file can't be read any more", { suggestion });
    });
    throw unreachable(url, "The bucket's CORS rule must let this page's origin PUT with the header content-type");
  }
  const [, code = `HTTP ${xhr.status}`] = /<Code>(\w{1,64})<\/Code>/.exec(xhr.responseText) ?? [];
  throw new UploadError("STORE_REFUSED", `The store refused the bytes: ${code}`, {
    status: xhr.status,
    retryAfter: secondsOf(xhr.getResponseHeader("Retry-After")),
    suggestion: "/readyz of the appliance says how the store is",
  });
}

/** Ask the endpoint for an action, again after failures that may pass. @param {Job} job @param {string} action @param {object} fields */
function call({ address, options, signal }, action, fields) {
  return retrying(address, options, signal, () => ask(options, address, posted(action, fields), signal));
}

/** @param {string} action @param {object} fields @param {RequestInit} [more] */
function posted(action, fields, more) {
  return { ...more, method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ action, ...fields }) };
}

/** Make one request to the endpoint.
 * @param {UploaderOptions} options @param {string} address @param {RequestInit} init @param {AbortSignal} [signal]
 * @returns {Promise<any>} */
async function ask({ request = fetch }, address, init, signal) {
  const timeout = AbortSignal.timeout(ANSWER_SECONDS * 1000);
  let response, answer;
  try {
    response = await request(address, { ...init, signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
    answer = await response.text();
  } catch {
    throw unreachable(address, "Check the endpoint, and that the appliance allows this page's origin");
  }
  reachedOrigins.add(new URL(address, globalThis.location?.href).origin);
  try {
    answer = JSON.parse(answer);
  } catch {
    answer = null;
  }
  if (response.ok && answer) return answer;
  const { status, headers } = response;
  const { code = "UNEXPECTED_ANSWER", message = `The answer (HTTP ${status}) is not one of UploadKit`, suggestion } = answer?.error ?? {};
  throw new UploadError(code, message, { suggestion, status, retryAfter: secondsOf(headers.get("Retry-After")) });
}

/** Try again after failures that may pass, with growing, random pauses, and never for ever unless the browser is offline.
 * @template T @param {string} url @param {UploaderOptions} options @param {AbortSignal | undefined} signal
 * @param {() => Promise<T>} attempt @returns {Promise<T>} */
async function retrying(url, { retrySeconds = 0 }, signal, attempt) {
  const { origin } = new URL(url, globalThis.location?.href);
  for (let tries = 0, waited = 0; ; tries++) {
    throwIfStopped(signal);
    try {
      return await attempt();
    } catch (error) {
      throwIfStopped(signal);
      if (!(error instanceof UploadError && error.transient)) throw error;
      if (error.code === "NETWORK_ERROR" && globalThis.navigator?.onLine === false) {
        await pause(15, signal, "online");
        tries = waited = 0;
        continue;
      }
      const seconds = Math.max(error.retryAfter, Math.min(15, 0.5 * 2 ** tries) * (0.5 + Math.random() / 2));
      waited += seconds;
      const reached = error.code !== "NETWORK_ERROR" || reachedOrigins.has(origin);
      if (waited > (reached ? retrySeconds : Math.min(retrySeconds, FIRST_CONTACT_SECONDS))) throw error;
      await pause(seconds, signal);
    }
  }
}

/** Wait, but no longer than until the signal or the window's `event`.
 * @param {number} seconds @param {AbortSignal} [signal] @param {string} [event] */
function pause(seconds, signal, event = "") {
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

/** @param {AbortSignal} [signal] */
function throwIfStopped(signal) {
  if (!signal?.aborted) return;
  if (signal.reason === "pause") throw new UploadError("PAUSED", "The upload is paused");
  throw new UploadError("ABORTED", "The upload was aborted");
}

/** @param {string} url @param {string} suggestion */
function unreachable(url, suggestion) {
  return new UploadError("NETWORK_ERROR", `${new URL(url, globalThis.location?.href).host} can't be reached`, { suggestion });
}

/** @param {string | null} header  Seconds, or a date. */
function secondsOf(header) {
  const seconds = Number(header ?? 0);
  return Math.max(0, Number.isNaN(seconds) ? (Date.parse(header ?? "") - Date.now()) / 1000 || 0 : seconds);
}

/** @param {string} address */
function withoutToken(address) {
  return address.replace(/\/t\/ukt_[^/]+/, "");
}

/** @param {string} name @returns {Begun | null} */
function recall(name) {
  try {
    const found = JSON.parse(notKept.get(name) ?? localStorage.getItem(name) ?? "null");
    return found && found.startedAt > Date.now() - REMEMBERED_MS ? found : null;
  } catch {
    return null;
  }
}

/** @param {string} name @param {Begun} begun */
function remember(name, begun) {
  if (!name) return;
  try {
    for (const other of Object.keys(localStorage)) if (other.startsWith(PREFIX) && !recall(other)) localStorage.removeItem(other);
    localStorage.setItem(name, JSON.stringify(begun));
  } catch {
    notKept.set(name, JSON.stringify(begun));
  }
}

/** @param {string} name */
function forget(name) {
  notKept.delete(name);
  try {
    localStorage.removeItem(name);
  } catch {
    // There was nothing to remember it in.
  }
}
