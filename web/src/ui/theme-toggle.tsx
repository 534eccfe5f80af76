import { useState } from "react";

import { IconButton } from "./button";
import type { IconName } from "./icon";

const KEY = "lorestream.theme";

const isDark = (): boolean => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

/** Light or dark; until it is switched, the system's setting decides (public/assets/theme.js). */
export function useTheme() {
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
  const icon: IconName = dark ? "sun" : "moon";
  return { icon, label: dark ? "Use light colours" : "Use dark colours", toggle };
}

export function ThemeToggle() {
  const { icon, label, toggle } = useTheme();
  return <IconButton icon={icon} label={label} onClick={toggle} data-testid="theme-toggle" />;
}
