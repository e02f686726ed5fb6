"use strict";

// The second half of a double click that began in another window must not land on this button (double-clickjacking):
// it works when somebody has had the page before them for a moment.
const CALM = 700; // milliseconds in which nobody reads this page
const allow = document.getElementById("allow");
let timer;

function calm() {
  clearTimeout(timer);
  allow.disabled = true;
  timer = setTimeout(() => { allow.disabled = false; }, CALM);
}

calm();
addEventListener("focus", calm);
addEventListener("pageshow", calm);
document.addEventListener("visibilitychange", calm);
