// What makes pages nicer where scripts run: times in the viewer's zone, copy buttons, the token of a set-up link. Pages work without.
"use strict";

document.documentElement.classList.add("js");

const shortTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function showLocalTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.valueOf())) time.textContent = shortTime.format(moment);
  }
}

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

function takeSetupToken(field) {
  const token = location.hash.slice(1);
  if (!token) return;
  field.value = token;
  field.closest("[data-unless-filled]").hidden = true;
  history.replaceState(null, "", location.pathname);
}

showLocalTimes(document);
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
for (const field of document.querySelectorAll("[data-from-fragment]")) takeSetupToken(field);
// A menu closes when something else is clicked, and by Escape.
for (const menu of document.querySelectorAll("details.menu")) {
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); }
  });
}
