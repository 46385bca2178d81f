/**
 * The uploader plugin for Uppy (5 and newer): progress, pause and resume, cancel, retry, and going on after a reload with Golden Retriever.
 *
 *   import Uppy from "@uppy/core";
 *   import UploadKit from "https://uploads.example.com/uploadkit-uppy.js";
 *   new Uppy().use(UploadKit, { endpoint: "https://uploads.example.com/api/uploadkit/t/ukt_…", route: "avatars" });
 *
 * It imports nothing of Uppy, so it works with the Uppy that your page has, from a bundle or a script element. After an upload
 * `file.uploadURL` is the file's address, and `file.response.body` the file as UploadKit describes it.
 *
 * @typedef {import("./uploadkit.js").UploaderOptions} UploaderOptions
 * @typedef {object} PluginOptions
 * @property {string} [id]  The plugin's name in Uppy, for pages that use it twice.
 * @property {string} [route]  The file route.
 * @property {string[] | boolean} [allowedMetaFields]  Which of Uppy's `meta` fields become `clientMetadata`: by default none, `true` all
 *   that are set.
 * @property {number} [limit]  How many files are uploaded at once.
 */

import { createUploader, UploadError } from "./uploadkit.js";

const OF_UPPY_ITSELF = new Set(["name", "type", "relativePath"]);

export default class UploadKit {
  type = "uploader";
  /** @type {Map<string, AbortController>} Uploads that send, by the id of Uppy's file. */
  #sending = new Map();
  /** @type {Map<string, (value?: unknown) => void>} Uploads that are paused. */
  #paused = new Map();
  /** @type {((value?: unknown) => void)[]} Uploads that wait for others to end. */
  #queue = [];
  #free;
  #uploader;

  /** @param {any} uppy @param {UploaderOptions & PluginOptions} options */
  constructor(uppy, { id = "UploadKit", route = "default", allowedMetaFields = false, limit = 5, ...options }) {
    this.uppy = uppy;
    this.id = id;
    this.opts = { route, allowedMetaFields };
    this.#free = limit;
    this.#uploader = createUploader(options);
  }

  // What Uppy calls.

  install() {
    this.#setCapabilities(true);
    this.uppy.addUploader(this.#uploadAll);
    for (const [event, react] of this.#reactions) this.uppy.on(event, react);
  }

  uninstall() {
    this.#setCapabilities(false);
    this.uppy.removeUploader(this.#uploadAll);
    for (const [event, react] of this.#reactions) this.uppy.off(event, react);
  }

  update() {}

  afterUpdate() {}

  /** @param {Partial<typeof this.opts>} options */
  setOptions(options) {
    this.opts = { ...this.opts, ...options };
  }

  // What it does.

  /** @type {[string, (...args: any[]) => void][]} */
  #reactions = [
    ["upload-pause", (file, isPaused) => this.#react(file.id, isPaused)],
    ["pause-all", () => [...this.#sending.keys()].forEach((id) => this.#react(id, true))],
    ["resume-all", () => [...this.#paused.keys()].forEach((id) => this.#react(id, false))],
    ["file-removed", (file) => this.#cancel(file.id)],
    ["cancel-all", () => [...this.#sending.keys(), ...this.#paused.keys()].forEach((id) => this.#cancel(id))],
  ];

  #setCapabilities(resumableUploads) {
    this.uppy.setState({ capabilities: { ...this.uppy.getState().capabilities, resumableUploads } });
  }

  /** @param {string} id @param {boolean} isPaused */
  #react(id, isPaused) {
    if (isPaused) this.#sending.get(id)?.abort("pause");
    else this.#paused.get(id)?.();
  }

  /** @param {string} id */
  #cancel(id) {
    this.#sending.get(id)?.abort();
    this.#paused.get(id)?.();
  }

  #uploadAll = async (ids) => {
    const files = this.uppy.getFilesByIds(ids).filter((file) => !file.error && !file.progress.uploadComplete);
    // Golden Retriever has announced those that it brings back.
    this.uppy.emit("upload-start", files.filter((file) => !file.progress.uploadStarted || !file.isRestored));
    await Promise.all(files.map((file) => this.#upload(file.id)));
  };

  /** Upload one file, as often as it is paused; what has arrived is not sent again. @param {string} id */
  async #upload(id) {
    for (;;) {
      while (this.uppy.getFile(id)?.isPaused) await new Promise((wake) => this.#paused.set(id, wake));
      this.#paused.delete(id);
      await this.#turn();
      try {
        const file = this.uppy.getFile(id);
        if (!file) return; // it was removed
        if (file.isPaused) continue;
        const control = new AbortController();
        this.#sending.set(id, control);
        const done = await this.#send(file, control.signal);
        this.uppy.emit("upload-success", this.uppy.getFile(id), { status: 200, body: done, uploadURL: done.url });
        return;
      } catch (error) {
        if (error instanceof UploadError && error.code === "PAUSED") continue;
        if (error instanceof UploadError && error.code === "ABORTED") return;
        this.uppy.emit("upload-error", this.uppy.getFile(id), error, { status: error instanceof UploadError ? error.status : 0 });
        return;
      } finally {
        this.#sending.delete(id);
        this.#next();
      }
    }
  }

  /** @param {any} file @param {AbortSignal} signal */
  async #send(file, signal) {
    if (file.isRemote || !(file.data instanceof Blob)) {
      throw new UploadError("FILE_UNREADABLE", "This file is not on this device any more. Choose it again", {
        suggestion: "Remote files of Uppy, and files without their bytes, can't be uploaded by this plugin",
      });
    }
    // Under the name and type that Uppy shows; with the time of the file itself, by which an interrupted upload is known again.
    const data = new File([file.data], file.name, { type: file.type, lastModified: file.data.lastModified ?? 0 });
    const onProgress = (sent, total) => {
      const { uploadStarted } = file.progress;
      this.uppy.emit("upload-progress", this.uppy.getFile(file.id), { uploadStarted, bytesUploaded: sent, bytesTotal: total });
    };
    return this.#uploader.upload(data, { route: this.opts.route, metadata: this.#metadataOf(file), onProgress, signal });
  }

  /** @param {any} file */
  #metadataOf(file) {
    const { allowedMetaFields: allowed } = this.opts;
    const isWanted = (name) => (Array.isArray(allowed) ? allowed.includes(name) : allowed && !OF_UPPY_ITSELF.has(name));
    return Object.fromEntries(Object.entries(file.meta).filter(([name, value]) => isWanted(name) && value != null));
  }

  async #turn() {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((start) => this.#queue.push(start));
  }

  #next() {
    const start = this.#queue.shift();
    if (start) start();
    else this.#free += 1;
  }
}
