// The map: choose a thing and see what it rests on and what rests on it; by pointer, by keyboard, by address.
(() => {
  "use strict";

  const begin = () => {
    const map = document.querySelector(".book-map");
    if (!map) return;
    const svg = map.querySelector(".map-scroll > svg");
    const tools = map.querySelector(".map-tools");
    const things = new Map();
    for (const node of svg.querySelectorAll("a.map-node")) things.set(node.getAttribute("href").slice(1), node);
    const up = new Map();
    const down = new Map();
    const edges = [...svg.querySelectorAll(".map-edges path")];
    const add = (to, key, value) => to.set(key, [...(to.get(key) ?? []), value]);
    for (const edge of edges) {
      add(up, edge.dataset.from, edge.dataset.to);
      add(down, edge.dataset.to, edge.dataset.from);
    }
    const reach = (start, next) => {
      const found = new Set();
      const open = [start];
      while (open.length) {
        for (const key of next.get(open.pop()) ?? []) {
          if (!found.has(key)) {
            found.add(key);
            open.push(key);
          }
        }
      }
      found.delete(start);
      return found;
    };

    // --- what is asked for ---
    const form = document.createElement("form");
    form.className = "filter-form";
    form.setAttribute("role", "search");
    form.setAttribute("aria-label", "Filter the map");
    const field = (label, element) => {
      const box = document.createElement("label");
      box.append(label, element);
      form.append(box);
      return element;
    };
    const choice = (label, every, options) => {
      const select = document.createElement("select");
      select.append(new Option(every, ""));
      for (const [value, text] of options) select.append(new Option(text, value));
      return field(label, select);
    };
    const entries = [...document.querySelectorAll(".map-list > li")];
    const present = (prefix) => [...new Set(entries.flatMap((entry) =>
      [...entry.classList].filter((name) => name.startsWith(prefix))))];
    const named = (names, cut) => names.map((name) => [name, name.slice(cut).replaceAll("-", " ")]);
    const kind = choice("What", "everything", named(present("kind-"), 5));
    const verdict = choice("Verdict", "any", named(present("verdict-"), 8));
    const bases = { "basis-proof": "proof alone", "basis-both": "proof and evidence", "basis-evidence": "evidence alone" };
    const basis = choice("Rests on", "anything", Object.entries(bases).filter(([name]) => present("basis-").includes(name)));
    const words = document.createElement("input");
    words.type = "search";
    field("Name", words);
    const reset = document.createElement("button");
    reset.type = "reset";
    reset.textContent = "Show all";
    const count = document.createElement("output");
    count.setAttribute("aria-live", "polite");
    form.append(reset, count);
    tools.append(form);

    const names = new Map(entries.map((entry) => [entry.id, (things.get(entry.id)?.getAttribute("aria-label") ?? "").toLowerCase()]));
    const apply = () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const entry of entries) {
        const fits = [kind, verdict, basis].every((select) => !select.value || entry.classList.contains(select.value))
          && wanted.every((word) => names.get(entry.id).includes(word));
        entry.hidden = !fits;
        things.get(entry.id)?.classList.toggle("out", !fits);
        shown += fits;
      }
      for (const list of document.querySelectorAll(".map-list")) {
        list.closest("section").hidden = [...list.children].every((entry) => entry.hidden);
      }
      count.textContent = shown === entries.length ? `${shown} things` : `${shown} of ${entries.length} things`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();

    // --- what is chosen ---
    const about = document.createElement("div");
    about.className = "map-about";
    about.setAttribute("aria-live", "polite");
    tools.append(about);

    const listOf = (title, keys) => {
      const line = document.createElement("p");
      const head = document.createElement("b");
      head.textContent = `${title} (${keys.length}): `;
      line.append(head);
      keys.forEach((key, k) => {
        const link = document.createElement("a");
        link.href = `#${key}`;
        link.dataset.choose = key;
        link.textContent = things.get(key).dataset.name;
        line.append(k ? ", " : "", link);
      });
      return line;
    };

    let chosen = null;
    const choose = (key) => {
      chosen = things.has(key) ? key : null;
      const above = chosen ? reach(chosen, up) : new Set();
      const below = chosen ? reach(chosen, down) : new Set();
      svg.classList.toggle("has-choice", Boolean(chosen));
      for (const [name, node] of things) {
        node.classList.toggle("chosen", name === chosen);
        node.classList.toggle("above", above.has(name));
        node.classList.toggle("below", below.has(name));
        if (name === chosen) node.setAttribute("aria-current", "true");
        else node.removeAttribute("aria-current");
      }
      const inUp = (name) => name === chosen || above.has(name);
      const inDown = (name) => name === chosen || below.has(name);
      for (const edge of edges) {
        const { from, to } = edge.dataset;
        edge.classList.toggle("above", Boolean(chosen) && inUp(from) && above.has(to));
        edge.classList.toggle("below", Boolean(chosen) && below.has(from) && inDown(to));
      }
      about.replaceChildren();
      if (!chosen) return;
      const line = document.createElement("p");
      const name = document.createElement("strong");
      name.textContent = things.get(chosen).getAttribute("aria-label");
      line.append(name);
      const there = document.getElementById(chosen)?.querySelector(":scope > a");
      if (there) {
        const link = document.createElement("a");
        link.href = there.href;
        link.textContent = "go there";
        line.append(" · ", link);
      }
      const free = document.createElement("button");
      free.type = "button";
      free.textContent = "Let go";
      free.addEventListener("click", () => go(null));
      line.append(" ", free);
      about.append(line);
      const order = [...things.keys()];
      for (const [title, set] of [["Rests on", above], ["Carries", below]]) {
        const keys = order.filter((one) => set.has(one));
        if (keys.length) about.append(listOf(title, keys));
      }
      rove(things.get(chosen));
    };

    const go = (key) => {
      history.pushState(null, "", key ? `#${key}` : location.href.split("#")[0]);
      choose(key);
    };

    map.addEventListener("click", (event) => {
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      const link = event.target.closest("a[data-choose], .map-scroll a.map-node");
      if (!link) return;
      event.preventDefault();
      const key = link.getAttribute("href").slice(1);
      go(key);
      if (link.dataset.choose) things.get(key).scrollIntoView({ block: "center", inline: "center" });
    });

    // --- by keyboard: one stop for the whole map, arrows inside it ---
    const rove = (node) => {
      for (const other of things.values()) other.setAttribute("tabindex", other === node ? "0" : "-1");
    };
    rove(things.values().next().value);
    const centre = (node) => {
      const box = node.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    };
    const nearest = (from, [dx, dy]) => {
      const [x, y] = centre(from);
      let best = null;
      let least = Infinity;
      for (const node of things.values()) {
        if (node === from || node.classList.contains("out")) continue;
        const [nx, ny] = centre(node);
        const along = (nx - x) * dx + (ny - y) * dy;
        const aside = Math.abs((nx - x) * dy) + Math.abs((ny - y) * dx);
        if (along > 3 && (dx ? aside < 8 : true) && along + 3 * aside < least) {
          least = along + 3 * aside;
          best = node;
        }
      }
      return best;
    };
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    svg.addEventListener("keydown", (event) => {
      const from = event.target.closest("a.map-node");
      if (!from || event.ctrlKey || event.metaKey || event.altKey) return;
      const open = [...things.values()].filter((node) => !node.classList.contains("out"));
      const to = event.key in ARROWS ? nearest(from, ARROWS[event.key])
        : event.key === "Home" ? open[0] : event.key === "End" ? open[open.length - 1] : null;
      if (event.key in ARROWS || to) event.preventDefault();
      if (!to) return;
      rove(to);
      to.focus({ preventScroll: true });
      to.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    map.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && chosen) go(null);
    });

    const read = () => choose(decodeURIComponent(location.hash.slice(1)));
    addEventListener("hashchange", read);
    addEventListener("popstate", read);
    read();
    if (chosen) things.get(chosen).scrollIntoView({ block: "center", inline: "center" });
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
