// The buttons that open and close exercises' solutions are named by their titles; the theme calls all alike.
(() => {
  "use strict";
  const name = () => {
    for (const button of document.querySelectorAll("button.toggle-button")) {
      const title = button.closest(".admonition-title");
      const words = title ? [...title.childNodes].filter((node) => node !== button) : [];
      const text = words.map((node) => node.textContent).join("").replace(/\s+/g, " ").trim();
      if (text) button.setAttribute("aria-label", text);
    }
  };
  // The buttons are made when the page is loaded, by a script of its own.
  addEventListener("load", name);
})();
