// The form that a list of claims and the map are filtered with: a choice for each thing that the classes of their
// items say, such as verdict-false, and words. filter.js and map.js say what is chosen among and what hides an item.
(() => {
  "use strict";
  const NONE = "-";
  const BASES = { proof: "proof alone", both: "proof and evidence", evidence: "evidence alone" };

  // What a class of an item says: "false" of an item with the class verdict-false, asked for "verdict".
  const saidOf = (item, name) =>
    [...item.classList].find((one) => one.startsWith(`${name}-`))?.slice(name.length + 1) ?? NONE;

  // place: where the form is put. choices: {name, label, every}, and names of the values that are offered if not all
  // are, or what none is called; one with a single value is left out. words: {label, of}, where of gives the text of
  // an item. show(item, fits) shows or hides it. Gives back the form, its fields by name, and apply().
  window.proofbookFilter = ({ place, label, items, noun, choices, words, show }) => {
    const form = document.createElement("form");
    form.className = "filter-form";
    form.setAttribute("role", "search");
    form.setAttribute("aria-label", label);
    const fields = {};
    const field = (name, said, element) => {
      const box = document.createElement("label");
      box.append(said, element);
      element.name = name;
      fields[name] = element;
      form.append(box);
    };
    for (const { name, label: said, every, names, none } of choices) {
      const present = [...new Set(items.map((item) => saidOf(item, name)))].filter((value) => none || value !== NONE);
      const offered = names ? Object.keys(names).filter((value) => present.includes(value)) : present;
      if (offered.length < 2) continue;
      const select = document.createElement("select");
      const called = (value) => names?.[value] ?? (value === NONE ? none : value.replaceAll("-", " "));
      select.append(new Option(every, ""), ...offered.map((value) => new Option(called(value), value)));
      field(name, said, select);
    }
    const selects = Object.values(fields);
    const text = document.createElement("input");
    text.type = "search";
    field("text", words.label, text);
    const reset = document.createElement("button");
    reset.type = "reset";
    reset.textContent = "Show all";
    const count = document.createElement("output");
    count.setAttribute("aria-live", "polite");
    form.append(reset, count);
    form.addEventListener("submit", (event) => event.preventDefault());
    place.append(form);

    const low = new Map();
    const textOf = (item) => {
      if (!low.has(item)) low.set(item, words.of(item).toLowerCase());
      return low.get(item);
    };
    const apply = () => {
      const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const item of items) {
        const fits = selects.every(({ name, value }) => !value || saidOf(item, name) === value)
          && wanted.every((word) => textOf(item).includes(word));
        show(item, fits);
        shown += fits;
      }
      count.textContent = shown === items.length ? `${shown} ${noun}` : `${shown} of ${items.length} ${noun}`;
    };
    return { form, fields, apply };
  };
  window.proofbookFilter.BASES = BASES;
})();
