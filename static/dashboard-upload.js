// The drop zone of the files page: many files, two at a time, each with its progress, retry and cancel.
import { createUploader } from "/uploadkit.js";

const AT_ONCE = 2;
const zone = document.querySelector("[data-upload]");
const input = zone.querySelector("input[type=file]");
const list = zone.querySelector(".uploads");
const waiting = [];
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

function add(file) {
  const row = element("li");
  const bar = element("progress", "", { max: file.size || 1, value: 0, ariaLabel: `Progress of ${file.name}` });
  const state = element("span", "waits", { className: "quiet" });
  const button = element("button", "Cancel", { type: "button", className: "btn btn-sm btn-outline-secondary" });
  row.append(element("span", visible(file.name), { className: "name", title: visible(file.name) }), bar, state, button);
  list.append(row);
  const job = { file, route: zone.querySelector("select").value, bar, state, button, row, stop: null };
  button.addEventListener("click", () => press(job));
  waiting.push(job);
  goOn();
}

function press(job) {
  if (job.failed) {
    job.failed = false;
    waiting.push(job);
    goOn();
  } else if (job.stop) {
    job.stop.abort();
  } else {
    waiting.splice(waiting.indexOf(job), 1);
    job.row.remove();
  }
}

function goOn() {
  while (running < AT_ONCE && waiting.length > 0) {
    running++;
    upload(waiting.shift()).finally(() => {
      running--;
      goOn();
      if (running === 0 && arrived > 0) refresh();
    });
  }
}

async function upload(job) {
  job.stop = new AbortController();
  job.button.textContent = "Cancel";
  if (job.file.size === 0) {
    job.state.textContent = "An empty file can't be uploaded";
    job.stop = null;
    return job.button.remove();
  }
  const onProgress = (sent, total) => {
    job.bar.value = sent;
    job.state.textContent = sent < total ? `${Math.floor((sent * 100) / total)} %` : "is verified";
  };
  try {
    await uploader.upload(job.file, { route: job.route, onProgress, signal: job.stop.signal });
    job.bar.value = job.bar.max;
    job.state.textContent = "uploaded";
    job.button.remove();
    arrived++;
  } catch (error) {
    if (error.code === "ABORTED") return job.row.remove();
    job.failed = true;
    job.state.textContent = [error.message, error.suggestion].filter(Boolean).join(". ");
    job.button.textContent = "Try again";
  } finally {
    job.stop = null;
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
zone.addEventListener("drop", (event) => { event.preventDefault(); for (const file of event.dataTransfer.files) add(file); });
