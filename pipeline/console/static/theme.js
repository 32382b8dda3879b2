// Light or dark before anything is drawn: what somebody chose is kept in the browser too.

const kept = localStorage.getItem("theme");
if (kept) document.documentElement.dataset.theme = kept;
