/**
 * UploadKit for browsers: uploads files straight to the store, in parts where they are large, and goes on after failures and page reloads.
 * No dependencies. `docs/clients.md` of the appliance shows how to get an endpoint.
 *
 *   import { createUploader } from "https://uploads.example.com/uploadkit.js";
 *   const uploader = createUploader({ endpoint: () => fetch("/upload-endpoint", { method: "POST" }) });
 *   const file = await uploader.upload(input.files[0], { route: "avatars", onProgress: (sent, total) => { bar.value = sent / total; } });
 *
 * All uploads of a page stand in one line: some files and some requests at a time. When an answer says to come later (429), all do.
 *
 * An upload in parts is remembered in localStorage until it ends: where it is uploaded (with the upload token that began it) and its ids.
 * So the same call with the same file goes on with it, sending only the parts that are missing. A small file is remembered once its bytes
 * have arrived, until the appliance has said so.
 *
 * @typedef {{id: string, key: string, name: string, size: number, type: string, url: string, status: string,
 *   metadata: Record<string, unknown>, createdAt: string, updatedAt: string}} UploadedFile
 * @typedef {{maxFileSize: number | null, maxFileCount: number, allowedTypes: string[],
 *   verifyContent?: boolean}} Rules
 * @typedef {{route: string, routeSlugs: string[], files: number}} Asked  For which file route, which ones the uploader is for, and how
 *   many of its files wait, this one included.
 * @typedef {object} UploaderOptions
 * @property {string | ((asked: Asked) => string | Response | Promise<string | Response>)} endpoint  Where to upload, without the file
 *   route. A function is asked once per upload: best where your backend makes an upload token, which expires.
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
 * @typedef {object} Job  One call of `upload`.
 * @property {File} file
 * @property {string} address  The endpoint with the file route.
 * @property {(sentBytes: number, totalBytes: number) => void} onProgress
 * @property {AbortSignal | undefined} signal
 * @property {Record<string, unknown>} declared  What the appliance is told of the file.
 * @property {string} name  What the upload is remembered by.
 * @property {UploaderOptions & {parallelParts: number, retrySeconds: number}} options
 * @typedef {{address: string, fileId: string, uploadId?: string, key?: string, startedAt: number, lastModified: number}} Begun
 *   An upload, as it is remembered. One with a `key` has no parts: it is remembered when its bytes have arrived.
 * @typedef {{job: Job, begun: Begun | null, isGivenUp: boolean}} Open  An upload that this page sends; `begun` once it is.
 * @typedef {{partSize: number, parts: {partNumber: number, uploadUrl: string}[], headers?: Record<string, string>,
 *   uploaded?: {partNumber: number, size: number, etag: string}[]}} Plan  What is there, and URLs for the rest.
 */

const MULTIPART_OVER_BYTES = 10 * 1024 * 1024;
const FILES_AT_ONCE = 4; // with as many PUTs, browsers' six connections to a host have room for calls
const HEAD_BYTES = 4096; // what the appliance looks at, too
const START_SECONDS = 120; // for the first byte to go while nothing else of the page does, either
const SILENCE_SECONDS = 60; // between two bytes, for each request that shares the line
const ANSWER_SECONDS = 300; // the store joins or copies the whole file before `complete` is answered
const SLOWEST_BYTES_PER_SECOND = 16 * 1024; // at which a proxy passes on what the browser thinks it has sent
const FIRST_CONTACT_SECONDS = 8; // a host that never answered is more likely a wrong address, or refuses this page's origin
const COMPLETE_SECONDS = 900;
const OFFLINE_PATIENCE = 10; // times; some browsers think that they are offline and are not
const ENDING_SECONDS = 5; // that a stopped upload waits for answers, so that it is known what began, and that it has ended
const LIMITED_SECONDS = 3600; // the longest `Retry-After` that is waited for unasked
const LIMITED_ALTOGETHER_MS = 24 * 3600 * 1000;
const URL_GOOD_MS = 50 * 60_000; // an hour, by default; a store that refuses one earlier is asked with a fresh one, too
const REMEMBERED_MS = 7 * 24 * 3600 * 1000; // an upload token finishes what it began for so long
const PREFIX = "uploadkit:";
// With these answers an upload can't be gone on with. The next try starts anew.
const GONE = new Set([
  "UPLOAD_NOT_FOUND", "UPLOAD_EXPIRED", "UPLOAD_NOT_VERIFIED", "FILE_TYPE_NOT_ALLOWED", "INVALID_FILE_TYPE", "INVALID_PARTS", "CONFLICT",
  "UNAUTHORIZED", "ROUTE_NOT_FOUND",
]);

// What first bytes plainly are of: media type (where that says all), and what people call it. The appliance knows more, and is the judge.
/** @type {[RegExp, string, string][]} */
const LOOKS = [
  [/^.{4}ftyp(?:hei[cxms]|hev[cxms])/s, "image/heic", "a picture"],
  [/^.{4}ftypavi[fs]/s, "image/avif", "a picture"],
  [/^.{4}ftypM4[ABP] /s, "", "a sound recording"],
  [/^.{4}ftyp(?:isom|iso[2-9]|mp4[12]|avc1|M4V |qt  |3g[p2])/s, "", "a film"],
  [/^.{4}ftyp|^.{257}ustar/s, "", ""], // others, and archives that begin with a file's name
  [/^\xff\xd8\xff/, "image/jpeg", "a picture"],
  [/^\x89PNG\r\n\x1a\n/, "image/png", "a picture"],
  [/^GIF8[79]a/, "image/gif", "a picture"],
  [/^RIFF.{4}WEBP/s, "image/webp", "a picture"],
  [/^RIFF.{4}AVI |^\x1aE\xdf\xa3/s, "", "a film"],
  [/^RIFF.{4}WAVE|^ID3|^fLaC/s, "", "a sound recording"],
  [/^%PDF-/, "", "a PDF"],
  [/^PK\x03\x04|^Rar!\x1a\x07|^7z\xbc\xaf\x27\x1c|^\x1f\x8b\x08/, "", "an archive"],
  [/^\x7fELF/, "", "a program"],
  [/^\s{0,100}<(?:!doctype html|html)[\s>]/i, "", "a web page"],
];
// What is declared of files that are held to it, by what people call them.
/** @type {[RegExp, string][]} */
const HELD = [
  [/^image\/(?:jpe?g|png|gif|webp|hei[cf]|avif)$/, "a picture"],
  [/^video\/(?:mp4|quicktime|webm|(?:x-)?matroska|ogg|mpeg|x-msvideo)$/, "a film"],
  [/^audio\/(?:mpeg|mp3|mp4|x-m4a|(?:x-)?wav|ogg|webm|flac|aac)$/, "a sound recording"],
  [/^application\/pdf$/, "a PDF"],
  [/^application\/(?:x-)?zip(?:-compressed)?$/, "an archive"],
];
const RECORDINGS = ["a film", "a sound recording"];
// These are nothing else, so another picture under their name is declared as what it is.
const EXACT = ["image/jpeg", "image/png", "image/gif", "image/webp"];

const reachedOrigins = new Set();
const underWay = new Set();
/** @type {Set<{bytes: number, wait: () => void}>} */
const sending = new Set(); // the PUTs of the page
/** @type {Map<string, Line>} */
const lines = new Map(); // by what is asked of which origin
const notKept = new Map(); // stands in where the browser has no localStorage for us
/** @type {Set<Open>} */
const open = new Set();

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

/** Make an uploader. It can send any number of files at once. @param {UploaderOptions} options */
export function createUploader({ request = fetch.bind(globalThis), user = "", parallelParts = 4, retrySeconds = 120, ...where }) {
  const options = { ...where, request, user, parallelParts, retrySeconds };
  const addresses = new Addresses(options);
  const [first = "default"] = where.routeSlugs ?? [];
  return {
    /** What may be uploaded to a file route. @param {string} [route] @returns {Promise<Rules>} */
    async rules(route = first) {
      const address = await addresses.of(route);
      return retrying(address, options, undefined, () => ask(options, address, { method: "GET" }));
    },

    /** Upload a file, when its turn comes; resolves once the appliance has verified it.
     * @param {File} file @param {UploadOptions} [how] @returns {Promise<UploadedFile>} */
    async upload(file, { route = first, metadata = {}, onProgress = () => {}, signal } = {}) {
      throwIfStopped(signal);
      const mine = {};
      addresses.waiting.add(mine);
      try {
        const head = await headOf(file);
        const files = lineOf("files", "");
        await files.enter(FILES_AT_ONCE, signal);
        try {
          const address = await addresses.of(route, signal);
          addresses.waiting.delete(mine);
          const rules = () => retrying(address, options, signal, () => ask(options, address, { method: "GET" }, signal));
          const contentType = await typeToDeclare(file, head, rules);
          const declared = { fileName: file.name || "upload", contentType, contentLength: file.size, metadata };
          const identity = [withoutToken(address), user, file.name, file.size, file.type, metadata];
          return await uploadOrGoOn({ file, address, onProgress, signal, declared, name: PREFIX + JSON.stringify(identity), options });
        } finally {
          files.leave();
        }
      } finally {
        addresses.waiting.delete(mine);
      }
    },
  };
}

/** Where an uploader uploads: what its `endpoint` says, for one file or for all that wait. */
class Addresses {
  waiting = new Set(); // who is not told yet
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
    const base = await retrying(here, this.options, signal, answer);
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

/** Read a file's first bytes, so that nobody is asked to take what can't be sent. @param {File} file */
async function headOf(file) {
  let head;
  try {
    head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  } catch (error) {
    throw new UploadError("FILE_UNREADABLE", "This can't be read. A folder can't be uploaded: choose the files in it", {
      suggestion: `The browser refused to read the first bytes (${error}): a folder, or a file that was changed, moved or deleted`,
    });
  }
  if (head.length > 0) return head;
  const suggestion = "The appliance takes no file of 0 bytes";
  throw new UploadError("FILE_EMPTY", "The file is empty: there is nothing to upload", { suggestion });
}

/** What first bytes plainly are of: media type and noun, "" where they don't say. @param {Uint8Array} head */
function looksLike(head) {
  const text = Array.from(head.subarray(0, 512), (byte) => String.fromCharCode(byte)).join("");
  const [, type = "", noun = ""] = LOOKS.find(([pattern]) => pattern.test(text)) ?? [];
  return { type, noun };
}

/** Find out what to declare a file as: what the browser says, unless its first bytes say better. Throws where they say that it is something
 * else altogether, and the file route holds files to that.
 * @param {File} file @param {Uint8Array} head @param {() => Promise<Rules>} askRules */
async function typeToDeclare(file, head, askRules) {
  const { type, noun } = looksLike(head);
  if (!file.type) return type;
  const named = file.type.split(";")[0].trim().toLowerCase();
  const [, expected = ""] = HELD.find(([pattern]) => pattern.test(named)) ?? [];
  const isMotionPicture = /hei|avif/.test(named) && RECORDINGS.includes(noun); // some containers hold both
  const isSame = expected === noun || [expected, noun].every((each) => RECORDINGS.includes(each)) || isMotionPicture;
  const isMisnamed = isSame && type && type !== named && EXACT.includes(named);
  if (!expected || !noun || (isSame && !isMisnamed)) return file.type;
  // Without an answer the appliance judges, later.
  const rules = await askRules().catch((error) => { if (isStop(error)) throw error; });
  if (!rules || rules.verifyContent === false) return file.type;
  if (isMisnamed) return type;
  const off = "where that is meant, switch the check of first bytes (verifyContent) off on the file route";
  const suggestion = `The file's first bytes contradict its type ${named}; ${off}`;
  throw new UploadError("UPLOAD_NOT_VERIFIED", `This looks like ${noun}, not ${expected}`, { suggestion });
}

/** Go on with what is remembered of the file, or begin. @param {Job} job */
async function uploadOrGoOn(job) {
  const release = await claim(job.name);
  if (!release) job = { ...job, name: "" }; // the same file twice at once: the second one is an upload of its own, and not remembered
  try {
    const known = recall(job.name);
    // With another time it may be another file. Phones give a photo a new one each time it is chosen: the first try must not keep the room.
    if (known && known.lastModified !== job.file.lastModified) await abandon(job, known);
    else if (known) {
      try {
        return await (known.key ? completed(job, known) : goOn(job, known));
      } catch (error) {
        if (!(error instanceof UploadError && GONE.has(error.code))) throw error;
      }
    }
    return await uploadAnew(job);
  } finally {
    release?.();
  }
}

/** Begin an upload, and once more where the page was left and came back (from the browser's back/forward cache): then it was given up.
 * @param {Job} job */
async function uploadAnew(job) {
  for (;;) {
    // With the same key a repeated request is answered with the same upload and fresh URLs.
    const idempotencyKey = Array.from(crypto.getRandomValues(new Uint32Array(4)), (number) => number.toString(36)).join("-");
    /** @type {Open} */
    const mine = { job: { ...job, declared: { ...job.declared, idempotencyKey } }, begun: null, isGivenUp: false };
    open.add(mine);
    try {
      return await (job.file.size > MULTIPART_OVER_BYTES ? uploadInParts(mine) : uploadWhole(mine));
    } catch (error) {
      if (!mine.isGivenUp || isStop(error)) throw error;
    } finally {
      open.delete(mine);
    }
  }
}

// Who closes the page leaves behind what the next visit can't go on with: that must not hold a place until its deadline.
globalThis.addEventListener?.("pagehide", () => {
  for (const mine of open) {
    const { begun, job: { name } } = mine;
    if (!begun || (isRemembered(name, begun) && !notKept.has(name))) continue;
    mine.isGivenUp = true;
    abandon(mine.job, begun);
  }
});

/** Find out where to upload: from the backend's answer where there is one.
 * @param {UploaderOptions["endpoint"]} endpoint @param {Asked} asked */
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

/** Upload a file in one piece. Nobody can go on with it until its bytes have arrived, so what fails before gives its place back.
 * @param {Open} mine */
async function uploadWhole(mine) {
  const { job } = mine;
  const begin = async () => {
    const { fileId, key, uploadUrl, headers = { "Content-Type": job.declared.contentType } } = await begunBy(job, "request-upload");
    const before = mine.begun;
    mine.begun = { address: job.address, fileId, key, startedAt: Date.now(), lastModified: job.file.lastModified };
    if (before && before.fileId !== fileId) {
      mine.isGivenUp = false;
      await abandon(job, before); // without a token, a fresh URL is that of another upload
    }
    return { partSize: job.file.size, parts: [{ partNumber: 1, uploadUrl }], headers };
  };
  const plan = await begin();
  try {
    await new Parts(job, plan, begin).send();
  } catch (error) {
    if (mine.begun && !mine.isGivenUp) await abandon(job, mine.begun);
    throw error;
  }
  const begun = /** @type {Begun} */ (/** @type {unknown} */ (mine.begun));
  remember(job.name, begun);
  return completed(job, begun);
}

/** @param {Open} mine */
async function uploadInParts(mine) {
  const { job } = mine;
  const plan = await begunBy(job, "multipart-init");
  const { fileId, uploadId } = plan;
  const begun = { address: job.address, fileId, uploadId, startedAt: Date.now(), lastModified: job.file.lastModified };
  mine.begun = begun;
  remember(job.name, begun);
  return goOn(job, begun, plan);
}

/** Ask for a new upload. The signal does not cut that off at once: what it begins has to be known, to be given back.
 * @param {Job} job @param {string} action @returns {Promise<any>} */
async function begunBy(job, action) {
  const { address, options, signal } = job;
  const asked = retrying(address, options, signal, () => ask(options, address, posted(action, job.declared)));
  let isLate = false;
  const late = stopOf(signal).then(() => pause(ENDING_SECONDS)).then(() => { isLate = true; });
  const answer = await Promise.race([asked, late]);
  if (!isLate) return answer;
  asked.then((plan) => abandon(job, { ...plan, address }), () => {});
  throwIfStopped(signal);
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
    return await completed(job, begun, named ? parts : undefined);
  } catch (error) {
    const code = error instanceof UploadError ? error.code : "";
    // A proxy may make ETags of its own, or a part was lost: once more with what the appliance itself finds in storage.
    if (code === "INVALID_PARTS" && named) return await goOn(job, begun, undefined, false);
    if (GONE.has(code)) forget(job.name);
    else if (code === "ABORTED" || !isRemembered(job.name, begun)) await abandon(job, begun);
    throw error;
  }
}

/** Have the appliance complete an upload whose bytes have all arrived. That is not given up soon; the next call with the same file goes on.
 * @param {Job} job @param {Begun} begun @param {{partNumber: number, etag: string}[]} [parts] @returns {Promise<UploadedFile>} */
async function completed(job, begun, parts) {
  const { address, fileId, uploadId, key } = begun;
  const options = { ...job.options, retrySeconds: Math.max(job.options.retrySeconds, COMPLETE_SECONDS) };
  const fields = key ? { fileId, key } : { fileId, uploadId, parts };
  try {
    const { file } = await call({ ...job, address, options }, key ? "upload-complete" : "multipart-complete", fields);
    forget(job.name);
    return file;
  } catch (error) {
    const mayPass = error instanceof UploadError && (error.transient || error.code === "PAUSED");
    if (key && error instanceof UploadError && GONE.has(error.code)) forget(job.name);
    else if (key && !(mayPass && isRemembered(job.name, begun))) await abandon(job, begun);
    throw error;
  }
}

/** Give back what an upload holds, also while the page closes: `keepalive` has the request outlive it. @param {Job} job
 * @param {{address: string, fileId: string, uploadId?: string, key?: string}} begun */
async function abandon(job, { address, fileId, uploadId, key }) {
  if (isRemembered(job.name, { fileId })) forget(job.name);
  const end = uploadId ? posted("multipart-abort", { fileId, uploadId }, { keepalive: true })
    : posted("upload-abort", { fileId, key }, { keepalive: true });
  // Without an answer the sweeper of the appliance does it, later.
  await Promise.race([ask(job.options, address, end).catch(() => {}), pause(ENDING_SECONDS)]);
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
        const attempt = () => put(url, body, this.headers, this.signal, onSent);
        this.etags.set(number, await retrying(url, options, this.signal, attempt, lineOf("bytes", url)));
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
 *
 * It is cut off when nothing moves: before the first byte only while nothing else of the page does, either (the browser may have it wait
 * for a connection); after the last byte as late as a slow proxy on the way may need for all that is under way.
 * @param {string} url @param {Blob} body @param {Record<string, string>} headers @param {AbortSignal} signal
 * @param {(bytes: number) => void} onSent */
async function put(url, body, headers, signal, onSent) {
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
    const allBytes = [...sending].reduce((sum, { bytes }) => sum + bytes, 0);
    within(loaded < body.size ? SILENCE_SECONDS * sending.size : ANSWER_SECONDS + allBytes / SLOWEST_BYTES_PER_SECOND);
    for (const other of sending) other.wait();
    onSent(loaded);
  };
  sending.add(self);
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
  sending.delete(self);
  signal.removeEventListener("abort", stop);
  throwIfStopped(signal);
  if (xhr.status > 0) reachedOrigins.add(origin);
  if (xhr.status >= 200 && xhr.status < 300) return xhr.getResponseHeader("ETag");
  if (waited > 0) throw tooLate(url, waited);
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
    if (timeout.aborted) throw tooLate(address, ANSWER_SECONDS);
    throw await unreachable(address, "Check the endpoint, and that the appliance allows this page's origin");
  }
  reachedOrigins.add(new URL(address, globalThis.location?.href).origin);
  try {
    answer = JSON.parse(answer);
  } catch {
    answer = null;
  }
  if (response.ok && answer) return answer;
  const { status, headers } = response;
  const what = `HTTP ${status} of ${hostOf(address)} is no answer of UploadKit: check the endpoint, and proxies on the way`;
  const unknown = { code: "UNEXPECTED_ANSWER", message: "The server gave an answer that makes no sense", suggestion: what };
  const { code, message, suggestion } = answer?.error?.code ? answer.error : unknown;
  throw new UploadError(code, message, { suggestion, status, retryAfter: secondsOf(headers.get("Retry-After")) });
}

/** What waits for the same: so many at a time, in the order in which they came. After a 429 all wait as long as it says; then one goes, and
 * with each that gets through one more at a time. */
class Line {
  /** @type {{most: number, go: () => void}[]} */
  waiting = [];
  inside = 0;
  room = Infinity;
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
    this.room = secondsToWait > 0 ? 1 : this.room + 1;
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
    while (this.waiting.length > 0 && this.inside < Math.min(this.room, this.waiting[0].most)) {
      this.inside++;
      this.waiting.shift()?.go();
    }
  }
}

/** The line of those who ask for the same of one origin. @param {string} what @param {string} url */
function lineOf(what, url) {
  const name = `${what} ${new URL(url, globalThis.location?.href ?? "http://localhost").origin}`;
  const line = lines.get(name) ?? new Line();
  lines.set(name, line);
  return line;
}

/** Try again after failures that may pass, with growing, random pauses, and never for ever.
 * @template T @param {string} url @param {UploaderOptions} options @param {AbortSignal | undefined} signal
 * @param {() => Promise<T>} attempt @param {Line} [line]  Where to wait for one's turn. @returns {Promise<T>} */
async function retrying(url, { retrySeconds = 0, parallelParts = FILES_AT_ONCE }, signal, attempt, line = lineOf("calls", url)) {
  const { origin } = new URL(url, globalThis.location?.href);
  const began = Date.now();
  for (let tries = 0, waited = 0; ; ) {
    /** @type {any} */
    let failure;
    await line.enter(parallelParts, signal);
    try {
      return await attempt();
    } catch (error) {
      failure = error;
    } finally {
      line.leave(waitedFor(failure));
    }
    throwIfStopped(signal);
    if (!(failure instanceof UploadError && failure.transient)) throw failure;
    if (waitedFor(failure) > 0 && Date.now() - began < LIMITED_ALTOGETHER_MS) continue; // the line waits
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
function waitedFor(failure) {
  if (!(failure instanceof UploadError && failure.status === 429)) return 0;
  return failure.retryAfter <= LIMITED_SECONDS ? failure.retryAfter : 0;
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

/** Resolves when the signal stops; never without one. @param {AbortSignal} [signal] */
function stopOf(signal) {
  return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", resolve, { once: true });
  });
}

/** @param {AbortSignal} [signal] */
function throwIfStopped(signal) {
  if (!signal?.aborted) return;
  if (signal.reason === "pause") throw new UploadError("PAUSED", "The upload is paused", { suggestion: "The same call goes on" });
  throw new UploadError("ABORTED", "The upload was cancelled", { suggestion: "The page aborted its signal" });
}

/** @param {unknown} error */
function isStop(error) {
  return error instanceof UploadError && ["ABORTED", "PAUSED"].includes(error.code);
}

/** @param {string} url */
function hostOf(url) {
  return new URL(url, globalThis.location?.href).host;
}

/** @param {string} url @param {number} seconds */
function tooLate(url, seconds) {
  const how = "The line may be slow or cut; /readyz of the appliance says how it and its store are";
  const suggestion = `Nothing moved for ${Math.round(seconds)} seconds. ${how}`;
  return new UploadError("NETWORK_ERROR", `${hostOf(url)} does not answer`, { suggestion });
}

/** @param {string} url @param {string} suggestion */
async function unreachable(url, suggestion) {
  if (globalThis.navigator?.onLine === false) suggestion = `The browser says that it is offline. If it is not: ${suggestion}`;
  for (const name of /** @type {any[]} */ (["local-network-access", "local-network", "loopback-network"])) {
    const { state } = await Promise.resolve(globalThis.navigator?.permissions?.query({ name })).catch(() => null) ?? {};
    if (state !== "denied") continue;
    suggestion += ". Or the browser keeps this page from the local network (Local Network Access): see docs/clients.md of the appliance";
    break;
  }
  return new UploadError("NETWORK_ERROR", `${hostOf(url)} can't be reached`, { suggestion });
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

/** Have a name for oneself, in all tabs where the browser has locks; null where it is taken. @param {string} name
 * @returns {Promise<(() => void) | null>} */
async function claim(name) {
  if (underWay.has(name)) return null;
  underWay.add(name);
  const free = () => { underWay.delete(name); };
  const locks = globalThis.navigator?.locks; // not on http:// pages of other hosts than this
  if (!locks) return free;
  return new Promise((resolve) => {
    // A page that was reloaded may hold it for a moment longer.
    /** @returns {Promise<unknown>} */
    const held = () => new Promise((release) => resolve(() => { free(); release(null); }));
    locks.request(name, { signal: AbortSignal.timeout(1000) }, held).catch(() => { free(); resolve(null); });
  });
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

/** Whether the next call can go on with an upload. @param {string} name @param {{fileId: string}} begun */
function isRemembered(name, begun) {
  return recall(name)?.fileId === begun.fileId;
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
