// Runs before the first paint, so that a remembered theme does not flash.
const remembered = localStorage.getItem("homeostat-theme");
if (remembered === "dark" || remembered === "light") document.documentElement.dataset.theme = remembered;
