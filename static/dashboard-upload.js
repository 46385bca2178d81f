// The drop zone of the files page: many files, each with its progress, retry and cancel. The module has them wait for their turn.
import { createUploader } from "/uploadkit.js";

const zone = document.querySelector("[data-upload]");
const input = zone.querySelector("input[type=file]");
const list = zone.querySelector(".uploads");
let running = 0;
let arrived = 0;

const uploader = createUploader({
  endpoint: zone.dataset.upload,
  request: (url, init) => fetch(url, { ...init, headers: { ...init.headers, "X-Form-Token": zone.dataset.formToken } }),
});

function element(name, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.textContent = text;
  return made;
}

// As the server's pages show a name: what is unseen, or turns the direction of writing, as a code.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g;
const visible = (text) => text.replace(HIDDEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

function rowOf(name) {
  const row = element("li");
  const state = element("span", "", { className: "quiet" });
  row.append(element("span", visible(name), { className: "name", title: visible(name) }), state);
  list.append(row);
  return { row, state };
}

function add(file) {
  const { row, state } = rowOf(file.name);
  const bar = element("progress", "", { max: file.size || 1, value: 0, ariaLabel: `Progress of ${file.name}` });
  const button = element("button", "Cancel", { type: "button", className: "btn btn-sm btn-outline-secondary" });
  state.before(bar);
  row.append(button);
  const job = { file, route: zone.querySelector("select").value, bar, state, button, row, stop: null };
  button.addEventListener("click", () => (job.stop ? job.stop.abort() : upload(job)));
  upload(job);
}

async function upload(job) {
  job.stop = new AbortController();
  job.button.textContent = "Cancel";
  job.state.textContent = "waiting";
  const onProgress = (sent, total) => {
    job.bar.value = sent;
    job.state.textContent = sent < total ? `${Math.floor((sent * 100) / total)} %` : "verifying";
  };
  running++;
  try {
    await uploader.upload(job.file, { route: job.route, onProgress, signal: job.stop.signal });
    job.bar.value = job.bar.max;
    job.state.textContent = "uploaded";
    job.button.remove();
    arrived++;
  } catch (error) {
    if (error.code === "ABORTED") return job.row.remove();
    // Whoever uploads here also runs the appliance: suggestions are for them, too. Not where the file itself is the problem.
    const isOfTheFile = ["FILE_EMPTY", "FILE_UNREADABLE"].includes(error.code);
    job.state.textContent = [error.message, isOfTheFile ? "" : error.suggestion].filter(Boolean).join(". ");
    if (error.code === "FILE_EMPTY") return job.button.remove();
    job.button.textContent = "Try again";
  } finally {
    job.stop = null;
    running--;
    if (running === 0 && arrived > 0) refresh();
  }
}

function refresh() {
  arrived = 0;
  document.dispatchEvent(new CustomEvent("files-changed"));
}

input.addEventListener("change", () => { for (const file of input.files) add(file); input.value = ""; });
for (const kind of ["dragenter", "dragover"]) {
  zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  for (const item of event.dataTransfer.items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry();
    if (entry?.isDirectory) rowOf(entry.name).state.textContent = "A folder can't be uploaded: choose the files in it";
    else add(item.getAsFile());
  }
});
