// What goes wrong: the error that pages get, and the signal by which they stop an upload.

// After these answers an upload can't go on. The next try starts a new one.
export const FINAL_CODES = new Set([
  "UPLOAD_NOT_FOUND", "UPLOAD_EXPIRED", "UPLOAD_NOT_VERIFIED", "FILE_TYPE_NOT_ALLOWED", "INVALID_FILE_TYPE", "INVALID_PARTS", "CONFLICT",
  "UNAUTHORIZED", "ROUTE_NOT_FOUND",
]);

/**
 * Why an upload failed. `code` is the appliance's (`FILE_TOO_LARGE`, `UNAUTHORIZED` …) or `NETWORK_ERROR`, `STORE_REFUSED`,
 * `FILE_UNREADABLE`, `FILE_EMPTY`, `NO_ENDPOINT`, `UNEXPECTED_ANSWER`, `ABORTED`, `PAUSED`; `status` the HTTP status, or 0. `message` is
 * for the person in front of the page, `suggestion` for whoever made it.
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

/** @param {AbortSignal} [signal] */
export function throwIfStopped(signal) {
  if (!signal?.aborted) return;
  if (signal.reason === "pause") throw new UploadError("PAUSED", "The upload is paused", { suggestion: "The same call goes on" });
  throw new UploadError("ABORTED", "The upload was cancelled", { suggestion: "The page aborted its signal" });
}

/** @param {unknown} error */
export function isStop(error) {
  return error instanceof UploadError && ["ABORTED", "PAUSED"].includes(error.code);
}
