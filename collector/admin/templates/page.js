// Keeps the page up to date: fetches it again, and changes what differs where it stands, so that focus, scrolling
// and selections stay. Without this script the page is the same, and the reader reloads it.
"use strict";

const SOON = 2000; // ms between two looks
const LATER = 10000; // while nobody answers
const NOTICE = 60000; // how long a notice stays

const stale = document.getElementById("stale");
let shown = new Date();

function say(text) {
  if (stale.textContent !== text) stale.textContent = text;
  stale.hidden = text === "";
  // A green page that nobody keeps up to date must not look like one that is.
  document.body.classList.toggle("stale", text !== "");
}

function sameKind(old, fresh) {
  return old && old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
}

function update(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const byId = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const known = child.id && byId.get(child.id);
    if (known && known !== at) old.insertBefore(known, at);
    const here = known || at;
    if (sameKind(here, child)) {
      update(here, child);
      at = here.nextSibling;
    } else {
      old.insertBefore(document.importNode(child, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

async function look() {
  let answer;
  let text;
  try {
    answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
    text = await answer.text();
  } catch {
    say(`The daemon does not answer. This is how it was at ${shown.toLocaleTimeString()}.`);
    return LATER;
  }
  if (answer.status === 401) {
    say("This page’s link has ended. Run `waystation open` for a new one.");
    return 0;
  }
  if (!answer.ok) {
    say(`The daemon answers ${answer.status}. This is how it was at ${shown.toLocaleTimeString()}.`);
    return LATER;
  }
  const fresh = new DOMParser().parseFromString(text, "text/html");
  document.title = fresh.title;
  update(document.querySelector("main"), fresh.querySelector("main"));
  update(document.querySelector("footer"), fresh.querySelector("footer"));
  shown = new Date();
  say("");
  return SOON;
}

async function watch() {
  const wait = document.hidden ? SOON : await look();
  if (wait) setTimeout(watch, wait);
}

setTimeout(watch, SOON);
setTimeout(() => {
  const here = new URL(location.href);
  for (const told of ["replayed", "kept"]) here.searchParams.delete(told);
  history.replaceState(null, "", here);
}, NOTICE);
