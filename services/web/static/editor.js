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

  // The slider lies under the histogram. Its values are places on the histogram; each volume has one.
  const steps = () => {
    const scores = document.getElementById("scores");
    const text = (scores && scores.dataset.places) || "";
    return text.split(" ").filter(Boolean).map((step) => {
      const [place, volume] = step.split(":");
      const [count, per] = volume.split("/");
      return { place: Number(place), count, per };
    });
  };
  const say = (slider, step) => {
    const words = step ? `about ${step.count} a ${step.per}` : "";
    slider.querySelector("input").setAttribute("aria-valuetext", words);
    slider.querySelector("output").textContent = words;
  };
  const choose = (range, step) => {
    form.elements.volume_count.value = step.count;
    form.elements.volume_per.value = step.per;
    say(range.parentElement, step);
  };
  const nearest = (place, from) => from.reduce((best, step) =>
    Math.abs(step.place - place) < Math.abs(best.place - place) ? step : best);
  form.addEventListener("input", (event) => {
    if (event.target.type !== "range") return;
    const all = steps();
    if (all.length) choose(event.target, nearest(Number(event.target.value), all));
  }, true);
  form.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: 1, ArrowDown: 1, ArrowRight: -1, ArrowUp: -1 }[event.key];
    if (event.target.type !== "range" || !move) return;
    // A key goes to the next volume: more papers to the left.
    event.preventDefault();
    const all = steps();
    const at = all.findIndex((step) => step.count === form.elements.volume_count.value && step.per === form.elements.volume_per.value);
    const step = all[Math.min(all.length - 1, Math.max(0, (at < 0 ? 0 : at) + move))];
    if (!step) return;
    event.target.value = step.place;
    choose(event.target, step);
    event.target.dispatchEvent(new Event("input", { bubbles: true }));
  });
  const place = () => {
    const slider = document.getElementById("slider");
    if (!slider) return;
    const all = steps();
    slider.hidden = all.length < 2;
    const range = slider.querySelector("input");
    if (slider.hidden || range.matches(":active")) return;
    range.value = document.getElementById("scores").dataset.at;
    say(slider, all.find((step) => step.count === form.elements.volume_count.value && step.per === form.elements.volume_per.value));
  };

  const refresh = () => {
    place();
    // A screen reader hears how many papers come, and not the whole list again.
    const figure = document.querySelector("#preview .figure");
    const said = document.getElementById("said");
    if (figure && said.textContent !== figure.textContent) said.textContent = figure.textContent;
    const name = document.getElementById("auto-name");
    if (name && name.dataset.name) document.getElementById("name").placeholder = name.dataset.name;
  };
  document.addEventListener("htmx:afterSettle", refresh);
  refresh();
})();
