// Small helps that the style sheet cannot give: what scrolls says so, and a link opens what is folded around its target.
const edges = (table) => {
  table.classList.toggle("scrolls", table.scrollWidth > table.clientWidth + 1);
  table.classList.toggle("ended", table.scrollLeft + table.clientWidth >= table.scrollWidth - 1);
  if (table.classList.contains("scrolls")) table.tabIndex = 0;
};
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target?.scrollIntoView();
};
document.addEventListener("DOMContentLoaded", () => {
  // docutils calls them a list, but their entries by another role
  for (const list of document.querySelectorAll(".citation-list")) list.removeAttribute("role");
  const tables = document.querySelectorAll(".bd-content table");
  for (const table of tables) table.addEventListener("scroll", () => edges(table), { passive: true });
  new ResizeObserver(() => tables.forEach(edges)).observe(document.body);
  window.addEventListener("hashchange", unfold);
  if (location.hash) unfold();
});
