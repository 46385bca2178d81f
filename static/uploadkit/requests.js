// Requests to the endpoint.

/** @import { Job } from "./upload.js" */
/** @import { UploaderOptions } from "../uploadkit.js" */
import { UploadError } from "./errors.js";
import { ANSWER_SECONDS } from "./limits.js";
import { hostOf, reachedOrigins, secondsOf, timedOut, unreachable } from "./network.js";
import { retry } from "./queue.js";

/** Ask the endpoint for an action, again after failures that may pass. @param {Job} job @param {string} action @param {object} fields */
export function call({ address, options, signal }, action, fields) {
  return retry(address, options, signal, () => ask(options, address, jsonPost(action, fields), signal));
}

/** @param {string} action @param {object} fields @param {RequestInit} [more] */
export function jsonPost(action, fields, more) {
  return { ...more, method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ action, ...fields }) };
}

/** Make one request to the endpoint.
 * @param {UploaderOptions} options @param {string} address @param {RequestInit} init @param {AbortSignal} [signal]
 * @returns {Promise<any>} */
export async function ask({ request = fetch }, address, init, signal) {
  const timeout = AbortSignal.timeout(ANSWER_SECONDS * 1000);
  let response, answer;
  try {
    response = await request(address, { ...init, signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
    answer = await response.text();
  } catch {
    if (timeout.aborted) throw timedOut(address, ANSWER_SECONDS);
    throw await unreachable(address, "Check the endpoint, and that the appliance allows this page's origin");
  }
  reachedOrigins.add(new URL(address, globalThis.location?.href).origin);
  try {
    answer = JSON.parse(answer);
  } catch {
    answer = null;
  }
  if (response.ok && typeof answer === "object" && answer && !Array.isArray(answer)) return answer;
  const { status, headers } = response;
  const retryAfter = secondsOf(headers.get("Retry-After"));
  const { code, message, suggestion } = answer?.error ?? {};
  if (typeof code !== "string" || !code) throw unexpected(address, status, retryAfter);
  throw new UploadError(code, `${message ?? ""}`, { suggestion: `${suggestion ?? ""}`, status, retryAfter });
}

/** The error for an answer that UploadKit does not give: who makes a page names the endpoint, and anybody may answer there.
 * @param {string} address @param {number} [status] @param {number} [retryAfter] */
export function unexpected(address, status = 200, retryAfter = 0) {
  const suggestion = `HTTP ${status} of ${hostOf(address)} is no answer of UploadKit: check the endpoint, and proxies on the way`;
  return new UploadError("UNEXPECTED_ANSWER", "The server gave an answer that makes no sense", { suggestion, status, retryAfter });
}
