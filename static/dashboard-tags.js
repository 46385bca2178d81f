// A field of several words as tags: what is typed becomes one, and each can be taken away. The form still sends the field's own text.
"use strict";

for (const field of document.querySelectorAll("[data-tags]")) {
  const list = Object.assign(document.createElement("ul"), { className: "tags" });
  const entry = field.cloneNode();
  const hadFocus = field === document.activeElement; // somebody was quicker than this script
  const allowed = new RegExp(`^(?:${field.dataset.tags})$`);
  list.setAttribute("aria-live", "polite");
  for (const name of ["name", "value", "data-tags"]) entry.removeAttribute(name);
  entry.setAttribute("list", field.dataset.tagsList);
  entry.value = "";
  entry.placeholder = "Add one";
  entry.autocomplete = "off";
  field.removeAttribute("id"); // the label is the entry's now
  field.type = "hidden";
  field.before(list, entry);
  if (hadFocus) entry.focus();

  const words = (text) => text.split(/[\s,]+/).filter(Boolean);
  const chosen = () => words(field.value);

  function draw() {
    list.replaceChildren(...chosen().map((word) => {
      const tag = Object.assign(document.createElement("li"), { className: "tag", textContent: word });
      const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "×", ariaLabel: `Remove ${word}` });
      remove.addEventListener("click", () => { choose(chosen().filter((other) => other !== word)); entry.focus(); });
      tag.append(remove);
      return tag;
    }));
  }

  function choose(wanted) {
    field.value = [...new Set(wanted)].join(" ");
    draw();
  }

  function take() {
    const typed = words(entry.value);
    const wrong = typed.find((word) => !allowed.test(word));
    entry.setCustomValidity(wrong ? `${wrong} is not a media type such as image/* or application/pdf` : "");
    if (wrong) return entry.reportValidity();
    // The one that allows all makes the others meaningless.
    const all = field.dataset.tagsAll;
    if (typed.length) choose(typed.includes(all) ? [all] : [...chosen().filter((word) => word !== all), ...typed]);
    entry.value = "";
    return true;
  }

  entry.addEventListener("keydown", (event) => {
    if ([",", " ", "Enter"].includes(event.key) && entry.value.trim() && !event.isComposing) {
      event.preventDefault();
      take();
    } else if (event.key === "Backspace" && !entry.value) {
      choose(chosen().slice(0, -1));
    }
  });
  entry.addEventListener("input", (event) => {
    entry.setCustomValidity("");
    if (event.inputType === "insertReplacementText") take(); // picked from the list
  });
  // Not when the field is left: a new tag would push the button away from under the pointer that is about to press it.
  entry.form.addEventListener("submit", (event) => { if (!take()) event.preventDefault(); });
  draw();
}
