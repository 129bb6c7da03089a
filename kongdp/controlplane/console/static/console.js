// The few things that only a browser can do: copy, keys, scrolling, notice that its tab is hidden, notice that the connection is gone.
async function consoleCopy(event) {
  const button = event.currentTarget ?? event.target.closest("button");
  const box = button.closest(".code, .copyable");
  const source = box.querySelector("code, .copy-text");
  let copied = true;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Without HTTPS there is no clipboard but on loopback: select, so that one key copies.
    const range = document.createRange();
    const details = box.querySelector("details");
    if (details) details.open = true;
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    copied = document.execCommand("copy");
  }
  const spoken = document.getElementById("console-spoken") ?? document.body.appendChild(
    Object.assign(document.createElement("div"), { id: "console-spoken", className: "only-spoken" }));
  spoken.setAttribute("role", "status");
  spoken.textContent = copied ? "Copied" : "Press Ctrl+C to copy";
  button.classList.add("copied");
  setTimeout(() => { button.classList.remove("copied"); spoken.textContent = ""; }, 2000);
}

// What is open over a page is part of its address: set, or taken away while empty.
function consoleAt(name, value) {
  const there = new URL(location.href);
  if ((there.searchParams.get(name) ?? "") === value) return;
  if (value) there.searchParams.set(name, value);
  else there.searchParams.delete(name);
  history.replaceState(history.state, "", there);
}

// A moment (Unix time) as a field for dates holds it, in this browser's zone.
function consoleLocal(at) {
  const there = new Date(at * 1000);
  return new Date(there - there.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

// What such a field holds, as a moment in UTC; "" while it is empty.
function consoleMoment(id, isUtc) {
  const text = getHtmlElement(id)?.querySelector("input")?.value ?? getHtmlElement(id)?.value ?? "";
  return text && new Date(isUtc ? `${text}Z` : text).toISOString().replace(/:00\.000Z$/, "Z");
}

// Enter in a line of text is the dialog's main button, as in every form.
function consoleEnter(event) {
  const { tagName, role, type } = event.target;
  if (tagName !== "INPUT" || role === "combobox" || type === "checkbox" || event.isComposing) return;
  const buttons = event.currentTarget.querySelectorAll(".dialog-actions :is(.main-button, .danger-button)");
  const main = [...buttons].find((button) => button.offsetParent !== null);
  if (main === undefined) return;
  event.preventDefault();
  main.click();
}

// Arrows go through an open menu, as in every menu.
document.addEventListener("keydown", (event) => {
  const menu = document.querySelector('[role="menu"]');
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (menu === null || !(event.key in steps)) return;
  const items = [...menu.querySelectorAll('[role="menuitem"]')];
  const at = items.indexOf(document.activeElement);
  const next = at < 0 && event.key === "ArrowUp" ? items.length - 1 : (at + steps[event.key] + items.length) % items.length;
  event.preventDefault();
  items[next]?.focus();
});

// What has the focus is seen, with what is said about it: Quasar focuses its fields without scrolling to them.
document.addEventListener("focusin", (event) => {
  requestAnimationFrame(() => event.target.closest(".q-field")?.scrollIntoView({ block: "nearest" }));
});

document.addEventListener("visibilitychange", () => {
  if (window.socket?.connected) emitEvent("console-seen", !document.hidden);
});

// Since when there is no connection, in words; "" while there is one.
let offline = "";
setInterval(() => {
  const isGone = window.socket !== undefined && !window.socket.connected;
  if (!isGone) offline = "";
  else offline ||= `Stale since ${new Date().toLocaleTimeString()}: no connection to the control plane`;
  for (const each of document.querySelectorAll(".live")) {
    each.toggleAttribute("data-offline", isGone);
    const said = each.querySelector(".live-offline");
    if (said.textContent !== offline) said.textContent = offline;
  }
}, 1000);
