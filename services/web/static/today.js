// The keys of the list of papers: j k move, o opens, x marks as read, s keeps, m votes, ? shows the help.
"use strict";
(() => {
  const list = document.getElementById("came");
  if (!list) return;
  let current = "";
  const rows = () => [...list.querySelectorAll("article.came")];
  const selected = () => document.getElementById(current);

  function select(row) {
    if (!row) return;
    for (const other of list.querySelectorAll(".current")) other.classList.remove("current");
    current = row.id;
    row.classList.add("current");
    row.querySelector("a[data-key=o]").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  function move(step) {
    const all = rows();
    const at = all.indexOf(selected());
    select(all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + step))]);
  }

  function press(selector) {
    const button = selected()?.querySelector(selector);
    if (button) button.click();
  }

  const actions = {
    j: () => move(1),
    k: () => move(-1),
    o: () => press("a[data-key=o]"),
    x: () => press("button[data-key=x]"),
    s: () => press("button[data-key=s]"),
    m: () => press(".came-actions .votes button"),
    "?": () => { document.querySelector(".keys").open = true; document.querySelector(".keys summary").focus(); },
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  });

  // A row is replaced by the answer to a mark: the new one stays selected.
  document.addEventListener("htmx:afterSettle", () => {
    const row = selected();
    if (row && !row.classList.contains("current")) select(row);
  });

  document.addEventListener("unread", (event) => {
    const count = event.detail.value;
    document.title = document.title.replace(/^\(\d+\) /, "");
    if (count) document.title = `(${count}) ${document.title}`;
    const shown = document.getElementById("unread");
    if (shown) shown.textContent = `${count} unread`;
  });
})();
