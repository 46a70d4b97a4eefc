// Claims and equations: their permalinks copy and open what is attached to them; links to them show what they
// lead to. Everything here is an addition: without this script a permalink is a link, and opens the panel too.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("objects-ready");

  // --- what happened, for eyes and screen readers ---
  let status;
  let silence;
  const say = (words) => {
    status.textContent = words;
    clearTimeout(silence);
    silence = setTimeout(() => { status.textContent = ""; }, 2500);
  };

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // A page from plain http has no clipboard: the older way needs a field to select.
      const field = document.createElement("textarea");
      const focused = document.activeElement;
      field.value = text;
      field.style.position = "fixed";
      field.style.opacity = "0";
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      focused?.focus({ preventScroll: true });
      return done;
    }
  };

  const addressOf = (hash) => {
    const canonical = document.querySelector('link[rel="canonical"]');
    return (canonical?.href || location.href).split("#")[0] + hash;
  };

  // --- permalinks and panels ---
  const panelOf = (anchor) =>
    document.querySelector(`.object-panel[data-anchor="${CSS.escape(anchor)}"]`);

  const toggle = (panel, open) => {
    panel.classList.toggle("open", open);
    for (const link of document.querySelectorAll(`a.headerlink[href="#${CSS.escape(panel.dataset.anchor)}"]`)) {
      link.setAttribute("aria-expanded", String(open));
    }
  };

  const close = (panel) => {
    const inside = panel.contains(document.activeElement);
    toggle(panel, false);
    if (inside) document.querySelector(`a.headerlink[href="#${CSS.escape(panel.dataset.anchor)}"]`)?.focus();
  };

  const plain = (event) =>
    event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a.headerlink[href^="#"], .object-links a[href^="#"]');
    if (link && plain(event)) {
      const hash = link.getAttribute("href");
      copy(addressOf(hash)).then((done) => say(done ? "Link copied" : "The address bar has the link"));
      const panel = panelOf(decodeURIComponent(hash.slice(1)));
      if (panel && link.classList.contains("headerlink")) toggle(panel, !panel.classList.contains("open"));
      // The browser drops the focus when it goes to the target; who uses a keyboard would lose their place.
      setTimeout(() => link.focus({ preventScroll: true }));
    }
    const button = event.target.closest?.(".object-copy");
    if (button) {
      const text = button.parentElement.querySelector("pre").textContent;
      copy(text).then((done) => say(done ? "Copied" : "Select the text to copy it"));
    }
  });

  // Buttons are made when a fold is opened: a closed page stays as light as it was.
  document.addEventListener("toggle", (event) => {
    const fold = event.target;
    if (!fold.open || !fold.closest(".object-panel") || fold.querySelector(".object-copy")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "object-copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${fold.querySelector("summary").textContent}`);
    fold.append(button);
  }, true);

  // --- previews ---
  const WANTED = 'a[href*="#claim-"], a[href*="#equation-"]';
  const loaded = {};
  const waiting = {};
  window.proofbookPreviews = (page, parts) => { loaded[page] = parts; };

  const base = new URL(document.querySelector("html").dataset.content_root || "./", location.href);
  const here = location.href.split(/[?#]/)[0];

  const partsOf = (url) => {
    const page = url.href.split(/[?#]/)[0].slice(base.href.length).replace(/\.html$/, "");
    if (loaded[page]) return Promise.resolve(loaded[page]);
    waiting[page] ??= new Promise((resolve) => {
      const script = document.createElement("script");
      script.src = new URL(`_static/previews/${page}.js`, base).href;
      script.onload = () => resolve(loaded[page] || {});
      script.onerror = () => resolve({});
      document.head.append(script);
    });
    return waiting[page];
  };

  const contentOf = async (url) => {
    const anchor = decodeURIComponent(url.hash.slice(1));
    if (url.href.split(/[?#]/)[0] !== here) {
      const made = document.createElement("template");
      made.innerHTML = (await partsOf(url))[anchor] || "";
      return made.content.firstElementChild;
    }
    return document.getElementById(anchor)?.cloneNode(true);
  };

  let preview;
  let shownFor = null;
  let wanted = null;
  let timer;

  const hide = () => {
    clearTimeout(timer);
    wanted = null;
    if (!shownFor) return;
    shownFor.removeAttribute("aria-describedby");
    shownFor = null;
    preview.hidden = true;
    preview.replaceChildren();
  };

  const put = (link) => {
    const at = link.getBoundingClientRect();
    const size = preview.getBoundingClientRect();
    const left = Math.max(12, Math.min(at.left, root.clientWidth - size.width - 12));
    const below = at.bottom + 6;
    const fits = below + size.height < innerHeight || at.top < size.height + 6;
    preview.style.left = `${left}px`;
    preview.style.top = `${fits ? below : at.top - size.height - 6}px`;
  };

  const show = async (link) => {
    const url = new URL(link.href, location.href);
    const content = await contentOf(url);
    if (wanted !== link || !content) return;
    for (const extra of content.querySelectorAll(".object-panel, .headerlink")) extra.remove();
    for (const named of [content, ...content.querySelectorAll("[id]")]) named.removeAttribute("id");
    for (const inner of content.querySelectorAll("a[href]")) inner.href = new URL(inner.getAttribute("href"), url).href;
    for (const stop of content.querySelectorAll("[tabindex]")) stop.removeAttribute("tabindex");
    if (shownFor) shownFor.removeAttribute("aria-describedby");
    shownFor = link;
    preview.replaceChildren(content);
    preview.hidden = false;
    link.setAttribute("aria-describedby", preview.id);
    if (shownFor === link) put(link);
  };

  const later = (action, milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };

  const ask = (event) => {
    const link = event.target.closest?.(WANTED);
    if (preview.contains(event.target)) {
      clearTimeout(timer);
      return;
    }
    if (!link || link.classList.contains("headerlink") || link.closest(".object-links, .object-preview, svg")) return;
    if (event.type === "focusin" && !link.matches(":focus-visible")) return;
    if (link === shownFor) {
      clearTimeout(timer);
      return;
    }
    wanted = link;
    later(() => show(link), event.type === "focusin" ? 150 : 300);
  };

  const leave = (event) => {
    const link = event.target.closest?.(WANTED);
    if (link || preview.contains(event.target)) later(hide, 250);
  };

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (shownFor || wanted) {
      hide();
      return;
    }
    const panel = event.target.closest?.(".object-panel")
      || panelOf(decodeURIComponent((event.target.getAttribute?.("href") || "#").split("#")[1] || "-"));
    if (panel?.classList.contains("open")) close(panel);
  });

  const begin = () => {
    status = document.createElement("div");
    status.className = "object-said";
    status.setAttribute("role", "status");
    preview = document.createElement("div");
    preview.className = "object-preview";
    preview.id = "object-preview";
    preview.setAttribute("role", "tooltip");
    preview.hidden = true;
    document.body.append(status, preview);
    for (const panel of document.querySelectorAll(".object-panel")) toggle(panel, false);
    document.addEventListener("mouseover", ask);
    document.addEventListener("focusin", ask);
    document.addEventListener("mouseout", leave);
    document.addEventListener("focusout", leave);
    addEventListener("scroll", () => { if (shownFor) put(shownFor); }, { passive: true });
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
