/**
 * UploadKit for browsers: uploads files straight to the store, in parts where they are large, and goes on after failures and page reloads.
 * No dependencies. `docs/clients.md` of the appliance shows how to get an endpoint. Its source is this file and the modules that it
 * imports; the appliance serves all of it as one file.
 *
 *   import { createUploader } from "https://uploads.example.com/uploadkit.js";
 *   const uploader = createUploader({ endpoint: () => fetch("/upload-endpoint", { method: "POST" }) });
 *   const file = await uploader.upload(input.files[0], { route: "avatars", onProgress: (sent, total) => { bar.value = sent / total; } });
 *
 * All uploads of a page share one queue: some files and some requests at a time. When an answer says to come later (429), all wait.
 *
 * An upload in parts is remembered in localStorage until it ends: where it is uploaded (with the upload token that began it) and its ids.
 * So the same call with the same file goes on with it, sending only the parts that are missing. A small file is remembered once its bytes
 * have arrived, until the appliance has said so.
 *
 * @typedef {{id: string, key: string, name: string, size: number, type: string, url: string, status: string,
 *   metadata: Record<string, unknown>, createdAt: string, updatedAt: string}} UploadedFile
 * @typedef {{maxFileSize: number | null, maxFileCount: number, allowedTypes: string[],
 *   verifyContent?: boolean}} Rules
 * @typedef {{route: string, routeSlugs: string[], files: number}} EndpointRequest  For which file route, which ones the uploader is for,
 *   and how many of its files wait, this one included.
 * @typedef {object} UploaderOptions
 * @property {string | ((asked: EndpointRequest) => string | Response | Promise<string | Response>)} endpoint  Where to upload, without
 *   the file route. A function is asked once per upload: best where your backend makes an upload token, which expires.
 * @property {boolean} [shareEndpoint]  One answer of `endpoint` is for all files that wait when it is asked, and for all `routeSlugs`.
 * @property {string[]} [routeSlugs]  The file routes that the uploader is for, the default one first; without it any.
 * @property {(url: string, init: RequestInit) => Promise<Response>} [request]  In place of `fetch`, for calls to the endpoint (not to
 *   the store): where it needs cookies or headers.
 * @property {string} [user]  What tells the users of one browser apart: nobody goes on with what another began.
 * @property {number} [parallelParts]  How many parts and files the page sends at once, all uploads together.
 * @property {number} [retrySeconds]  How long a step that fails is tried again altogether; ten times as long while the browser says that it
 *   is offline, and once all bytes have arrived a quarter of an hour at least. Waiting as `Retry-After` of a 429 says does not count.
 * @typedef {object} UploadOptions
 * @property {string} [route]  The file route; the first of the uploader's `routeSlugs`, or `default`.
 * @property {Record<string, unknown>} [metadata]  Kept as the file's `clientMetadata`.
 * @property {(sentBytes: number, totalBytes: number) => void} [onProgress]  What is sent falls when a part has to be sent again.
 * @property {AbortSignal} [signal]  `abort()` ends the upload, also at the appliance. `abort("pause")` only stops: the same call goes on.
 */

import { Endpoints } from "./uploadkit/endpoint.js";
import { UploadError, throwIfStopped } from "./uploadkit/errors.js";
import { readHead, typeToDeclare } from "./uploadkit/file-type.js";
import { FILES_AT_ONCE } from "./uploadkit/limits.js";
import { queueOf, retry } from "./uploadkit/queue.js";
import { ask } from "./uploadkit/requests.js";
import { nameOf } from "./uploadkit/resume.js";
import { uploadOrResume } from "./uploadkit/upload.js";

export { UploadError };

/** Make an uploader. It can send any number of files at once. @param {UploaderOptions} options */
export function createUploader({ request = fetch.bind(globalThis), user = "", parallelParts = 4, retrySeconds = 120, ...where }) {
  const options = { ...where, request, user, parallelParts, retrySeconds };
  const endpoints = new Endpoints(options);
  const [first = "default"] = where.routeSlugs ?? [];
  return {
    /** What may be uploaded to a file route. @param {string} [route] @returns {Promise<Rules>} */
    async rules(route = first) {
      const address = await endpoints.of(route);
      return retry(address, options, undefined, () => ask(options, address, { method: "GET" }));
    },

    /** Upload a file, when its turn comes; resolves once the appliance has verified it.
     * @param {File} file @param {UploadOptions} [how] @returns {Promise<UploadedFile>} */
    async upload(file, { route = first, metadata = {}, onProgress = () => {}, signal } = {}) {
      throwIfStopped(signal);
      const mine = {};
      endpoints.waiting.add(mine);
      try {
        const head = await readHead(file);
        const files = queueOf("files", "");
        await files.enter(FILES_AT_ONCE, signal);
        try {
          const address = await endpoints.of(route, signal);
          endpoints.waiting.delete(mine);
          const rules = () => retry(address, options, signal, () => ask(options, address, { method: "GET" }, signal));
          const contentType = await typeToDeclare(file, head, rules);
          const declared = { fileName: file.name || "upload", contentType, contentLength: file.size, metadata };
          const name = nameOf(address, user, file, metadata);
          return await uploadOrResume({ file, address, onProgress, signal, declared, name, options });
        } finally {
          files.leave();
        }
      } finally {
        endpoints.waiting.delete(mine);
      }
    },
  };
}
