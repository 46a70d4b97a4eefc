// The page of results. The index is a script (search-data.js), so that this works from the file system too;
// minisearch.js finds and ranks: names and titles before prose, prose before code.
(() => {
  "use strict";
  const data = window.proofbookSearch;
  const KINDS = { page: "page", section: "section", claim: "claim", equation: "equation" };
  const HAN = /\p{Script=Han}+/gu;
  const NAME = /[\p{L}\p{N}]+(?:-[\p{L}\p{N}]+)+/gu; // an identifier such as 8823-C10 or eq-9034-bound

  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

  // Words; identifiers whole and in parts; Chinese, which has no blanks, by one and by two characters.
  const tokenize = (text) => {
    const words = plain(text);
    const found = words.replace(HAN, " ").split(/[^\p{L}\p{N}]+/u).filter(Boolean);
    found.push(...(words.match(NAME) || []));
    for (const run of words.match(HAN) || []) {
      for (let i = 0; i < run.length; i++) {
        found.push(run[i]);
        if (i + 1 < run.length) found.push(run.slice(i, i + 2));
      }
    }
    return found;
  };
  // Both spellings of normalise are one word.
  const processTerm = (term) => (term.length > 6 ? term.replace(/is(e[drs]?|ing|ations?)$/, "iz$1") : term);

  const index = new MiniSearch({
    fields: ["names", "title", "text", "code"],
    tokenize,
    processTerm,
    searchOptions: {
      boost: { names: 6, title: 4, text: 1, code: 0.05 },
      prefix: (term) => term.length > 2,
      fuzzy: (term) => (term.length > 5 && /^[a-z]+$/.test(term) ? 0.15 : false),
      weights: { prefix: 0.4, fuzzy: 0.2 },
      boostDocument: (id) => ({ page: 2.2, claim: 1.2, equation: 0.9 })[data.entries[id][0]] || 1,
    },
  });
  index.addAll(
    data.entries.map(([, , , title, names, text, code], id) => ({ id, title, names, text, code })),
  );

  const search = (query) => {
    const together = index.search(query, { combineWith: "AND" });
    const phrase = plain(query).trim();
    const whole = ([, , , title, names, text]) => plain(`${names} ${title} ${text}`).includes(phrase);
    // What has the words in their order comes first among those that have them all.
    const ranked = together.map((hit) => ({
      id: hit.id,
      terms: hit.terms,
      score: hit.score * (phrase.includes(" ") && whole(data.entries[hit.id]) ? 3 : 1),
    }));
    ranked.sort((a, b) => b.score - a.score);
    return ranked.length ? ranked : index.search(query, { combineWith: "OR" });
  };

  const LONG = 240;
  const excerpt = (text, terms) => {
    const low = plain(text);
    const at = Math.min(...terms.map((term) => low.indexOf(term)).filter((place) => place >= 0), low.length);
    const start = at < LONG / 2 || at === low.length ? 0 : low.indexOf(" ", at - LONG / 2) + 1;
    const rest = text.slice(start);
    // No word is cut; Chinese has no blanks to end at.
    const end = rest.length <= LONG ? rest.length : Math.max(rest.lastIndexOf(" ", LONG), LONG / 2);
    return (start ? "… " : "") + rest.slice(0, end) + (end < rest.length ? " …" : "");
  };

  const marked = (element, text, terms) => {
    const words = terms.filter((term) => term.length > 1 || /\p{Script=Han}/u.test(term));
    const escaped = words.map((term) => term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    // A word is marked where it begins; Chinese anywhere.
    const pattern = escaped.length
      ? new RegExp(`((?:(?<![\\p{L}\\p{N}])|(?=\\p{Script=Han}))(?:${escaped.join("|")}))`, "giu")
      : null;
    for (const [k, part] of (pattern ? text.split(pattern) : [text]).entries()) {
      const node = k % 2 ? document.createElement("mark") : document.createTextNode("");
      node.textContent = part;
      element.append(node);
    }
  };

  const MOST = 40;
  const show = (query) => {
    const list = document.getElementById("search-found");
    const count = document.getElementById("search-count");
    list.replaceChildren();
    const hits = query.trim() ? search(query) : [];
    count.textContent = !query.trim()
      ? ""
      : hits.length
        ? `${hits.length} found${hits.length > MOST ? `, the first ${MOST} are here` : ""}`
        : "Nothing found.";
    for (const hit of hits.slice(0, MOST)) {
      const [kind, page, url, title, , text, code] = data.entries[hit.id];
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = url;
      link.textContent = title || data.pages[page];
      const where = document.createElement("span");
      where.className = "search-where";
      where.textContent = kind === "page" ? KINDS.page : `${KINDS[kind]} in ${data.pages[page]}`;
      const said = document.createElement("p");
      marked(said, excerpt(text || code, hit.terms), hit.terms);
      item.append(link, " ", where, said);
      list.append(item);
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const field = document.querySelector(".bd-search-container form.bd-search input");
    const asked = new URLSearchParams(location.search).get("q") || "";
    for (const input of document.querySelectorAll("form.bd-search input")) input.value = asked;
    show(asked);
    if (!field) return;
    field.focus();
    field.addEventListener("input", () => show(field.value));
    field.form.addEventListener("submit", (event) => {
      event.preventDefault();
      history.replaceState(null, "", `?q=${encodeURIComponent(field.value)}`);
      show(field.value);
    });
  });
})();
