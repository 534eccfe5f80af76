import { useEffect, useEffectEvent } from "react";

/** Call `action` when Escape is pressed anywhere, unless a dialog or the page itself has taken it. */
export function useEscape(action: (() => void) | null): void {
  const active = action !== null;
  const onKey = useEffectEvent((event: KeyboardEvent) => {
    if (
      event.key === "Escape" &&
      !event.defaultPrevented &&
      !event.isComposing &&
      !document.querySelector('dialog[open], :popover-open:not([role="tooltip"])')
    ) {
      action?.();
    }
  });
  useEffect(() => {
    if (!active) return;
    const listener = (event: KeyboardEvent) => onKey(event);
    addEventListener("keydown", listener);
    return () => removeEventListener("keydown", listener);
  }, [active]);
}
