// One upload from its beginning to its end.

/** @import { StartedUpload } from "./resume.js" */
/** @import { UploadedFile, UploaderOptions } from "../uploadkit.js" */
import { FINAL_CODES, UploadError, isStop, throwIfStopped } from "./errors.js";
import { COMPLETE_SECONDS, ENDING_SECONDS, MULTIPART_OVER_BYTES } from "./limits.js";
import { Parts } from "./parts.js";
import { pause, retry, stopOf } from "./queue.js";
import { ask, call, jsonPost, unexpected } from "./requests.js";
import { forget, inMemory, isRemembered, lock, recall, remember } from "./resume.js";

/**
 * @typedef {object} Job  One call of `upload`.
 * @property {File} file
 * @property {string} address  The endpoint with the file route.
 * @property {(sentBytes: number, totalBytes: number) => void} onProgress
 * @property {AbortSignal | undefined} signal
 * @property {Record<string, unknown>} declared  What the appliance gets to know of the file.
 * @property {string} name  What the upload is remembered by.
 * @property {UploaderOptions & {parallelParts: number, retrySeconds: number}} options
 * @typedef {{job: Job, begun: StartedUpload | null, isGivenUp: boolean}} ActiveUpload  An upload that this page sends; `begun` once it is.
 * @typedef {{partSize: number, parts: {partNumber: number, uploadUrl: string}[], headers?: Record<string, string>,
 *   uploaded?: {partNumber: number, size: number, etag: string}[]}} Plan  What is there, and URLs for the rest.
 */

/** @type {Set<ActiveUpload>} */
const active = new Set();

/** Go on with what is remembered of the file, or begin. @param {Job} job */
export async function uploadOrResume(job) {
  const release = await lock(job.name);
  if (!release) job = { ...job, name: "" }; // the same file twice at once: the second one is an upload of its own, and not remembered
  try {
    const known = recall(job.name);
    // With another time it may be another file. Phones give a photo a new one each time it is chosen: the first try must not hold quota.
    if (known && known.lastModified !== job.file.lastModified) await abandon(job, known);
    else if (known) {
      try {
        return await (known.key ? complete(job, known) : resume(job, known));
      } catch (error) {
        if (!(error instanceof UploadError && FINAL_CODES.has(error.code))) throw error;
      }
    }
    return await uploadFromStart(job);
  } finally {
    release?.();
  }
}

/** Begin an upload, and once more where the page was left and came back (from the browser's back/forward cache): then it was given up.
 * @param {Job} job */
async function uploadFromStart(job) {
  for (;;) {
    // With the same key a repeated request is answered with the same upload and fresh URLs.
    const idempotencyKey = Array.from(crypto.getRandomValues(new Uint32Array(4)), (number) => number.toString(36)).join("-");
    /** @type {ActiveUpload} */
    const upload = { job: { ...job, declared: { ...job.declared, idempotencyKey } }, begun: null, isGivenUp: false };
    active.add(upload);
    try {
      return await (job.file.size > MULTIPART_OVER_BYTES ? uploadInParts(upload) : uploadWhole(upload));
    } catch (error) {
      if (!upload.isGivenUp || isStop(error)) throw error;
    } finally {
      active.delete(upload);
    }
  }
}

// When the page closes, uploads that the next visit can't resume are given up: they must not hold quota until their deadline.
globalThis.addEventListener?.("pagehide", () => {
  for (const upload of active) {
    const { begun, job: { name } } = upload;
    if (!begun || (isRemembered(name, begun) && !inMemory.has(name))) continue;
    upload.isGivenUp = true;
    abandon(upload.job, begun);
  }
});

/** Upload a file in one piece. It can't be resumed before its bytes have arrived, so what fails earlier is given up.
 * @param {ActiveUpload} upload */
async function uploadWhole(upload) {
  const { job } = upload;
  const begin = async () => {
    const { fileId, key, uploadUrl, headers = { "Content-Type": job.declared.contentType } } = await requestUpload(job, "request-upload");
    const before = upload.begun;
    upload.begun = { address: job.address, fileId, key, startedAt: Date.now(), lastModified: job.file.lastModified };
    if (before && before.fileId !== fileId) {
      upload.isGivenUp = false;
      await abandon(job, before); // without a token, a fresh URL is that of another upload
    }
    return { partSize: job.file.size, parts: [{ partNumber: 1, uploadUrl }], headers };
  };
  const plan = await begin();
  try {
    await new Parts(job, plan, begin).send();
  } catch (error) {
    if (upload.begun && !upload.isGivenUp) await abandon(job, upload.begun);
    throw error;
  }
  const begun = /** @type {StartedUpload} */ (/** @type {unknown} */ (upload.begun));
  remember(job.name, begun);
  return complete(job, begun);
}

/** @param {ActiveUpload} upload */
async function uploadInParts(upload) {
  const { job } = upload;
  const plan = await requestUpload(job, "multipart-init");
  const { fileId, uploadId } = plan;
  const begun = { address: job.address, fileId, uploadId, startedAt: Date.now(), lastModified: job.file.lastModified };
  upload.begun = begun;
  remember(job.name, begun);
  return resume(job, begun, plan);
}

/** Ask for a new upload. The signal does not cut that off at once: what it begins has to be known, to be given back.
 * @param {Job} job @param {string} action @returns {Promise<any>} */
async function requestUpload(job, action) {
  const { address, options, signal } = job;
  const asked = retry(address, options, signal, () => ask(options, address, jsonPost(action, job.declared)));
  let isLate = false;
  const late = stopOf(signal).then(() => pause(ENDING_SECONDS)).then(() => { isLate = true; });
  const answer = await Promise.race([asked, late]);
  if (!isLate) return answer;
  asked.then((plan) => abandon(job, { ...plan, address }), () => {});
  throwIfStopped(signal);
}

/** Send what is missing of an upload that was begun, and complete it; `named`: by the ETags that the store's answers had.
 * @param {Job} job @param {StartedUpload} begun @param {Plan} [plan] @param {boolean} [named] */
async function resume(job, begun, plan, named = true) {
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
    return await complete(job, begun, named ? parts : undefined);
  } catch (error) {
    const code = error instanceof UploadError ? error.code : "";
    // A proxy may make ETags of its own, or a part was lost: once more with what the appliance itself finds in storage.
    if (code === "INVALID_PARTS" && named) return await resume(job, begun, undefined, false);
    if (FINAL_CODES.has(code)) forget(job.name);
    else if (code === "ABORTED" || !isRemembered(job.name, begun)) await abandon(job, begun);
    throw error;
  }
}

/** Have the appliance complete an upload whose bytes have all arrived. That is not given up soon; the next call with the same file goes on.
 * @param {Job} job @param {StartedUpload} begun @param {{partNumber: number, etag: string}[]} [parts] @returns {Promise<UploadedFile>} */
async function complete(job, begun, parts) {
  const { address, fileId, uploadId, key } = begun;
  const options = { ...job.options, retrySeconds: Math.max(job.options.retrySeconds, COMPLETE_SECONDS) };
  const fields = key ? { fileId, key } : { fileId, uploadId, parts };
  try {
    const { file } = await call({ ...job, address, options }, key ? "upload-complete" : "multipart-complete", fields);
    if (typeof file !== "object" || !file) throw unexpected(address);
    forget(job.name);
    return file;
  } catch (error) {
    const mayPass = error instanceof UploadError && (error.transient || error.code === "PAUSED");
    if (key && error instanceof UploadError && FINAL_CODES.has(error.code)) forget(job.name);
    else if (key && !(mayPass && isRemembered(job.name, begun))) await abandon(job, begun);
    throw error;
  }
}

/** Give up an upload, and the quota it holds, also while the page closes: with `keepalive` the request outlives it. @param {Job} job
 * @param {{address: string, fileId: string, uploadId?: string, key?: string}} begun */
async function abandon(job, { address, fileId, uploadId, key }) {
  if (isRemembered(job.name, { fileId })) forget(job.name);
  const end = uploadId ? jsonPost("multipart-abort", { fileId, uploadId }, { keepalive: true })
    : jsonPost("upload-abort", { fileId, key }, { keepalive: true });
  // Without an answer the sweeper of the appliance does it, later.
  await Promise.race([ask(job.options, address, end).catch(() => {}), pause(ENDING_SECONDS)]);
}
