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
    const entries = [...document.querySelectorAll(".map-list > li")];
    const { form, apply } = window.proofbookFilter({
      place: tools,
      label: "Filter the map",
      items: entries,
      noun: "things",
      choices: [
        { name: "kind", label: "What", every: "everything" },
        { name: "verdict", label: "Verdict", every: "any" },
        { name: "basis", label: "Rests on", every: "anything", names: window.proofbookFilter.BASES },
      ],
      words: { label: "Name", of: (entry) => things.get(entry.id)?.getAttribute("aria-label") ?? "" },
      show: (entry, fits) => {
        entry.hidden = !fits;
        things.get(entry.id)?.classList.toggle("out", !fits);
      },
    });
    const filter = () => {
      apply();
      for (const list of document.querySelectorAll(".map-list")) {
        list.closest("section").hidden = [...list.children].every((entry) => entry.hidden);
      }
    };
    form.addEventListener("input", filter);
    form.addEventListener("reset", () => setTimeout(filter));
    filter();

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
