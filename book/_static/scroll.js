/* What scrolls by itself, as wide tables and formulas do, can be reached and scrolled by keyboard. */
(() => {
  "use strict";
  const reach = () => {
    for (const element of document.querySelectorAll(".bd-article :is(table, .math, .canvas)"))  // the theme sees to code
      if (element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight) element.tabIndex = 0;
      else element.removeAttribute("tabindex");
  };
  addEventListener("load", reach);
  addEventListener("resize", reach);
})();
