// Small helps that the style sheet cannot give: what scrolls can be reached by keyboard, and as a table or a figure says
// so; a link opens what is folded around its target.
const edges = (wide) => {
  wide.classList.toggle("scrolls", wide.scrollWidth > wide.clientWidth + 1);
  wide.classList.toggle("ended", wide.scrollLeft + wide.clientWidth >= wide.scrollWidth - 1);
};
const reach = () => {
  for (const element of document.querySelectorAll(".bd-content :is(table, .math, .canvas)")) // the theme sees to code
    if (element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
};
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target?.scrollIntoView();
};
document.addEventListener("DOMContentLoaded", () => {
  // docutils calls them a list, but their entries by another role
  for (const list of document.querySelectorAll(".citation-list")) list.removeAttribute("role");
  const wide = document.querySelectorAll(".bd-content :is(table, .canvas)");
  for (const each of wide) each.addEventListener("scroll", () => edges(each), { passive: true });
  new ResizeObserver(() => (wide.forEach(edges), reach())).observe(document.body);
  addEventListener("load", reach);
  window.addEventListener("hashchange", unfold);
  if (location.hash) unfold();
});
