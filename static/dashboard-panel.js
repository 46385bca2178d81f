// A file's page in a panel over the list that leads to it. The address is that page's own: without this script, and when the page is
// loaded again, it stands alone.
"use strict";

const listPath = location.pathname;
const listTitle = document.title;
const panel = document.createElement("dialog");
panel.className = "side";
document.body.append(panel);
let opener = null;
let turn = 0;
let isWanted = false; // by the address: the panel's own close events come late, when Back and Forward may be over
let isStale = false; // the list: a file of it is deleted

function show(text, address) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const content = page.getElementById("content");
  if (!content) return location.assign(address); // the session has ended
  const bar = Object.assign(document.createElement("div"), { className: "bar" });
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
  close.className = "btn btn-outline-secondary btn-sm";
  const alone = Object.assign(document.createElement("a"), { href: address, textContent: "Open as a page" });
  close.addEventListener("click", () => panel.close());
  bar.append(close, alone);
  const inside = Object.assign(document.createElement("div"), { className: "inside" });
  inside.append(bar, ...content.childNodes);
  panel.replaceChildren(inside);
  panel.setAttribute("aria-label", inside.querySelector("h1")?.textContent ?? page.title);
  document.title = page.title;
  showLocalTimes(panel);
  showPdfs(panel);
}

async function openPanel(address, isNew) {
  const mine = ++turn;
  const isAskedFor = () => mine === turn && (isNew || location.href === address);
  try {
    const answer = await fetch(address);
    const text = await answer.text();
    if (!isAskedFor()) return;
    if (!answer.ok || answer.redirected) throw new Error(`answered ${answer.status}`);
    show(text, address);
  } catch {
    if (isAskedFor()) location.assign(address); // the page itself says what is wrong
    return;
  }
  if (isNew) history.pushState({ panel: true }, "", address);
  isWanted = true;
  if (!panel.open) panel.showModal();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-panel]");
  if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  opener = link;
  openPanel(link.href, true);
});

panel.addEventListener("click", (event) => {
  if (event.target === panel) panel.close(); // beside it
  const link = event.target.closest("a[href^='#']"); // to a field: followed, it would be another step of the history
  if (!link) return;
  event.preventDefault();
  panel.querySelector(`#${CSS.escape(link.hash.slice(1))}`)?.focus();
});
panel.addEventListener("close", () => {
  if (panel.open || !isWanted) return;
  leave();
  if (history.state?.panel) history.back();
});

function leave() {
  if (!isWanted) return;
  turn++;
  isWanted = false;
  panel.replaceChildren(); // and films end
  document.title = listTitle;
  // A list that keeps itself up to date may have another link in the place of the one that was used.
  const address = opener?.getAttribute("href");
  const links = [...document.querySelectorAll("a[data-panel]")];
  if (opener && !opener.isConnected) links.find((link) => link.getAttribute("href") === address)?.focus();
}

addEventListener("popstate", (event) => {
  if (location.pathname === listPath) {
    if (isStale) return location.reload();
    if (panel.open) panel.close();
    leave();
  } else if (event.state?.panel) {
    openPanel(location.href, false);
  } else {
    location.reload(); // this page was loaded where a panel had been
  }
});

function showOnTheList(name, text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const source = page.querySelector("[role=alert]") ?? page.querySelector("h1");
  const message = source?.textContent.trim().replace(/\s+/g, " ") ?? "refused";
  const box = Object.assign(document.createElement("div"), { className: "alert alert-danger", textContent: `${name}: ${message}` });
  box.setAttribute("role", "alert");
  document.getElementById("content").prepend(box);
}

// What changes the file leaves the panel open; what deletes it leads back to the list as it was, with the file's address behind it.
panel.addEventListener("submit", async (event) => {
  const form = event.target;
  const deletes = form.matches("[action$='/delete']");
  if (!deletes && !form.matches("[data-stays]")) return;
  event.preventDefault();
  const mine = turn, name = panel.getAttribute("aria-label");
  const button = event.submitter;
  if (button) button.disabled = true;
  try {
    const redirect = deletes ? "manual" : "follow"; // the list shows the notice, not this answer
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect });
    if (answer.type === "opaqueredirect") {
      isStale = true;
      if (location.pathname === listPath) return location.reload(); // closed meanwhile
      if (mine !== turn) return; // another file's: the list is made anew when it is seen
      return history.state?.panel ? history.back() : location.assign(listPath);
    }
    const text = await answer.text();
    if (mine !== turn) return answer.ok ? undefined : showOnTheList(name, text); // closed since; what was refused must not pass for done
    show(text, location.href);
    const message = panel.querySelector("[role=alert], [role=status], .border-success") ?? panel.querySelector("button");
    if (message) {
      if (!message.matches("button")) message.tabIndex = -1;
      message.focus();
    }
  } catch {
    form.submit(); // without the panel, then
  }
});
