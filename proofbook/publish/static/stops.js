// Fewer stops on the way through a page by Tab. Controls of one kind that a page has by the dozen are one stop, and
// arrow keys go from one to the next; a link that leads where an earlier one of its section leads is none, nor is one
// to a work in the page's own list of references that was cited before. All of them stay links and buttons for a
// pointer and for a screen reader. Without this script each is a stop.
(() => {
  "use strict";
  const KINDS = [
    ["article a.headerlink", "permalinks"],
    ["article .copybtn", "copy buttons"],
    ["article details.hide > summary", "folds over code"],
    ['article .chapter-card a[href^="#claim-"]', "claims of the chapter"],
    ["article div.claim > ul a", "links of the claims"],
    [".page-toc a", "sections of the page"],
  ];
  const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Home: -Infinity, End: Infinity };

  const seen = (one) => one.checkVisibility({ visibilityProperty: true });
  const all = (kind) => [...document.querySelectorAll(kind)];
  const kindOf = (element) => KINDS.find(([kind]) => element.matches?.(kind));

  // The one of its kind that Tab reaches.
  const choose = (kind, chosen) => {
    for (const one of all(kind)) one.tabIndex = one === chosen ? 0 : -1;
  };
  const chooseFirst = ([kind]) => {
    const here = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const shown = all(kind).filter(seen);
    choose(kind, shown.find((one) => here && here.contains(one)) || shown[0]);
  };

  // The outermost part of the page that a link is in.
  const part = (link) => {
    let found = link.closest("article section section");
    for (let up = found; up; up = up.parentElement.closest("article section section")) found = up;
    return found;
  };
  const once = () => {
    const led = new Set();
    const parts = new Map();
    for (const link of document.querySelectorAll("article a[href]")) {
      // What a fold hides leads nowhere yet; the map has stops of its own.
      if (kindOf(link) || link.closest("svg") || !seen(link)) continue;
      const work = link.hash && link.href === location.href.split("#")[0] + link.hash
        && document.getElementById(decodeURIComponent(link.hash.slice(1)))?.matches(".citation");
      const place = work ? "references" : part(link);
      if (!parts.has(place)) parts.set(place, parts.size);
      const key = `${parts.get(place)} ${link.href}`;
      // A solution is called by its exercise, which stands above it.
      if (led.has(key) || link.matches(".solution > .admonition-title a")) link.tabIndex = -1;
      led.add(key);
    }
  };

  let told = false;
  document.addEventListener("focusin", ({ target }) => {
    const found = kindOf(target);
    if (!found) return;
    choose(found[0], target);
    if (!told && target.matches(":focus-visible")) {
      told = true;
      const said = document.querySelector(".object-said");
      said.textContent = `Arrow keys go to the other ${found[1]}`;
      setTimeout(() => { said.textContent = ""; }, 4000);
    }
  });

  document.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    const found = kindOf(event.target);
    if (!step || !found || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const shown = all(found[0]).filter(seen);
    const at = shown.indexOf(event.target) + step;
    shown[Math.min(Math.max(at, 0), shown.length - 1)].focus();
    event.preventDefault();
  });

  // Copy buttons are made by a script of their own; what a fold has hidden comes when it opens.
  addEventListener("load", () => {
    once();
    KINDS.forEach(chooseFirst);
  });
  addEventListener("hashchange", () => KINDS.forEach(chooseFirst));
})();
