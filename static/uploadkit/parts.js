// The bytes of one file, sent in one piece or in parts.

/** @import { Job, Plan } from "./upload.js" */
import { UploadError, throwIfStopped } from "./errors.js";
import { MOST_PARTS, URL_GOOD_MS } from "./limits.js";
import { put } from "./put.js";
import { queueOf, retry } from "./queue.js";
import { unexpected } from "./requests.js";

/** The parts of a file: those that have arrived, and URLs for the others. A file that goes in one piece has one. */
export class Parts {
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
    const isPossible = Number.isSafeInteger(plan.partSize) && plan.partSize > 0 && this.count <= MOST_PARTS;
    if (!isPossible || !/^[ -~]*$/.test(this.headers["Content-Type"] ?? "")) throw unexpected(job.address);
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
      if (!url) throw unexpected(this.job.address);
      try {
        const attempt = () => put(url, body, this.headers, this.signal, onSent);
        this.etags.set(number, await retry(url, options, this.signal, attempt, queueOf("bytes", url)));
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
    const isPart = (part) => Number.isInteger(part?.partNumber) && part.partNumber > 0 && part.partNumber <= this.count;
    const hasAddress = (part) => typeof part.uploadUrl === "string" && /^https?:/i.test(part.uploadUrl) && URL.canParse(part.uploadUrl);
    const isSound = Array.isArray(parts) && parts.every((part) => isPart(part) && hasAddress(part));
    if (!isSound || !(Array.isArray(uploaded ?? []) && (uploaded ?? []).every(isPart))) throw unexpected(this.job.address);
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
