// The lists of claims: by source, verdict, proof or evidence, and words. Without this script they are whole.
(() => {
  "use strict";

  const begin = () => {
    const place = document.querySelector(".claim-filter");
    const rows = [...document.querySelectorAll("table.ledger tr[id]")];
    if (!place || !rows.length) return;
    const one = place.dataset.one;
    const { form, fields, apply } = window.proofbookFilter({
      place,
      label: "Filter the claims",
      items: rows,
      noun: "claims",
      choices: [
        { name: "source", label: one[0].toUpperCase() + one.slice(1), every: "all", none: "the book’s own" },
        { name: "verdict", label: "Verdict", every: "all" },
        { name: "basis", label: "Rests on", every: "anything", names: window.proofbookFilter.BASES },
      ],
      words: { label: "Words", of: (row) => row.textContent },
      show: (row, fits) => { row.hidden = !fits; },
    });

    const filter = () => {
      apply();
      for (const table of document.querySelectorAll("table.ledger")) {
        const section = table.closest("section");
        const any = [...section.querySelectorAll("tr[id]")].some((row) => !row.hidden);
        if (section.querySelector("tr[id]") && !section.contains(place)) section.hidden = !any;
      }
    };

    // The address keeps what is asked for, so that it can be linked to. A file has no query to change.
    const remember = () => {
      const asked = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value.trim()]));
      const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value)).toString();
      try {
        history.replaceState(null, "", location.pathname + (query && `?${query}`) + location.hash);
      } catch { /* from a file system */ }
    };

    const asked = new URLSearchParams(location.search);
    for (const [name, element] of Object.entries(fields)) element.value = asked.get(name) ?? "";
    for (const element of Object.values(fields)) if (element.selectedIndex === -1) element.selectedIndex = 0;
    const follow = () => {
      filter();
      remember();
    };
    form.addEventListener("input", follow);
    form.addEventListener("reset", () => setTimeout(follow));
    const reveal = () => {
      const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!row || !(row.hidden || row.closest("[hidden]"))) return;
      form.reset();
      filter();
      row.scrollIntoView();
    };
    addEventListener("hashchange", reveal);
    filter();
    reveal();
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
