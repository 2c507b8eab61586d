// Sets the chosen theme before the first paint; loaded without defer in <head>, so it is short and no module.
document.documentElement.dataset.js = "";
try {
  const theme = localStorage.getItem("regatta.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* storage is switched off: the system's theme stays */ }
