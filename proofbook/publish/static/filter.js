// The lists of claims: by source, verdict, proof or evidence, and words. Without this script they are whole.
(() => {
  "use strict";
  const BASES = { proof: "proof alone", both: "proof and evidence", evidence: "evidence alone" };

  const begin = () => {
    const place = document.querySelector(".claim-filter");
    const rows = [...document.querySelectorAll("table.ledger tr[id]")];
    if (!place || !rows.length) return;
    const one = place.dataset.one;
    const has = (row, prefix) => [...row.classList].find((name) => name.startsWith(prefix))?.slice(prefix.length) ?? "";
    const values = (prefix) => [...new Set(rows.map((row) => has(row, prefix)))];
    const words = new Map();
    const wordsOf = (row) => {
      if (!words.has(row)) words.set(row, row.textContent.toLowerCase());
      return words.get(row);
    };

    const form = document.createElement("form");
    form.className = "filter-form";
    form.setAttribute("role", "search");
    form.setAttribute("aria-label", "Filter the claims");
    const fields = {};
    const field = (name, label, element) => {
      const box = document.createElement("label");
      box.append(label, element);
      element.name = name;
      fields[name] = element;
      form.append(box);
    };
    const choice = (name, label, every, options) => {
      const select = document.createElement("select");
      select.append(new Option(every, ""));
      for (const [value, text] of options) select.append(new Option(text, value));
      field(name, label, select);
    };

    const sources = values("source-").map((value) => [value || "-", value || "the book’s own"]);
    if (sources.length > 1) choice("source", one[0].toUpperCase() + one.slice(1), "all", sources);
    choice("verdict", "Verdict", "all", values("verdict-").map((value) => [value, value.replaceAll("-", " ")]));
    choice("basis", "Rests on", "anything", Object.entries(BASES).filter(([value]) => values("basis-").includes(value)));
    const text = document.createElement("input");
    text.type = "search";
    field("text", "Words", text);
    const reset = document.createElement("button");
    reset.type = "reset";
    reset.textContent = "Show all";
    const count = document.createElement("output");
    count.setAttribute("aria-live", "polite");
    form.append(reset, count);
    place.append(form);

    const apply = () => {
      const asked = Object.fromEntries(Object.entries(fields).map(([name, element]) => [name, element.value.trim()]));
      const wanted = asked.text.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const fits = ["source", "verdict", "basis"].every((name) =>
          !asked[name] || (has(row, `${name}-`) || "-") === asked[name]) && wanted.every((word) => wordsOf(row).includes(word));
        row.hidden = !fits;
        shown += fits;
      }
      for (const table of document.querySelectorAll("table.ledger")) {
        const section = table.closest("section");
        const any = [...section.querySelectorAll("tr[id]")].some((row) => !row.hidden);
        if (section.querySelector("tr[id]") && !section.contains(place)) section.hidden = !any;
      }
      count.textContent = shown === rows.length ? `${rows.length} claims` : `${shown} of ${rows.length} claims`;
      return asked;
    };

    // The address keeps what is asked for, so that it can be linked to. A file has no query to change.
    const remember = (asked) => {
      const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value)).toString();
      try {
        history.replaceState(null, "", location.pathname + (query && `?${query}`) + location.hash);
      } catch { /* from a file system */ }
    };

    const asked = new URLSearchParams(location.search);
    for (const [name, element] of Object.entries(fields)) element.value = asked.get(name) ?? "";
    for (const element of Object.values(fields)) if (element.selectedIndex === -1) element.selectedIndex = 0;
    form.addEventListener("input", () => remember(apply()));
    form.addEventListener("reset", () => setTimeout(() => remember(apply())));
    form.addEventListener("submit", (event) => event.preventDefault());
    const reveal = () => {
      const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!row || !(row.hidden || row.closest("[hidden]"))) return;
      form.reset();
      apply();
      row.scrollIntoView();
    };
    addEventListener("hashchange", reveal);
    apply();
    reveal();
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
