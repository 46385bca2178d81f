// What makes pages nicer where scripts run: times in the viewer's zone, copy buttons, the token of a set-up link. Pages work without.
"use strict";

document.documentElement.classList.add("js");

// Times, in the viewer's zone.

const toTheMinute = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
const thisYear = new Intl.DateTimeFormat(undefined, toTheMinute);
const anyYear = new Intl.DateTimeFormat(undefined, { ...toTheMinute, year: "numeric" });

function showLocalTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    time.textContent = (moment.getFullYear() === new Date().getFullYear() ? thisYear : anyYear).format(moment);
  }
}

showLocalTimes(document);

// Copy buttons: by the id of an element, or with the text itself. By delegation, because lists are replaced.

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const text = source.value ?? source.textContent;
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    if (source.select) source.select();
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { button.textContent = before; }, 2000);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (button) copy(button);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy-text]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copyText);
  } catch {
    prompt("Copy it from here", button.dataset.copyText);
    return;
  }
  // The icon becomes a check mark, and the accessible name says so.
  const before = button.getAttribute("aria-label");
  button.classList.add("copied");
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => { button.classList.remove("copied"); button.setAttribute("aria-label", before); }, 2000);
});

// The token of a set-up link.

function takeSetupToken(field) {
  const token = location.hash.slice(1);
  if (!token) return;
  field.value = token;
  field.closest("[data-unless-filled]").hidden = true;
  history.replaceState(null, "", location.pathname);
}

for (const field of document.querySelectorAll("[data-from-fragment]")) {
  takeSetupToken(field);
  addEventListener("hashchange", () => takeSetupToken(field)); // the link was opened where this page was open already
}

// Navigation.

// On a phone the navigation is a strip: the current page's entry is scrolled into view, without moving the page.
const strip = document.querySelector(".sections");
const current = strip?.querySelector("[aria-current]");
function showCurrentPage() {
  if (current) strip.scrollLeft = current.offsetLeft - (strip.clientWidth - current.offsetWidth) / 2;
}
showCurrentPage();
addEventListener("resize", showCurrentPage);

// A menu closes when something else is clicked, and by Escape.
for (const menu of document.querySelectorAll("details.menu")) {
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); }
  });
}

// Forms.

// Of several wrong fields a browser shows a message at the first alone: here each has its own beside it, and nothing is sent.
document.addEventListener("invalid", (event) => {
  const field = event.target;
  event.preventDefault();
  if (field.form.querySelector(":invalid:not(fieldset)") === field) field.focus();
  const id = `${field.id}-wrong`;
  const message = document.getElementById(id) ?? Object.assign(document.createElement("div"), { id, className: "wrong" });
  message.textContent = (field.validity.patternMismatch && field.title) || field.validationMessage;
  if (!message.isConnected) field.after(message);
  field.setAttribute("aria-invalid", "true");
  const described = (field.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean);
  if (!described.includes(id)) field.setAttribute("aria-describedby", [id, ...described].join(" "));
}, true);
document.addEventListener("input", ({ target }) => {
  if (target.getAttribute("aria-invalid") !== "true" || target.form.matches("[data-search]")) return;
  target.removeAttribute("aria-invalid");
  document.getElementById(`${target.id}-wrong`)?.remove();
});

// A dialog whose form was refused opens again, with what was typed.
const refused = document.querySelector("[popover][data-open]");
if (refused) {
  refused.querySelector("h2").after(document.querySelector("#content > [role=alert]"));
  refused.showPopover();
}

document.addEventListener("change", (event) => {
  if (!event.target.matches?.("[data-tick-all]")) return;
  for (const box of event.target.form.querySelectorAll("input[name=key]")) box.checked = event.target.checked;
});

// PDFs.

// A frame shows a file as whatever type the store names, and one with `sandbox` shows no PDF. So the bytes are fetched and the type is
// ours: the browser's PDF viewer gets them, or nothing does. Where they can't be fetched (CORS), the link stays.
let shownPdf = null;

// An answer that does not end is given up once it is longer than the file.
async function readAtMost(answer, most, isWanted) {
  const reader = answer.body.getReader(), parts = [];
  for (let count = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return parts;
    count += value.length;
    if (count > most || !isWanted()) {
      await reader.cancel();
      throw new Error("not wanted any more, or longer than it can be");
    }
    parts.push(value);
  }
}

async function showPdfs(within) {
  if (shownPdf) URL.revokeObjectURL(shownPdf);
  shownPdf = null;
  for (const place of within.querySelectorAll("[data-pdf]")) {
    try {
      const answer = await fetch(place.dataset.pdf, { credentials: "omit" });
      if (!answer.ok) continue;
      // The panel may show something else by now.
      const parts = await readAtMost(answer, Number(place.dataset.bytes), () => place.isConnected);
      if (!place.isConnected) continue;
      shownPdf = URL.createObjectURL(new Blob(parts, { type: "application/pdf" }));
      // Inert: a click on a link in it would lead this whole tab there. To read it, one opens it.
      const src = `${shownPdf}#toolbar=0&navpanes=0&view=FitH`;
      place.prepend(Object.assign(document.createElement("iframe"), { src, title: place.dataset.title, inert: true }));
    } catch {
      // the link stays
    }
  }
}

showPdfs(document);

// Films.

// A film's signed URL may expire while the viewer pauses. Then the store refuses, and browsers ask it again and again, without a message.
// So a film that waits for bytes and gets none is loaded again, with the URL that its page has by now, and goes on from where it was.
const STALLED_MS = 4000;
const stalled = new WeakMap();

async function renew(media) {
  const { currentTime, paused } = media;
  const answer = await fetch(location.href).catch(() => null);
  const page = new DOMParser().parseFromString((await answer?.text().catch(() => "")) ?? "", "text/html");
  if (!media.isConnected) return;
  media.addEventListener("loadedmetadata", () => {
    media.currentTime = currentTime;
    if (!paused) media.play().catch(() => {});
  }, { once: true });
  media.src = page.querySelector(media.localName)?.getAttribute("src") ?? media.src;
}

function waitForBytes({ target: media }) {
  if (!(media instanceof HTMLMediaElement) || (media.currentTime === 0 && !media.error)) return;
  const before = stalled.get(media);
  clearTimeout(before?.timer);
  // At the same place again: wait longer each time, or a slow line would never get there.
  const tries = before?.at === media.currentTime ? before.tries : 0;
  const go = () => {
    stalled.set(media, { at: media.currentTime, tries: tries + 1, timer: 0 });
    renew(media);
  };
  stalled.set(media, { at: media.currentTime, tries, timer: setTimeout(go, STALLED_MS * 2 ** Math.min(tries, 6)) });
}

for (const name of ["seeking", "waiting", "error"]) document.addEventListener(name, waitForBytes, true); // they don't bubble
document.addEventListener("progress", (event) => { if (stalled.get(event.target)?.timer) waitForBytes(event); }, true);
for (const name of ["seeked", "playing", "emptied"]) {
  document.addEventListener(name, ({ target }) => {
    const known = stalled.get(target);
    clearTimeout(known?.timer);
    if (known) known.timer = 0;
  }, true);
}

// Lists, logs and other live parts.

// What a search finds, and what is live, is taken from the whole page as the server makes it.
let asked = null;

// When a list is replaced, its selection stays, and so does the focus.
function kept(list) {
  const ticked = new Set([...list.querySelectorAll("input[name=key]:checked")].map((box) => box.value));
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  const names = ["href", "value", "aria-label"];
  const same = (other) => names.every((name) => other.getAttribute(name) === held.getAttribute(name));
  return (fresh) => {
    for (const box of fresh.querySelectorAll("input[name=key]")) box.checked = ticked.has(box.value);
    if (held) [...fresh.querySelectorAll(held.tagName)].find(same)?.focus({ preventScroll: true });
  };
}

// Error messages stand at the fields as on the page that the server made.
function markFields(form, page) {
  for (const field of form.querySelectorAll("input[id], select[id]")) {
    const same = page.getElementById(field.id);
    document.getElementById(`${field.id}-wrong`)?.remove();
    for (const name of ["aria-invalid", "aria-describedby"]) {
      if (same?.hasAttribute(name)) field.setAttribute(name, same.getAttribute(name));
      else field.removeAttribute(name);
    }
    const message = page.getElementById(`${field.id}-wrong`);
    if (message) field.after(message);
  }
}

async function replace(id, address, form) {
  asked?.abort();
  asked = new AbortController();
  try {
    const answer = await fetch(address, { signal: asked.signal, redirect: "error" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const present = document.getElementById(id);
    const fresh = answer.ok || answer.status === 400 ? page.getElementById(id) : null;
    if (!fresh) return;
    if (form) markFields(form, page);
    showLocalTimes(fresh);
    const stays = kept(present);
    present.replaceWith(fresh);
    stays(fresh);
  } catch {
    // The next key or the next five seconds ask again.
  }
}

const ownPath = location.pathname;

for (const form of document.querySelectorAll("[data-search]")) {
  let timer;
  const find = () => {
    const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const address = `${ownPath}?${wanted}`;
    if (location.pathname === ownPath) history.replaceState(null, "", address); // else a panel is open
    replace("results", address, form);
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    // One or two letters are in half of all names, and costly to look for: Enter still asks for them.
    const letters = (new FormData(form).get("search") ?? "").toString().trim().length;
    if (letters === 0 || letters > 2) timer = setTimeout(find, 200);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); find(); });
  document.addEventListener("files-changed", find);
}

// A live part says so itself, and may stop: a doctor that has finished, a delivery that has arrived.
for (const { id, dataset } of document.querySelectorAll("[data-live-seconds]")) {
  const timer = setInterval(() => {
    if (!document.getElementById(id).dataset.liveSeconds) return clearInterval(timer);
    const isOn = document.querySelector("[data-live-switch]")?.checked !== false;
    if (isOn && !document.hidden && location.pathname === ownPath) replace(id, location.href);
  }, dataset.liveSeconds * 1000);
}
