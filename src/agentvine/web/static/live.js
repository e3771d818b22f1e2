"use strict";
// Asks for the list anew when something was asked or settled. Forms are on other pages, so nothing
// that somebody writes is ever lost. Without this script the page shows what was there when it came.
(() => {
  const list = document.querySelector("[data-live]");
  if (!list || !window.EventSource) return;
  const name = document.title.replace(/^\(\d+\+?\) /, "");
  let isAsked = false;

  const refresh = async () => {
    isAsked = false;
    const answer = await fetch(list.dataset.live + location.search, { redirect: "manual" });
    if (answer.type === "opaqueredirect") location.reload(); // not signed in any more
    if (!answer.ok) return;
    const focused = document.activeElement?.getAttribute("href");
    list.innerHTML = await answer.text();
    const count = list.querySelectorAll("li").length;
    document.title = count ? `(${count}${list.querySelector("[rel=next]") ? "+" : ""}) ${name}` : name;
    if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  };

  new EventSource(list.dataset.changes).addEventListener("changed", () => {
    if (isAsked) return;
    isAsked = true;
    setTimeout(() => refresh().catch(() => {}), 150); // several changes, one look
  });
})();
