// Where to upload: a URL, or what the page's own backend answers.

/** @import { EndpointRequest, UploaderOptions } from "../uploadkit.js" */
import { UploadError } from "./errors.js";
import { secondsOf } from "./network.js";
import { retry } from "./queue.js";

/** Where an uploader uploads: what its `endpoint` says, for one file or for all that wait. */
export class Endpoints {
  waiting = new Set(); // uploads that have no address yet
  /** @type {{answer: Promise<string>, left: number} | null} */
  shared = null;

  /** @param {UploaderOptions} options */
  constructor(options) {
    this.options = options;
  }

  /** Where the next file goes. @param {string} route @param {AbortSignal} [signal] */
  async of(route, signal) {
    const { routeSlugs = [route], shareEndpoint = false } = this.options;
    if (!routeSlugs.includes(route)) {
      const suggestion = `The uploader's routeSlugs are ${routeSlugs.join(", ")}`;
      throw new UploadError("ROUTE_NOT_FOUND", "Files of this kind are not uploaded here", { suggestion });
    }
    const here = globalThis.location?.href ?? "http://localhost";
    const answer = () => (shareEndpoint ? this.askForAll(route, routeSlugs) : this.ask(route, routeSlugs));
    const base = await retry(here, this.options, signal, answer);
    return `${base.replace(/(?<!\/)\/+$/, "")}/${encodeURIComponent(route)}`;
  }

  /** @param {string} route @param {string[]} routeSlugs */
  ask(route, routeSlugs) {
    return endpointOf(this.options.endpoint, { route, routeSlugs, files: Math.max(1, this.waiting.size) });
  }

  /** @param {string} route @param {string[]} routeSlugs */
  askForAll(route, routeSlugs) {
    if (!this.shared || this.shared.left === 0) {
      const asked = { answer: this.ask(route, routeSlugs), left: Math.max(1, this.waiting.size) };
      asked.answer.catch(() => { if (this.shared === asked) this.shared = null; }); // whoever comes next asks again
      this.shared = asked;
    }
    this.shared.left--;
    return this.shared.answer;
  }
}

/** Find out where to upload: from the backend's answer where there is one.
 * @param {UploaderOptions["endpoint"]} endpoint @param {EndpointRequest} asked */
async function endpointOf(endpoint, asked) {
  const message = "The upload can't begin now";
  /** @type {unknown} */
  let found;
  try {
    found = typeof endpoint === "function" ? await endpoint(asked) : endpoint;
    if (found instanceof Response) {
      const { ok, status, headers } = found;
      const text = (await found.text()).slice(0, 200);
      const retryAfter = secondsOf(headers.get("Retry-After"));
      // Words of the page's own backend are for the page's users; a page of HTML is a proxy's or a framework's.
      const words = /^[^<{]+$/.test(text) ? text : message;
      const suggestion = `Where the page asks for its endpoint, the answer was HTTP ${status}: ${text}`;
      if (!ok) throw new UploadError("NO_ENDPOINT", words, { status, retryAfter, suggestion });
      found = text;
    }
  } catch (error) {
    if (error instanceof UploadError) throw error;
    throw new UploadError("NETWORK_ERROR", message, { suggestion: `The function \`endpoint\` failed: ${error}` });
  }
  if (typeof found === "string" && /^(https?:\/\/|\/)/.test(found.trim())) return found.trim();
  throw new UploadError("NO_ENDPOINT", message, { suggestion: "endpoint must be a URL, a path, or a function that returns one" });
}
