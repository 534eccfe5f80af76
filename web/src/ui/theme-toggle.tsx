import { useState } from "react";

import { IconButton } from "./button";

const KEY = "lorestream.theme";

const isDark = (): boolean => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

/** Switches between light and dark; until it is used, the system's setting decides (public/assets/theme.js). */
export function ThemeToggle() {
  const [dark, setDark] = useState(isDark);
  const toggle = () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // Storage is switched off: the choice lasts as long as the page.
    }
    setDark(next === "dark");
  };
  return (
    <IconButton
      icon={dark ? "sun" : "moon"}
      label={dark ? "Use light colours" : "Use dark colours"}
      onClick={toggle}
      data-testid="theme-toggle"
    />
  );
}
