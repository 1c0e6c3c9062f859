// The editor works without this script; it adds keys, the name that fills itself in, and the sheet's Escape key.
(() => {
  "use strict";
  const form = document.getElementById("editor");
  if (!form) return;
  document.documentElement.dataset.script = "on";

  // The name and the channels do not change which papers come.
  form.addEventListener("input", (event) => {
    if (event.target.closest("[data-quiet]")) event.stopImmediatePropagation();
  }, true);

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.contains(event.target)) {
      event.preventDefault();
      form.requestSubmit(document.getElementById("save"));
    }
    if (event.key === "Escape" && location.hash === "#papers") {
      location.hash = "#editor";
    }
  });

  const refresh = () => {
    const name = document.getElementById("auto-name");
    if (name && name.dataset.name) document.getElementById("name").placeholder = name.dataset.name;
  };
  document.addEventListener("htmx:afterSettle", refresh);
})();
