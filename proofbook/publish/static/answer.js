// Exercises that are answered in their page. Python is loaded by the first click, from this site alone, and runs in a
// worker (answer-worker.mjs); the code of an exercise stands beside its cell (sphinx_ext/answers.py).
(() => {
  "use strict";
  const WORKER = new URL("answer-worker.mjs", document.currentScript.src);
  const DOTS = "...";
  let worker = null, loaded = false, waiting = null, last = 0;

  const element = (name, attributes, ...children) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...children);
    return made;
  };

  const halted = (text) => {
    if (worker) worker.terminate();
    worker = null;
    if (waiting) waiting({ verdict: "error", text });
    waiting = null;
  };

  const load = () => {
    if (worker) return;
    loaded = false;
    worker = new Worker(WORKER, { type: "module" });
    worker.onmessage = ({ data }) => {
      loaded = true;
      if (data.id !== last || !waiting) return;
      const done = waiting;
      waiting = null;
      done(data);
    };
    worker.onerror = () => halted("Python could not be loaded from this site.");
  };

  // One cell at a time.
  const run = (before, cell) => {
    load();
    return new Promise((done) => {
      waiting = done;
      worker.postMessage({ id: ++last, before, cell });
    });
  };

  const served = (place) => {
    const words = "A page that was opened as a file cannot load Python. In the folder of the site, the one that " +
      "holds index.html, run ";
    place.append(element("p", { className: "answer-said" }, words, element("code", {}, "python -m http.server"),
      " and open ", element("code", {}, "http://localhost:8000"), "."));
  };

  const editor = (place, { title, asks, before, code }) => {
    const name = place.id;
    const rows = code.split("\n").length;
    const cell = element("textarea", { id: `${name}-cell`, value: code, rows, spellcheck: false });
    for (const off of ["autocapitalize", "autocomplete", "autocorrect"]) cell.setAttribute(off, "off");
    const label = element("label", { htmlFor: cell.id }, `${title}: ${asks}`);
    const check = element("button", { type: "button" }, "Check");
    const stop = element("button", { type: "button", disabled: true }, "Stop");
    const again = element("button", { type: "button" }, "Start over");
    const hint = element("p", { className: "answer-hint", id: `${name}-hint` },
      "Ctrl+Enter checks; Tab leaves the field. Python runs in this page, and what you type stays in it.");
    const said = element("pre", { className: "answer-said" });
    said.setAttribute("role", "status");
    cell.setAttribute("aria-describedby", hint.id);

    const atDots = () => {
      const at = cell.value.indexOf(DOTS);
      cell.focus();
      if (at >= 0) cell.setSelectionRange(at, at + DOTS.length);
    };
    const tell = (verdict, text) => {
      said.dataset.verdict = verdict;
      said.textContent = text;
    };
    const checked = async () => {
      if (check.disabled) return;
      if (waiting) {
        tell("busy", "Another answer is being checked: wait for it, or stop it there.");
        return;
      }
      check.disabled = true;
      stop.disabled = false;
      tell("busy", loaded ? "Checking …" : "Loading Python, once for this page …");
      const { verdict, text } = await run(before, cell.value);
      tell(verdict, text || "The cell shows nothing.");
      check.disabled = false;
      stop.disabled = true;
    };
    check.addEventListener("click", checked);
    stop.addEventListener("click", () => {
      halted("Stopped. The next check loads Python anew.");
      cell.focus();
    });
    again.addEventListener("click", () => {
      cell.value = code;
      tell("", "");
      atDots();
    });
    cell.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      checked();
    });
    place.append(label, cell, element("div", { className: "answer-buttons" }, check, stop, again), hint, said);
    atDots();
  };

  const begin = (place) => {
    const data = JSON.parse(place.querySelector('script[type="application/json"]').textContent);
    const open = element("button", { type: "button", className: "answer-open" }, data.open);
    open.setAttribute("aria-label", `${data.open}: ${data.title}`);
    open.addEventListener("click", () => {
      open.remove();
      if (location.protocol === "file:") served(place);
      else {
        load();
        editor(place, data);
      }
    });
    place.append(open);
  };

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".answer").forEach(begin));
})();
